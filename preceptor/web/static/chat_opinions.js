// What is said of answers: which is better, and thumbs. The server keeps it; until it has, nothing is shown as kept.

import {keep, page, redraw, say, t} from "./chat_page.js";
import {Refused, post} from "./chat_server.js";
import {messagesTo, rankable, told, unnamed, whole} from "./chat_state.js";

async function toServer(deed) {
  try { await deed(); } catch (error) {
    say(t("not_kept", {reason: error instanceof Refused ? error.message : t("unreachable")}));
  }
}

function shown(place, changes) {
  Object.assign(page.conversation.turns[place], changes);
  redraw(place);
  keep();
}

// `ranking` lists groups of answers, the best first, and names each of them once.
export const prefer = (place, ranking) => toServer(async () => {
  const {conversation} = page, turn = conversation.turns[place];
  if (!page.keeps || turn.verdict || !rankable(turn) || ranking.flat().length !== turn.answers.length) return;
  const {id} = await post("/api/chat/preferences",
    {messages: messagesTo(conversation, place), answers: turn.answers.map(told), ranking});
  shown(place, {verdict: {id, ranking}, chosen: ranking[0][0]});
});

export const takeBack = place => toServer(async () => {
  const {verdict} = page.conversation.turns[place];
  if (!verdict) return;
  await post(`/api/chat/preferences/${verdict.id}/withdraw`);
  shown(place, {verdict: null, ranks: {}, blind: false});
  say(t("taken_back"));
});

// The same thumb once more takes it back.
export const thumb = (place, index, up) => toServer(async () => {
  const {conversation} = page, turn = conversation.turns[place], answer = turn.answers[index];
  if (!page.keeps || !whole(answer) || unnamed(turn)) return;
  const wanted = answer.thumb === up ? null : up;
  await post("/api/chat/thumbs", {messages: messagesTo(conversation, place), answer: told(answer), up: wanted});
  answer.thumb = wanted;
  shown(place, {});
});
