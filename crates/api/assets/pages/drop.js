// A place to drop reports on.

import { change, may, session } from "../api.js";
import { announce, append, foreign, h, link } from "../dom.js";
import { bytes, counted } from "../format.js";
import { domainLink } from "../parts.js";
import { OUTCOMES, badge, outcomeBadge } from "../words.js";

const AT_A_TIME = 3;
const TRIES = 8;
const UNREADABLE = "The browser cannot read this.";

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
    h("p", { class: "faint" }, "XML, gzip, zip or whole mails, as they came, or folders of them. Uploading something twice does no harm: it counts once."));
  const over = (is) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", is);
  };
  zone.addEventListener("dragenter", over(true));
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", async (event) => {
    over(false)(event);
    // Asked for at once: nothing can be had of what was dropped when the event is over.
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
    try {
      const files = await Promise.all(dropped.filter(Boolean).map(filesOf));
      take(files.flat(), results, summary);
    } catch {
      summary.hidden = false;
      summary.textContent = UNREADABLE;
      announce(UNREADABLE);
    }
  });
  return [zone, summary, results];
}

/** A file that was dropped, or all files in a folder that was. */
async function filesOf(dropped) {
  if (dropped instanceof File) return [dropped];
  if (dropped.isFile) return [await new Promise((done, fail) => dropped.file(done, fail))];
  const reader = dropped.createReader();
  const files = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) return files;
    for (const one of some) files.push(...await filesOf(one));
  }
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
  summary.replaceChildren(`Done: ${text}. `);
  if (may("read")) summary.append(link("/", "See the domains"));
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
        const why = problem.code === "unreachable" && !(await readable(file)) ? UNREADABLE : problem.message;
        state.replaceChildren(badge("failed", "bad"), h("small", { role: "alert" }, why));
        return ["failed"];
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

/** Browsers tell a file that is gone from a server that is gone only when asked. */
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** What became of a report; links for those who may go where they lead. */
function result(report, delivery) {
  const outcome = outcomeBadge(report.outcome);
  const known = report.domain && report.outcome !== "rejected";
  // Who is restricted to domains does not see deliveries that are about others, or about none.
  const seen = may("read") && (known || session.domains === null);
  const about = known
    ? [may("read") ? domainLink(report.domain) : foreign(report.domain), ", ", foreign(report.org_name), report.message_count !== null && `: ${counted(report.message_count, "message")}`]
    : foreign(report.detail, "");
  return h("span", { class: "result" }, seen ? link(`/deliveries/${delivery}`, outcome) : outcome, " ", h("small", null, about));
}
