// The chat page: what is clicked, pressed and written, and what it does.

import {reopen, remove, save, showList} from "./chat_files.js";
import {takeOut} from "./chat_images.js";
import * as kept from "./chat_kept.js";
import {prefer, takeBack, thumb} from "./chat_opinions.js";
import {changed, draw, drawComposer, id, isLast, keep, open, page, redraw, say, t, toEnd, turnAt} from "./chat_page.js";
import {get, keysFrom} from "./chat_server.js";
import {panel} from "./chat_settings.js";
import {groups, newConversation, rankable, whole} from "./chat_state.js";
import {STRATEGIES} from "./chat_strategies.js";
import {again, anew, ask, canRegenerate} from "./chat_writing.js";
import {mark, unmark} from "./differences.js";
import {make} from "./make.js";

const MOST = 4;  // models that answer side by side: a browser opens few connections to one server
const WIDE = "(min-width: 64rem)";  // here a panel leaves room for the conversation (chat.css)
const box = id("question");
let anewFor = null;

const turnOf = place => page.conversation.turns[place];
const ofTwo = ranking => place => turnOf(place).answers.length === 2 && prefer(place, ranking);

// What a button with `data-do` does: to the turn it stands in, and the answer that it is about.
const deeds = {
  new: () => { open(newConversation(page.conversation.system)); box.focus(); },
  list: showList,
  writing: () => matchMedia(WIDE).matches ? id("writing").show() : id("writing").showModal(),
  export: () => page.conversation.turns.length ? id("export").showModal() : say(t("nothing_to_export")),
  keys: () => id("keys").showModal(),
  attach: () => id("attach").hidden || id("file").click(),
  pair: () => { page.settings.pair = page.keeps && !page.settings.pair; changed(); document.querySelector(".pair")?.focus(); },
  up: (place, index) => thumb(place, index, true),
  down: (place, index) => thumb(place, index, false),
  a: ofTwo([[0], [1]]),
  b: ofTwo([[1], [0]]),
  same: ofTwo([[0, 1]]),
  rank: (place, index, {rank}) => { turnOf(place).ranks[index] = Number(rank); redraw(place); },
  keepRanking: place => prefer(place, groups(turnOf(place))),
  undo: takeBack,
  again,
  go_on(place, index) {
    if (!isLast(place) || !whole(turnOf(place).answers[index])) return;
    turnOf(place).chosen = index;
    redraw(place);
    keep();
  },
  regenerate(place, index) {
    if (!canRegenerate(place, turnOf(place))) return;
    anewFor = [place, index];
    id("anew").showModal();
  },
  async copy(place, index) {
    await copyText(turnOf(place).answers[index].text);
    say(t("copied"));
  },
  differently(place) {  // in a conversation of its own, so that nothing is lost
    const {question, images} = turnOf(place), before = structuredClone(page.conversation.turns.slice(0, place));
    open({...newConversation(page.conversation.system), turns: before, title: place ? page.conversation.title : ""});
    [box.value, page.images] = [question, [...images]];
    drawComposer();
    box.focus();
    say(t("differently_text"));
  },
  differences() {
    const marked = document.querySelector("#turns mark");
    for (const turn of document.querySelectorAll(".turn.many")) {
      const [first, ...others] = turn.querySelectorAll(".said");
      for (const other of others) marked ? unmark(other) : mark(other, first);
    }
  },
  close: (place, index, data, button) => button.closest("dialog").close(),
};

function choose(name) {
  const {settings, models} = page, on = settings.models.includes(name);
  const chosen = on ? settings.models.filter(one => one !== name) : [...settings.models, name];
  if (!chosen.length || chosen.length > MOST) return;
  settings.models = models.map(model => model.name).filter(one => chosen.includes(one));
  changed();
  document.querySelector(`[data-model="${CSS.escape(name)}"]`).focus();
}

async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", {class: "unseen"});  // pages that come without TLS have no other way
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

async function submit() {
  const text = box.value;
  if (!await ask(text.trim() || (page.images.length ? t("describe") : ""))) return;
  box.value = "";
  kept.keepDraft("");
}

// ---- mouse and finger

document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  const {do: deed, index, model, picture, open: which, delete: gone, export: form, way} = button.dataset;
  if (deed) deeds[deed](Number(button.closest(".turn")?.dataset.turn), Number(index), button.dataset, button);
  else if (model) choose(model);
  else if (picture) takeOut(Number(picture));
  else if (which) reopen(which);
  else if (gone) remove(gone);
  else if (form) save(form);
  else if (way !== undefined) { id("anew").close(); anew(...anewFor, way); }
});

