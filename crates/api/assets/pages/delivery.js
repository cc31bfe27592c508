// One delivery: what was in it, why something of it was not stored, and what can be done.

import { address, change, get, session } from "../api.js";
import { announce, foreign, h, link, url } from "../dom.js";
import { bytes, count, time } from "../format.js";
import { confirmed, domainLink, facts, heading, section, table } from "../parts.js";
import { OUTCOMES, outcomeBadge } from "../words.js";
import { sender } from "./report.js";

export async function delivery({ params: [id], signal, reload }) {
  const item = await get(["deliveries", id], {}, signal);
  return {
    title: "Delivery",
    content: [
      heading(foreign(item.name?.split("/").at(-1), "A delivery without a name"), { trail: [["/deliveries", "Deliveries"]], lead: [outcomeBadge(item.outcome), " ", OUTCOMES[item.outcome]?.[2]] }),
      section("The delivery", facts(
        ["Name", item.name && foreign(item.name)],
        ["Received", time(item.received_at)],
        ["Origin", foreign(item.origin)],
        ["Size", bytes(item.size_bytes)],
        ["Sent by", sender(item.mail)],
        ["SHA-256", item.sha256 && h("span", { class: "mono" }, foreign(item.sha256))]),
      item.raw_kept ? actions(id, { signal, reload }) : h("p", { class: "faint" }, "Its bytes are not kept: all that matters is stored, or they were discarded.")),
      section("What was in it", table("Documents of the delivery", [
        { name: "Document", cell: (document) => (document.report_uid ? link(url(["reports", document.report_uid]), foreign(document.path, "the delivery itself")) : foreign(document.path, "the delivery itself")) },
        { name: "Outcome", cell: (document) => outcomeBadge(document.outcome) },
        { name: "Reason", cell: reason },
        { name: "Domain", cell: (document) => (document.domain && document.report_uid ? domainLink(document.domain) : foreign(document.domain)) },
        { name: "Reporter", cell: (document) => foreign(document.org_name) },
        { name: "Messages", number: true, cell: (document) => (document.message_count === null ? "–" : count(document.message_count)) },
        { name: "Skipped records", number: true, wide: true, cell: (document) => (document.skipped_count === null ? "–" : count(document.skipped_count)) },
      ], item.documents, { empty: "Nothing was found in it." })),
    ],
  };
}

function reason(document) {
  if (!document.detail && !document.code) return h("span", { class: "faint" }, "–");
  return [
    foreign(document.detail), " ", h("code", null, foreign(document.code)),
    document.element && h("small", null, "at element ", foreign(document.element)),
    document.offset_bytes !== null && h("small", null, `at byte ${count(document.offset_bytes)}`),
  ];
}

function actions(id, { signal, reload }) {
  const message = h("p", { role: "status", id: "message" });
  const say = (text) => {
    message.textContent = text;
    announce(text);
  };
  const run = async (work) => {
    try {
      say(await work());
      // Once it has been read, and unless somebody has gone elsewhere.
      setTimeout(() => signal.aborted || reload(), 1200);
    } catch (problem) {
      say(problem.message);
    }
  };
  const retry = () => run(async () => {
    say("Trying again…");
    const { body } = await change("POST", ["deliveries", id, "retry"]);
    return `Tried again: ${body.reports.map((one) => OUTCOMES[one.outcome]?.[0].toLowerCase() ?? one.outcome).join(", ")}.`;
  });
  const discard = async () => {
    if (!(await confirmed("Discard the bytes of this delivery? They cannot be had again; the entry here stays.", "Discard"))) return;
    await run(async () => {
      await change("DELETE", ["deliveries", id]);
      return "Its bytes are discarded.";
    });
  };
  return [
    h("p", null, "Its bytes are kept for a time. After an upgrade or a change of the configuration, try it again."),
    h("div", { class: "buttons" },
      link(address(["deliveries", id, "raw"]), "Download", { class: "button", download: true, id: "download" }),
      session.scope === "admin" && h("button", { type: "button", id: "retry", click: retry }, "Try again"),
      session.scope === "admin" && h("button", { type: "button", id: "discard", class: "danger", click: discard }, "Discard")),
    message,
  ];
}
