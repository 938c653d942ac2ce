// Images of the question in the box: chosen, pasted or dropped, shown small, and taken out again.

import {drawComposer, id, page, say, t} from "./chat_page.js";

const LARGEST = 768;  // pixels of the longer side: no more than a model looks at
const QUALITY = 0.85;
const MOST = 8;       // images of a conversation, as the API has it

const sees = () => page.models.some(model => model.sees);
const asked = () => page.conversation.turns.reduce((sum, turn) => sum + turn.images.length, 0);

export async function attach(files) {
  for (const file of files) {
    if (asked() + page.images.length >= MOST) { say(t("most_images", {most: MOST})); break; }
    try { page.images.push(await asPart(file)); } catch { say(t("image_unreadable")); }
  }
  drawComposer();
  id("question").focus();
}

export function takeOut(place) {
  page.images.splice(place, 1);
  drawComposer();
  (id("pictures").children[Math.min(place, page.images.length - 1)] || id("question")).focus();
}

// A file as a data: URL of JPEG; on white, where it was transparent. Rejects what is no image.
async function asPart(file) {
  const image = await createImageBitmap(file);
  const scale = Math.min(1, LARGEST / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.max(1, Math.round(image.width * scale)), Math.max(1, Math.round(image.height * scale))];
  const drawing = canvas.getContext("2d");
  drawing.fillStyle = "white";
  drawing.fillRect(0, 0, canvas.width, canvas.height);
  drawing.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", QUALITY);
}

// ---- ways in and out

const holdsFiles = event => sees() && [...event.dataTransfer.types].includes("Files");
const over = on => id("composer").classList.toggle("over", on);

id("file").addEventListener("change", event => { attach([...event.target.files]); event.target.value = ""; });
id("question").addEventListener("paste", event => {
  const found = [...event.clipboardData.files].filter(file => file.type.startsWith("image/"));
  if (found.length && sees()) { event.preventDefault(); attach(found); }
});
document.addEventListener("dragover", event => { if (holdsFiles(event)) { event.preventDefault(); over(true); } });
document.addEventListener("dragleave", event => { if (!event.relatedTarget) over(false); });
document.addEventListener("drop", event => {
  over(false);
  if (holdsFiles(event)) { event.preventDefault(); attach([...event.dataTransfer.files]); }
});
id("pictures").addEventListener("keydown", event => {
  if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); takeOut(Number(event.target.dataset.picture)); }
});
