// Parallel coordinates.

const AXES = 14;
const dims = [...columns.filter((c) => c.kind === "parameter").slice(0, AXES - 4), ...columns.filter((c) => c.kind === "objective").slice(0, 4)];
const coordinate = (c) => (c.levels ? c.codes : logged(c) ? c.values.map((v) => (v === null ? null : Math.log10(v))) : c.values);
const along = dims.map(coordinate);
// the library tells ticks of an axis apart by their text: letters without width make each its own
const BLANK = "\u200b";
const apart = (texts) => texts.map((words, i) => words + BLANK.repeat(i));

// a dotted name on two lines, so that neither is cut
const NAME = 24;
const lines = (words) => words.replace(".", ".\n").split("\n").map((line) => shortened(line, NAME));

function constraint(c) {
  const filter = state.filters.get(c);
  if (!filter) return undefined;
  if (filter.set) {
    const ranges = [...filter.set].sort((a, b) => a - b).map((code) => [code - 0.25, code + 0.25]);
    return ranges.length ? ranges : [[-9, -8]];
  }
  const [least, most] = extent(c.values);
  const [low, high] = [Math.max(filter.low, least), Math.min(filter.high, most)];
  return logged(c) ? [Math.log10(low), Math.log10(high)] : [low, high];
}

// as many lines as this machine draws while one waits: software drawing takes seconds for ten thousand
let most = 1000, later = 0;
function thinned(rows) {
  if (rows.length <= most) return rows;
  const front = rows.filter((r) => inFront[r]).slice(0, most);
  const others = rows.filter((r) => !inFront[r]);
  const room = most - front.length;
  return [...Array.from({ length: room }, (_, i) => others[Math.floor((i * others.length) / room)]), ...front];
}
function parallelRows() {
  const rest = [...state.filters].filter(([column]) => !dims.includes(column));
  const rows = [];
  for (let r = 0; r < N; r++) {
    if (along.some((values) => values[r] === null)) continue;
    if (rest.every(([column, filter]) => passes(column, filter, r)) && (!state.box || inBox(r))) rows.push(r);
  }
  return rows;
}

let calibrated = false;
let drawing = false, held = false;
$("parallel").addEventListener("pointerdown", () => { held = true; }, true);
for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => { held = false; }, true);
async function parallel() {
  later = 0;
  if (!webgl || !dims.length) return;
  if (held) { // a new drawing would take the brush out of the hand
    later = setTimeout(parallel, 200);
    return;
  }
  const all = parallelRows(), rows = thinned(all);
  const cc = byName.get(state.colour), paint = colours(cc);
  const codes = paint.words ? cc.codes : paint.values;
  const count = paint.words ? cc.levels.length : 0;
  const scale = paint.words ? cc.levels.flatMap((_, i) => [[i / count, paint.words[i]], [(i + 1) / count, paint.words[i]]]) : paint.scale;
  const made = dims.map((c, i) => {
    const range = c.levels ? [-0.3, c.levels.length - 0.7] : extent(along[i]);
    const [low, high] = extent(along[i]);
    const dim = { label: lines(c.words).map(plain).join("<br>"), values: rows.map((r) => along[i][r]), range, constraintrange: constraint(c) };
    if (c.levels) {
      const step = Math.ceil(c.levels.length / 14);
      const kept = c.levels.map((_, code) => code).filter((code) => code % step === 0);
      return { ...dim, tickvals: kept, ticktext: apart(kept.map((code) => plain(shortened(c.levels[code], 18)))) };
    }
    // a brush snaps to ticks wherever an axis has its own: a hundred of them, five with a text
    const marks = high > low ? Array.from({ length: 101 }, (_, k) => low + (k / 100) * (high - low)) : [low];
    const words = (v) => plain(si(Number((logged(c) ? 10 ** v : v).toPrecision(3)), c));
    return { ...dim, multiselect: false, tickvals: marks, ticktext: apart(marks.map((v, k) => (k % 25 ? "" : words(v)))) };
  });
  const askew = made.length * Math.max(...dims.flatMap((c) => lines(c.words).map((line) => line.length))) > 140;
  const trace = { type: "parcoords", dimensions: made, labelangle: askew ? -12 : 0, labelfont: { size: 12 }, tickfont: { size: 11 },
    rangefont: { size: 1, color: "rgba(0,0,0,0)" }, unselected: { line: { color: css("--faint"), opacity: 0.12 } },
    line: { color: rows.map((r) => codes[r]), colorscale: scale, cmin: paint.words ? -0.5 : paint.low, cmax: paint.words ? count - 0.5 : paint.high } };
  const layout = { margin: { l: Math.max(60, 14 + 6 * Math.max(...made[0].ticktext.map((words) => words.replaceAll(BLANK, "").length))), r: 60, t: askew ? 66 : 44, b: 14 }, paper_bgcolor: css("--back"), plot_bgcolor: css("--back"),
    font: { color: css("--ink"), family: "system-ui, sans-serif" } };
  drawing = true;
  const began = performance.now();
  try {
    await Plotly.react("parallel", [trace], layout, { displaylogo: false, responsive: true, displayModeBar: false, plotlyServerURL: "" });
  } finally {
    drawing = false;
  }
  for (const tick of document.querySelectorAll("#parallel .tick"))
    tick.style.display = tick.textContent.replaceAll(BLANK, "") ? "" : "none";
  const took = performance.now() - began;
  if (!calibrated) calibrated = true; // the first drawing compiles the library's programs as well
  else if (took > 350) most = Math.max(500, Math.round((rows.length * 250) / took));
  else if (took < 150) most = Math.min(N, most * 2);
  $("lines").textContent = rows.length < all.length
    ? `${rows.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} designs have a line${D.front.length <= most ? ", all of the front among them" : ""}; this machine draws no more at once` : "";
  if (rows.length < all.length && took < 150) { clearTimeout(later); later = setTimeout(parallel, 60); }
}

function brushed(update) {
  for (const [key, value] of Object.entries(update)) {
    const match = /^dimensions\[(\d+)\]\.constraintrange$/.exec(key);
    if (!match) continue;
    const c = dims[Number(match[1])];
    let ranges = value && value[0];
    if (!ranges || !ranges.length) { state.filters.delete(c); continue; }
    if (!Array.isArray(ranges[0])) ranges = [ranges];
    if (c.levels) {
      const set = new Set(c.levels.map((_, code) => code).filter((code) => ranges.some(([a, b]) => code >= Math.min(a, b) && code <= Math.max(a, b))));
      state.filters.set(c, { set });
    } else {
      const ends = ranges.flat().map((v) => (logged(c) ? 10 ** v : v));
      state.filters.set(c, { low: Math.min(...ends), high: Math.max(...ends) });
    }
  }
  showFilters();
  // a drawing that began before the brush has taken it away again
  const lost = dims.some((c, i) => state.filters.has(c) && !$("parallel").data[0].dimensions[i].constraintrange);
  refresh({ parallel: drawing || lost || later !== 0 });
}
