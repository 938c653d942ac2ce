// An image as it goes into a question: no larger than a model looks at, and held by the message itself.

const LARGEST = 768;  // pixels of the longer side
const QUALITY = 0.85;

// A file as a data: URL of JPEG; on white, where it was transparent. Rejects what is no image.
export async function asPart(file) {
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
