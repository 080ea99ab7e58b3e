// How characters, weights and heads are written, and how they are said to someone who does not see the page.

const MARKS = { " ": "␣", "\n": "\\n", "\t": "\\t", "\r": "\\r" };
const SPOKEN = {
  " ": "space", "\n": "newline", "\t": "tab", "\r": "carriage return", ".": "full stop", ",": "comma",
  ";": "semicolon", ":": "colon", "!": "exclamation mark", "?": "question mark", "'": "apostrophe", "-": "hyphen",
  '"': "quotation mark", "(": "opening bracket", ")": "closing bracket",
};

// What can be seen of a character: what leaves no ink of its own is its code point, as U+00AD.
function shown(character) {
  if (character in MARKS) return MARKS[character];
  if (/^[\p{C}\p{Z}]/u.test(character)) return codePoint(character);
  return /^\p{M}/u.test(character) ? `◌${character}` : character;
}

function codePoint(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

function said(position) {
  const character = characters[position];
  const name = SPOKEN[character] ?? (/^\p{Lu}/u.test(character) ? `capital ${character}` : shown(character));
  return `${name} at ${position}`;
}

function quoted(position) {
  return `‘${shown(characters[position])}’ at ${position}`;
}

// As many digits as the stored weights are good for.
function number(weight) {
  if (weight === 0) return "0";
  if (weight < 0.001) return "<0.001";
  return weight.toFixed(weight < 0.1 ? 3 : 2);
}

function headLabel(layer, head) {
  return `Layer ${layer + 1} ${head === MEAN ? "mean over heads" : `head ${head + 1}`}`;
}

function headName(layer, head) {
  return head === MEAN ? "" : data.names[layer][head];
}

function score(value) {
  return value === null ? "not measured" : Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(1);
}
