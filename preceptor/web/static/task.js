// The task page: keys, clicks and drags become actions (state.js); after each the page is drawn and the draft is kept.

import {mark, unmark} from "./differences.js";
import {after, complete, contradiction, groups, judgement, restored} from "./state.js";

const PAUSE = 700;       // milliseconds without an action before the draft goes to the server
const IDLE = 60_000;     // a pause longer than this is no work
const place = document.getElementById("task-place");
const toast = document.getElementById("toast");
let task, order, form, item, state, past, comparing, seconds, active, timer, lastLabel = null;

const all = (selector, root = task) => [...root.querySelectorAll(selector)];
const one = selector => task.querySelector(selector);
const card = index => one(`[data-answer="${index}"]`);
const letter = index => card(index).querySelector(".letter").textContent;
const key = () => `preceptor/${item}`;

function begin() {
  task = document.getElementById("task");
  [past, comparing, seconds, active] = [[], false, 0, Date.now()];
  if (!task.dataset.state) return;
  const given = JSON.parse(task.dataset.state);
  ({item, form, answers: order} = given);
  const here = JSON.parse(localStorage.getItem(key()) || "null");
  const draft = here && (!given.draft || here.saved >= (given.draft.saved || 0)) ? here : given.draft;
  state = restored(order, draft);
  seconds = draft?.seconds || 0;
  for (const field of ["comments", "corrections"])
    for (const index of order) {
      const note = card(index).querySelector(`[data-note="${field}"]`); // candidates correct nothing
      if (note) note.value = state[field][index];
    }
  draw();
  card(order[state.focus]).focus({preventScroll: true});
}

function act(action) {
  const before = state;
  state = after(state, action, order);
  if (action.do !== "focus" && action.do !== "move") past.push(before);
  draw();
  keep();
  if (before.focus !== state.focus || before.step !== state.step) reveal();
}

function reveal() {
  const chosen = card(order[state.focus]);
  if (!chosen.contains(document.activeElement)) chosen.focus({preventScroll: true});
  chosen.scrollIntoView({block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth"});
}

// ---- what is drawn

function draw() {
  task.dataset.step = state.step;
  for (const button of all("[data-step]"))
    button.dataset.step === state.step ? button.setAttribute("aria-current", "step") : button.removeAttribute("aria-current");
  order.forEach((index, place) => drawCard(card(index), index, place === state.focus));
  for (const chip of all("[data-prompt-flag]")) chip.setAttribute("aria-pressed", state.promptFlags.includes(chip.dataset.promptFlag));
  for (const index of order) {
    const token = one(`[data-token="${index}"]`);
    token.hidden = false;
    token.setAttribute("aria-pressed", order[state.focus] === index);
    one(`.slot[data-rank="${state.ranks[index] || 0}"] .chips`).append(token);
  }
  drawStrip();
  const submit = one("[data-do=submit]"), ready = complete(state, order);
  submit.querySelector(".label").textContent = state.step === "rank" ? submit.dataset.submit : submit.dataset.toRanking;
  submit.classList.toggle("waiting", state.step === "rank" && !ready);
  for (const index of order) comparing ? mark(card(index).querySelector(".said"), card(order[state.focus]).querySelector(".said"))
    : unmark(card(index).querySelector(".said"));
  one("[data-do=differences]").setAttribute("aria-pressed", comparing);
}

function drawCard(article, index, chosen) {
  article.classList.toggle("chosen", chosen);
  for (const group of all("[role=radiogroup]", article)) {
    const buttons = all("[data-score]", group), value = state.scores[index][buttons[0].dataset.score];
    for (const button of buttons) {
      button.setAttribute("aria-checked", Number(button.dataset.value) === value);
      button.tabIndex = Number(button.dataset.value) === (value || 1) ? 0 : -1;
    }
  }
  for (const chip of all("[data-flag]", article)) chip.setAttribute("aria-pressed", state.flags[index].includes(chip.dataset.flag));
  const rank = article.querySelector(".place");
  rank.hidden = !state.ranks[index];
  rank.textContent = state.ranks[index] ? `#${state.ranks[index]}` : "";
}

function drawStrip() {
  const strip = one("#strip"), notice = one("#notice"), wrong = contradiction(state, order);
  const sorted = groups(state).map(group => group.map(letter).sort());
  strip.textContent = sorted.length ? sorted.map(group => group.join(" = ")).join(" > ") : strip.dataset.nothing;
  const spoken = sorted.map(group => group.join(` ${strip.dataset.equal} `)).join(` ${strip.dataset.better} `);
  strip.setAttribute("aria-label", spoken || strip.dataset.nothing);
  notice.hidden = !wrong;
  if (wrong) notice.textContent = notice.dataset.sentence.replace("{better}", letter(wrong[0])).replace("{worse}", letter(wrong[1]));
}

function say(text) {
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.hidden = true; }, 6000);
}

