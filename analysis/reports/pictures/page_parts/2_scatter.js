// Scatter.

const dark = () => document.documentElement.classList.contains("dark");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function logged(column) {
  return !!(column.values && column.log && !column.levels);
}
function decades(low, high) {
  const found = [];
  const steps = high / low < 60 ? [1, 2, 5] : [1];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const s of steps) if (s * 10 ** e >= low * 0.999 && s * 10 ** e <= high * 1.001) found.push(s * 10 ** e);
  return found;
}
// least and most among the designs of the status asked for; of those that are ok where none of them has a value
function extent(values, all) {
  const asked = state.filters.get(status);
  const ends = (good) => {
    let low = Infinity, high = -Infinity;
    for (let row = 0; row < values.length; row++) {
      const v = values[row];
      if (v !== null && good(row)) { if (v < low) low = v; if (v > high) high = v; }
    }
    return [low, high];
  };
  const found = ends((row) => (all ? D.status.codes[row] === ok : !asked || asked.set.has(D.status.codes[row])));
  return found[0] <= found[1] ? found : ends(() => true);
}

// divisor and SI prefix of an axis: by the largest value, or by the middle of decades
function scaleOf(column) {
  const [low, high] = extent(column.values, true);
  const typical = logged(column) ? Math.sqrt(low * high) : Math.max(Math.abs(low), Math.abs(high));
  if (!column.prefix || !(typical > 0) || (typical >= 0.1 && typical < 1e4)) return { divisor: 1, title: titled(column) };
  const step = Math.min(Math.max(Math.floor(Math.log10(typical) / 3), -4), 5);
  return { divisor: 1000 ** step, title: `${column.words} [${PREFIXES[step + 4]}${column.unit}]` };
}

function axis(column, log) {
  const made = { gridcolor: css("--line"), linecolor: css("--line"), zeroline: false, automargin: true };
  if (column.levels) {
    const step = Math.ceil(column.levels.length / 30);
    const kept = column.levels.map((_, i) => i).filter((i) => i % step === 0);
    return { ...made, title: { text: plain(column.words), standoff: 8 }, tickvals: kept, ticktext: kept.map((i) => plain(shortened(column.levels[i], 24))),
      range: [-0.6, column.levels.length - 0.4] };
  }
  const { divisor, title } = scaleOf(column);
  const [low, high] = extent(log ? column.values.map((v) => (v > 0 ? v : null)) : column.values).map((v) => (log ? Math.log10(v / divisor) : v / divisor));
  const margin = (high - low) * 0.04 || 0.5;
  return { ...made, title: { text: plain(title), standoff: 8 }, type: log ? "log" : "linear", range: [low - margin, high + margin], tickformat: "~g",
    ...(log ? { nticks: Math.max(5, Math.floor((high - low) / 0.32)) } : {}) }; // 1, 2, 5, not each digit, over decades
}

// colours of all designs, so that they stay the same whatever is filtered
function colours(column) {
  const scale = dark() ? D.scales.dark : D.scales.light;
  if (column.levels) {
    if (column.levels.length <= D.palette.length && !column.values) {
      const palette = D.palette.map((c) => (dark() && c === "#000000" ? "#ffffff" : c));
      return { words: palette, of: (row) => palette[column.codes[row]] };
    }
    return { scale, values: column.codes, low: 0, high: column.levels.length - 1,
      ticks: column.levels.map((_, i) => i), labels: column.levels };
  }
  const [low, high] = extent(column.values);
  if (logged(column)) {
    const ticks = decades(low, high);
    return { scale, values: column.values.map((v) => (v === null ? null : Math.log10(v))), low: Math.log10(low), high: Math.log10(high),
      ticks: ticks.map(Math.log10), labels: ticks.map((v) => si(v, { ...column, unit: "" })) };
  }
  return { scale, values: column.values, low, high };
}

function marker(paint, column, rows) {
  const outline = { width: 0.4, color: dark() ? "rgba(255,255,255,.25)" : "rgba(255,255,255,.7)" };
  const size = rows.map((r) => (inFront[r] ? 9 : 6));
  if (paint.words) return { size, color: rows.map(paint.of), line: outline };
  return { size, color: rows.map((r) => paint.values[r]), colorscale: paint.scale, cmin: paint.low, cmax: paint.high,
    line: outline, showscale: true, colorbar: { title: { text: plain(titled(column)), side: "right" }, thickness: 10, outlinewidth: 0,
      tickfont: { color: css("--ink") }, ...(paint.ticks ? { tickvals: paint.ticks, ticktext: paint.labels.map(plain) } : { exponentformat: "SI" }) } };
}

