"use strict";
// The page is whole without this script, which turns its parts into tabs, its pictures into charts, and answers
// questions about columns and rows. Whatever comes with the data becomes text nodes; nothing here writes markup.
(() => {
  const asked = JSON.parse(document.getElementById("asked").textContent);
  const get = (id) => document.getElementById(id);

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }
  const labelled = (text, control) => make("label", {}, text, " ", control);
  const choice = (texts, change) =>
    make("select", { change }, ...texts.map((text, i) => make("option", { value: i }, text)));
  const sign = (value, digits = 3) => (value < 0 ? "−" : "+") + Math.abs(value).toPrecision(digits);
  const plain = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
  const percent = (p) => `${(100 * p).toFixed(1)} %`;

  function draw(place, spec, values) {
    const { compile, expressionInterpreter, parse, View } = permgradVega;
    const whole = { ...spec, config: asked.config, ...(values && { datasets: { row: values } }) };
    const view = new View(parse(compile(whole).spec, null, { ast: true }), {
      container: place.appendChild(make("div", { class: "drawn" })),
      expr: expressionInterpreter,
      renderer: "svg",
    });
    view.addEventListener("click", (event, item) => item?.datum?.column && openColumn(item.datum.column));
    return view.runAsync();
  }

  // A figure's picture gives way to its chart, once the figure is seen.
  function drawFigure(figure, spec = asked.charts[figure.dataset.chart]) {
    if (!spec || figure.querySelector(".drawn")) return;
    draw(figure, spec);
    figure.prepend(figure.lastChild);
    figure.classList.add("asked");
  }

  // Tabs: the links of the navigation become tabs, the parts of the page their panels.
  const list = get("parts"), tabs = [...list.querySelectorAll("a")];
  const panel = (tab) => get(tab.hash.slice(1));
  function show(tab, focus) {
    for (const each of tabs) {
      each.setAttribute("aria-selected", each === tab);
      each.tabIndex = each === tab ? 0 : -1;
      panel(each).hidden = each !== tab;
    }
    if (focus) tab.focus();
    panel(tab).querySelectorAll("figure[data-chart]").forEach((figure) => drawFigure(figure));
    if (tab.hash === "#rows") showRow(row);
  }
  function follow() {
    const target = location.hash && get(decodeURIComponent(location.hash.slice(1)));
    const of = tabs.find((tab) => target && panel(tab).contains(target));
    show(of ?? tabs[0]);
    if (of && target !== panel(of)) target.scrollIntoView();
  }
  function steer(event) {
    const at = tabs.indexOf(event.currentTarget), last = tabs.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at ? at - 1 : last, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(tabs[to], true);
  }
  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    for (const [name, value] of Object.entries({ role: "tab", "aria-controls": tab.hash.slice(1) })) tab.setAttribute(name, value);
    panel(tab).setAttribute("role", "tabpanel");
    panel(tab).setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("keydown", steer);
    tab.addEventListener("click", (event) => (event.preventDefault(), history.replaceState(null, "", tab.hash), show(tab)));
  }

  // The ranking: sorted by any column, searched, and by class.
  const table = get("ranked"), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const said = make("p", { class: "quiet", role: "status" });
  const search = make("input", { type: "search", input: filter });
  const all = make("button", { type: "button", "aria-pressed": "false", click: () => (all.setAttribute("aria-pressed", all.ariaPressed !== "true"), filter()) }, "Show all");
  const classes = Object.keys(asked.byClass);
  const byClass = choice(["all classes", ...classes], () => chooseClass(classes[byClass.value - 1]));
  function filter() {
    const wanted = search.value.trim().toLowerCase(), few = !wanted && all.ariaPressed !== "true";
    const found = [...body.rows].filter((line) => {
      line.hidden = !line.querySelector("th").textContent.toLowerCase().includes(wanted);
      return !line.hidden;
    });
    if (few) found.slice(asked.first).forEach((line) => (line.hidden = true));
    said.textContent = `${few ? Math.min(asked.first, found.length) : found.length} of ${body.rows.length} columns are shown.`;
  }
  function sort(head, way) {
    const at = heads.indexOf(head), key = (line) => line.cells[at].dataset.key;
    const order = way ?? (head.ariaSort === "descending" ? "ascending" : head.ariaSort === "ascending" || head.className !== "right" || !at ? (head.ariaSort === "ascending" ? "descending" : "ascending") : "descending");
    const sense = order === "ascending" ? 1 : -1;
    const compare = (a, b) => key(a) === undefined || key(b) === undefined
      ? (key(a) === undefined) - (key(b) === undefined) || sense * a.cells[at].textContent.localeCompare(b.cells[at].textContent)
      : sense * (key(a) - key(b));
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    body.append(...[...body.rows].sort(compare));
    filter();
  }
  function chooseClass(label) {
    heads.forEach((head, at) => {
      if (head.dataset.class !== undefined) [...table.rows].forEach((line) => (line.cells[at].hidden = head.dataset.class !== label));
    });
    const head = heads.find((each) => each.dataset.class === label) ?? heads[0];
    sort(head, label === undefined ? "ascending" : "descending");
    const figure = document.querySelector("[data-chart=ranking]");
    figure?.querySelector(".drawn")?.remove();
    if (figure) drawFigure(figure, asked.byClass[label]);
  }
  const known = new Map(asked.columns.map((column, i) => [column.name, i]));
  for (const head of heads) head.replaceChildren(make("button", { type: "button", click: () => sort(head) }, ...head.childNodes));
  for (const line of body.rows) {
    const name = line.querySelector("th"), text = name.textContent;
    if (known.has(text)) name.replaceChildren(make("button", { type: "button", "aria-haspopup": "dialog", click: () => openColumn(text) }, text));
  }
  get("ranking-tool").append(labelled("Search", search), ...(classes.length ? [labelled("Scores of", byClass)] : []), ...(body.rows.length > asked.first ? [all] : []), said);
  get("ranking-tool").hidden = false;

  // A column that was clicked: a dialog with what the page knows of it.
  function openColumn(name) {
    if (!known.has(name)) return;
    const at = known.get(name), column = asked.columns[at], dialog = get("column");
    const go = (to, text) => make("button", { type: "button", disabled: !asked.columns[to], click: () => openColumn(asked.columns[to].name) }, text);
    const charts = make("div", {});
    dialog.replaceChildren(
      make("form", { method: "dialog" }, go(at - 1, "‹ Previous"), go(at + 1, "Next ›"), make("button", { autofocus: true }, "Close")),
      make("h2", { id: "column-name" }, name),
      ...column.said.map((sentence) => make("p", {}, sentence)),
      charts,
    );
    if (!dialog.open) dialog.showModal();
    for (const spec of column.charts) draw(charts, spec);
  }

  // Rows: one is picked; its answer is a waterfall, and its columns can be changed.
  const rows = asked.rows, answer = make("div", { class: "answer" });
  let row = 0;
  const called = (each) => `row ${each.number}: true ${each.true}, predicted ${each.predicted}${each.wrong ? " ✗" : ""}`;
  const pick = choice((rows?.rows ?? []).map(called), () => showRow(Number(pick.value)));
  const step = (by, text) => make("button", { type: "button", click: () => showRow((row + by + rows.rows.length) % rows.rows.length) }, text);
  if (rows) {
    get("rows-tool").append(labelled("Test row", pick), step(-1, "‹ Previous"), step(1, "Next ›"), answer);
    get("rows-tool").hidden = false;
  }
  function showRow(at) {
    if (!rows) return;
    row = at;
    pick.value = at;
    const one = rows.rows[at], order = one.adds.map((_, i) => i).sort((a, b) => Math.abs(one.adds[b]) - Math.abs(one.adds[a]));
    const named = (i) => `${rows.columns[i]} = ${one.is[i]}`;
    const bars = order.slice(0, 10).map((i) => ({ column: named(i), adds: one.adds[i], half: one.half[i] }));
    const rest = order.slice(10).reduce((sum, i) => sum + one.adds[i], 0);
    if (order.length > 10) bars.push({ column: `${order.length - 10} others`, adds: rest, half: 0 });
    let end = one.base;
    for (const bar of bars) Object.assign(bar, { from: end, to: (end += bar.adds), low: end - bar.half, high: end + bar.half });
    const waterfall = make("figure", {}), line = (bar) => make("tr", {}, make("th", { scope: "row" }, bar.column), make("td", { class: "right" }, `${sign(bar.adds)} ± ${plain(bar.half)}`));
    answer.replaceChildren(
      make("h3", {}, `Test row ${one.number}`),
      make("p", { role: "status" }, `True: ${one.true}. Predicted: ${one.predicted}${one.wrong ? " (wrong)" : ""}. From ${plain(one.base)}, the mean answer, to ${plain(one.output)} (${one.unit}).`),
      make("div", { class: "pair" }, waterfall, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What each column adds" },
        make("table", {}, make("caption", {}, "What each column adds, ± 95 % over orders of the columns"), make("tbody", {}, ...bars.map(line))))),
      ...(one.image ? [make("figure", { class: "own" }, make("img", { src: one.image, alt: "This row as the image branch sees it." }), make("figcaption", {}, "As the image branch sees it."))] : []),
      make("p", {}, "Most alike (columns add nearly the same): ", ...one.near.map((i) => make("button", { type: "button", click: () => showRow(i) }, called(rows.rows[i])))),
      whatIf(at, rows.what_if),
    );
    draw(waterfall, rows.chart, bars);
  }

  // What if: an answer to one change is the network's own; those to several are added up.
  function whatIf(at, { classes, columns, own }) {
    const changes = new Map(), outcome = make("div", { role: "status" }), note = make("p", { class: "quiet" });
    const shares = (scores) => {
      if (scores.length === 1) return [1 / (1 + Math.exp(scores[0])), 1 / (1 + Math.exp(-scores[0]))];
      const weights = scores.map((score) => Math.exp(score - Math.max(...scores)));
      return weights.map((weight) => weight / weights.reduce((a, b) => a + b));
    };
    function tell() {
      const scores = own[at].map((score, c) => [...changes].reduce((sum, [i, g]) => sum + columns[i].answers[at][g][c] - score, score));
      const before = classes ? shares(own[at]) : own[at], now = classes ? shares(scores) : scores;
      outcome.replaceChildren(...now.map((value, c) => make("p", { class: "outcome" }, classes ? make("span", {}, classes[c]) : "", classes ? make("meter", { value, "aria-label": classes[c] }) : "",
        make("output", {}, classes ? `${percent(before[c])} → ${percent(value)}` : `${plain(before[c])} → ${plain(value)}`))));
      note.textContent = changes.size > 1 ? "An approximation: each change was computed by the network on its own, and their effects are added up; interactions among the changed columns are ignored." : "Computed by the network itself, for this row with one column changed.";
    }
    const control = (column, i) => {
      const is = rows.rows[at].is[rows.columns.indexOf(column.name)], now = make("output", {}, is);
      const change = (g) => (g < 0 ? changes.delete(i) : changes.set(i, g), (now.textContent = g < 0 ? is : `${is} → ${column.labels[g]}`), tell());
      const nearest = column.labels.findIndex((label) => Number(label.replace("−", "-")) >= Number(is.replace("−", "-")));
      const input = column.slides
        ? make("input", { type: "range", min: 0, max: column.labels.length - 1, value: nearest < 0 ? column.labels.length - 1 : nearest, "aria-label": column.name, input: () => (input.setAttribute("aria-valuetext", column.labels[input.value]), change(Number(input.value))) })
        : choice([`${is} (as it is)`, ...column.labels], () => change(Number(input.value) - 1));
      return make("label", { class: "change" }, make("span", {}, column.name), input, column.slides ? now : "");
    };
    tell();
    return make("div", { class: "what-if" }, make("h4", {}, "What if?"), make("p", {}, "Change a column of this row, and see the answer change. Nothing says that the world would follow."),
      ...columns.map(control), outcome, note, make("button", { type: "button", click: () => showRow(at) }, "As it was"));
  }

  document.documentElement.classList.add("scripted");
  chooseClass(undefined);
  window.addEventListener("hashchange", follow);
  follow();
})();
