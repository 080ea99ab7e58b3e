// The elements that the page's data call for: the text's characters, and the grid of small maps.

const $ = (id) => document.getElementById(id);
const columns = data.heads > 1 ? [...Array(data.heads).keys(), MEAN] : [0]; // the mean of one head is that head
const cells = []; // the text's elements
const thumbnails = []; // [layer][column]

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function buildText() {
  let line, word;
  characters.forEach((character, position) => {
    if (!line) $("text").append((line = element("div", { class: "line", role: "presentation" })));
    if (!word) line.append((word = element("span", { class: "word", role: "presentation" })));
    const attributes = { class: "character", role: "option", "aria-label": said(position), "data-position": position };
    const cell = element("span", attributes, shown(character));
    cell.classList.toggle("mark", shown(character) !== character);
    word.append(cell);
    cells.push(cell);
    if (/\s/.test(character)) word = null;
    if (character === "\n") line = word = null;
  });
}

// `choose` gets the head whose small map is clicked.
function buildGrid(choose) {
  const names = columns.map((head) => (head === MEAN ? "mean" : String(head + 1)));
  const corner = element("div", { role: "columnheader" }, element("span", { class: "unseen" }, "layer"));
  const header = columns.map((head, i) => {
    const label = head === MEAN ? "mean over heads" : `head ${names[i]}`;
    return element("div", { role: "columnheader", "aria-label": label }, names[i]);
  });
  $("grid").append(element("div", { role: "row" }, corner, ...header));
  for (let layer = 0; layer < data.layers; layer++) {
    const row = columns.map((head) => {
      const name = [headLabel(layer, head), headName(layer, head)].filter(Boolean).join(", ");
      const cell = element("div", { role: "gridcell", "aria-label": name, title: name }, element("canvas"));
      cell.addEventListener("click", () => choose({ layer, head }));
      return cell;
    });
    const label = element("div", { role: "rowheader", "aria-label": `layer ${layer + 1}` }, String(layer + 1));
    $("grid").append(element("div", { role: "row" }, label, ...row));
    thumbnails.push(row);
    $("layer").append(element("option", { value: layer }, String(layer + 1)));
  }
  $("grid").style.setProperty("--columns", columns.length);
  $("head").append(...columns.map((head) => element("option", { value: head })));
}
