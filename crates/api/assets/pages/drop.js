// A place to drop reports on.

import { change } from "../api.js";
import { announce, append, foreign, h, link } from "../dom.js";
import { bytes, counted } from "../format.js";
import { domainLink } from "../parts.js";
import { OUTCOMES, badge, outcomeBadge } from "../words.js";

const AT_A_TIME = 3;
const TRIES = 8;

/** Files dropped here, or chosen, are uploaded one by one; each shows what became of it. */
export function drop() {
  const results = h("ul", { class: "results" });
  const summary = h("p", { class: "faint", hidden: true });
  const input = h("input", { type: "file", multiple: true, id: "files", class: "unseen", change: () => {
    take([...input.files], results, summary);
    input.value = "";
  } });
  const zone = h("div", { class: "drop" },
    h("p", null, h("strong", null, "Drop reports here"), " or"),
    h("p", null, input, h("label", { for: "files", class: "button" }, "Choose files")),
    h("p", { class: "faint" }, "XML, gzip, zip or whole mails, as they came, up to 25 MB each. Uploading something twice does no harm: it counts once."));
  const over = (is) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", is);
  };
  zone.addEventListener("dragenter", over(true));
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    take([...event.dataTransfer.files], results, summary);
  });
  return [zone, summary, results];
}

async function take(files, results, summary) {
  const waiting = files.map((file) => {
    const state = h("span", { class: "state" }, badge("waiting", "plain"));
    results.prepend(h("li", null, h("span", null, foreign(file.name), " ", h("small", { class: "faint" }, bytes(file.size))), state));
    return { file, state };
  });
  const tally = {};
  const worker = async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      const outcomes = await send(one);
      for (const outcome of outcomes) tally[outcome] = (tally[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  const outcomes = [...Object.keys(OUTCOMES), "failed"].filter((outcome) => tally[outcome]);
  const text = outcomes.map((outcome) => `${tally[outcome]} ${OUTCOMES[outcome]?.[0].toLowerCase() ?? outcome}`).join(", ");
  summary.hidden = false;
  summary.replaceChildren(`Done: ${text}. `, link("/", "See the domains"));
  announce(`Done: ${text}`);
}

async function send({ file, state }) {
  for (let attempt = 1; ; attempt += 1) {
    state.replaceChildren(badge(attempt === 1 ? "uploading" : "waiting for room", "plain"));
    const form = new FormData();
    form.append("file", file);
    try {
      const { body } = await change("POST", ["reports"], form);
      state.replaceChildren();
      append(state, body.reports.map((report) => result(report, body.delivery_id)));
      return body.reports.map((report) => report.outcome);
    } catch (problem) {
      if (problem.code !== "busy" || attempt === TRIES) {
        state.replaceChildren(badge("failed", "bad"), h("small", { role: "alert" }, problem.message));
        return ["failed"];
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

function result(report, delivery) {
  const about = report.domain && report.outcome !== "rejected"
    ? [domainLink(report.domain), ", ", foreign(report.org_name), report.message_count !== null && `: ${counted(report.message_count, "message")}`]
    : foreign(report.detail, "");
  return h("span", { class: "result" }, link(`/deliveries/${delivery}`, outcomeBadge(report.outcome)), " ", h("small", null, about));
}
