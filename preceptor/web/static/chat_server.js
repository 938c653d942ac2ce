// What the page asks the server: JSON calls, answers as they are written, and Markdown.

const KEY = "preceptor/chat-key";
let askForKey = async () => null, asking = null;

// Who is asked for a key when the server wants one: a function from "was the last one wrong?" to the key, or null.
export const keysFrom = ask => { askForKey = ask; };

export class Refused extends Error {}

async function send(path, {method = "POST", body, signal} = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = {...(body ? {"Content-Type": "application/json"} : {}), ...(key ? {Authorization: `Bearer ${key}`} : {})};
    const answer = await fetch(path, {method, headers, body: body && JSON.stringify(body), signal});
    if (answer.ok) return answer;
    if (answer.status !== 401) throw new Refused(await reason(answer));
    if (sessionStorage.getItem(KEY) !== key) continue;  // another call was given one meanwhile
    asking ??= askForKey(key !== null).finally(() => { asking = null; });
    const given = await asking;
    if (given === null) throw new Refused(await reason(answer));
    sessionStorage.setItem(KEY, given);
  }
}

async function reason(answer) {
  const said = await answer.json().catch(() => ({}));
  return said.error?.message || said.detail || said.cause || said.reason || String(answer.status);
}

export const get = async path => (await send(path, {method: "GET"})).json();
export const post = async (path, body = {}) => (await send(path, {body})).json();

// The answer to messages as it is written: yields {text} pieces, then {finish}.
export async function* stream(model, messages, sampling, signal) {
  const answer = await send("/v1/chat/completions", {body: {model, messages, stream: true, ...sampling}, signal});
  let finish = null;
  for await (const line of lines(answer.body)) {
    if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
    const chunk = JSON.parse(line.slice(6));
    if (chunk.error) throw new Refused(chunk.error.message);
    const [choice] = chunk.choices;
    if (choice?.delta?.content) yield {text: choice.delta.content};
    if (choice?.finish_reason) finish = choice.finish_reason === "length" ? "length" : choice.stop_reason ? "stop" : "eos";
  }
  if (finish === null) throw new Refused("");  // the connection broke: half an answer is none
  yield {finish};
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

// ---- Markdown, by the server's one renderer. Texts that wait go together; between two calls new words stand as plain text.

const PAUSE = 200;  // milliseconds between calls
const MOST = 32;    // texts of a call
const rendered = new Map(), waiting = new Map();
let running = false;

export function showText(place, text) {
  place.wanted = text;
  if (rendered.has(text)) return put(place, text);
  if (place.shown !== undefined && text.startsWith(place.shown)) tail(place, text.slice(place.shown.length));
  else if (place.shown === undefined) { place.textContent = text; place.classList.add("plain"); }
  waiting.set(place, text);
  if (!running) render();
}

function put(place, text) {
  place.innerHTML = rendered.get(text);  // HTML of the server's, in which every tag of the text is escaped
  place.shown = text;
  place.classList.remove("plain");
}

function tail(place, text) {
  place.querySelector(".tail")?.remove();
  if (!text) return;
  const span = document.createElement("span");
  span.className = "tail";
  span.textContent = text;
  (place.lastElementChild?.matches("p") ? place.lastElementChild : place).append(span);
}

async function render() {
  running = true;
  while (waiting.size) {
    const batch = [...waiting].slice(0, MOST);
    for (const [place] of batch) waiting.delete(place);
    try {
      const {html} = await post("/api/chat/markdown", {texts: batch.map(([, text]) => text)});
      batch.forEach(([place, text], number) => {
        rendered.set(text, html[number]);
        if (place.wanted.startsWith(text)) { put(place, text); tail(place, place.wanted.slice(text.length)); }
        if (place.wanted !== text) rendered.delete(text);  // an unfinished one is not asked for again
      });
    } catch { /* it stays plain text; the next piece tries again */ }
    await new Promise(later => setTimeout(later, PAUSE));
  }
  running = false;
}
