// What the figures of a domain amount to, in sentences.

import { h } from "../dom.js";
import { count, counted, percent } from "../format.js";
import { later } from "../parts.js";

/** So small a part of all mail is lost to forwarding wherever one looks. */
const NEGLIGIBLE = 0.005;

const NEXT = { __proto__: null, none: "p=quarantine", quarantine: "p=reject" };

/** `failing` promises the sources that fail most, which may not be all that fail. */
export function verdict(summary, failing) {
  const { message_count: all, dmarc_fail_count: failed, policy_published: policy } = summary;
  if (all === 0) return note("plain", "No mail was reported on these days.", h("p", null, "Choose other days, or wait for the next reports."));
  if (failed === 0) return note("good", headline(all, failed), h("ul", null, h("li", null, advice(policy?.p, failed, { lost: 0, unknown: 0, strangers: false }))));
  const frame = note("plain", headline(all, failed), later(failing, (sources) => {
    const { kind, sentences } = assessed(summary, sources);
    frame.classList.replace("plain", kind);
    return h("ul", null, sentences.map((sentence) => h("li", null, sentence)));
  }));
  return frame;
}

function assessed({ message_count: all, dmarc_fail_count: failed, policy_published: policy }, failing) {
  const some = failing.filter((source) => source.dmarc_pass_count > 0);
  const never = failing.filter((source) => source.dmarc_pass_count === 0);
  const fails = (sources) => sources.reduce((sum, source) => sum + source.dmarc_fail_count, 0);
  const rest = failed - fails(failing);
  const sentences = [
    some.length > 0 && `${count(fails(some))} of them came from ${counted(some.length, "source that passes", "sources that pass")} at other times: most likely yours, or forwarders of your mail. Look at these first.`,
    never.length > 0 && `${count(fails(never))} came from ${counted(never.length, "source that never passes", "sources that never pass")}: services that are not set up for this domain, or strangers who use its name.`,
    rest > 0 && `${count(rest)} came from many more sources with fewer messages each, which are not looked at here.`,
    advice(policy?.p, failed, { lost: fails(some) / all, unknown: rest / all, strangers: never.length > 0 }),
  ];
  return { kind: fails(some) / all > NEGLIGIBLE ? "warn" : "plain", sentences: sentences.filter(Boolean) };
}

function headline(all, failed) {
  if (failed === 0) return `All ${count(all)} messages pass.`;
  return `${percent(all - failed, all)} of the mail passes; ${count(failed)} of ${counted(all, "message")} fail.`;
}

function advice(p, failed, { lost, unknown, strangers }) {
  if (p === "reject") {
    return failed === 0 ? "The policy is p=reject, and nothing of yours is lost to it." : "The policy is p=reject: receivers are asked to refuse what fails. If a source below is yours, set it up, or its mail is lost.";
  }
  const next = NEXT[p] ?? "a stricter policy";
  if (lost > NEGLIGIBLE) return `Not ready for ${next} yet: ${(lost * 100).toFixed(1)} % of all mail would be hit although its source can pass.`;
  if (lost + unknown > NEGLIGIBLE) return `Whether ${next} is safe does not show from these sources alone: choose fewer days, or look through all sources that fail.`;
  if (strangers) return `${next} looks safe if none of the sources that never pass is yours: look through them below.`;
  return `${next} looks safe: nothing of yours would be hit.`;
}

function note(kind, title, body) {
  return h("section", { class: `card verdict ${kind}`, "aria-labelledby": "verdict" }, h("h2", { id: "verdict" }, title), body);
}
