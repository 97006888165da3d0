// Counts the words of a text: a task function in JavaScript.

const WORD = /[a-z]+/g;

export function run(s) {
  const item = JSON.parse(s);
  const words = item.text.toLowerCase().match(WORD) ?? [];
  const longest = words.reduce((best, word) => (word.length > best.length ? word : best), '');
  return JSON.stringify({ id: item.id, words: words.length, longest });
}
