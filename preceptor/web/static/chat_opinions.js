// What is said of answers: which is better, and thumbs. The server keeps it; until it has, nothing is shown as kept.

import * as kept from "./chat_kept.js";
import {keep, page, redraw, say, t} from "./chat_page.js";
import {Refused, post} from "./chat_server.js";
import {messagesTo, rankable, told, unnamed, whole} from "./chat_state.js";

const telling = new WeakSet();  // turns and answers of which something is on its way: pressed twice, it is said once

async function toServer(about, deed) {
  if (telling.has(about)) return;
  telling.add(about);
  try { await deed(); } catch (error) {
    say(t("not_kept", {reason: error instanceof Refused ? error.message : t("unreachable")}));
  } finally { telling.delete(about); }
}

// By now another conversation may be open.
function shown(conversation, place, changes) {
  Object.assign(conversation.turns[place], changes);
  if (page.conversation !== conversation) return kept.keepIfThere(conversation);
  redraw(place);
  keep();
}

// `ranking` lists groups of answers, the best first, and names each of them once.
export const prefer = (place, ranking) => toServer(page.conversation.turns[place], async () => {
  const {conversation} = page, turn = conversation.turns[place];
  if (!page.keeps || turn.verdict || !rankable(turn) || ranking.flat().length !== turn.answers.length) return;
  const {id} = await post("/api/chat/preferences",
    {messages: messagesTo(conversation, place), answers: turn.answers.map(told), ranking});
  shown(conversation, place, {verdict: {id, ranking}, chosen: ranking[0][0]});
});

export const takeBack = place => toServer(page.conversation.turns[place], async () => {
  const {conversation} = page, {verdict} = conversation.turns[place];
  if (!verdict) return;
  await post(`/api/chat/preferences/${verdict.id}/withdraw`);
  shown(conversation, place, {verdict: null, ranks: {}, blind: false});
  say(t("taken_back"));
});

// The same thumb once more takes it back.
export const thumb = (place, index, up) => toServer(page.conversation.turns[place].answers[index], async () => {
  const {conversation} = page, turn = conversation.turns[place], answer = turn.answers[index];
  if (!page.keeps || !whole(answer) || unnamed(turn)) return;
  const wanted = answer.thumb === up ? null : up;
  await post("/api/chat/thumbs", {messages: messagesTo(conversation, place), answer: told(answer), up: wanted});
  answer.thumb = wanted;
  shown(conversation, place, {});
});
