// What the person has chosen, what that shows, and every way to choose something else.

const TOP = 5;
const SETTLED = 150; // milliseconds after which a choice is announced: not every character on the way is

// `pinned` was clicked or reached by keys, `hovered` lies under the pointer now, and comes first.
const state = { layer: 0, head: 0, incoming: false, relative: false, pinned: length - 1, hovered: null };
const picture = document.createElement("canvas");
let announcement;
let pointer = {}; // where it was last

const subject = () => state.hovered ?? state.pinned;

// --- what is shown ---------------------------------------------------------------------------------------------

function showAll() {
  readColours();
  thumbnails.forEach((row, layer) =>
    row.forEach((cell, i) => paintHead(cell.firstChild, layer, columns[i])),
  );
  showScale();
  showHead();
}

function showScale() {
  $("scale-name").textContent = state.relative
    ? "Share of the character’s strongest weight (linear scale)"
    : "Attention weight (square-root scale)";
  const ticks = state.relative ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.05, 0.25, 0.5, 1];
  $("ticks").replaceChildren(
    ...ticks.map((tick) => {
      const mark = element("span", {}, String(tick));
      mark.style.left = `${100 * (state.relative ? tick : Math.sqrt(tick))}%`;
      return mark;
    }),
  );
}

function paintHead(canvas, layer, head) {
  const weights = headWeights(layer, head);
  paint(canvas, weights, state.relative ? largest(weights, state.incoming) : null, state.incoming);
}

function showHead() {
  const { layer, head } = state;
  $("layer").value = layer;
  $("head").value = head;
  [...$("head").options].forEach((option, i) => (option.textContent = headOption(columns[i])));
  thumbnails.forEach((row, l) =>
    row.forEach((cell, i) => {
      const chosen = l === layer && columns[i] === head;
      cell.setAttribute("aria-selected", chosen);
      cell.tabIndex = chosen ? 0 : -1;
    }),
  );
  $("head-label").textContent = headLabel(layer, head);
  $("head-name").textContent = headName(layer, head);
  showScores();
  paintHead(picture, layer, head);
  showSubject();
}

function headOption(head) {
  if (head === MEAN) return "mean over heads";
  const name = headName(state.layer, head);
  return name ? `${head + 1}: ${name}` : `${head + 1}`;
}

function showScores() {
  const measured = data.scores.length > 0 && state.head !== MEAN;
  $("scores").hidden = $("scores-note").hidden = !measured;
  $("no-scores").hidden = measured || !data.scores.length;
  if (!measured) return;
  $("scores").replaceChildren(
    ...data.scores.map(({ name, values }) => {
      const value = values[state.layer][state.head];
      const highest = Math.max(...values.flat().map((other) => other ?? 0));
      return entry(element("dt", {}, name), element("dd", {}, score(value)), highest ? (value ?? 0) / highest : 0);
    }),
  );
}

// A row with a bar, whose length is a share from 0 to 1.
function entry(name, value, share, tag = "div") {
  const bar = element("span", { class: "share", "aria-hidden": "true" }, element("span"));
  bar.firstChild.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return element(tag, { class: "entry" }, name, bar, value);
}

function showSubject() {
  const found = partners(headWeights(state.layer, state.head), subject(), state.incoming);
  const top = strongest(found, TOP);
  const full = state.relative ? top[0].weight : 0; // 0: the weights themselves are shown
  shade(found, full);
  const verb = state.incoming ? "is looked at by" : "looks at";
  $("subject").replaceChildren(element("strong", {}, quoted(subject())), ` ${verb}`);
  $("top").replaceChildren(
    ...top.map(({ position, weight }) => {
      const value = element("span", { class: "number" }, number(weight));
      return entry(element("span", {}, quoted(position)), value, full ? weight / full : weight, "li");
    }),
  );
  const layout = mapLayout($("map-frame").clientWidth);
  drawMap($("map"), picture, layout, subject(), state.incoming);
  const sentence =
    `${headLabel(state.layer, state.head)}: ${said(subject())} ${verb} ` +
    top.map(({ position, weight }) => `${said(position)} ${number(weight)}`).join(", ");
  $("map").setAttribute("aria-label", `Map of ${length} by ${length} weights. ${sentence}`);
  clearTimeout(announcement);
  announcement = setTimeout(() => ($("says").textContent = sentence), SETTLED);
}

function shade(found, full) {
  const weights = new Map(found.map(({ position, weight }) => [position, weight]));
  cells.forEach((cell, position) => {
    const background = colourOf(weights.get(position) ?? 0, full);
    const seen = weights.has(position);
    cell.style.backgroundColor = seen ? `rgb(${background})` : "";
    cell.style.color = seen ? readableOn(background) : "";
    cell.classList.toggle("subject", position === subject());
    cell.setAttribute("aria-selected", position === state.pinned);
    cell.tabIndex = position === state.pinned ? 0 : -1;
  });
}

// --- what can be chosen ----------------------------------------------------------------------------------------

