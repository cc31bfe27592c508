// Elements. Whatever comes out of a report goes in as a text node and in no other way: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element. Functions among the attributes are listeners; null, undefined and false leave an attribute out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  append(element, children);
  return element;
}

/** Adds children: nodes, texts, or lists of them. */
export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// Characters without a picture of their own, those that turn the direction of what follows among them.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** A text with the characters in it that nobody can see, written out. */
function visible(text) {
  return String(text).replace(UNSEEN, (char) => `⟨U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** A text out of a report: it keeps its direction to itself. */
export function foreign(text, fallback = "–") {
  if (text === null || text === undefined || text === "") return h("span", { class: "faint" }, fallback);
  return h("bdi", { class: "foreign" }, visible(text));
}

/** A link within the page. */
export function link(href, content, attributes) {
  return h("a", { href, ...attributes }, content);
}

/** A path of encoded parts, with the parameters of a query that have a value. */
export function url(parts, query = {}) {
  const path = `/${parts.map((part) => encodeURIComponent(part).replaceAll("%3A", ":")).join("/")}`;
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return search.size > 0 ? `${path}?${search}` : path;
}

/** Tells people who do not see the page what has changed on it. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.textContent = "";
  announcer.textContent = text;
}
