// Numbers, days and times as people read them. All days and times are UTC.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const dayFormat = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
const shortDayFormat = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
const timeFormat = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
});

export const DAY_MS = 86_400_000;

export const count = (number) => whole.format(number);

/** A number with its noun: the plural only adds an s unless it is given. */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Few characters, for axes. */
export const compact = (number) => short.format(number);

/** A share in per cent. It says 100 % or 0 % only when nothing, or everything, is missing. */
export function percent(part, all) {
  if (all === 0) return "–";
  const share = (part / all) * 100;
  if (share > 99.9 && part < all) return "99.9 %";
  if (share < 0.1 && part > 0) return "0.1 %";
  return `${share === 0 || share === 100 ? share : share.toFixed(1)} %`;
}

export const day = (text) => (text ? dayFormat.format(new Date(`${text}T00:00:00Z`)) : "–");

export const shortDay = (ms) => shortDayFormat.format(ms);

export const longDay = (ms) => dayFormat.format(ms);

/** The name of a day in the API. */
export const dayName = (ms) => new Date(ms).toISOString().slice(0, 10);

export const dayMs = (text) => Date.parse(`${text}T00:00:00Z`);

/** A time in UTC; the time of the reader's clock shows on pointing at it. */
export function time(text) {
  if (!text) return h("span", { class: "faint" }, "never");
  const at = new Date(text);
  return h("time", { datetime: text, title: `${at.toLocaleString()} by your clock` }, timeFormat.format(at));
}

/** The day of a time; the time shows on pointing at it. */
export function onDay(text) {
  if (!text) return time(text);
  return h("time", { datetime: text, title: timeFormat.format(new Date(text)) }, dayFormat.format(new Date(text)));
}

export function bytes(number) {
  if (number === null) return "not told";
  if (number < 1000) return counted(number, "byte");
  const units = ["kB", "MB", "GB"];
  let value = number / 1000;
  while (value >= 999.5 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} ${units[0]}`;
}
