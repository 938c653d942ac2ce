// The examples of a few-shot prompt are shown where they are asked for; without scripts they are always there.
const form = document.getElementById("writing");
const examples = form.querySelector(".examples");

function show() { examples.hidden = form.elements.kind.value !== "few_shot"; }

form.addEventListener("change", show);
show();
