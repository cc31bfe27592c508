// One report in full.

import { get } from "../api.js";
import { foreign, h, link, url } from "../dom.js";
import { count, day, percent, time } from "../format.js";
import { domainLink, facts, figures, heading, later, section, sourceLink, table } from "../parts.js";
import { badge, explain, policyBadge } from "../words.js";
import { recordColumns } from "./records.js";

export async function report({ params: [uid], signal }) {
  const place = ["reports", uid, "records"];
  const records = later(get(place, { limit: 100 }, signal).catch(asExpired), (found) => recordTable(found, place));
  const item = await get(["reports", uid], {}, signal);
  return {
    title: `Report of ${foreign(item.org_name).textContent}`,
    content: [
      heading(["Report of ", foreign(item.org_name)], { trail: [["/reports", "Reports"]], lead: ["About ", domainLink(item.domain), `, ${day(item.day)}.`] }),
      figures(
        ["Messages", count(item.message_count)],
        ["Pass", percent(item.dmarc_pass_count, item.message_count), `${count(item.dmarc_pass_count)} messages`],
        ["Records", count(item.record_count)],
        item.skipped_count > 0 && ["Skipped records", count(item.skipped_count), "not in the figures"]),
      h("div", { class: "columns" },
        section("The report", about(item)),
        section("The policy it saw", policy(item))),
      oddities(item),
      section("Records", records),
      explain("pass", "aligned", "disposition", "policy", "reporter"),
    ],
  };
}

function recordTable(records, place) {
  if (records.expired) return h("p", null, "The records of this report are kept no longer; its messages still count in all summaries.");
  return table("Records of the report: messages of one source with the same results", [
    { name: "Source", cell: (record) => sourceLink(record.source_ip) },
    ...recordColumns,
  ], records.items, { next: records.next, more: (cursor) => get(place, { limit: 100, cursor }), empty: "The report has no records." });
}

function asExpired(problem) {
  if (problem.status !== 410) throw problem;
  return { expired: true };
}

function about(item) {
  return facts(
    ["Reporter", foreign(item.org_name)],
    ["Contact", item.email && foreign(item.email)],
    ["More contact", item.extra_contact_info && foreign(item.extra_contact_info)],
    ["Report id", foreign(item.report_id)],
    ["Period", [time(item.begin_at), " to ", time(item.end_at), item.day_count > 1 && ` (spread over ${item.day_count} days)`]],
    ["Domain as written", item.domain_as_reported && foreign(item.domain_as_reported)],
    ["Made by", item.generator && foreign(item.generator)],
    ["Received", [time(item.received_at), " in ", link(url(["deliveries", item.delivery_id]), "this delivery")]],
    ["Sent by", sender(item.mail)]);
}

/** Who sent the mail, and whether that is shown to be true. */
export function sender(mail) {
  if (!mail) return null;
  const shown = mail.dmarc_pass === true ? badge("shown to be true", "good") : mail.dmarc_pass === false ? badge("not shown to be true", "warn") : badge("not checked", "plain");
  return [foreign(mail.from_domain, "no From domain"), " ", shown];
}

function policy(item) {
  const seen = item.policy_published;
  const raw = (value) => (value === null || value === undefined ? null : foreign(value));
  return facts(
    ["Domain (p)", policyBadge(seen)],
    ["Subdomains (sp)", raw(seen.sp)],
    ["Names that do not exist (np)", raw(seen.np)],
    ["DKIM alignment (adkim)", raw(seen.adkim)],
    ["SPF alignment (aspf)", raw(seen.aspf)],
    ["Per cent (pct)", raw(seen.pct)],
    ["Failure reports (fo)", raw(seen.fo)],
    ["Testing (t)", seen.testing === null ? null : seen.testing ? "yes" : "no"],
    ["Found by", raw(item.discovery_method)]);
}

function oddities(item) {
  if (item.errors.length === 0 && item.warnings.length === 0) return null;
  return section("What was odd",
    item.errors.length > 0 && [h("p", null, "The reporter says:"), h("ul", null, item.errors.map((error) => h("li", null, foreign(error))))],
    item.warnings.length > 0 && h("details", null,
      h("summary", null, `${item.warnings.length} deviation${item.warnings.length === 1 ? "" : "s"} from the format; none of them changes a figure`),
      table("Deviations", [
        { name: "What", cell: (warning) => h("code", null, foreign(warning.code)) },
        { name: "Where", cell: (warning) => foreign(warning.element) },
        { name: "Text", cell: (warning) => foreign(warning.text) },
        { name: "Times", number: true, cell: (warning) => count(warning.occurrences) },
      ], item.warnings)));
}