function choose(changes) {
  Object.assign(state, changes);
  if ("relative" in changes || ("incoming" in changes && state.relative)) showAll();
  else if ("layer" in changes || "head" in changes) showHead();
  else showSubject();
}

function pin(position, { focus }) {
  choose({ pinned: position, hovered: null });
  if (focus) cells[position].focus();
}

function hover(position) {
  if (position !== state.hovered) choose({ hovered: position });
}

// Whether a mouse or pen itself has moved: when the page scrolls below it, as for a key, it has chosen nothing.
function moved({ pointerType, screenX, screenY }) {
  const still = pointer.x === screenX && pointer.y === screenY;
  pointer = { x: screenX, y: screenY };
  return pointerType !== "touch" && !still;
}

function turn(incoming) {
  document.querySelector(`[name=direction][value=${incoming ? "incoming" : "outgoing"}]`).checked = true;
  choose({ incoming });
}

function moveHead(down, across) {
  const layer = Math.min(Math.max(state.layer + down, 0), data.layers - 1);
  const column = Math.min(Math.max(columns.indexOf(state.head) + across, 0), columns.length - 1);
  choose({ layer, head: columns[column] });
}

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function onTextKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return; // the browser's own
  const arrow = ARROWS[event.key];
  if (arrow && event.shiftKey) moveHead(...arrow);
  else if (arrow) pin(arrow[0] ? lineAway(arrow[0]) : clamp(state.pinned + arrow[1]), { focus: true });
  else if (event.key === "Home" || event.key === "End") pin(event.key === "Home" ? 0 : length - 1, { focus: true });
  else if (event.key.toLowerCase() === "d") turn(!state.incoming);
  else return;
  event.preventDefault();
}

const clamp = (position) => Math.min(Math.max(position, 0), length - 1);

// The character above or below the pinned one, as the lines are broken on this screen.
function lineAway(down) {
  const place = (cell) => cell.getBoundingClientRect();
  const own = place(cells[state.pinned]);
  let [best, least] = [state.pinned, Infinity];
  cells.forEach((cell, position) => {
    const { left, top } = place(cell);
    const lines = (down * (top - own.top)) / own.height;
    const distance = lines * 1e4 + Math.abs(left - own.left); // the next line first, within it the nearest
    if (lines > 0.5 && distance < least) [best, least] = [position, distance];
  });
  return best;
}

function onGridKey(event) {
  const arrow = ARROWS[event.key];
  if (!arrow || event.ctrlKey || event.altKey || event.metaKey) return;
  moveHead(...arrow);
  thumbnails[state.layer][columns.indexOf(state.head)].focus();
  event.preventDefault();
}

// The query and key under the pointer, or nothing beside the map.
function pointedAt(event) {
  const { left, top, cell } = mapLayout($("map-frame").clientWidth);
  const [key, query] = [Math.floor((event.offsetX - left) / cell), Math.floor((event.offsetY - top) / cell)];
  return [key, query].every((i) => i >= 0 && i < length) ? { query, key } : null;
}

function readCell(at) {
  const weight = headWeights(state.layer, state.head)[at.query * length + at.key];
  const value = at.key > at.query ? "the future, which it does not see" : number(weight);
  $("cell").textContent = `${quoted(at.query)} → ${quoted(at.key)}: ${value}`;
}

// --- wiring ----------------------------------------------------------------------------------------------------

function listen() {
  const positionOf = (event) => event.target.closest(".character")?.dataset.position;
  $("text").addEventListener("pointermove", (event) => {
    if (moved(event) && positionOf(event)) hover(Number(positionOf(event)));
  });
  $("text").addEventListener("pointerleave", () => hover(null));
  $("text").addEventListener("click", (event) => positionOf(event) && pin(Number(positionOf(event)), { focus: true }));
  $("text").addEventListener("keydown", onTextKey);
  $("grid").addEventListener("keydown", onGridKey);
  $("layer").addEventListener("change", (event) => choose({ layer: Number(event.target.value) }));
  $("head").addEventListener("change", (event) => choose({ head: Number(event.target.value) }));
  $("direction").addEventListener("change", (event) => turn(event.target.value === "incoming"));
  $("relative").addEventListener("change", (event) => choose({ relative: event.target.checked }));
  $("map").addEventListener("pointermove", (event) => {
    if (!moved(event)) return;
    const at = pointedAt(event);
    hover(at && (state.incoming ? at.key : at.query));
    if (at) readCell(at);
  });
  $("map").addEventListener("pointerleave", () => hover(null));
  $("map").addEventListener("click", (event) => {
    const at = pointedAt(event);
    if (!at) return;
    pin(state.incoming ? at.key : at.query, { focus: false });
    readCell(at);
  });
  new ResizeObserver(() => showSubject()).observe($("map-frame"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showAll);
  const printing = (on) => () => {
    document.documentElement.toggleAttribute("data-printing", on);
    showAll();
  };
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));
}

buildText();
buildGrid(choose);
showAll();
listen();
