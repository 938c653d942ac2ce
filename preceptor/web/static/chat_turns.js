// How a turn is drawn: the question, its answers side by side, and what can be said of them. Buttons carry `data-do`.

import {LETTERS, alike, busy, groups, rankable, spoken, whole} from "./chat_state.js";
import {isPreset} from "./chat_strategies.js";
import {showText} from "./chat_server.js";
import {icon, make} from "./make.js";

const quiet = (deed, index, text, properties = {}) =>
  make("button", {type: "button", class: "quiet", "data-do": deed, "data-index": index, ...properties}, text);

// `page` has t (sentences by key), keeps (whether opinions are kept) and last (whether this is the last turn).
export function drawTurn(turn, page) {
  const many = turn.answers.length > 1;
  const section = make("section", {class: many ? "turn many" : "turn"},
    question(turn, page),
    make("div", {class: `answers count-${turn.answers.length}`},
      ...turn.answers.map((answer, index) => drawAnswer(turn, answer, index, many, page))),
    many && page.keeps && verdict(turn, page));
  return section;
}

function question(turn, page) {
  const text = make("div", {class: "text"});
  showText(text, turn.question);
  return make("div", {class: "question"}, make("div", {class: "asked"}, make("span", {class: "unseen"}, `${page.t("you")}: `),
    ...turn.images.map(url => make("img", {src: url, alt: page.t("image")})), text),
    quiet("differently", 0, page.t("differently"), {class: "quiet small"}));
}

const hidden = turn => turn.blind && !turn.verdict;

function drawAnswer(turn, answer, index, many, page) {
  const name = hidden(turn) ? page.t("unnamed") : answer.model;
  const said = make("div", {class: "said text"});
  const article = make("article", {
    class: `answer${many ? "" : " single"}${many && turn.chosen === index && !hidden(turn) ? " chosen" : ""}`, tabindex: "-1", "data-answer": index,
    "aria-label": many ? `${page.t("answer", {letter: LETTERS[index]})}, ${name}` : name, "aria-busy": String(answer.finish === null)});
  article.append(make("header", {}, many && make("span", {class: "letter", "aria-hidden": "true"}, LETTERS[index]),
    make("span", {class: "who"}, name, answer.finish === null && make("span", {class: "busy"}, ` ${page.t("being_written")}`)),
    many && page.last && turn.chosen === index && !hidden(turn) && whole(answer) && make("span", {class: "going"}, page.t("goes_on"))), said);
  if (answer.text) showText(said, answer.text);
  article.append(...notes(answer, page));
  if (answer.finish !== null) article.append(tools(turn, answer, index, many, page));
  return article;
}

function notes(answer, page) {
  const {t} = page, said = [];
  if (answer.leftOut) said.push(t("left_out", {model: answer.model, n: answer.leftOut, context: answer.context}));
  if (answer.finish === "failed") said.push(t("failed", {reason: answer.note || t("unreachable")}));
  if (answer.finish === "stopped") said.push(t("stopped"));
  if (answer.finish === "length") said.push(t("cut", {tokens: answer.sampling.max_tokens}));
  if (whole(answer) && !answer.text.trim()) said.push(t("empty"));
  return said.map(text => make("p", {class: answer.finish === "failed" ? "notice" : "muted note"}, text));
}

function tools(turn, answer, index, many, page) {
  const {t} = page, thumb = (deed, up) => quiet(deed, index, icon(up ? "up" : "down"),
    {class: "quiet icon", title: t(deed), "aria-label": t(deed), "aria-pressed": String(answer.thumb === up)});
  return make("footer", {class: "tools"},
    whole(answer) && page.keeps && !hidden(turn) && thumb("up", true), whole(answer) && page.keeps && !hidden(turn) && thumb("down", false),
    answer.text && quiet("copy", index, t("copy")),
    page.last && whole(answer) && !hidden(turn) && quiet("regenerate", index, t("regenerate")),
    page.last && !whole(answer) && quiet("again", index, t("again")),
    page.last && many && !hidden(turn) && whole(answer) && turn.chosen !== index && quiet("go_on", index, t("go_on")),
    answer.sampling && !hidden(turn) && whole(answer) && how(answer, page));
}

function how(answer, {t}) {
  const {seed, max_tokens, ...options} = answer.sampling;
  const name = `${t(`strategies.${answer.strategy}`)}${isPreset(answer.strategy, options) ? "" : ` (${t("changed")})`}`;
  const rows = [[t("by"), answer.model], [t("strategy"), name],
    ...Object.entries(options).map(([option, value]) => [t(`options.${option}`), value]), [t("max_tokens"), max_tokens], [t("seed"), seed]];
  return make("details", {class: "how"}, make("summary", {}, t("how")),
    make("dl", {}, ...rows.map(([what, value]) => make("div", {}, make("dt", {}, what), make("dd", {}, String(value))))));
}

// Between two answers three buttons; among more a rank for each.
function verdict(turn, page) {
  const {t} = page;
  if (turn.verdict)
    return make("div", {class: "verdict"}, make("p", {class: "good"}, t("kept", {order: spoken(turn.verdict.ranking)})),
      quiet("undo", 0, t("take_back")));
  if (alike(turn)) return make("div", {class: "verdict"}, make("p", {class: "muted"}, t("alike")));
  if (busy(turn) || !rankable(turn)) return null;
  const button = (deed, label, key) => make("button", {type: "button", "data-do": deed, "data-index": 0}, label, " ", make("kbd", {}, key));
  if (turn.answers.length === 2)
    return make("div", {class: "verdict", role: "group", "aria-label": t("which")}, make("p", {}, t("which")),
      button("a", t("a_better"), "A"), button("same", t("both"), "="), button("b", t("b_better"), "B"));
  const ranks = turn.answers.map((_, answer) => make("span", {class: "ranks", role: "group", "aria-label": t("answer", {letter: LETTERS[answer]})},
    make("span", {class: "letter", "aria-hidden": "true"}, LETTERS[answer]),
    ...turn.answers.map((_, place) => make("button", {type: "button", "data-do": "rank", "data-index": answer, "data-rank": place + 1,
      "aria-pressed": String(turn.ranks[answer] === place + 1), "aria-label": t("rank", {rank: place + 1, letter: LETTERS[answer]})}, String(place + 1)))));
  return make("div", {class: "verdict"}, make("p", {}, t("which"), " ", make("small", {}, t("rank_all"))), ...ranks,
    make("button", {type: "button", class: "primary", "data-do": "keepRanking", "data-index": 0, disabled: !groups(turn)}, t("keep_ranking")));
}
