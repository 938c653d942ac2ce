// How a turn is drawn: the question, its answers side by side, and what can be said of them. Buttons carry `data-do`.

import {LETTERS, alike, busy, groups, rankable, spoken, unnamed, whole} from "./chat_state.js";
import {isPreset} from "./chat_strategies.js";
import {showText} from "./chat_server.js";
import {icon, make} from "./make.js";

const button = (deed, index, properties, ...children) =>
  make("button", {type: "button", "data-do": deed, "data-index": index, ...properties}, ...children);
const quiet = (deed, index, text, properties = {}) => button(deed, index, {class: "quiet", ...properties}, text);
const letter = index => make("span", {class: "letter", "aria-hidden": "true"}, LETTERS[index]);

// `page` has t (sentences by key), keeps (whether opinions are kept) and last (whether this is the last turn).
export function drawTurn(turn, page) {
  const many = turn.answers.length > 1;
  return make("section", {class: many ? "turn many" : "turn"},
    question(turn, page),
    make("div", {class: `answers count-${turn.answers.length}`},
      ...turn.answers.map((_, index) => drawAnswer(turn, index, page))),
    many && page.keeps && verdict(turn, page));
}

function question(turn, {t}) {
  const text = make("div", {class: "text"});
  showText(text, turn.question);
  const all = turn.images.length, images = turn.images.map((url, place) => make("img", {src: url, alt: t("image", {n: place + 1, all})}));
  return make("div", {class: "question"},
    make("div", {class: "asked"}, make("span", {class: "unseen"}, `${t("you")}: `),
      all > 0 && make("div", {class: all > 1 ? "shown several" : "shown"}, ...images), text),
    quiet("differently", 0, t("differently"), {class: "quiet small"}));
}

function drawAnswer(turn, index, page) {
  const {t} = page, answer = turn.answers[index], many = turn.answers.length > 1, writing = answer.finish === null;
  const name = unnamed(turn) ? t("unnamed") : answer.model, said = make("div", {class: "said text"});
  const chosen = many && turn.chosen === index && !unnamed(turn);
  if (answer.text) showText(said, answer.text);
  return make("article", {
    class: ["answer", many ? "" : "single", chosen ? "chosen" : ""].join(" ").trim(), tabindex: "-1", "data-answer": index,
    "aria-label": many ? `${t("answer", {letter: LETTERS[index]})}, ${name}` : name, "aria-busy": String(writing)},
    make("header", {}, many && letter(index),
      make("span", {class: "who"}, name, writing && make("span", {class: "busy"}, ` ${t("being_written")}`)),
      chosen && page.last && whole(answer) && make("span", {class: "going"}, t("goes_on"))),
    said, ...notes(answer, name, page), !writing && tools(turn, index, page));
}

function notes(answer, name, {t}) {
  const said = [];
  if (answer.leftOut) said.push(t("left_out", {model: name, n: answer.leftOut, context: answer.context}));
  if (answer.finish === "failed") said.push(t("failed", {reason: answer.note || t("unreachable")}));
  if (answer.finish === "stopped") said.push(t("stopped"));
  if (answer.finish === "length") said.push(t("cut", {tokens: answer.sampling.max_tokens}));
  if (whole(answer) && !answer.text.trim()) said.push(t("empty"));
  return said.map(text => make("p", {class: answer.finish === "failed" ? "notice" : "muted note"}, text));
}

function tools(turn, index, page) {
  const {t} = page, answer = turn.answers[index], known = whole(answer) && !unnamed(turn);
  const thumb = (deed, up) => quiet(deed, index, icon(deed),
    {class: "quiet icon", title: t(deed), "aria-label": t(deed), "aria-pressed": String(answer.thumb === up)});
  return make("footer", {class: "tools"},
    ...(known && page.keeps ? [thumb("up", true), thumb("down", false)] : []),
    answer.text && quiet("copy", index, t("copy")),
    page.last && known && quiet("regenerate", index, t("regenerate")),
    page.last && !whole(answer) && quiet("again", index, t("again")),
    page.last && known && turn.chosen !== index && quiet("go_on", index, t("go_on")),
    known && how(answer, page));
}

function how(answer, {t}) {
  const {seed, max_tokens, ...options} = answer.sampling;
  const name = t(`strategies.${answer.strategy}`), preset = isPreset(answer.strategy, options);
  const rows = [[t("by"), answer.model], [t("strategy"), preset ? name : `${name} (${t("changed")})`],
    ...Object.entries(options).map(([option, value]) => [t(`options.${option}`), value]),
    [t("max_tokens"), max_tokens], [t("seed"), seed]];
  return make("details", {class: "how"}, make("summary", {}, t("how")), make("dl", {}, ...rows.map(([what, value]) =>
    make("div", {}, make("dt", {}, what), make("dd", {}, String(value))))));
}

// What was said of the answers, or what can be: between two of them three buttons, among more a rank for each.
function verdict(turn, {t}) {
  const shown = (...children) => make("div", {class: "verdict", role: "group", "aria-label": t("which")}, ...children);
  if (turn.verdict)
    return shown(make("p", {class: "good"}, t("kept", {order: spoken(turn.verdict.ranking)})), quiet("undo", 0, t("take_back")));
  if (alike(turn)) return shown(make("p", {class: "muted"}, t("alike")));
  if (busy(turn) || !rankable(turn)) return null;
  const better = (deed, key) => button(deed, 0, {}, t({a: "a_better", b: "b_better", same: "both"}[deed]), " ", make("kbd", {}, key));
  if (turn.answers.length === 2)
    return shown(make("p", {}, t("which")), better("a", "A"), better("same", "="), better("b", "B"));
  return shown(make("p", {}, t("which"), " ", make("small", {}, t("rank_all"))),
    ...turn.answers.map((_, index) => ranks(turn, index, t)),
    button("keepRanking", 0, {class: "primary", disabled: !groups(turn)}, t("keep_ranking")));
}

function ranks(turn, index, t) {
  const rank = number => button("rank", index, {"data-rank": number, "aria-pressed": String(turn.ranks[index] === number),
    "aria-label": t("rank", {rank: number, letter: LETTERS[index]})}, String(number));
  return make("span", {class: "ranks", role: "group", "aria-label": t("answer", {letter: LETTERS[index]})},
    letter(index), ...turn.answers.map((_, place) => rank(place + 1)));
}
