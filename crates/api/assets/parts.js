// What pages are put together from: headings, figures, tables, forms.

import { Problem } from "./api.js";
import { announce, append, foreign, h, link } from "./dom.js";
import { DAY_MS, day, dayMs, dayName } from "./format.js";

/** The head of a page: where it is, what it is, and what belongs beside it. */
export function heading(title, { trail = [], lead = null, beside = null } = {}) {
  return h("div", { class: "heading" },
    h("div", null,
      trail.length > 0 && h("nav", { "aria-label": "Where this is", class: "trail" }, trail.map(([href, name]) => [link(href, name), " / "])),
      h("h1", null, title),
      lead && h("p", { class: "lead" }, lead)),
    beside);
}

/** A part of a page with a heading of its own. */
export function section(title, ...children) {
  const id = `s-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return h("section", { "aria-labelledby": id, class: "card" }, h("h2", { id }, title), children);
}

const COMING = new WeakMap();

/** A place that is filled by `make` when its answer is there: the rest of the page does not wait for it. */
export function later(answer, make) {
  const place = h("div", { class: "stack", "aria-busy": "true" }, h("p", { class: "loading" }, "Loading…"));
  const fill = (content) => {
    place.replaceChildren();
    append(place, content);
    place.setAttribute("aria-busy", "false");
  };
  const fail = (problem) => {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) console.error(problem);
    fill(h("p", { role: "alert", class: "bad" }, foreign(problem.message)));
  };
  COMING.set(place, answer.then((found) => fill(make(found))).catch(fail));
  return place;
}

/** Waits until every place below an element is filled. */
export function complete(element) {
  return Promise.all([...element.querySelectorAll("[aria-busy]")].map((place) => COMING.get(place)));
}

/** Figures side by side, each with its name. */
export function figures(...items) {
  return h("dl", { class: "figures" },
    items.filter(Boolean).map(([name, value, note]) => h("div", null, h("dt", null, name), h("dd", null, value, note && h("small", null, note)))));
}

/** Facts one below the other, those without a value left out. */
export function facts(...items) {
  const known = items.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, known.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

/**
 * A table. A column is `{ name, cell, number, wide, sort }`: `cell` makes the content from an item, numbers stand to the
 * right, `wide` columns do not break their lines where the table scrolls sideways, `sort` is `{ href, direction }`. One
 * that `scrolls` takes little height.
 * On a phone each row is a card; the roles keep it a table for those who listen to it. Cards have no head to click on, so
 * there is a form wherever a table is sorted.
 */
export function table(caption, columns, items, { next = null, more = null, empty = "Nothing here.", scrolls = false } = {}) {
  const body = h("tbody", { role: "rowgroup" }, items.map((item) => row(columns, item)));
  const frame = h("div", { class: scrolls ? "table scrolls" : "table" },
    h("table", { role: "table" },
      h("caption", null, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(head))),
      body),
    items.length === 0 && h("p", { class: "empty" }, empty));
  if (next && more) frame.append(moreButton(columns, body, next, more));
  keepReachable(frame, caption);
  return frame;
}

const NAMES = new WeakMap();

const watcher = new ResizeObserver((changes) => {
  for (const frame of new Set(changes.map(({ target }) => target.closest(".table")))) reach(frame);
});

/** A frame that hides a part of its table can be scrolled with the keyboard, whenever that comes to be so. */
function keepReachable(frame, name) {
  NAMES.set(frame, name);
  watcher.observe(frame);
  watcher.observe(frame.querySelector("table"));
}

function reach(frame) {
  const hides = frame.scrollWidth > frame.clientWidth || frame.scrollHeight > frame.clientHeight;
  const attributes = { role: "group", "aria-label": NAMES.get(frame), tabindex: 0 };
  for (const [name, value] of Object.entries(attributes)) {
    if (hides) frame.setAttribute(name, value);
    else frame.removeAttribute(name);
  }
}

function kind(column) {
  return [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
}

function head(column) {
  const { sort } = column;
  const arrow = sort && h("span", { "aria-hidden": "true", class: "arrow" }, sort.direction ? "↓" : "↕");
  return h("th", { scope: "col", role: "columnheader", class: kind(column), "aria-sort": sort?.direction },
    sort ? [link(sort.href, [column.name, arrow], { id: `sort-${column.name}` }), h("span", { class: "plain" }, column.name)] : column.name);
}

function row(columns, item) {
  return h("tr", { role: "row" }, columns.map((column, place) =>
    place === 0
      ? h("th", { scope: "row", role: "rowheader", class: kind(column) }, column.cell(item))
      : h("td", { role: "cell", class: kind(column), "data-label": column.name }, column.cell(item))));
}

function moreButton(columns, body, next, more) {
  let cursor = next;
  const button = h("button", { type: "button", class: "quiet more", click: async () => {
    button.disabled = true;
    try {
      const page = await more(cursor);
      const rows = page.items.map((item) => row(columns, item));
      body.append(...rows);
      announce(`${page.items.length} more rows`);
      cursor = page.next;
      if (!cursor) button.remove();
      rows[0]?.querySelector("a")?.focus({ preventScroll: true });
    } catch (problem) {
      button.after(h("p", { role: "alert", class: "bad" }, problem.message));
    }
    button.disabled = false;
  } }, "Show more");
  return button;
}

/** Links to views of the same page, of which one is shown. `href` makes an address of a value. */
export function choices(label, options, chosen, href, id) {
  return h("ul", { class: "choices", "aria-label": label }, options.map(([value, text]) =>
    h("li", null, link(href(value), text, { id: `${id}-${value || "all"}`, "aria-current": value === chosen ? "true" : null }))));
}

const PRESETS = [[7, "7 days"], [30, "30 days"], [90, "90 days"], [365, "Year"]];

/** Chooses days. `answer` is what the API says it answered for; other parameters of the address are kept. */
export function rangeForm(path, query, answer) {
  const kept = [...query].filter(([name]) => name !== "from" && name !== "to");
  const to = answer.to ?? dayName(Date.now());
  const preset = ([days, name]) => {
    const from = dayName(dayMs(to) - (days - 1) * DAY_MS);
    const href = `${path}?${new URLSearchParams([...kept, ["from", from], ["to", to]])}`;
    return h("li", null, link(href, name, { id: `range-${days}`, "aria-current": answer.from === from ? "true" : null }));
  };
  return h("form", { class: "range", method: "get", action: path, "aria-label": "Days shown" },
    h("ul", { class: "choices" }, PRESETS.map(preset)),
    kept.map(([name, value]) => h("input", { type: "hidden", name, value })),
    h("div", { class: "between" },
      h("label", null, "From", h("input", { type: "date", name: "from", id: "range-from", value: answer.from ?? "", max: to })),
      h("label", null, "to", h("input", { type: "date", name: "to", id: "range-to", value: answer.to ?? "" })),
      h("button", { type: "submit", class: "quiet" }, "Show")));
}

/** Days in words. */
export function days({ from, to }) {
  return from ? `${day(from)} to ${day(to)}` : "no data yet";
}

/** A field with its label. */
export function field(label, input, note) {
  return h("label", { class: "field" }, h("span", null, label), input, note && h("small", null, note));
}

/** A choice of one among some. */
export function choice(name, options, chosen, attributes) {
  return h("select", { name, id: `choose-${name}`, ...attributes },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}

/** A link to a policy domain. */
export function domainLink(name, query = {}) {
  return link(hrefOf("domains", name, query), foreign(name));
}

/** A link to an address. */
export function sourceLink(ip, query = {}) {
  return link(hrefOf("sources", ip, query), foreign(ip), { class: "mono" });
}

function hrefOf(place, name, query) {
  const fields = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return `/${place}/${encodeURIComponent(name).replaceAll("%3A", ":")}${fields.size > 0 ? `?${fields}` : ""}`;
}

/** A bar for the share that passes, with the figure beside it. */
export function share(text, part, all) {
  const meter = all > 0 && h("progress", { max: 100, value: (part / all) * 100, "aria-hidden": "true", tabindex: -1, class: part / all >= 0.9 ? "good" : part / all >= 0.5 ? "warn" : "bad" });
  return h("span", { class: "share" }, meter, h("span", null, text));
}

/** Stands in for a page that is for others. */
export function forAdministrators(title) {
  return [
    heading(title),
    h("div", { class: "card notice plain" },
      h("p", null, "This page is for administrators: whoever is signed in with a token of the scope ", h("code", null, "admin"), " that is not restricted to some domains.")),
  ];
}

/** Asks before something that cannot be undone. */
export function confirmed(question, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "question" },
      h("p", { id: "question" }, question),
      h("form", { method: "dialog", class: "buttons" },
        h("button", { value: "yes", class: "danger" }, yes),
        h("button", { value: "no", class: "quiet", autofocus: true }, "Cancel")));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
