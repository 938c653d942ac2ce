// What a conversation is, and what each event makes of it. Pure: nothing here draws, asks or keeps.
//
//   conversation  {id, title, system, turns}
//   turn          {question, images, answers, chosen, blind, ranks, verdict}
//   answer        {model, strategy, sampling, text, finish, note, thumb}
//
// `chosen` is the answer with which the conversation goes on. `finish` is null while an answer is being written, then
// eos, length or stop as in a Response record, "stopped" by the reader, or "failed". `blind` hides who wrote what until
// a verdict is given: {id, ranking}, kept on the server.

export const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const TITLE = 60;  // characters

// A name at random; randomUUID is kept from pages that come without TLS.
const fresh = () =>
  [...crypto.getRandomValues(new Uint8Array(12))].map(byte => byte.toString(16).padStart(2, "0")).join("");

export const newConversation = (system = "") => ({id: fresh(), title: "", system, turns: []});

export const newTurn = (question, images, answers, blind) =>
  ({question, images, answers, chosen: 0, blind, ranks: {}, verdict: null});

export const newAnswer = (model, strategy, sampling) =>
  ({model, strategy, sampling, text: "", finish: null, note: "", thumb: null});

export const titleOf = question => {
  const line = question.trim().split("\n")[0];
  return line.length > TITLE ? `${line.slice(0, TITLE)}…` : line;
};

export const whole = answer => ["eos", "length", "stop"].includes(answer.finish);
export const busy = turn => turn.answers.some(answer => answer.finish === null);
export const lastTurn = conversation => conversation.turns[conversation.turns.length - 1];

const content = turn => turn.images.length
  ? [...turn.images.map(url => ({type: "image_url", image_url: {url}})), {type: "text", text: turn.question}]
  : turn.question;

// The messages that wait for an answer to turn `place`. What got no answer is left out.
export function messagesTo(conversation, place) {
  const before = conversation.turns.slice(0, place).filter(turn => turn.answers[turn.chosen].finish !== "failed");
  const said = before.flatMap(turn => [{role: "user", content: content(turn)},
                                       {role: "assistant", content: turn.answers[turn.chosen].text}]);
  const system = conversation.system.trim() ? [{role: "system", content: conversation.system.trim()}] : [];
  return [...system, ...said, {role: "user", content: content(conversation.turns[place])}];
}

// The same with pictures that show nothing: where only the tokens of a conversation are counted.
export const withoutPictures = messages => messages.map(message => typeof message.content === "string" ? message
  : {...message, content: message.content.map(part => part.type === "image_url" ? {...part, image_url: {url: "data:image/png;base64,"}} : part)});

// ---- opinions

// Which answers can be ranked: at least two that are whole and do not all say the same.
export function rankable(turn) {
  return turn.answers.length > 1 && turn.answers.every(whole) && new Set(turn.answers.map(one => one.text)).size > 1;
}

export const alike = turn => turn.answers.length > 1 && turn.answers.every(whole) && !rankable(turn);

// Whether nobody may know yet who wrote what.
export const unnamed = turn => turn.blind && !turn.verdict && !alike(turn);

// Groups of answers, the best first; null while one has no rank.
export function groups(turn) {
  const ranks = turn.answers.map((_, index) => turn.ranks[index]);
  if (ranks.some(rank => !rank)) return null;
  const levels = [...new Set(ranks)].sort((a, b) => a - b);
  return levels.map(rank => ranks.flatMap((one, index) => one === rank ? [index] : []));
}

export const spoken = ranking =>
  ranking.map(group => group.map(index => LETTERS[index]).join(" = ")).join(" > ");

// An answer as the server is told of it.
export const told = answer =>
  ({text: answer.text, finish: answer.finish, model: answer.model, sampling: answer.sampling});

// ---- out of the page

// The messages of the whole conversation, answers included.
export function messagesOf(conversation) {
  const last = conversation.turns.length - 1, turn = conversation.turns[last], answer = turn.answers[turn.chosen];
  return answer.finish === "failed" ? messagesTo(conversation, last).slice(0, -1)
    : [...messagesTo(conversation, last), {role: "assistant", content: answer.text}];
}

export const asRecord = conversation =>
  JSON.stringify({id: `chat/${conversation.id}`, messages: messagesOf(conversation), source: "chat"}) + "\n";

const plain = content => typeof content === "string" ? content
  : content.map(part => part.type === "text" ? part.text : `![](${part.image_url.url})`).join("\n\n");

export const asMarkdown = (conversation, names) => [`# ${conversation.title}`,
  ...messagesOf(conversation).map(({role, content}) => `## ${names[role]}\n\n${plain(content)}`)].join("\n\n") + "\n";

export const asJson = conversation => JSON.stringify(conversation, null, 1) + "\n";

// A conversation as it is after its page was closed: nobody writes any longer.
export function reopened(conversation) {
  for (const answer of conversation.turns.flatMap(turn => turn.answers)) answer.finish ??= "stopped";
  return conversation;
}
