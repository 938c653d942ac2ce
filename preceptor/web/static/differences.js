// Marks, in every other answer, the words that are not in the chosen one: those outside a longest common subsequence.

const LONGEST = 1200; // words compared of each answer: the table has the square of this
const WORD = /[\u3400-\u9fff]|[\p{L}\p{N}_]+/gu;

function words(root) {
  const found = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (const match of node.data.matchAll(WORD))
      found.push({node, start: match.index, end: match.index + match[0].length, word: match[0].toLowerCase()});
  return found.slice(0, LONGEST);
}

function outside(mine, theirs) {
  const width = theirs.length + 1, table = new Uint16Array((mine.length + 1) * width);
  for (let i = mine.length - 1; i >= 0; i--)
    for (let j = theirs.length - 1; j >= 0; j--)
      table[i * width + j] = mine[i].word === theirs[j].word ? table[(i + 1) * width + j + 1] + 1
        : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
  const alone = [];
  for (let i = 0, j = 0; i < mine.length;) {
    if (j < theirs.length && mine[i].word === theirs[j].word) { i++; j++; }
    else if (j < theirs.length && table[i * width + j + 1] >= table[(i + 1) * width + j]) j++;
    else alone.push(mine[i++]);
  }
  return alone;
}

export function unmark(root) {
  for (const mark of root.querySelectorAll("mark")) mark.replaceWith(...mark.childNodes);
  root.normalize();
}

export function mark(root, chosen) {
  unmark(root);
  if (root === chosen) return;
  const alone = outside(words(root), words(chosen));
  for (const {node, start, end} of alone.reverse()) { // from the end, so that earlier places stay where they are
    const range = document.createRange();
    range.setStart(node, start);
    range.setEnd(node, end);
    range.surroundContents(document.createElement("mark"));
  }
}
