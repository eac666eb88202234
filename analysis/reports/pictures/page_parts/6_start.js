// Refresh.

let frame = 0;
// table and points at once, the lines when the hand rests: they take longest
function refresh(what) {
  if (!what || what.parallel !== false) {
    clearTimeout(later);
    later = setTimeout(parallel, 160);
  }
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    compute();
    counts();
    tableBody();
    scatter();
  });
}
function clearBox() {
  if (!state.box && !state.selections.length) return;
  state.box = null;
  state.selections = [];
  refresh();
}

function fill(select, chosen) {
  const groups = [["Objectives", "objective"], ["Parameters", "parameter"], ["Other columns", "metric"]];
  for (const [words, kind] of groups) {
    const group = element("optgroup", undefined, { label: words });
    for (const c of columns.filter((each) => each.kind === kind)) group.append(element("option", c.words, { value: c.name, selected: c.name === chosen }));
    if (group.children.length) select.append(group);
  }
}
function showAxes() {
  for (const which of ["x", "y"]) {
    const column = byName.get(state[which]);
    $(`${which}log`).disabled = !!column.levels || !(extent(column.values)[0] > 0);
    $(`${which}log`).checked = state[`${which}log`];
  }
}
function axisChanged() {
  showAxes();
  state.box = null;
  state.selections = [];
  refresh();
}

function start() {
  for (const which of ["x", "y"]) {
    fill($(which), state[which]);
    state[`${which}log`] = logged(byName.get(state[which]));
    $(which).addEventListener("change", () => { state[which] = $(which).value; state[`${which}log`] = logged(byName.get(state[which])); axisChanged(); });
    $(`${which}log`).addEventListener("change", () => { state[`${which}log`] = $(`${which}log`).checked; axisChanged(); });
  }
  fill($("colour"), state.colour);
  $("colour").addEventListener("change", () => { state.colour = $("colour").value; refresh(); });
  $("unbrush").addEventListener("click", clearBox);
  $("reset").addEventListener("click", () => {
    state.filters.clear();
    if (D.status.levels.length > 1 && ok >= 0) state.filters.set(status, { set: new Set([ok]) });
    state.box = null;
    state.selections = [];
    showFilters();
    refresh();
  });
  $("keys").addEventListener("click", () => copyText(shown.map((r) => D.design[r]).join(","), `${shown.length} keys`));
  $("save").addEventListener("click", save);
  $("previous").addEventListener("click", () => { state.page -= 1; tableBody(); });
  $("next").addEventListener("click", () => { state.page += 1; tableBody(); });
  const body = document.querySelector("tbody");
  const rowOf = (event) => { const line = event.target.closest("tr"); return line ? Number(line.dataset.row) : -1; };
  body.addEventListener("click", (event) => { const row = rowOf(event); if (row >= 0) { pin(row); copyCommand(row); } });
  body.addEventListener("keydown", (event) => {
    const line = event.target.closest("tr");
    if (!line) return;
    if (event.key === "Enter") { pin(Number(line.dataset.row)); copyCommand(Number(line.dataset.row)); }
    const next = event.key === "ArrowDown" ? line.nextElementSibling : event.key === "ArrowUp" ? line.previousElementSibling : null;
    if (next) { next.focus(); event.preventDefault(); }
  });
  $("theme").addEventListener("click", () => theme(!dark()));
  if (matchMedia("(prefers-color-scheme: dark)").matches) theme(true, true);
  if (!webgl) notice("This browser has no WebGL: points are drawn slowly, and parallel coordinates not at all.");
  buildFilters();
  showFilters();
  tableHead();
  card();
  $("notes").replaceChildren(...[...(N < D.of ? [`The table has ${D.of.toLocaleString("en")} designs; the page holds its front and an even choice of the others.`] : []), ...D.notes,
    "Numbers are rounded to seven digits; the store has all of them (zerocast export)."].map((words) => element("p", words)));
  if (D.reasons.length) {
    const list = element("ul");
    D.reasons.forEach(([words, count]) => list.append(element("li", `${count.toLocaleString("en")}: ${words}`)));
    $("notes").append(element("p", "Why designs are infeasible or failed:"), list);
  }
  compute();
  counts();
  tableBody();
  showAxes();
}

function theme(on, quiet) {
  document.documentElement.classList.toggle("dark", on);
  $("theme").textContent = on ? "Light" : "Dark";
  $("theme").ariaPressed = String(on);
  if (!quiet) refresh();
}

function save() {
  const quoted = (words) => (/[",\n\r]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words);
  const value = (c, r) => (c.texts ? c.texts[r] : c.values ? c.values[r] ?? "" : c.levels[c.codes[r]]);
  const lines = [[...listed.map((c) => c.name.replace("\u0000", "")), "command"], ...shown.map((r) => [...listed.map((c) => value(c, r)), D.command[r]])];
  const link = element("a", undefined, { download: "designs.csv", href: URL.createObjectURL(new Blob([lines.map((l) => l.map((v) => quoted(String(v))).join(",")).join("\r\n")], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function keys(event) {
  if (event.key === "Escape") { clearBox(); return; }
  if (event.key === "Enter" && state.pinned >= 0) { copyCommand(state.pinned); return; }
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const X = placed(state.x, "x"), Y = placed(state.y, "y");
  const rows = shown.filter((r) => X[r] !== null && Y[r] !== null).sort((a, b) => X[a] - X[b] || Y[a] - Y[b]);
  if (!rows.length) return;
  const at = rows.indexOf(state.pinned);
  pin(rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))]);
}

start();
await scatter();
const plot = $("scatter");
plot.on("plotly_hover", hover);
plot.on("plotly_unhover", () => { $("hover").hidden = true; });
plot.on("plotly_click", (event) => {
  const point = event.points.find((p) => p.curveNumber === 1);
  if (point) { pin(point.customdata); copyCommand(point.customdata); }
});
plot.on("plotly_selected", (event) => {
  if (!event || !event.range || !event.range.x) return;
  const [x, y] = [event.range.x, event.range.y].map((ends) => ends.map(Number).sort((a, b) => a - b));
  state.box = { x0: x[0], x1: x[1], y0: y[0], y1: y[1] };
  state.selections = (plot.layout.selections || []).slice(-1);
  refresh();
});
plot.on("plotly_deselect", clearBox);
plot.addEventListener("keydown", keys);
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && event.target === document.body) clearBox(); });
await parallel();
if (webgl && dims.length) $("parallel").on("plotly_restyle", (event) => brushed(event[0]));
document.documentElement.dataset.ready = "yes";
