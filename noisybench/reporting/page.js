"use strict";
// Sorts and filters the tables, shows the runs behind a cell, and saves figures. All text is set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const MOST = 500;

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const said = (name, at) => Array.isArray(data.columns[name]) ? data.columns[name][at] : data.columns[name];

// Runs

function detailsOf(at) {
  const all = element("div");
  for (const [group, names] of Object.entries(data.groups)) {
    const list = element("dl");
    for (const name of names) {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", said(name, at)));
      list.append(pair);
    }
    all.append(element("h3", group), list);
  }
  return all;
}

function rowsOf(runs) {
  const body = element("tbody");
  for (const at of runs.slice(0, MOST)) {
    const row = element("tr"), head = element("th", undefined, { scope: "row" });
    const button = element("button", said("id", at), { type: "button", "aria-expanded": "false" });
    head.append(button);
    row.append(head, ...data.listed.map(([name]) => element("td", said(name, at))));
    let shown = null;
    button.addEventListener("click", () => {
      if (shown) {
        shown.remove();
        shown = null;
      } else {
        const cell = element("td", undefined, { colspan: data.listed.length + 1, class: "label" });
        cell.append(detailsOf(at));
        shown = element("tr");
        shown.append(cell);
        row.after(shown);
      }
      button.setAttribute("aria-expanded", String(shown !== null));
    });
    body.append(row);
  }
  return body;
}

const dialog = document.getElementById("runs");

function show(title, runs) {
  const table = element("table"), head = element("tr");
  head.append(element("th", "run", { scope: "col" }));
  head.append(...data.listed.map(([, heading]) => element("th", heading, { scope: "col" })));
  table.append(element("thead"), rowsOf(runs));
  table.tHead.append(head);
  const wide = element("div", undefined, { class: "wide" });
  wide.append(table);
  const close = element("button", "Close", { type: "button" });
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(close, element("h2", title), wide);
  if (runs.length > MOST) dialog.append(element("p", `The first ${MOST} of ${runs.length} runs.`));
  if (runs.length === 1) dialog.querySelector("tbody button").click();
  if (!dialog.open) dialog.showModal();
}

function follow() {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name === "all-runs") show("All runs", [...Array(data.count).keys()]);
  else if (Object.hasOwn(data.cells, name)) show(...data.cells[name]);
  else if (name.startsWith("run-")) {
    const at = [].concat(data.columns.id).indexOf(name.slice(4));
    if (at >= 0) show(`Run ${name.slice(4)}`, [at]);
  }
}
addEventListener("hashchange", follow);
dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));

// Tables

function byColumn(column, direction) {
  const key = (row) => row.cells[column].textContent.trim().replace("−", "-").replace(",", "");
  return (one, other) => {
    const [a, b] = [key(one), key(other)], [x, y] = [parseFloat(a), parseFloat(b)];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // what is missing comes last
    return direction * (Number.isNaN(x) ? a.localeCompare(b) : x - y);
  };
}

for (const table of document.querySelectorAll("#tables table")) {
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headings.forEach((heading, column) => {
    const button = element("button", heading.textContent, { type: "button", title: "Sort" });
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "descending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(byColumn(column, up ? 1 : -1)));
    });
  });
}

const filter = element("input", undefined, { type: "search", placeholder: "Show rows with these words" });
filter.setAttribute("aria-label", "Filter the rows of all tables");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const table of document.querySelectorAll("#tables table")) {
    const rows = [...table.tBodies[0].rows], title = table.caption.textContent;
    for (const row of rows) {
      const text = `${title} ${row.textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    table.parentElement.hidden = rows.every((row) => row.hidden);
  }
});
if (document.querySelector("#tables table")) document.querySelector("#tables h2").after(filter);

// Figures

for (const figure of document.querySelectorAll("figure")) {
  const button = element("button", "Download as SVG", { type: "button" });
  button.addEventListener("click", () => {
    const text = new XMLSerializer().serializeToString(figure.querySelector("svg"));
    const link = element("a", "", { download: `${figure.id}.svg` });
    link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    link.click();
    URL.revokeObjectURL(link.href);
  });
  figure.append(button);
}

follow();
