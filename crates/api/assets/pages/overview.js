// All domains.

import { get } from "../api.js";
import { BY_RESULT, chart, sparkline } from "../chart.js";
import { h } from "../dom.js";
import { count, counted, percent, time } from "../format.js";
import { choice, days, domainLink, field, figures, heading, later, rangeForm, section, share, table } from "../parts.js";
import { explain, policyBadge } from "../words.js";
import { welcome } from "./welcome.js";

/** Domains are asked for page by page, up to so many: what a person may still look through. */
const DOMAINS_MAX = 2000;

const SORTS = {
  __proto__: null,
  messages: (one, other) => other.message_count - one.message_count,
  failures: (one, other) => other.dmarc_fail_count - one.dmarc_fail_count,
  name: () => 0,
};

export async function overview({ query, signal }) {
  const asked = { from: query.get("from"), to: query.get("to"), limit: 200, series: true };
  const answer = await get(["domains"], asked, signal);
  if (answer.items.length === 0) return welcome();
  const number = answer.next ? "your domains" : counted(answer.items.length, "domain");
  return {
    title: "Domains",
    content: [
      heading("Domains", { lead: `Mail in the name of ${number}, ${days(answer)}.`, beside: rangeForm("/", query, answer) }),
      // Figures of some of the domains would be wrong ones.
      answer.next ? later(others(answer, asked, signal), (all) => body(all, query)) : body(answer, query),
    ],
  };
}

/** Adds the domains of the pages that follow. */
async function others(answer, asked, signal) {
  while (answer.next && answer.items.length < DOMAINS_MAX) {
    const page = await get(["domains"], { ...asked, cursor: answer.next }, signal);
    answer.items.push(...page.items);
    answer.next = page.next;
  }
  return answer;
}

function body(answer, query) {
  const { items } = answer;
  const sort = SORTS[query.get("sort")] ? query.get("sort") : "messages";
  const shown = items.toSorted(SORTS[sort]);
  const sum = (of) => items.reduce((total, item) => total + of(item), 0);
  const [messages, passed] = [sum((item) => item.message_count), sum((item) => item.dmarc_pass_count)];
  return [
    figures(
      ["Messages", count(messages)],
      ["Pass", percent(passed, messages), `${count(passed)} messages`],
      ["Fail", percent(messages - passed, messages), `${count(messages - passed)} messages`],
      ["Reports", count(sum((item) => item.report_count))]),
    answer.from && section("Messages per day", chart("Messages per day", together(items), answer, BY_RESULT)),
    section("Each domain", sortForm(query, sort), domainTable(shown, answer, sort, query)),
    answer.next && h("p", { class: "faint" }, `Only the first ${count(items.length)} domains are shown and counted here.`),
    explain("pass", "fail", "policy"),
  ];
}

/** The days of all domains, added up. */
function together(items) {
  const sums = new Map();
  for (const { series } of items) {
    for (const day of series) {
      const sum = sums.get(day.day) ?? { day: day.day, message_count: 0, dmarc_pass_count: 0 };
      sum.message_count += day.message_count;
      sum.dmarc_pass_count += day.dmarc_pass_count;
      sums.set(day.day, sum);
    }
  }
  return [...sums.values()];
}

/** Whether the share that passes moves: the later half of the days against the earlier one, in points of a hundred. */
function trend(series) {
  const half = Math.floor(series.length / 2);
  if (half < 2) return null;
  const rate = (part) => {
    const all = part.reduce((sum, day) => sum + day.message_count, 0);
    return all === 0 ? null : part.reduce((sum, day) => sum + day.dmarc_pass_count, 0) / all;
  };
  const [before, after] = [rate(series.slice(0, half)), rate(series.slice(half))];
  return before === null || after === null ? null : (after - before) * 100;
}

function trendText(series) {
  const points = trend(series);
  if (points === null) return null;
  if (Math.abs(points) < 0.5) return h("small", { class: "faint" }, "steady");
  const up = points > 0;
  return h("small", { class: up ? "good" : "bad" }, `${up ? "▲ +" : "▼ −"}${Math.abs(points).toFixed(1)} points`);
}

function sortForm(query, sort) {
  return h("form", { class: "filters", method: "get", action: "/", "aria-label": "Sort the domains" },
    ["from", "to"].map((name) => query.get(name) && h("input", { type: "hidden", name, value: query.get(name) })),
    field("Sorted by", choice("sort", [["", "most messages"], ["failures", "most that fail"], ["name", "name"]], sort === "messages" ? "" : sort)),
    h("button", { type: "submit", class: "quiet" }, "Apply"));
}

function domainTable(items, answer, sort, query) {
  const range = { from: query.get("from"), to: query.get("to") };
  const sorted = (name) => {
    const fields = new URLSearchParams([...query].filter(([key]) => key !== "sort"));
    fields.set("sort", name);
    return { href: `/?${fields}`, direction: name !== sort ? null : name === "name" ? "ascending" : "descending" };
  };
  return table("The trend compares the share that passes in the later half of these days with the earlier half", [
    { name: "Domain", sort: sorted("name"), cell: (item) => domainLink(item.domain, range) },
    { name: "Messages", number: true, sort: sorted("messages"), cell: (item) => count(item.message_count) },
    { name: "Pass", number: true, cell: (item) => share(percent(item.dmarc_pass_count, item.message_count), item.dmarc_pass_count, item.message_count) },
    { name: "Fail", number: true, sort: sorted("failures"), cell: (item) => count(item.dmarc_fail_count) },
    { name: "Trend", cell: (item) => h("span", { class: "trend" }, sparkline(item.series, answer), trendText(item.series)) },
    { name: "Policy", cell: (item) => policyBadge(item.policy_published) },
    { name: "Sources", number: true, wide: true, cell: (item) => count(item.source_count) },
    { name: "Last report", wide: true, cell: (item) => (item.last_report ? time(item.last_report.end_at) : "–") },
  ], items);
}
