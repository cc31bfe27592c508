// What was handed over, and what became of it.

import { get } from "../api.js";
import { foreign, h, link, url } from "../dom.js";
import { bytes, time } from "../format.js";
import { choices, field, heading, table } from "../parts.js";
import { OUTCOMES, badge, outcomeBadge } from "../words.js";

const CHOICES = [["", "All"], ["rejected", "Rejected"], ["conflict", "In conflict"], ["duplicate", "Duplicates"], ["not_aggregate", "Not reports"], ["stored", "Stored"], ["kept", "Kept"]];

const KEPT = "The bytes of these are kept for a time: download them, try them again, or discard them.";

export async function deliveries({ query, signal }) {
  const filter = { outcome: query.get("outcome"), raw_kept: query.get("raw_kept"), origin: query.get("origin") };
  const answer = await get(["deliveries"], { ...filter, limit: 50 }, signal);
  const chosen = filter.raw_kept === "true" ? "kept" : filter.outcome ?? "";
  const of = (value) => (value === "kept" ? { raw_kept: "true" } : { outcome: value });
  return {
    title: "Deliveries",
    content: [
      heading("Deliveries", { lead: "Everything that was handed over: mails, uploads, files. What could not be stored is kept for a time, so that you can look at it and try again." }),
      h("div", { class: "card" },
        choices("Which deliveries", CHOICES, chosen, (value) => url(["deliveries"], { ...of(value), origin: filter.origin }), "outcome"),
        chosen && h("p", { class: "faint" }, chosen === "kept" ? KEPT : OUTCOMES[chosen]?.[2]),
        h("form", { class: "filters", method: "get", action: "/deliveries", "aria-label": "Filter the deliveries" },
          Object.entries(of(chosen)).map(([name, value]) => value && h("input", { type: "hidden", name, value })),
          field("Origin", h("input", { name: "origin", id: "origin", value: filter.origin ?? "", placeholder: "imap:dmarc", spellcheck: "false" })),
          h("button", { type: "submit" }, "Filter"),
          filter.origin && link(url(["deliveries"], of(chosen)), "Show all")),
        table("Deliveries, newest first", [
          { name: "Received", cell: (item) => link(url(["deliveries", item.delivery_id]), time(item.received_at)) },
          { name: "Name", cell: (item) => foreign(item.name, "no name") },
          { name: "Outcome", cell: (item) => [outcomeBadge(item.outcome), item.raw_kept && [" ", badge("kept", "plain")]] },
          { name: "Reason", cell: reason },
          { name: "Origin", wide: true, cell: (item) => foreign(item.origin) },
          { name: "Size", number: true, wide: true, cell: (item) => bytes(item.size_bytes) },
        ], answer.items, { next: answer.next, more: (cursor) => get(["deliveries"], { ...filter, limit: 50, cursor }), empty: "No delivery matches." })),
    ],
  };
}

function reason(item) {
  const first = item.documents.find((document) => document.outcome === item.outcome && document.detail);
  return first ? [h("span", null, foreign(first.detail)), " ", h("code", null, foreign(first.code))] : h("span", { class: "faint" }, "–");
}
