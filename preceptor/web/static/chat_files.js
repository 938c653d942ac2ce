// Conversations that are kept: the list of them, deleting, and taking one out of the page.

import * as kept from "./chat_kept.js";
import {id, open, page, say, t} from "./chat_page.js";
import {asJson, asMarkdown, asRecord, lastTurn, newConversation, reopened} from "./chat_state.js";
import {make} from "./make.js";

export function showList() {
  const found = kept.all();
  const when = new Intl.DateTimeFormat(document.documentElement.lang, {dateStyle: "medium", timeStyle: "short"});
  id("nothing").hidden = found.length > 0;
  id("conversations").replaceChildren(...found.map(one => {
    const here = one.id === page.conversation.id;
    return make("li", {class: here ? "open" : null},
      make("button", {type: "button", class: "title", "data-open": one.id, "aria-current": here ? "true" : null}, one.title,
        make("small", {}, when.format(one.touched))),
      make("button", {type: "button", class: "quiet", "data-delete": one.id, "aria-label": `${t("delete")}: ${one.title}`}, t("delete")));
  }));
  id("list").showModal();
}

export function reopen(which) {
  id("list").close();
  if (which !== page.conversation.id) open(reopened(kept.load(which)));
}

export function remove(which) {
  const here = which === page.conversation.id;
  if (here) open(newConversation());
  const gone = kept.forget(which);
  id("list").close();
  say(t("deleted"), () => { kept.restore(gone); if (here) open(reopened(gone)); }, t("undo"));
}

const FORMS = {markdown: ["md", "text/markdown", asMarkdown], record: ["jsonl", "application/jsonl", asRecord],
               all: ["json", "application/json", asJson]};

export function save(form) {
  const {conversation} = page, turn = lastTurn(conversation), [ending, kind, write] = FORMS[form];
  const names = {system: t("setting_model"), user: t("you"), assistant: turn.answers[turn.chosen].model};
  const url = URL.createObjectURL(new Blob([write(conversation, names)], {type: kind}));
  const name = conversation.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "conversation";
  make("a", {href: url, download: `${name}.${ending}`}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  id("export").close();
}
