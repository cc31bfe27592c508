// Messages day by day, as bars, with a table of the same for those who do not see them.

import { h, svg } from "./dom.js";
import { DAY_MS, compact, count, dayMs, longDay, shortDay } from "./format.js";
import { table } from "./parts.js";

/** Parts of a bar by whether messages pass. */
export const BY_RESULT = [
  { name: "Fail", colour: "--fail", of: (day) => day.message_count - day.dmarc_pass_count },
  { name: "Pass", colour: "--pass", of: (day) => day.dmarc_pass_count },
];

/** Parts of a bar by what receivers did. */
export const BY_DISPOSITION = [
  { name: "Rejected", colour: "--fail", of: (day) => day.disposition.reject },
  { name: "Quarantined", colour: "--warn", of: (day) => day.disposition.quarantine },
  { name: "Delivered", colour: "--pass", of: (day) => day.disposition.none + day.disposition.pass },
  { name: "Not said", colour: "--unknown", of: (day) => day.disposition.unknown },
];

const HEIGHT = 240;
const BINS_MAX = 120;

/** A chart of `series` over the days from `from` to `to`. */
export function chart(title, series, { from, to }, parts) {
  const data = bins(series, from, to, parts);
  const shown = parts.filter((part, place) => part.name !== "Not said" || data.columns[place].some((value) => value > 0));
  const columns = shown.map((part) => data.columns[parts.indexOf(part)]);
  const readout = h("p", { class: "readout", "aria-hidden": "true" });
  const frame = h("div", { class: "canvas", role: "img", "aria-label": `${title}: ${spoken(shown, columns)}. The table below has the figures.` });
  const figure = h("figure", { class: "chart" },
    h("figcaption", null,
      h("ul", { class: "legend" }, shown.map((part) => h("li", null, swatch(part.colour), part.name))),
      readout),
    frame,
    h("details", null, h("summary", null, "The same as a table"), asTable(title, data, shown, columns)));
  keepDrawn(frame, () => options(frame, readout, data, shown, columns), stacked(data, columns));
  return figure;
}

function swatch(colour) {
  return svg("svg", { viewBox: "0 0 12 12", class: `swatch ${colour.slice(2)}`, "aria-hidden": "true" }, svg("rect", { width: 12, height: 12, rx: 3 }));
}

function spoken(parts, columns) {
  return parts.map((part, place) => `${part.name} ${count(columns[place].reduce((sum, value) => sum + value, 0))}`).join(", ");
}

/** Every day has its place, those without messages too; long ranges are summed up by several days. */
function bins(series, from, to, parts) {
  const first = dayMs(from);
  const days = Math.round((dayMs(to) - first) / DAY_MS) + 1;
  const size = Math.ceil(days / BINS_MAX);
  const starts = Array.from({ length: Math.ceil(days / size) }, (_, place) => first + place * size * DAY_MS);
  const columns = parts.map(() => starts.map(() => 0));
  for (const day of series) {
    const place = Math.floor((dayMs(day.day) - first) / DAY_MS / size);
    parts.forEach((part, column) => (columns[column][place] += part.of(day)));
  }
  return { starts, size, columns };
}

function named(data, place) {
  const start = data.starts[place];
  return data.size === 1 ? longDay(start) : `${shortDay(start)} to ${longDay(start + (data.size - 1) * DAY_MS)}`;
}

function asTable(title, data, parts, columns) {
  const filled = data.starts.map((_, place) => place).filter((place) => columns.some((column) => column[place] > 0));
  return table(title, [
    { name: data.size === 1 ? "Day" : "Days", cell: (place) => named(data, place) },
    ...parts.map((part, column) => ({ name: part.name, number: true, cell: (place) => count(columns[column][place]) })),
  ], filled, { empty: "No messages on these days.", scrolls: true });
}

/** Draws when the frame is shown, because it has no width before, and anew when its width or the colours change. */
function keepDrawn(frame, made, layers) {
  let plot = null;
  const redraw = () => {
    // The colours may change while another page takes the place of this one.
    if (!frame.isConnected) return;
    plot?.destroy();
    plot = new globalThis.uPlot(made(), layers, frame);
  };
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const watcher = new ResizeObserver(() => {
    if (!frame.isConnected) {
      watcher.disconnect();
      scheme.removeEventListener("change", redraw);
      plot?.destroy();
    } else if (plot === null) {
      scheme.addEventListener("change", redraw);
      redraw();
    } else if (frame.clientWidth > 0 && plot.width !== frame.clientWidth) {
      plot.setSize({ width: frame.clientWidth, height: HEIGHT });
    }
  });
  watcher.observe(frame);
}

/** uPlot draws each part from the bottom, so the sum of all is drawn first and the others over it. */
function stacked(data, columns) {
  const sums = data.starts.map(() => 0);
  const layers = columns.map((column) => column.map((value, place) => (sums[place] += value)));
  return [data.starts.map((start) => start / 1000), ...layers.reverse()];
}

function options(frame, readout, data, parts, columns) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(frame).fontFamily}` };
  return {
    width: frame.clientWidth,
    height: HEIGHT,
    tzDate: (seconds) => globalThis.uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    padding: [8, 8, 0, 0],
    scales: {
      x: { range: (_, min, max) => [min - (data.size * DAY_MS) / 2000, max + (data.size * DAY_MS) / 2000] },
      y: { range: (_, __, max) => [0, Math.max(max * 1.05, 1)] },
    },
    axes: [
      { ...axis, size: 28, grid: { show: false }, space: 70, incrs: [1, 2, 3, 7, 14, 30, 61, 91, 182, 365].map((days) => (days * DAY_MS) / 1000), values: (_, ticks) => ticks.map((tick) => shortDay(tick * 1000)) },
      { ...axis, size: 48, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? compact(tick) : "")) },
    ],
    series: [{}, ...parts.map((part) => ({
      label: part.name,
      fill: colour(part.colour),
      width: 0,
      points: { show: false },
      paths: globalThis.uPlot.paths.bars({ size: [0.72, 40], radius: 0 }),
    })).reverse()],
    hooks: {
      setCursor: [(plot) => {
        const place = plot.cursor.idx;
        const known = place !== null && place !== undefined && plot.cursor.left >= 0;
        readout.textContent = known ? `${named(data, place)}: ${parts.map((part, column) => `${part.name} ${count(columns[column][place])}`).join(" · ")}` : "";
      }],
    },
  };
}

/** A small line of how the share that passes went. */
export function sparkline(series, { from, to }) {
  if (!series || series.length < 2 || !from) return h("span", { class: "faint" }, "–");
  const [width, height] = [96, 24];
  const first = dayMs(from);
  const span = Math.max(dayMs(to) - first, DAY_MS);
  const top = Math.max(...series.map((day) => day.message_count), 1);
  const at = (day, of) => `${((dayMs(day.day) - first) / span * width).toFixed(1)},${(height - 2 - (of(day) / top) * (height - 4)).toFixed(1)}`;
  const line = (name, of) => svg("polyline", { class: name, points: series.map((day) => at(day, of)).join(" ") });
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    line("pass", (day) => day.dmarc_pass_count),
    line("fail", (day) => day.message_count - day.dmarc_pass_count));
}
