// The six parts are joined in this order into one module of the page.

const $ = (id) => document.getElementById(id);

// What is inside the page.

async function unpacked(id) {
  const bytes = Uint8Array.from(atob($(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = false;
}

window.addEventListener("error", (event) => notice(`This page could not be drawn: ${event.message}`));
window.addEventListener("unhandledrejection", (event) => notice(`This page could not be drawn: ${event.reason.message || event.reason}`));
if (!window.DecompressionStream) throw new Error("it needs a browser of 2023 or later.");
const D = JSON.parse(await unpacked("data"));
const library = document.createElement("script");
library.textContent = await unpacked("library");
document.head.append(library);

const N = D.design.length;
const columns = D.columns;
const byName = new Map(columns.map((c) => [c.name, c]));
const inFront = new Uint8Array(N);
D.front.forEach((row) => { inFront[row] = 1; });
columns.push({ name: "\u0000front", words: "front", unit: "", kind: "metric", levels: ["off the front", "front"],
  codes: Array.from(inFront), choices: true });
byName.set("\u0000front", columns[columns.length - 1]);
// orders the table until a column is asked for
const leading = byName.get(D.first);
const status = { name: "\u0000status", words: "status", unit: "", kind: "status", levels: D.status.levels, codes: D.status.codes, choices: true };
const webgl = !!document.createElement("canvas").getContext("webgl");
const ok = D.status.levels.indexOf("ok");

// Numbers and words.

const PREFIXES = ["p", "n", "µ", "m", "", "k", "M", "G", "T", "P"];
function si(value, column) {
  if (value === null || value === undefined) return "–";
  if (!column.prefix || value === 0 || (!column.unit && Math.abs(value) < 1e5)) return `${Number(value.toPrecision(4))} ${column.unit}`.trim();
  const size = Math.abs(value);
  if (size >= 1 && size < 1000) return `${Number(value.toPrecision(4))} ${column.unit}`.trim();
  const step = Math.min(Math.max(Math.floor(Math.log10(size) / 3 + 1e-9), -4), 5);
  return `${Number((value / 1000 ** step).toPrecision(4))} ${PREFIXES[step + 4]}${column.unit}`.trim();
}
// cut in the middle, where names say least
const shortened = (words, width) => (words.length <= width ? words : `${words.slice(0, Math.floor(width / 3))}…${words.slice(words.length - width + Math.floor(width / 3) + 1)}`);
const text = (column, row) => (column.levels ? column.levels[column.codes[row]] : si(column.values[row], column));
// plotly reads a few tags in its labels
const plain = (words) => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const titled = (c) => (c.unit ? `${c.words} [${c.unit}]` : c.words);

function element(tag, words, attributes) {
  const made = document.createElement(tag);
  if (words !== undefined) made.textContent = words;
  Object.assign(made, attributes || {});
  return made;
}

// State.

const state = { x: D.begin.x, y: D.begin.y, colour: D.begin.colour, xlog: false, ylog: false, box: null,
  selections: [], sort: null, down: false, page: 0, pinned: -1, filters: new Map() };
// a filter is {set} of the codes that pass, or {low, high}; absent where all pass
if (D.status.levels.length > 1 && ok >= 0) state.filters.set(status, { set: new Set([ok]) });
let shown = [];

const isNumberLine = (c) => !c.levels;
function passes(column, filter, row) {
  if (filter.set) return filter.set.has(column.codes[row]);
  const value = column.values[row];
  return value !== null && value >= filter.low && value <= filter.high;
}

// places on the scatter: levels stand at even steps, spread a little so that designs do not hide each other
const spread = Float64Array.from({ length: N }, (_, i) => ((i * 0.6180339887 + 0.37) % 1) - 0.5);
const spread2 = Float64Array.from({ length: N }, (_, i) => ((i * 0.7548776662 + 0.11) % 1) - 0.5);
function placesOf(column, noise) {
  if (!column.levels) {
    const { divisor } = scaleOf(column);
    return column.values.map((v) => (v === null ? null : v / divisor));
  }
  return column.codes.map((code, row) => code + noise[row] * 0.55);
}
const places = new Map();
function placed(name, which) {
  const key = which + name;
  if (!places.has(key)) places.set(key, placesOf(byName.get(name), which === "x" ? spread : spread2));
  return places.get(key);
}

function inBox(row) {
  const b = state.box;
  const x = placed(state.x, "x")[row], y = placed(state.y, "y")[row];
  return x !== null && y !== null && x >= b.x0 && x <= b.x1 && y >= b.y0 && y <= b.y1;
}

function compute() {
  const filters = [...state.filters];
  shown = [];
  for (let row = 0; row < N; row++) {
    let good = true;
    for (const [column, filter] of filters) if (!passes(column, filter, row)) { good = false; break; }
    if (good && (!state.box || inBox(row))) shown.push(row);
  }
  const by = state.sort || leading;
  const of = by.values || by.codes || by.texts;
  const sign = (state.sort ? state.down : by.direction === "max") ? -1 : 1;
  shown.sort((a, b) => {
    if (!state.sort && inFront[a] !== inFront[b]) return inFront[b] - inFront[a];
    const p = of[a], q = of[b];
    if (p === q) return a - b;
    if (p === null) return 1;
    if (q === null) return -1;
    return p < q ? -sign : sign;
  });
}