// ---- what is kept

function tick() { // time counts while somebody is here: between two signs of life that are not far apart
  const now = Date.now();
  if (!document.hidden && now - active < IDLE) seconds += (now - active) / 1000;
  active = now;
}

const draft = () => ({...state, seconds, saved: Date.now()});

function keep() {
  tick();
  localStorage.setItem(key(), JSON.stringify(draft()));
  clearTimeout(timer);
  timer = setTimeout(() => keepThere().catch(() => {}), PAUSE); // it is kept here, and goes with the next action
}

const keepThere = (keepalive = false) => send(`/api/items/${item}/draft`, "PUT", {draft: draft()}, keepalive);

async function send(path, method, body, keepalive = false) {
  const answer = await fetch(path, {method, keepalive, headers: {"Content-Type": "application/json", "X-Form": form},
                                    body: JSON.stringify(body)});
  if (!answer.ok) throw new Error(((await answer.json().catch(() => ({}))).detail || "") || String(answer.status));
  return answer;
}

async function goOn(path, body) {
  const sentence = one("#sentences")?.dataset.unkept;
  clearTimeout(timer);
  task.setAttribute("aria-busy", "true");
  try {
    const answer = await send(path, "POST", body);
    const html = await answer.text();
    localStorage.removeItem(key());
    place.innerHTML = html;
    toast.hidden = true;
    begin();
    scrollTo(0, 0);
    return answer;
  } catch (error) {
    say(`${sentence} (${error.message})`);
    return null;
  } finally {
    task.removeAttribute("aria-busy");
  }
}

// ---- what is done

const deeds = {
  instructions: () => document.getElementById("instructions").showModal(),
  keys: () => document.getElementById("keys").showModal(),
  skip: () => one("#skip").showModal(),
  differences: () => { comparing = !comparing; draw(); },
  async submit() {
    if (state.step === "judge") {
      const unranked = order.findIndex(index => !state.ranks[index]);
      act({do: "step", step: "rank"});
      if (unranked >= 0) act({do: "focus", place: unranked});
    } else if (!complete(state, order)) {
      say(one("[data-do=submit]").dataset.rankAll);
    } else if (!task.hasAttribute("aria-busy")) {
      tick();
      const answer = await goOn(`/api/items/${item}/ranking`, judgement(state, order, Math.min(7200, seconds)));
      if (answer) lastLabel = answer.headers.get("X-Label");
    }
  },
  async undo() {
    if (past.length) {
      state = past.pop();
      draw();
      keep();
      reveal();
    } else if (lastLabel) {
      const sentence = (one("#sentences") || document.body).dataset.back || "";
      if (item) localStorage.removeItem(key());
      const answer = await goOn(`/api/labels/${lastLabel}/withdraw`, {});
      if (answer) { lastLabel = null; say(one("#sentences").dataset.back || sentence); }
    } else say(one("#sentences")?.dataset.nothing || "");
  },
};

