// Reports as they came.

import { get } from "../api.js";
import { foreign, h, link, url } from "../dom.js";
import { count, day, percent } from "../format.js";
import { choice, domainLink, field, heading, table } from "../parts.js";
import { badge, explain, policyBadge } from "../words.js";

const FILTERS = ["domain", "org_name", "from", "to", "mail_dmarc_pass"];

export async function reports({ query, signal }) {
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name)]));
  const answer = await get(["reports"], { ...filter, limit: 50 }, signal);
  const value = (name) => query.get(name) ?? "";
  return {
    title: "Reports",
    content: [
      heading("Reports", { lead: "Every report that is stored, the latest days first. One report counts the mail that one receiver saw, mostly of one day." }),
      h("div", { class: "card" },
        h("form", { class: "filters", method: "get", action: "/reports", "aria-label": "Filter the reports" },
          field("Domain", h("input", { name: "domain", id: "domain", value: value("domain"), spellcheck: "false" })),
          field("Reporter", h("input", { name: "org_name", id: "org-name", value: value("org_name"), spellcheck: "false" })),
          field("From", h("input", { type: "date", name: "from", id: "from", value: value("from") })),
          field("To", h("input", { type: "date", name: "to", id: "to", value: value("to") })),
          field("Sent by", choice("mail_dmarc_pass", [["", "anybody"], ["true", "who it says"], ["false", "not shown to be"]], value("mail_dmarc_pass"))),
          h("button", { type: "submit" }, "Filter"),
          FILTERS.some((name) => query.get(name)) && link("/reports", "Show all")),
        table("Reports", [
          { name: "Day", cell: (item) => link(url(["reports", item.report_uid]), day(item.day)) },
          { name: "Domain", cell: (item) => domainLink(item.domain) },
          { name: "Reporter", cell: (item) => foreign(item.org_name) },
          { name: "Messages", number: true, cell: (item) => count(item.message_count) },
          { name: "Pass", number: true, cell: (item) => percent(item.dmarc_pass_count, item.message_count) },
          { name: "Policy", cell: (item) => policyBadge(item.policy_published) },
          { name: "Records", number: true, wide: true, cell: (item) => count(item.record_count) },
          { name: "Remarks", wide: true, cell: remarks },
        ], answer.items, { next: answer.next, more: (cursor) => get(["reports"], { ...filter, limit: 50, cursor }), empty: "No report matches." })),
      explain("pass", "reporter", "policy"),
    ],
  };
}

function remarks(item) {
  const all = [
    item.skipped_count > 0 && badge(`${count(item.skipped_count)} skipped`, "bad"),
    item.errors.length > 0 && badge("errors", "warn"),
    item.warnings.length > 0 && badge("oddities", "plain"),
    item.mail?.dmarc_pass === false && badge("sender not shown", "warn"),
  ].filter(Boolean);
  return all.length > 0 ? all.map((one) => [one, " "]) : h("span", { class: "faint" }, "–");
}
