// Table, card, counts.

const PAGE = 50;
const listed = [
  { name: "\u0000number", words: "number", texts: D.number.map(Number), kind: "key" },
  { name: "\u0000design", words: "design", texts: D.design, kind: "key" },
  byName.get("\u0000front"),
  ...(D.status.levels.length > 1 ? [status] : []),
  ...columns.filter((c) => c.name !== "\u0000front"),
  ...(D.reason && D.reason.levels.length > 1 ? [{ name: "\u0000reason", words: "reason", kind: "status", ...D.reason }] : []),
];
const cell = (c, row) => (c.texts ? String(c.texts[row]) : text(c, row));
const left = (c) => (c.texts ? c.words === "design" : c.levels && !c.values);

function tableHead() {
  const line = element("tr");
  for (const c of listed) {
    const head = element("th", undefined, { scope: "col", className: left(c) ? "text" : "" });
    const mark = state.sort === c ? (state.down ? " ▼" : " ▲") : "";
    head.ariaSort = state.sort === c ? (state.down ? "descending" : "ascending") : "none";
    const button = element("button", c.words + mark, { type: "button", title: "sort" });
    button.addEventListener("click", () => {
      state.down = state.sort === c ? !state.down : c.direction === "max";
      state.sort = c;
      state.page = 0;
      compute();
      tableHead();
      tableBody();
      document.querySelectorAll("thead button")[listed.indexOf(c)].focus();
    });
    head.append(button);
    line.append(head);
  }
  document.querySelector("thead").replaceChildren(line);
}

function tableBody() {
  $("order").textContent = state.sort ? `sorted by ${state.sort.words}` : `the front first, then by ${leading.words}`;
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const rows = shown.slice(state.page * PAGE, (state.page + 1) * PAGE);
  document.querySelector("tbody").replaceChildren(...rows.map((row) => {
    const line = element("tr", undefined, { tabIndex: 0, className: row === state.pinned ? "pinned" : "" });
    line.dataset.row = row;
    line.append(...listed.map((c) => element("td", cell(c, row), { className: left(c) ? "text" : "", title: c.name === "\u0000reason" ? cell(c, row) : "" })));
    return line;
  }));
  const first = shown.length ? state.page * PAGE + 1 : 0;
  $("pages").textContent = `${first.toLocaleString("en")}–${Math.min(shown.length, (state.page + 1) * PAGE).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
  $("previous").disabled = state.page === 0;
  $("next").disabled = state.page >= pages - 1;
}

function counts() {
  const many = (n) => n.toLocaleString("en");
  const active = [...state.filters.keys()].filter((c) => c !== status).length + (state.box ? 1 : 0);
  const kinds = D.status.levels.map((word, code) => `${many(D.status.codes.filter((c) => c === code).length)} ${word}`);
  const number = element("b", many(shown.length));
  number.id = "shown";
  $("count").replaceChildren(number, ` of ${many(N)} designs (${kinds.join(", ")}); ${many(shown.filter((r) => inFront[r]).length)} of ${many(D.front.length)} on the front; `
    + (active ? `${active} filter${active > 1 ? "s" : ""}` : "no filter"));
  $("unbrush").hidden = !state.box;
}

// broken between words alone: the hyphens of an option stay with it
function commandBox(row) {
  const box = element("code");
  D.command[row].split(" ").forEach((word, i) => box.append(i ? " " : "", element("span", word)));
  return box;
}
function facts(row, some) {
  const list = element("dl");
  for (const c of some) list.append(element("dt", c.words), element("dd", text(c, row)));
  return list;
}

function card() {
  const row = state.pinned;
  if (row < 0) {
    const hints = ["Point at a design for its parameters and figures.", "Click it to copy the command that runs it again.",
      "Drag a box over designs: table and parallel coordinates follow. Double click or Escape clears it.",
      "Drag along an axis of the parallel coordinates to filter, or use the filters on the left.",
      "Keyboard: Tab to the plot, then arrow keys and Enter; each filter and row of the table takes the keyboard too."];
    $("card").replaceChildren(element("h2", "How to use this page"), ...hints.map((words) => element("p", words)));
    return;
  }
  const chosen = D.chosen.find((c) => c.row === row);
  const copy = element("button", "Copy command", { type: "button" });
  copy.addEventListener("click", () => copyCommand(row));
  const parts = [element("h2", `Design ${D.design[row]}`), element("div", `trial ${D.number[row]}, ${D.status.levels[D.status.codes[row]]}${inFront[row] ? ", on the Pareto front" : ""}`, { className: "quiet" })];
  if (chosen) parts.push(element("div", `${chosen.letter}: ${chosen.role}`));
  if (D.reason && D.reason.levels[D.reason.codes[row]]) parts.push(element("div", D.reason.levels[D.reason.codes[row]]));
  parts.push(commandBox(row), copy);
  for (const kind of ["parameter", "objective", "metric"]) parts.push(facts(row, columns.filter((c) => c.kind === kind && c.name !== "\u0000front")));
  if (D.fixed.length) {
    const same = element("details");
    const list = element("dl");
    D.fixed.forEach(([name, value]) => list.append(element("dt", name), element("dd", value)));
    same.append(element("summary", "The same for all designs"), list);
    parts.push(same);
  }
  $("card").replaceChildren(...parts);
  $("card").scrollTop = 0;
}

function pin(row, redraw) {
  state.pinned = row;
  card();
  document.querySelectorAll("tbody tr").forEach((line) => line.classList.toggle("pinned", Number(line.dataset.row) === row));
  if (redraw !== false) scatter();
}

let fading;
function toast(words) {
  $("toast").textContent = words;
  $("toast").classList.add("on");
  clearTimeout(fading);
  fading = setTimeout(() => $("toast").classList.remove("on"), 1800);
}
async function copyText(words, what) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    // a page from disk may not have the clipboard: the old way
    const area = element("textarea", words);
    area.style.position = "fixed";
    document.body.append(area);
    const before = document.activeElement;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (before) before.focus();
    if (!done) { toast("the browser refuses the clipboard: mark the command and copy it"); return; }
  }
  toast(`${what} copied`);
}
const copyCommand = (row) => copyText(D.command[row], "command");

// Hover.

function hover(event) {
  const point = event.points.find((p) => p.curveNumber === 1);
  if (!point) return;
  const row = point.customdata;
  const tip = $("hover");
  const some = [...columns.filter((c) => c.kind === "parameter"), ...columns.filter((c) => c.kind === "objective")];
  for (const name of [state.x, state.y, state.colour]) if (!some.includes(byName.get(name))) some.push(byName.get(name));
  tip.replaceChildren(element("b", `Design ${D.design[row]}${inFront[row] ? ", on the front" : ""}`), facts(row, some.slice(0, 22)),
    commandBox(row), element("span", "click copies the command", { className: "quiet" }));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const { clientX, clientY } = event.event;
  const x = clientX + 18 + width > innerWidth ? clientX - width - 18 : clientX + 18;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, Math.min(clientY - 20, innerHeight - height - 4))}px`;
}
