// Filters.

const controls = new Map();
const STEPS = 200;

function choices(column) {
  const box = element("fieldset"), list = element("div", undefined, { className: "choices" });
  const title = element("legend", column.words, { title: column.name.replace("\u0000", "") });
  const inputs = column.levels.map((words, code) => {
    const input = element("input", undefined, { type: "checkbox" });
    input.addEventListener("change", () => {
      const set = new Set(inputs.map((each, i) => (each.checked ? i : -1)).filter((i) => i >= 0));
      if (set.size === inputs.length) state.filters.delete(column); else state.filters.set(column, { set });
      showFilters();
      refresh();
    });
    const label = element("label", words === "" ? "(empty)" : words);
    label.append(input);
    list.append(label);
    return input;
  });
  box.append(title, list);
  controls.set(column, () => {
    const filter = state.filters.get(column);
    title.classList.toggle("active", !!filter && column !== status);
    inputs.forEach((input, code) => { input.checked = !filter || filter.set.has(code); });
  });
  return box;
}

function slider(column) {
  const [least, most] = extent(column.values, true);
  const log = logged(column);
  const at = (step) => (step <= 0 ? least : step >= STEPS ? most : log ? least * (most / least) ** (step / STEPS) : least + (step / STEPS) * (most - least));
  const stepOf = (value) => Math.min(STEPS, Math.max(0, STEPS * (log ? Math.log(value / least) / Math.log(most / least) : (value - least) / (most - least))));
  const box = element("fieldset"), title = element("legend", titled(column), { title: column.name });
  box.append(title);
  const ends = ["least", "most"].map((which) => {
    const row = element("div", undefined, { className: "range" });
    const input = element("input", undefined, { type: "range", min: 0, max: STEPS, step: "any", ariaLabel: `${which} ${column.words}` });
    const output = element("output");
    row.append(input, output);
    box.append(row);
    return { input, output };
  });
  ends.forEach(({ input }, which) => {
    input.step = 1;
    input.addEventListener("input", () => {
      const filter = { low: -Infinity, high: Infinity, ...state.filters.get(column) };
      const step = Number(input.value);
      // an end at its stop lets all pass, also the infeasible designs beyond it
      if (which === 0) filter.low = step <= 0 ? -Infinity : Math.min(at(step), filter.high);
      else filter.high = step >= STEPS ? Infinity : Math.max(at(step), filter.low);
      if (filter.low <= least && filter.high >= most) state.filters.delete(column); else state.filters.set(column, { ...filter });
      showFilters();
      refresh();
    });
  });
  controls.set(column, () => {
    const filter = state.filters.get(column);
    title.classList.toggle("active", !!filter);
    const { low, high } = filter || { low: least, high: most };
    [Math.max(low, least), Math.min(high, most)].forEach((value, which) => {
      ends[which].input.value = stepOf(value);
      ends[which].output.textContent = `${which ? "≤" : "≥"} ${si(value, column)}`;
    });
  });
  return box;
}

function buildFilters() {
  const groups = [["Parameters", "parameter", true], ["Objectives", "objective", true], ["Other columns", "metric", false]];
  if (D.status.levels.length > 1) $("filters").append(choices(status));
  for (const [words, kind, open] of groups) {
    const varies = (c) => { const [low, high] = extent(c.values, true); return low < high; };
    const mine = columns.filter((c) => c.kind === kind && (isNumberLine(c) ? varies(c) : c.choices));
    if (!mine.length) continue;
    const group = element("details", undefined, { open });
    group.append(element("summary", words), ...mine.map((c) => (isNumberLine(c) ? slider(c) : choices(c))));
    $("filters").append(group);
  }
}
function showFilters() {
  for (const show of controls.values()) show();
}