// the stepped border of what the shown designs dominate; only where both axes are objectives
function frontLine(cx, cy) {
  if (!cx.direction || !cy.direction || cx.levels || cy.levels || cx === cy) return { x: [], y: [] };
  const sx = cx.direction === "max" ? -1 : 1, sy = cy.direction === "max" ? -1 : 1;
  const rows = shown.filter((r) => cx.values[r] !== null && cy.values[r] !== null);
  rows.sort((a, b) => sx * (cx.values[a] - cx.values[b]) || sy * (cy.values[a] - cy.values[b]));
  const x = [], y = [];
  let best = Infinity;
  for (const r of rows) {
    if (sy * cy.values[r] >= best) continue;
    best = sy * cy.values[r];
    if (x.length) { x.push(placed(state.x, "x")[r]); y.push(y[y.length - 1]); }
    x.push(placed(state.x, "x")[r]); y.push(placed(state.y, "y")[r]);
  }
  return { x, y };
}

function scatter() {
  const cx = byName.get(state.x), cy = byName.get(state.y), cc = byName.get(state.colour);
  const X = placed(state.x, "x"), Y = placed(state.y, "y");
  const inside = new Uint8Array(N);
  shown.forEach((r) => { inside[r] = 1; });
  const others = [], mine = [];
  for (let r = 0; r < N; r++) {
    if (X[r] === null || Y[r] === null) continue;
    if (inside[r]) mine.push(r); else if (D.status.codes[r] === ok) others.push(r);
  }
  const type = webgl ? "scattergl" : "scatter";
  const same = { selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } } };
  const paint = colours(cc);
  const line = frontLine(cx, cy);
  const stars = D.chosen.filter((c) => X[c.row] !== null && Y[c.row] !== null);
  const pins = state.pinned >= 0 && X[state.pinned] !== null && Y[state.pinned] !== null ? [state.pinned] : [];
  const traces = [
    { type, mode: "markers", x: others.map((r) => X[r]), y: others.map((r) => Y[r]), hoverinfo: "skip", ...same,
      marker: { size: 4, color: css("--faint") } },
    { type, mode: "markers", x: mine.map((r) => X[r]), y: mine.map((r) => Y[r]), customdata: mine, hoverinfo: "none", ...same,
      marker: marker(paint, cc, mine) },
    { type: "scatter", mode: "lines", x: line.x, y: line.y, hoverinfo: "skip", line: { color: css("--accent"), width: 1.6 } },
    { type: "scatter", mode: "markers", x: pins.map((r) => X[r]), y: pins.map((r) => Y[r]), hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 15, color: css("--ink"), line: { width: 2 } } },
  ];
  const spot = (values, row, log) => (log ? Math.log10(values[row]) : values[row]);
  const letters = stars.map((c) => ({ x: spot(X, c.row, state.xlog && !cx.levels), y: spot(Y, c.row, state.ylog && !cy.levels), text: `<b>${c.letter}</b>`,
    showarrow: false, xshift: 12, yshift: 12, borderpad: 1, bgcolor: css("--back"), opacity: 0.88, font: { size: 12, color: css("--ink") } }));
  const layout = { margin: { l: 60, r: 10, t: 30, b: 46 }, annotations: letters, paper_bgcolor: css("--back"), plot_bgcolor: css("--back"), showlegend: false,
    font: { color: css("--ink"), size: 12, family: "system-ui, sans-serif" }, hovermode: "closest", hoverdistance: 14,
    dragmode: $("scatter").layout ? $("scatter").layout.dragmode : "select", selections: state.selections,
    newselection: { line: { color: css("--accent"), width: 1.5, dash: "dot" } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--quiet"), activecolor: css("--accent") },
    xaxis: axis(cx, state.xlog), yaxis: axis(cy, state.ylog), uirevision: [state.x, state.y, state.xlog, state.ylog].join("\u0001") };
  const config = { displaylogo: false, responsive: true, plotlyServerURL: "", doubleClick: "reset+autosize",
    // named one by one, so that no version of the library adds one that goes online
    modeBarButtons: [["select2d", "pan2d", "zoom2d", "resetScale2d", "toImage"]] };
  legend(paint, cc);
  return Plotly.react("scatter", traces, layout, config);
}

function legend(paint, column) {
  $("legend").replaceChildren(...(paint.words ? column.levels.map((words, code) => {
    const entry = element("span");
    const dot = element("i");
    dot.style.background = paint.words[code];
    entry.append(dot, words);
    return entry;
  }) : []));
}
