// Questions, and the answers to them: who is asked, how, and what comes of it.

import * as kept from "./chat_kept.js";
import {draw, drawComposer, following, grow, id, isLast, keep, page, redraw, say, t, toEnd, turnAt} from "./chat_page.js";
import {Refused, post, stream} from "./chat_server.js";
import {busy, messagesTo, newAnswer, newTurn, titleOf, unnamed, whole, withoutPictures} from "./chat_state.js";
import {STRATEGIES, given, isChanceless} from "./chat_strategies.js";

const SEEDS = 2 ** 31;

// Whether the question was asked; where it cannot be, it says why.
export async function ask(question) {
  const {conversation, settings, images} = page, who = writers();
  if (page.writing || !question) return false;
  if (!who.length) return say(t("no_models"));
  const blind = who.filter(name => !page.models.find(model => model.name === name).sees);
  if (blind.length && (images.length || conversation.turns.some(turn => turn.images.length)))
    return say(t("blind_images", {models: [...new Set(blind)].join(", ")}));
  // Two unnamed answers of one model by the most likely words would be the same.
  const sure = settings.pair && isChanceless(settings.options);
  const [strategy, options] = sure ? ["balanced", STRATEGIES.balanced.options] : [settings.strategy, settings.options];
  const answers = who.map((name, place) => newAnswer(name, strategy, {...given(options), seed: seedFor(place)}));
  conversation.turns.push(newTurn(question, images, answers, settings.pair));
  conversation.title ||= titleOf(question);
  page.images = [];
  draw();
  toEnd();
  write(conversation.turns.length - 1, answers);
  return true;
}

// Those chosen; for two unnamed answers two of them in random order, or one twice.
function writers() {
  const chosen = page.settings.models.filter(name => page.models.some(model => model.name === name));
  if (!page.settings.pair || !chosen.length) return chosen;
  const drawn = chosen.map(name => [Math.random(), name]).sort(([a], [b]) => a - b).map(([, name]) => name);
  return [drawn[0], drawn[1] ?? drawn[0]];
}

const seedFor = place =>
  page.settings.seed === null ? Math.floor(Math.random() * SEEDS) : (page.settings.seed + place) % SEEDS;

// Has answers of a turn written, side by side, until all are there or the reader stops them.
async function write(place, answers) {
  const conversation = page.conversation, stop = page.writing = new AbortController();
  drawComposer();
  keep();
  await Promise.all(answers.map(answer => writeOne(conversation, place, answer, stop.signal)));
  if (page.writing === stop) page.writing = null;
  const turn = conversation.turns[place], first = turn.answers.findIndex(whole);
  if (!whole(turn.answers[turn.chosen]) && first >= 0) turn.chosen = first;
  if (page.conversation === conversation) {
    following(() => { redraw(place); drawComposer(); });
    keep();
    id("news").textContent = t(answers.length > 1 ? "all_written" : "written");
  } else kept.keepIfThere(conversation);
}

async function writeOne(conversation, place, answer, signal) {
  const turn = conversation.turns[place], shown = () => page.conversation === conversation;
  try {
    const messages = messagesTo(conversation, place), head = messages[0].role === "system" ? 1 : 0;
    const fit = await post("/api/chat/fitting",
      {model: answer.model, messages: withoutPictures(messages), max_tokens: page.settings.max_tokens});
    [answer.leftOut, answer.context, answer.sampling.max_tokens] = [fit.left_out, fit.context, fit.max_tokens];
    if (!fit.whole) throw new Refused(t("too_long", fit));
    messages.splice(head, fit.left_out);
    const asked = turn.blind ? {...answer.sampling, store: false} : answer.sampling;  // the page tells of these itself
    for await (const {text, finish} of stream(answer.model, messages, asked, signal)) {
      answer.text += text ?? "";
      if (text && shown()) grow(place, turn.answers.indexOf(answer));
      if (finish) answer.finish = finish;
    }
  } catch (error) {
    answer.finish = error.name === "AbortError" ? "stopped" : "failed";
    answer.note = error instanceof Refused ? error.message : "";
  }
  if (shown()) following(() => redraw(place));
}

// The same answer once more, where it was stopped or failed.
export function again(place, index) {
  const turn = page.conversation.turns[place], old = turn.answers[index];
  if (page.writing || busy(turn)) return;
  turn.answers[index] = newAnswer(old.model, old.strategy, {...old.sampling, seed: seedFor(index)});
  redraw(place);
  write(place, [turn.answers[index]]);
}

export const canRegenerate = (place, turn) => !page.writing && isLast(place) && !unnamed(turn);

// Another answer by the writer of one, beside it; the conversation goes on with the new one. No strategy: as it is set.
export async function anew(place, index, strategy) {
  const turn = page.conversation.turns[place], {settings} = page;
  const [name, options] = strategy ? [strategy, STRATEGIES[strategy].options] : [settings.strategy, settings.options];
  const answer = newAnswer(turn.answers[index].model, name, {...given(options), seed: seedFor(turn.answers.length)});
  Object.assign(turn, {answers: [...turn.answers, answer], ranks: {}, verdict: null, blind: false});
  redraw(place);
  turnAt(place).querySelector(".answer:last-child").scrollIntoView({block: "nearest"});
  await write(place, [answer]);
  if (!whole(answer)) return;
  turn.chosen = turn.answers.indexOf(answer);
  if (page.conversation.turns[place] === turn) { redraw(place); keep(); }
}
