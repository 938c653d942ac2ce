// What the page holds, and how it is drawn and kept. Other modules change `page` and have it drawn.

import * as kept from "./chat_kept.js";
import {showText} from "./chat_server.js";
import {restored} from "./chat_settings.js";
import {newConversation, reopened} from "./chat_state.js";
import {drawTurn} from "./chat_turns.js";
import {make} from "./make.js";

const words = JSON.parse(document.getElementById("words").dataset.words);
export const t = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
export const id = name => document.getElementById(name);

// `writing` aborts the answers that are being written; null where there are none. `images` wait in the box.
export const page = {conversation: reopened(kept.opened() ?? newConversation()), settings: restored(kept.settings()),
                     models: [], keeps: false, images: [], writing: null};

export const turnAt = place => id("turns").children[place];
export const isLast = place => place === page.conversation.turns.length - 1;

export function draw() {
  id("turns").replaceChildren(...page.conversation.turns.map((_, place) => element(place)));
  id("welcome").hidden = page.conversation.turns.length > 0;
  id("system").value = page.conversation.system;
  drawComposer();
}

function element(place) {
  const drawn = drawTurn(page.conversation.turns[place], {t, keeps: page.keeps, last: isLast(place)});
  drawn.dataset.turn = place;
  return drawn;
}

// Draws a turn anew; what was in focus or open stays so, or what now stands for it.
export function redraw(place) {
  const before = document.activeElement, old = turnAt(place), next = element(place);
  const {do: deed, index, answer, rank} = old.contains(before) ? before.dataset : {};
  for (const [place, open] of [...old.querySelectorAll(".answer")].entries())
    if (open.querySelector(".how[open]")) next.querySelectorAll(".answer")[place]?.querySelector(".how")?.setAttribute("open", "");
  old.replaceWith(next);
  const wanted = deed ? `[data-do="${deed}"][data-index="${index}"]${rank ? `[data-rank="${rank}"]` : ""}` : `[data-answer="${answer}"]`;
  if (deed || answer) (next.querySelector(wanted) || next.querySelector("[data-do=undo], .answer")).focus({preventScroll: true});
}

export function grow(place, index) {
  const {text} = page.conversation.turns[place].answers[index];
  following(() => showText(turnAt(place).querySelector(`[data-answer="${index}"] .said`), text));
}

export function drawComposer() {
  const {models, settings, keeps, writing, images} = page, send = id("send");
  const chip = (key, name, data, on) => make("button", {type: "button", class: "chip", "aria-pressed": String(on), ...data},
    key && make("kbd", {}, key), key ? ` ${name}` : name);
  id("who").replaceChildren(...models.map(({name}, place) =>
    chip(models.length > 1 && String(place + 1), name, {"data-model": name}, settings.models.includes(name))),
    ...(keeps && models.length ? [chip("P", t("pair"), {"data-do": "pair", class: "chip pair", title: t("pair_on")}, settings.pair)] : []));
  id("attach").hidden = !models.some(model => model.sees);
  send.querySelector(".label").textContent = writing ? send.dataset.stop : send.dataset.ask;
  send.querySelector("kbd").textContent = writing ? "Esc" : "Enter";
  id("pictures").hidden = !images.length;
  id("pictures").replaceChildren(...images.map((url, place) => make("button", {type: "button", "data-picture": place,
    title: t("remove_image"), "aria-label": t("remove_image_of", {n: place + 1, all: images.length})}, make("img", {src: url, alt: ""}))));
}

export function say(text, deed = null, label = "") {
  const toast = id("toast"), button = deed && make("button", {type: "button", class: "quiet"}, label);
  toast.replaceChildren(text, ...(deed ? [" ", button] : []));
  button?.addEventListener("click", () => { toast.hidden = true; deed(); });
  toast.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.hidden = true; }, deed ? 12_000 : 5000);
}

export const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

// Whoever reads the end goes on seeing the end when what is drawn grows; whoever has scrolled up stays there.
export function following(drawing) {
  const atEnd = document.documentElement.scrollHeight - innerHeight - scrollY < 120;
  drawing();
  if (atEnd) toEnd();
}

export function keep() {
  if (page.conversation.turns.length && !kept.keep(page.conversation)) say(t("full"));
}

export function open(conversation) {
  page.writing?.abort();
  page.writing = null;  // whoever ends up with it will find another conversation, and draw nothing
  keep();
  page.conversation = conversation;
  kept.open(conversation.id);
  draw();
  toEnd();
}

// How answers are written has changed.
export function changed() {
  kept.keepSettings(page.settings);
  drawComposer();
}
