// Every number is looked up in the table that came with the page: a row for each combination, the last parameter
// fastest. A combination that cannot be trained has NaN.

const data = JSON.parse(document.getElementById("data").textContent);
const { parameters, columns } = data;
const byId = (id) => document.getElementById(id);

function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Kind(bytes.buffer); // little-endian, as every browser's machine is
}

const table = unpack(data.table, Float32Array);
const sizes = unpack(data.sizes, Float64Array);
const chosen = parameters.map((parameter) => parameter.start);

function rowOf(choice) {
  return choice.reduce((row, index, i) => row * parameters[i].values.length + index, 0);
}

function found(choice) {
  const row = rowOf(choice);
  const numbers = columns.map((name, i) => [name, table[row * columns.length + i]]);
  return { ...Object.fromEntries(numbers), size: sizes[row], beyond: data.why[Number(data.beyond[row])] };
}

function withValue(i, index) {
  return chosen.map((kept, j) => (i === j ? index : kept));
}

function valueOf(name) {
  const i = parameters.findIndex((parameter) => parameter.name === name);
  return i < 0 ? data.fixed[name] : parameters[i].values[chosen[i]];
}

function seconds(value) {
  if (value < 100) return `${value.toPrecision(2)} s`;
  if (value < 6000) return `${(value / 60).toFixed(1)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const labels = parameters.map((parameter, i) => {
  const values = element("div", { className: "values" });
  const shown = parameter.values.map((_, index) => {
    const loss = element("small");
    const input = element("input", { type: "radio", name: parameter.name, value: String(index), checked: index === chosen[i] });
    input.addEventListener("change", () => {
      chosen[i] = index;
      show();
    });
    const face = element("span", { className: parameter.tried[index] ? "" : "between" }, parameter.texts[index], loss);
    values.append(element("label", {}, input, face));
    return loss;
  });
  byId("choice").append(element("fieldset", {}, element("legend", {}, parameter.name), values));
  return shown;
});
byId("choice").addEventListener("submit", (event) => event.preventDefault());

function showInvalid() {
  const heads = valueOf("n_head");
  const width = valueOf("n_embed");
  const named = parameters.find((parameter) => parameter.name === "n_head");
  const fitting = (named ? named.values : [data.fixed.n_head]).filter((value) => width % value === 0);
  const remedy = named && fitting.length ? `choose n_head from ${fitting.join(", ")}` : "choose another n_embed";
  byId("invalid").textContent = `n_embed=${width} is not divisible by n_head=${heads}; ${remedy}.`;
}

const losses = data.finished.map((variant) => variant.loss);
const span = [Math.min(...losses), Math.max(...losses)];
const margin = (span[1] - span[0]) * 0.1;
const across = (loss) => Math.min(596, Math.max(4, 4 + (592 * (loss - span[0] + margin)) / (span[1] - span[0] + 2 * margin)));

function showScale(now) {
  const scale = byId("scale");
  scale.querySelectorAll(":not(title)").forEach((part) => part.remove());
  for (const loss of losses) {
    scale.append(drawn("line", { class: "mark", x1: across(loss), x2: across(loss), y1: 30, y2: 42 }));
  }
  byId("least").textContent = span[0].toFixed(4);
  byId("most").textContent = span[1].toFixed(4);
  scale.append(drawn("line", { class: "span", x1: across(now.low), x2: across(now.high), y1: 16, y2: 16 }));
  scale.append(drawn("rect", { class: "point", x: across(now.loss) - 3, y: 8, width: 6, height: 16 }));
  byId("scale-title").textContent =
    `Predicted ${now.loss.toFixed(4)}, from ${now.low.toFixed(4)} to ${now.high.toFixed(4)}; ` +
    `the finished variants have from ${span[0].toFixed(4)} to ${span[1].toFixed(4)}`;
}

function showNearest() {
  const place = parameters.map((parameter, i) => parameter.places[chosen[i]]);
  const ranked = data.finished
    .map((variant) => ({ variant, away: Math.hypot(...variant.place.map((at, i) => at - place[i])) }))
    .sort((a, b) => a.away - b.away)
    .slice(0, 5);
  byId("near").replaceChildren(
    ...ranked.map(({ variant, away }) => {
      const run = data.runAddress
        ? element("a", { href: data.runAddress + variant.run, target: "_blank", rel: "noopener" }, variant.run)
        : variant.run;
      return element(
        "tr",
        {},
        element("td", { className: "left" }, variant.label + (away < 1e-3 ? " (this one)" : "")),
        element("td", {}, variant.loss.toFixed(4)),
        element("td", {}, String(variant.seeds)),
        element("td", { className: "left run" }, run),
      );
    }),
  );
}

function show() {
  const now = found(chosen);
  const isValid = !Number.isNaN(now.loss);
  for (const id of ["loss", "interval", "scale"]) byId(id).style.display = isValid ? "" : "none";
  byId("invalid").hidden = isValid;
  byId("found").querySelector("dl").hidden = !isValid;
  if (isValid) {
    byId("mean").textContent = now.loss.toFixed(4);
    byId("half").textContent = `± ${(now.high - now.loss).toFixed(4)}`;
    byId("interval").textContent = `A new trial would lie between ${now.low.toFixed(4)} and ${now.high.toFixed(4)} in 95 of 100 cases.`;
    byId("size").textContent = now.size.toLocaleString("en-US");
    byId("time-row").hidden = !data.hasTime;
    byId("time").textContent = `${seconds(now.seconds)} (${seconds(now.seconds_low)} to ${seconds(now.seconds_high)})`;
    showScale(now);
  } else {
    showInvalid();
  }
  byId("beyond").hidden = !isValid || !now.beyond;
  byId("beyond").textContent = now.beyond;
  labels.forEach((shown, i) =>
    shown.forEach((loss, index) => {
      const other = found(withValue(i, index)).loss;
      loss.textContent = Number.isNaN(other) ? "–" : other.toFixed(3);
    }),
  );
  showNearest();
}

show();
