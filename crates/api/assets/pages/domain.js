// One domain: is its mail in order, who sends it, who reports, what the policy was.

import { address, get } from "../api.js";
import { BY_DISPOSITION, BY_RESULT, chart } from "../chart.js";
import { foreign, h, link, url } from "../dom.js";
import { count, day, percent, time } from "../format.js";
import { days, facts, field, figures, heading, choice, later, rangeForm, section, share, sourceLink, table } from "../parts.js";
import { explain, policyBadge, policyWords, standing } from "../words.js";
import { verdict } from "./verdict.js";

const FAILING_SHOWN = 5;

export async function domain({ params: [name], query, signal }) {
  const range = { from: query.get("from"), to: query.get("to") };
  const path = url(["domains", name]);
  const of = (...parts) => ["domains", name, ...parts];
  const filter = { sort: query.get("sort"), pass: query.get("pass"), net: query.get("net"), header_from: query.get("header_from") };
  // Alone, because sources of a large domain take long and the database would be busy with them.
  const summary = await get(of("summary"), range, signal);
  const chosen = { from: summary.from, to: summary.to };
  const failing = summary.dmarc_fail_count > 0
    ? get(of("sources"), { ...chosen, sort: "failures", limit: 500 }, signal).then(({ items }) => items.filter((source) => source.dmarc_fail_count > 0))
    : Promise.resolve([]);
  const sources = get(of("sources"), { ...chosen, ...filter, limit: 25 }, signal);
  const reporters = get(of("reporters"), { ...chosen, limit: 20 }, signal);
  const policies = get(of("policies"), { limit: 20 }, signal);
  const parts = query.get("chart") === "result" ? BY_RESULT : BY_DISPOSITION;
  return {
    title: foreign(summary.domain).textContent,
    content: [
      heading(foreign(summary.domain), { trail: [["/", "Domains"]], lead: `Mail in its name, ${days(summary)}.`, beside: rangeForm(path, query, summary) }),
      verdict(summary, failing),
      figures(
        ["Messages", count(summary.message_count)],
        ["Pass", percent(summary.dmarc_pass_count, summary.message_count), `${count(summary.dmarc_pass_count)} messages`],
        ["Fail", percent(summary.dmarc_fail_count, summary.message_count), `${count(summary.dmarc_fail_count)} messages`],
        ["Policy", policyBadge(summary.policy_published), policyWords(summary.policy_published?.p)],
        ["Sources", count(summary.source_count)],
        ["Reports", link(url(["reports"], { domain: summary.domain, ...chosen }), count(summary.report_count)), summary.last_report && ["last: ", time(summary.last_report.end_at)]]),
      chosen.from && section("Messages per day", chartChoice(path, query), chart("Messages per day", summary.series, chosen, parts)),
      section("Sources that fail", later(failing, (found) => [
        failingTable(found.slice(0, FAILING_SHOWN), range),
        found.length > FAILING_SHOWN && h("p", null, link(url(["domains", name], { ...range, sort: "failures", pass: "false" }), "All sources that fail", { id: "all-failing" })),
      ])),
      section("All sources", filters(path, query), later(sources, (found) => sourceTable(found, { path, query, name, range, chosen, filter })),
        h("p", null, link(address(of("sources"), { ...range, ...filter, limit: null, format: "csv" }), "Download as CSV", { download: true }))),
      section("Who reports", later(reporters, (found) => reporterTable(found, { of, domain: summary.domain, chosen }))),
      section("The policy so far", later(policies, (found) => policyTable(found, of))),
      policyFacts(summary.policy_published),
      explain("pass", "fail", "aligned", "disposition", "policy", "source", "reporter"),
    ],
  };
}

function chartChoice(path, query) {
  const kept = [...query].filter(([name]) => name !== "chart");
  const option = (value, text, current) =>
    h("li", null, link(`${path}?${new URLSearchParams([...kept, ...(value ? [["chart", value]] : [])])}`, text, { id: `chart-${value || "disposition"}`, "aria-current": current ? "true" : null }));
  const byResult = query.get("chart") === "result";
  return h("ul", { class: "choices", "aria-label": "What the bars are made of" },
    option("", "By what receivers did", !byResult),
    option("result", "By pass and fail", byResult));
}

