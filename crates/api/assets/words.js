// What the words of DMARC mean, for people who do not know them.

import { h } from "./dom.js";

const MEANINGS = {
  pass: ["Pass", "The message proved that it comes from the domain in its From line: by a DKIM signature or by SPF, aligned with that domain. One of the two is enough."],
  fail: ["Fail", "Neither was the case. Either the service that sent it is not set up for your domain, somebody forwarded it and broke the proof, or somebody else used your name."],
  aligned: ["Aligned", "A signature (DKIM) or a sending server (SPF) is not only valid: it belongs to the same domain as the From line that people see."],
  disposition: ["Disposition", "What the receiver did with the message: delivered it as usual, put it into quarantine (the spam folder), or rejected it."],
  policy: ["Policy", "What your DNS record asks receivers to do with mail that fails: p=none only watches, p=quarantine asks for the spam folder, p=reject asks to refuse it."],
  source: ["Source", "The server that handed the message to the receiver, by its address."],
  reporter: ["Reporter", "The receiver of the mail who sent you the report, such as a large mail provider."],
  scope: ["Scope", "What a token may do. read: see all answers. ingest: upload reports and nothing else, as a mail server or a script does. admin: everything, tokens and the audit included."],
  domains: ["Domains", "A token for some domains sees these and the names below them; nothing else exists for it."],
  revoked: ["Revoked", "Refused from then on, everywhere. The token stays in this list, so that the audit can be understood; whoever needs one again gets another."],
};

/** A folded list of what some words mean. */
export function explain(...names) {
  return h("details", { class: "explain" },
    h("summary", null, "What do these words mean?"),
    h("dl", null, names.map((name) => [h("dt", null, MEANINGS[name][0]), h("dd", null, MEANINGS[name][1])])));
}

// Words of the API are looked up in these, so they have no names but their own.
const DISPOSITIONS = {
  __proto__: null,
  none: "Delivered",
  pass: "Delivered",
  quarantine: "Quarantined",
  reject: "Rejected",
  unknown: "Not said",
};

const POLICIES = {
  __proto__: null,
  none: "only watch: failing mail is delivered as usual",
  quarantine: "failing mail goes to the spam folder",
  reject: "failing mail is refused",
};

/** What a policy asks for, in words. */
export const policyWords = (p) => POLICIES[p] ?? "not said";

export const OUTCOMES = {
  __proto__: null,
  stored: ["Stored", "good", "All of it is in the figures."],
  duplicate: ["Duplicate", "plain", "The same report was stored before; it counts once."],
  conflict: ["Conflict", "warn", "Another report with the same identity was there first, and that one is kept."],
  rejected: ["Rejected", "bad", "This cannot be stored; the reason is given."],
  not_aggregate: ["Not a report", "plain", "Something else than a DMARC aggregate report."],
};

/** A word with a colour, which never says more than the word. */
export function badge(word, kind) {
  return h("span", { class: `badge ${kind}` }, word);
}

export function outcomeBadge(outcome) {
  const [word, kind] = OUTCOMES[outcome] ?? [outcome, "plain"];
  return badge(word, kind);
}

export function policyBadge(policy) {
  if (!policy) return badge("unknown", "plain");
  const p = policy.p ?? "?";
  const kind = { __proto__: null, reject: "good", quarantine: "warn" }[p] ?? "plain";
  const part = policy.pct !== null && policy.pct !== undefined && policy.pct < 100 ? ` ${policy.pct} %` : "";
  return badge(`p=${p in POLICIES ? p : "?"}${part}${policy.testing ? " (test)" : ""}`, kind);
}

/** Aligned, not aligned, or not said. */
export function alignedBadge(aligned) {
  if (aligned === true) return badge("aligned", "good");
  if (aligned === false) return badge("not aligned", "bad");
  return badge("not said", "plain");
}

export function dispositionBadge(disposition) {
  const kind = { __proto__: null, quarantine: "warn", reject: "bad" }[disposition] ?? "plain";
  return badge(DISPOSITIONS[disposition ?? "unknown"] ?? DISPOSITIONS.unknown, kind);
}

/** What the results of a source amount to. */
export function standing(source) {
  const { message_count: all, dmarc_pass_count: passed, dkim_aligned_count: dkim, spf_aligned_count: spf } = source;
  if (all === 0) return badge("nothing sent", "plain");
  if (passed === 0) return badge("never passes", "bad");
  if (passed < all) return badge("passes at times", "warn");
  if (dkim === all && spf === all) return badge("DKIM and SPF", "good");
  if (dkim === all) return badge("by DKIM", "good");
  if (spf === all) return badge("by SPF", "good");
  return badge("always passes", "good");
}
