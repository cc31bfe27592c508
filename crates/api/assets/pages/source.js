// One address: in whose name it sends, day by day, and the records that say so.

import { get } from "../api.js";
import { BY_RESULT, chart } from "../chart.js";
import { foreign, h, link, url } from "../dom.js";
import { count, day, percent } from "../format.js";
import { choice, days, domainLink, field, figures, heading, later, rangeForm, section, share, table } from "../parts.js";
import { explain, standing } from "../words.js";
import { recordColumns } from "./records.js";

export async function source({ params: [ip], query, signal }) {
  const range = { from: query.get("from"), to: query.get("to") };
  const answer = await get(["sources", ip], { ...range, limit: 200 }, signal);
  const path = url(["sources", ip]);
  const chosen = { from: answer.from, to: answer.to };
  const domain = query.get("domain") ?? answer.items[0]?.domain;
  const place = ["domains", domain, "sources", ip, "records"];
  const records = domain && answer.from ? get(place, { ...chosen, limit: 50 }, signal) : null;
  return {
    title: answer.source_ip,
    content: [
      heading(h("span", { class: "mono" }, foreign(answer.source_ip)), {
        trail: [["/", "Domains"]],
        lead: answer.from ? `What this source sent in the name of your domains, ${days(answer)}.` : "No report names this address.",
        beside: rangeForm(path, query, answer),
      }),
      figures(
        ["Messages", count(answer.message_count)],
        ["Pass", percent(answer.dmarc_pass_count, answer.message_count), `${count(answer.dmarc_pass_count)} messages`],
        ["DKIM aligned", percent(answer.dkim_aligned_count, answer.message_count)],
        ["SPF aligned", percent(answer.spf_aligned_count, answer.message_count)],
        ["Standing", standing(answer)]),
      answer.from && section("Messages per day", chart("Messages per day", answer.series, chosen, BY_RESULT)),
      section("In whose name", table("Domains in whose name it sends", [
        { name: "Domain", cell: (item) => domainLink(item.domain, range) },
        { name: "Messages", number: true, cell: (item) => count(item.message_count) },
        { name: "Pass", number: true, cell: (item) => share(percent(item.dmarc_pass_count, item.message_count), item.dmarc_pass_count, item.message_count) },
        { name: "Standing", cell: standing },
        { name: "Reports", number: true, wide: true, cell: (item) => count(item.report_count) },
        { name: "First seen", wide: true, cell: (item) => day(item.first_day) },
        { name: "Last seen", wide: true, cell: (item) => day(item.last_day) },
      ], answer.items, {
        next: answer.next,
        more: (cursor) => get(["sources", ip], { ...chosen, limit: 200, cursor }),
        empty: "In nobody’s, on these days.",
      })),
      records && section("Records", domainChoice(answer, path, query, domain), later(records, (found) => recordTable(found, place, chosen))),
      explain("pass", "fail", "aligned", "disposition", "source"),
    ],
  };
}

function domainChoice(answer, path, query, domain) {
  const names = new Set([...answer.items.map((item) => item.domain), domain]);
  if (names.size < 2) return null;
  // Of more domains than these, any may be typed.
  const input = answer.next
    ? h("input", { name: "domain", id: "choose-domain", value: domain, spellcheck: "false" })
    : choice("domain", [...names].map((name) => [name, foreign(name).textContent]), domain);
  return h("form", { class: "filters", method: "get", action: path, "aria-label": "Records of which domain" },
    ["from", "to"].map((name) => query.get(name) && h("input", { type: "hidden", name, value: query.get(name) })),
    field("Domain", input),
    h("button", { type: "submit" }, "Show"));
}

function recordTable(records, place, range) {
  const columns = [
    { name: "Day", cell: (item) => link(url(["reports", item.report_uid]), day(item.day)) },
    { name: "Reporter", cell: (item) => foreign(item.org_name) },
    ...recordColumns,
  ];
  return table("What reports say of this source, newest first", columns, records.items, {
    next: records.next,
    more: (cursor) => get(place, { ...range, limit: 50, cursor }),
    empty: "No records of these days are kept.",
  });
}