function filters(path, query) {
  const kept = ["from", "to", "chart"].filter((name) => query.get(name));
  const all = new URLSearchParams([...kept, "sort"].filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
  return h("form", { class: "filters", method: "get", action: path, "aria-label": "Filter and sort the sources" },
    kept.map((name) => h("input", { type: "hidden", name, value: query.get(name) })),
    field("Messages that", choice("pass", [["", "pass or fail"], ["true", "pass"], ["false", "fail"]], query.get("pass") ?? "")),
    field("In network", h("input", { name: "net", id: "net", value: query.get("net") ?? "", placeholder: "192.0.2.0/24", spellcheck: "false" })),
    field("From domain", h("input", { name: "header_from", id: "header-from", value: query.get("header_from") ?? "", placeholder: "mail.example.com", spellcheck: "false" })),
    field("Sorted by", choice("sort", [["", "most messages"], ["failures", "most that fail"]], query.get("sort") === "failures" ? "failures" : "")),
    h("button", { type: "submit" }, "Apply"),
    ["pass", "net", "header_from"].some((name) => query.get(name)) && link(`${path}?${all}`, "Show all"));
}

function failingTable(items, range) {
  return table("The sources with most messages that fail", [
    { name: "Source", cell: (item) => sourceLink(item.source_ip, range) },
    { name: "Fail", number: true, cell: (item) => count(item.dmarc_fail_count) },
    { name: "Of messages", number: true, cell: (item) => count(item.message_count) },
    { name: "Standing", cell: standing },
    { name: "Rejected or quarantined", number: true, wide: true, cell: (item) => count(item.disposition.reject + item.disposition.quarantine) },
    { name: "Last seen", wide: true, cell: (item) => day(item.last_day) },
  ], items, { empty: "No source fails. All mail seen in this domain’s name passes." });
}

function sourceTable(sources, { path, query, name, range, chosen, filter }) {
  const kept = [...query].filter(([key]) => key !== "sort");
  const sort = filter.sort === "failures" ? "failures" : "messages";
  const sorted = (value) => ({ href: `${path}?${new URLSearchParams([...kept, ["sort", value]])}`, direction: value === sort ? "descending" : null });
  return table("Sources of mail in this domain’s name", [
    { name: "Source", cell: (item) => sourceLink(item.source_ip, range) },
    { name: "Messages", number: true, sort: sorted("messages"), cell: (item) => count(item.message_count) },
    { name: "Pass", number: true, cell: (item) => share(percent(item.dmarc_pass_count, item.message_count), item.dmarc_pass_count, item.message_count) },
    { name: "Fail", number: true, sort: sorted("failures"), cell: (item) => count(item.dmarc_fail_count) },
    { name: "Standing", cell: standing },
    { name: "DKIM aligned", number: true, wide: true, cell: (item) => count(item.dkim_aligned_count) },
    { name: "SPF aligned", number: true, wide: true, cell: (item) => count(item.spf_aligned_count) },
    { name: "Reports", number: true, wide: true, cell: (item) => count(item.report_count) },
    { name: "Last seen", wide: true, cell: (item) => day(item.last_day) },
  ], sources.items, {
    next: sources.next,
    more: (cursor) => get(["domains", name, "sources"], { ...chosen, ...filter, limit: 25, cursor }),
    empty: "No source matches.",
  });
}

function reporterTable(reporters, { of, domain, chosen }) {
  return table("Reporters of these days", [
    { name: "Reporter", cell: (item) => link(url(["reports"], { domain, org_name: item.org_name, ...chosen }), foreign(item.org_name)) },
    { name: "Reports", number: true, cell: (item) => count(item.report_count) },
    { name: "Messages", number: true, cell: (item) => count(item.message_count) },
    { name: "Pass", number: true, cell: (item) => percent(item.dmarc_pass_count, item.message_count) },
    { name: "Last report of", cell: (item) => day(item.last_day) },
  ], reporters.items, { next: reporters.next, more: (cursor) => get(of("reporters"), { ...chosen, limit: 20, cursor }), empty: "Nobody reported on these days." });
}

function policyTable(policies, of) {
  return table("Policies as reporters saw them, newest first", [
    { name: "Policy", cell: (item) => policyBadge(item.policy_published) },
    { name: "Subdomains", cell: (item) => (item.policy_published.sp ? `sp=${item.policy_published.sp}` : "as the domain") },
    { name: "Alignment", wide: true, cell: ({ policy_published: policy }) => `DKIM ${mode(policy.adkim)}, SPF ${mode(policy.aspf)}` },
    { name: "First day", cell: (item) => day(item.first_day) },
    { name: "Last day", cell: (item) => day(item.last_day) },
    { name: "Reports", number: true, cell: (item) => count(item.report_count) },
  ], policies.items, { next: policies.next, more: (cursor) => get(of("policies"), { limit: 20, cursor }), empty: "No report tells of a policy." });
}

const mode = (letter) => (letter === "s" ? "strict" : "relaxed");

function policyFacts(policy) {
  if (!policy) return null;
  return section("The policy now",
    facts(
      ["Domain (p)", [policyBadge(policy), ` ${policyWords(policy.p)}`]],
      ["Subdomains (sp)", policy.sp ? `${policy.sp}: ${policyWords(policy.sp)}` : "as for the domain"],
      ["Names that do not exist (np)", policy.np && `${policy.np}: ${policyWords(policy.np)}`],
      ["DKIM alignment (adkim)", `${mode(policy.adkim)}: ${alignment(policy.adkim)}`],
      ["SPF alignment (aspf)", `${mode(policy.aspf)}: ${alignment(policy.aspf)}`],
      ["Applies to (pct)", policy.pct !== null && policy.pct < 100 ? `${policy.pct} % of failing mail` : null]));
}

const alignment = (letter) => (letter === "s" ? "the very same name is asked for" : "a subdomain is good enough");
