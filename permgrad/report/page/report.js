"use strict";
// The page is whole without this script, which turns its parts into tabs and its pictures into charts, and answers
// questions about columns and rows. What comes with the data becomes text nodes; nothing here writes markup.
(() => {
  const get = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const asked = JSON.parse(get("asked").textContent);
  const shown = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }
  const button = (text, click) => make("button", { type: "button", click }, text);

  // Charts: a figure's picture gives way to its chart as soon as it is seen. No expression is evaluated.
  function draw(place, spec, datasets = {}) {
    const { compile, expressionInterpreter, logger, parse, View } = permgradVega;
    const compiled = compile({ ...spec, config: asked.config, datasets }, { logger: logger(1) }).spec;
    const options = { container: make("div", { class: "drawn" }), expr: expressionInterpreter, renderer: "svg" };
    place.prepend(options.container);
    const view = new View(parse(compiled, null, { ast: true }), options);
    view.addEventListener("click", (event, item) => item?.datum && openColumn(item.datum.column));
    view.runAsync();
  }
  function drawFigure(figure, spec = asked.charts[figure.dataset.chart]) {
    if (!spec || figure.querySelector(".drawn")) return;
    figure.classList.add("asked"); // first: what is not shown has no width to fill
    draw(figure, spec);
  }

  // Tabs: the navigation's links are tabs, the parts of the page their panels.
  const tabs = all("#parts a");
  const panel = (tab) => get(tab.hash.slice(1));
  function show(tab) {
    for (const each of tabs) {
      each.setAttribute("aria-selected", each === tab);
      each.tabIndex = each === tab ? 0 : -1;
      panel(each).hidden = each !== tab;
    }
    for (const figure of all("figure[data-chart]", panel(tab))) drawFigure(figure);
    if (rows && tab.hash === "#rows") showRow(at);
  }
  function follow() {
    const target = get(decodeURIComponent(location.hash.slice(1)));
    show(tabs.find((each) => panel(each).contains(target)) ?? tabs[0]);
    if (target && !tabs.some((each) => panel(each) === target)) target.scrollIntoView();
  }
  function steer(event) {
    const here = tabs.indexOf(event.currentTarget), n = tabs.length;
    const there = { ArrowRight: (here + 1) % n, ArrowLeft: (here + n - 1) % n, Home: 0, End: n - 1 }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    tabs[there].focus();
    show(tabs[there]);
  }

  // The ranking: searched, sorted by any column, by class.
  const table = get("ranked"), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  function filter() {
    const wanted = get("search").value.trim().toLowerCase();
    const most = wanted || get("all").checked ? Infinity : asked.first;
    let count = 0;
    for (const line of body.rows) {
      const found = line.querySelector("th").textContent.toLowerCase().includes(wanted);
      line.hidden = !found || ++count > most;
    }
    get("shown").textContent = `${Math.min(count, most)} of ${body.rows.length} columns are shown.`;
  }
  function sort(head, order) {
    const column = heads.indexOf(head), sense = order === "ascending" ? 1 : -1;
    const key = (line) => line.cells[column].dataset.key, text = (line) => line.cells[column].textContent;
    const compare = (a, b) => {
      if (key(a) !== undefined && key(b) !== undefined) return sense * (key(a) - key(b));
      return (key(a) === undefined) - (key(b) === undefined) || sense * text(a).localeCompare(text(b)); // unknown last
    };
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    body.append(...[...body.rows].sort(compare));
    filter();
  }
  function sortBy(head) {
    const orders = head.classList.contains("right") ? ["descending", "ascending"] : ["ascending", "descending"];
    sort(head, orders.find((order) => order !== head.getAttribute("aria-sort")));
  }
  function chooseClass() {
    const chosen = get("by-class")?.value ?? "all";
    const head = heads.find((each) => each.dataset.class === chosen);
    const other = (each) => each.dataset.class !== undefined && each !== head;
    for (const line of table.rows) heads.forEach((each, i) => { line.cells[i].hidden = other(each); });
    sort(head ?? heads[0], head ? "descending" : "ascending");
    for (const figure of all("[data-chart=ranking]")) {
      figure.querySelector(".drawn")?.remove();
      drawFigure(figure, asked.byClass[chosen]);
    }
  }

  // A column that was chosen: a dialog with what the page knows of it.
  const known = new Map(asked.columns.map((column) => [column.name, column]));
  function openColumn(name) {
    if (!known.has(name)) return;
    get("column-name").textContent = name;
    get("column-said").replaceChildren(...known.get(name).said.map((sentence) => make("p", {}, sentence)));
    if (!get("column").open) get("column").showModal();
    for (const { title, spec } of known.get(name).charts) {
      draw(get("column-said").appendChild(make("figure", {}, make("figcaption", {}, title))), spec);
    }
  }

  // Rows: one is picked; its answer is a waterfall.
  const rows = asked.rows;
  let at = 0, changes = new Map();
  function showRow(to) {
    at = (to + rows.rows.length) % rows.rows.length;
    const row = rows.rows[at], option = (i) => get("pick").options[i].textContent;
    const line = ({ column, text }) => make("tr", {}, make("th", { scope: "row" }, column), make("td", {}, text));
    const image = (src) => [make("img", { src, alt: "The row’s image." }), "As the image branch sees it."];
    get("pick").value = at;
    get("told").textContent = row.said;
    get("adds").replaceChildren(...row.bars.map(line));
    get("near").replaceChildren(...row.near.map((i) => button(option(i), () => showRow(i))));
    get("own").replaceChildren(...(row.image ? image(row.image) : []));
    get("waterfall").replaceChildren();
    draw(get("waterfall"), rows.chart, { row: row.bars });
    reset();
  }

  // What if: an answer to one change is the network's own; those to several are added up.
  function probabilities(scores) {
    const weights = (scores.length > 1 ? scores : [0, ...scores]).map(Math.exp);
    return weights.map((weight) => weight / weights.reduce((a, b) => a + b));
  }
  function tell() {
    const { classes, columns, own } = rows.what_if, before = own[at], now = [...before];
    for (const [i, g] of changes) before.forEach((score, c) => { now[c] += columns[i].answers[at][g][c] - score; });
    const values = Object.fromEntries([...changes].map(([i, g]) => [columns[i].name, columns[i].values[g]]));
    const [was, is] = classes ? [probabilities(before), probabilities(now)] : [before, now];
    const text = classes ? (p) => `${(100 * p).toFixed(1)} %` : shown;
    const say = (answer, how) => {
      all(".outcome output").forEach((output, c) => { output.textContent = `${text(was[c])} → ${text(answer[c])}`; });
      all(".outcome meter").forEach((meter, c) => { meter.value = answer[c]; });
      for (const id of ["exact", "approximate", "live"]) get(id).hidden = id !== how;
    };
    say(is, changes.size > 1 ? "approximate" : "exact");
    document.dispatchEvent(new CustomEvent("what-if", { detail: { row: at, changes: values, say } })); // see live.js
  }
  function change({ currentTarget: { dataset, value, parentElement } }) {
    changes[value < 0 ? "delete" : "set"](dataset.change, value);
    const { labels } = rows.what_if.columns[dataset.change];
    parentElement.querySelector("output").textContent = value < 0 ? "" : `→ ${labels[value]}`;
    tell();
  }
  function reset() {
    changes = new Map();
    for (const control of all("[data-change]")) {
      const column = rows.what_if.columns[control.dataset.change];
      control.parentElement.querySelector(".is").textContent = column.is[at];
      control.parentElement.querySelector("output").textContent = "";
      control.value = column.at[at];
    }
    tell();
  }

  document.documentElement.classList.add("scripted");
  for (const tool of all(".tool")) tool.hidden = false;
  get("parts").setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel(tab).id);
    panel(tab).setAttribute("role", "tabpanel");
    tab.addEventListener("keydown", steer);
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      history.replaceState(null, "", tab.hash);
      show(tab);
    });
  }
  window.addEventListener("hashchange", follow);
  for (const head of heads) head.replaceChildren(button(head.textContent, () => sortBy(head)));
  for (const name of all("tbody th", table).filter((each) => known.has(each.textContent))) {
    name.replaceChildren(button(name.textContent, () => openColumn(name.textContent)));
  }
  get("search").addEventListener("input", filter);
  get("by-class")?.addEventListener("change", chooseClass);
  get("all").addEventListener("change", filter);
  chooseClass();
  if (rows) {
    get("pick").addEventListener("change", () => showRow(Number(get("pick").value)));
    const clicks = { before: () => showRow(at - 1), after: () => showRow(at + 1), reset };
    for (const id in clicks) get(id).addEventListener("click", clicks[id]);
    for (const control of all("[data-change]")) control.addEventListener("input", change);
  }
  follow();
})();
