// Maps as pixels: the colour scale, the small maps, and the large one with its axes.

const AXIS_NAME = 18; // CSS pixels, as all sizes here
const LABELLED_CELL = 11; // from this size on every character has its label
const TICK_ROOM = 34;
const STEPS = [5, 10, 20, 25, 50, 100, 200, 500];

let colours; // read from the style sheet, which knows whether the page is light, dark or printed

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  const stops = read("--ramp").split(",").map(rgb);
  colours = {
    ramp: Array.from({ length: 256 }, (_, level) => between(stops, level / 255)),
    future: rgb(read("--future")),
    ink: read("--ink"),
    muted: read("--muted"),
    ring: read("--ring"),
    panel: read("--panel"),
    font: read("--mono"),
  };
}

function rgb(hex) {
  const value = parseInt(hex.trim().slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function between(stops, share) {
  const at = share * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  return stops[i].map((low, channel) => Math.round(low + (stops[i + 1][channel] - low) * (at - i)));
}

// Of a weight on a square-root scale, since most are small; with `full` of its share of that on a linear one.
function colourOf(weight, full) {
  const share = full ? weight / full : Math.sqrt(weight);
  return colours.ramp[Math.round(255 * Math.min(share, 1))];
}

// Black or white, whichever contrasts more with a background: at least 4.58 to 1 (relative luminance as in WCAG 2.2).
function readableOn(background) {
  const [r, g, b] = background.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

// One pixel a weight, query down and key across. `scale`, where there is one, has the weight that is full colour for
// each query, or for each key if `incoming`.
function paint(canvas, weights, scale, incoming) {
  canvas.width = canvas.height = length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(length, length);
  for (let i = 0; i < weights.length; i++) {
    const [query, key] = [Math.floor(i / length), i % length];
    const full = scale && scale[incoming ? key : query];
    image.data.set(key > query ? colours.future : colourOf(weights[i], full), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// Where the large map lies in its canvas: its corner, the side of a cell, and how many characters share a label.
function mapLayout(width) {
  const ratio = window.devicePixelRatio || 1;
  const place = (left, top, right) => {
    const cell = ((width - left - right) * ratio) / length; // device pixels; whole ones where that costs little
    return { left, top, right, cell: Math.min(cell >= 6 ? Math.floor(cell) / ratio : cell / ratio, 48) };
  };
  const close = place(AXIS_NAME + 26, 2, 2);
  if (close.cell >= LABELLED_CELL) return { ...close, every: 1, below: 24 };
  const sparse = place(AXIS_NAME + 46, 8, 10);
  return { ...sparse, every: STEPS.find((step) => step * sparse.cell >= TICK_ROOM) ?? 1000, below: 40 };
}

// Draws `picture`, a canvas from `paint`, with axes, and with the row or column of `subject` outlined.
function drawMap(canvas, picture, layout, subject, incoming) {
  const ratio = window.devicePixelRatio || 1;
  const side = layout.cell * length;
  const [width, height] = [layout.left + side + layout.right, layout.top + side + layout.below + AXIS_NAME];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = layout.cell * ratio < 1;
  context.drawImage(picture, layout.left, layout.top, side, side);
  drawLabels(context, layout, side, subject, incoming);
  drawAxisNames(context, layout, side);
  outline(context, layout, subject, incoming);
}

function outline(context, { left, top, cell }, subject, incoming) {
  const [along, across] = [subject * cell, incoming ? (length - subject) * cell : (subject + 1) * cell];
  const box = incoming ? [left + along, top + along, cell, across] : [left, top + along, across, cell];
  // The ring on a wider line of the background's colour: it has to stand out from every colour of the scale.
  for (const [colour, width] of [[colours.panel, 4], [colours.ring, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(box[0] - 1, box[1] - 1, box[2] + 2, box[3] + 2);
  }
}

function drawLabels(context, { left, top, cell, every }, side, subject, incoming) {
  const size = every > 1 ? 11 : Math.min(14, Math.max(10, cell * 0.75));
  const clear = every > 1 ? Math.ceil(TICK_ROOM / cell / 2) : 0; // around the subject's own label
  for (let i = 0; i < length; i++) {
    for (const down of [true, false]) {
      const own = i === subject && down !== incoming;
      const hidden = down !== incoming && !own && Math.abs(i - subject) <= clear && every > 1;
      if (!own && (i % every || hidden)) continue;
      context.font = `${own ? "bold " : ""}${size}px ${colours.font}`;
      context.fillStyle = own ? colours.ring : colours.muted;
      const middle = (i + 0.5) * cell;
      const label = shown(characters[i]);
      if (down) {
        context.textAlign = "right";
        context.textBaseline = "middle";
        context.fillText(every > 1 ? `${i} ${label}` : label, left - 6, top + middle, left - AXIS_NAME - 6);
      } else {
        context.textAlign = "center";
        context.textBaseline = "top";
        const room = every > 1 ? TICK_ROOM : cell;
        context.fillText(label, left + middle, top + side + 7, room);
        if (every > 1) context.fillText(String(i), left + middle, top + side + 22, room);
      }
    }
  }
}

function drawAxisNames(context, { left, top, below }, side) {
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.fillStyle = colours.muted;
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillText("key: the character looked at", left + side / 2, top + side + below + AXIS_NAME - 2, side);
  context.save();
  context.translate(0, top + side / 2);
  context.rotate(-Math.PI / 2);
  context.textBaseline = "top";
  context.fillText("query: the character that looks", 0, 1, side);
  context.restore();
}
