// What stays in this browser: conversations one by one, how answers are written, and what is in the box.

const CONVERSATION = "preceptor/chat/", SETTINGS = "preceptor/chat-settings", DRAFT = "preceptor/chat-draft";
const OPEN = "preceptor/chat-open";  // of this tab

const read = (store, key) => {
  try { return JSON.parse(store.getItem(key)); } catch { return null; }
};

// Whether there was room for it.
function write(store, key, text) {
  try { store.setItem(key, text); return true; } catch { return false; }
}

export const restore = conversation => write(localStorage, CONVERSATION + conversation.id, JSON.stringify(conversation));
export const keep = conversation => restore({...conversation, touched: Date.now()});
export const keepIfThere = conversation => load(conversation.id) && keep(conversation);  // deleted, it stays deleted
export const load = id => read(localStorage, CONVERSATION + id);
export const opened = () => load(sessionStorage.getItem(OPEN) || "");
export const open = id => write(sessionStorage, OPEN, id);

export function forget(id) {
  const before = load(id);
  localStorage.removeItem(CONVERSATION + id);
  return before;
}

// The last touched first.
export function all() {
  const found = [];
  for (let place = 0; place < localStorage.length; place++) {
    const key = localStorage.key(place);
    if (key.startsWith(CONVERSATION)) found.push(read(localStorage, key));
  }
  return found.filter(one => one?.turns?.length).sort((a, b) => b.touched - a.touched);
}

export const settings = () => read(localStorage, SETTINGS) || {};
export const keepSettings = value => write(localStorage, SETTINGS, JSON.stringify(value));
export const draft = () => sessionStorage.getItem(DRAFT) || "";
export const keepDraft = text => write(sessionStorage, DRAFT, text);
