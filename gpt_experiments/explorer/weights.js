// The page's data: the text, and each head's weights as numbers again.

const data = JSON.parse(document.getElementById("data").textContent);
const characters = Array.from(data.text); // by code points, as the tokenizer counts
const length = characters.length;
const MEAN = data.heads; // in the place of a head's number: the mean over the layer's heads

const packed = Uint8Array.from(atob(data.weights), (byte) => byte.charCodeAt(0));
const triangle = (length * (length + 1)) / 2;
const known = new Map();

// A head's weights, [query * length + key], as a Float32Array; the future is 0.
function headWeights(layer, head) {
  const name = `${layer} ${head}`;
  if (!known.has(name)) known.set(name, head === MEAN ? meanWeights(layer) : unpack(layer * data.heads + head));
  return known.get(name);
}

function unpack(map) {
  const weights = new Float32Array(length * length);
  let at = map * triangle;
  for (let query = 0; query < length; query++) {
    for (let key = 0; key <= query; key++) weights[query * length + key] = (packed[at++] / 255) ** 2;
  }
  return weights;
}

function meanWeights(layer) {
  const mean = new Float32Array(length * length);
  for (let head = 0; head < data.heads; head++) {
    headWeights(layer, head).forEach((weight, i) => (mean[i] += weight / data.heads));
  }
  return mean;
}

// What `subject` looks at, or, if `incoming`, what looks at it: [{position, weight}] in the order of the text.
function partners(weights, subject, incoming) {
  const found = [];
  const [first, last] = incoming ? [subject, length - 1] : [0, subject];
  for (let position = first; position <= last; position++) {
    const [query, key] = incoming ? [position, subject] : [subject, position];
    found.push({ position, weight: weights[query * length + key] });
  }
  return found;
}

// For each query, or each key if `incoming`, the largest of its weights.
function largest(weights, incoming) {
  const most = new Float32Array(length);
  weights.forEach((weight, i) => {
    const subject = incoming ? i % length : Math.floor(i / length);
    if (weight > most[subject]) most[subject] = weight;
  });
  return most;
}

function strongest(found, count) {
  return [...found].sort((a, b) => b.weight - a.weight || a.position - b.position).slice(0, count);
}