// ---- keys

const OF_PAGE = {N: "new", L: "list", S: "writing", E: "export", P: "pair", I: "attach", X: "differences", "?": "keys"};
const OF_ANSWER = {A: "a", B: "b", "=": "same", U: "undo", R: "regenerate", "+": "up", "-": "down", C: "copy", G: "go_on"};

// Turn and answer that keys are about: the answer in focus, else that with which the conversation goes on.
function current() {
  const focused = document.activeElement.closest(".answer");
  if (focused) return [Number(focused.closest(".turn").dataset.turn), Number(focused.dataset.answer)];
  const last = page.conversation.turns.length - 1;
  return last < 0 ? null : [last, turnOf(last).chosen];
}

function move(by) {
  const all = [...document.querySelectorAll(".answer")], here = current();
  if (!here) return;
  const now = all.indexOf(turnAt(here[0]).querySelector(`[data-answer="${here[1]}"]`));
  const inside = document.activeElement.closest(".answer");
  const next = all[inside ? Math.min(all.length - 1, Math.max(0, now + by)) : now];
  next.focus({preventScroll: true});
  next.scrollIntoView({block: "nearest"});
}

// A rank for the answer in focus where ranks are asked for, else a model on or off.
function digit(number) {
  const here = document.activeElement.closest(".answer") && current(), turn = here && turnOf(here[0]);
  if (turn && page.keeps && turn.answers.length > 2 && rankable(turn) && !turn.verdict) {
    if (number <= turn.answers.length) deeds.rank(...here, {rank: number});
  } else if (page.models[number - 1]) choose(page.models[number - 1].name);
}

function escape() {
  if (page.writing) page.writing.abort();
  else if (id("writing").open) id("writing").close();
  else document.activeElement.blur();
}

function deedOf(pressed) {
  const here = current();
  if (pressed === "/") return () => box.focus();
  if (pressed === "J" || pressed === "K") return () => move(pressed === "J" ? 1 : -1);
  if (/^[1-9]$/.test(pressed)) return () => digit(Number(pressed));
  if (pressed in OF_PAGE) return deeds[OF_PAGE[pressed]];
  return here && pressed in OF_ANSWER ? () => deeds[OF_ANSWER[pressed]](...here) : null;
}

document.addEventListener("keydown", event => {
  if (event.isComposing || event.metaKey || event.altKey || event.ctrlKey) return;
  const modal = document.querySelector("dialog:modal"), {key, target} = event;
  if (modal) return void (/^[0-9]$/.test(key) && [...modal.querySelectorAll(".choices button")]
    .find(button => button.querySelector("kbd").textContent === key)?.click());
  if (key === "Escape") return escape();
  if (target === box && key === "Enter" && !event.shiftKey) { event.preventDefault(); return void submit(); }
  if (target.matches("input, select, textarea")) return;
  const deed = deedOf(key.length === 1 ? key.toUpperCase() : key);
  if (deed) { event.preventDefault(); deed(); }
});

// ---- what is written

id("composer").addEventListener("submit", event => { event.preventDefault(); page.writing ? page.writing.abort() : submit(); });
box.addEventListener("input", () => kept.keepDraft(box.value));
id("system").addEventListener("input", event => { page.conversation.system = event.target.value; keep(); });
addEventListener("pagehide", keep);

function askForKey(wrong) {
  const dialog = id("key");
  id("key-wrong").hidden = !wrong;
  dialog.showModal();
  return new Promise(given => dialog.addEventListener("close", () => given(id("key-given").value.trim() || null), {once: true}));
}

async function begin() {
  keysFrom(askForKey);
  kept.open(page.conversation.id);
  box.value = kept.draft();
  draw();
  let longest;
  try {
    ({models: page.models, keeps: page.keeps, max_tokens: longest} = await get("/api/chat/models"));
  } catch { return say(t("unreachable")); }
  const {models, settings} = page;
  if (!models.length) say(t("no_models"));
  settings.models = settings.models.filter(name => models.some(model => model.name === name));
  if (!settings.models.length) settings.models = models.slice(0, 1).map(model => model.name);
  settings.pair &&= page.keeps;
  if (!page.keeps) id("welcome-pairs").textContent = t("opinions_off");
  const way = (name, number) => make("button", {type: "button", "data-way": name}, make("kbd", {}, String(number)),
    ` ${name ? t(`strategies.${name}`) : t("as_set")}`);
  id("ways").replaceChildren(...["", ...Object.keys(STRATEGIES)].map(way));
  panel(settings, t, longest, changed);
  draw();
  toEnd();
}

begin();