function press(event) {
  const target = event.target;
  if (event.isComposing || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return pressInDialog(event);
  if (target.matches("textarea, input, select")) {
    if (event.key === "Escape") card(order[state.focus]).focus();
    return;
  }
  if (event.ctrlKey) return;
  const pressed = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  if (pressed === "?") return done(event, deeds.keys);
  if (pressed === "I") return done(event, deeds.instructions);
  if (pressed === "U") return done(event, deeds.undo);
  if (!task.dataset.state) return;
  const onButton = target.closest("button, a, summary");
  if ((pressed === "Enter" || pressed === " ") && onButton && !onButton.matches("[data-do=submit]")) return; // it is pressed
  const arrow = {ArrowUp: -1, ArrowDown: 1}[pressed];
  if (target.closest("[role=radiogroup]") && pressed.startsWith("Arrow")) return done(event, () => turn(target, pressed));
  if (/^[1-9]$/.test(pressed)) return done(event, () => digit(Number(pressed)));
  if (pressed === "Enter") return done(event, deeds.submit);
  if (pressed === " " || pressed === "J" || pressed === "ArrowRight") return done(event, () => act({do: "move", by: 1}));
  if (pressed === "K" || pressed === "ArrowLeft") return done(event, () => act({do: "move", by: -1}));
  if (arrow && state.step === "rank") return done(event, () => act({do: "nudge", by: arrow}));
  if (pressed === "R") return done(event, () => act({do: "step", step: state.step === "rank" ? "judge" : "rank"}));
  if (pressed === "X") return done(event, deeds.differences);
  if (pressed === "Z") return done(event, deeds.skip);
  if (pressed === "N") return done(event, writeNote);
  const chip = all(".chip").find(found => found.querySelector("kbd").textContent === pressed
    && (found.dataset.promptFlag || card(order[state.focus]).contains(found)));
  if (chip) done(event, () => chip.dataset.flag ? act({do: "flag", name: chip.dataset.flag})
    : act({do: "promptFlag", name: chip.dataset.promptFlag}));
}

function pressInDialog(event) {
  const open = document.querySelector("dialog[open]");
  if (open?.id === "skip" && /^[1-9]$/.test(event.key)) open.querySelectorAll("[data-skip]")[event.key - 1]?.click();
}

function done(event, deed) { event.preventDefault(); deed(); }

function digit(number) {
  if (state.step === "judge" && number <= 7) act({do: "score", axis: "overall", value: number});
  else if (state.step === "rank" && number <= order.length) act({do: "rank", rank: number});
}

function turn(button, pressed) { // arrows choose inside a group of scores, as in any group of radio buttons
  const most = button.parentElement.querySelectorAll("[data-score]").length;
  const value = Number(button.dataset.value) + ({ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[pressed]);
  const next = button.parentElement.querySelector(`[data-value="${Math.min(most, Math.max(1, value))}"]`);
  act({do: "score", axis: next.dataset.score, value: Number(next.dataset.value), stay: true});
  next.focus();
}

function writeNote() {
  const details = card(order[state.focus]).querySelector("details");
  details.open = true;
  details.querySelector("textarea").focus();
}

function choose(event) {
  const answer = event.target.closest("[data-answer]");
  const index = answer ? Number(answer.dataset.answer) : null;
  if (index !== null && order[state.focus] !== index) act({do: "focus", place: order.indexOf(index)});
}

function click(event) {
  const button = event.target.closest("button");
  if (!button) return task.dataset.state && choose(event);
  const data = button.dataset;
  if (data.do) return deeds[data.do]();
  if (!task.dataset.state) return;
  choose(event);
  if (data.score) act({do: "score", axis: data.score, value: Number(data.value), stay: true});
  else if (data.flag) act({do: "flag", name: data.flag});
  else if (data.promptFlag) act({do: "promptFlag", name: data.promptFlag});
  else if (data.step) act({do: "step", step: data.step});
  else if (data.place) act({do: "rank", rank: Number(data.place)});
  else if (data.token) act({do: "focus", place: order.indexOf(Number(data.token))});
  else if (data.skip) { one("#skip").close(); goOn(`/api/items/${item}/skip`, {reason: data.skip}); }
}

function write(event) {
  const field = event.target.dataset.note;
  if (field) { choose(event); state = after(state, {do: "note", field, text: event.target.value}, order); keep(); }
}

// Dragging: one pointer, mouse or finger, takes a letter to a rank.
function grab(event) {
  const token = event.target.closest(".token");
  if (!token || event.button) return;
  const ghost = token.cloneNode(true);
  const start = [event.clientX, event.clientY];
  let dragging = false;
  const move = moved => {
    if (!dragging && Math.hypot(moved.clientX - start[0], moved.clientY - start[1]) > 6) {
      dragging = true;
      ghost.className = "token ghost";
      document.body.append(ghost);
      token.classList.add("away");
    }
    if (!dragging) return;
    ghost.style.left = `${moved.clientX}px`;
    ghost.style.top = `${moved.clientY}px`;
    const over = slotAt(moved);
    for (const slot of all(".slot")) slot.classList.toggle("over", slot === over);
  };
  const drop = dropped => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", drop);
    removeEventListener("pointercancel", drop);
    ghost.remove();
    token.classList.remove("away");
    for (const slot of all(".slot")) slot.classList.remove("over");
    const slot = dragging && dropped.type === "pointerup" ? slotAt(dropped) : null;
    if (slot) act({do: "rank", answer: Number(token.dataset.token), rank: Number(slot.dataset.rank), stay: true});
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", drop);
  addEventListener("pointercancel", drop);
}

const slotAt = event => document.elementFromPoint(event.clientX, event.clientY)?.closest(".slot");

document.addEventListener("keydown", press);
place.addEventListener("click", click);
place.addEventListener("input", write);
place.addEventListener("focusin", event => task.dataset.state && choose(event));
place.addEventListener("pointerdown", grab);
addEventListener("pagehide", () => { if (task.dataset.state && localStorage.getItem(key())) keepThere(true).catch(() => {}); });
begin();
