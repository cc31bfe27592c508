// What to do with an installation that has no reports yet, and what somebody sees who has none in it.

import { may, session } from "../api.js";
import { foreign, h, link } from "../dom.js";
import { heading } from "../parts.js";
import { drop } from "./drop.js";

export function welcome() {
  return session.domains === null ? beginning() : nothingYet();
}

/** For somebody who is restricted to domains: there may be reports for others. */
function nothingYet() {
  return {
    title: "Domains",
    content: [
      heading("Domains", { lead: "Mail in the name of your domains." }),
      h("div", { class: "card" },
        h("h2", null, "No reports for your domains yet"),
        h("p", null, "ruad has no report about these domains, or names below them. What comes in will show here:"),
        h("ul", null, session.domains.map((name) => h("li", null, foreign(name)))),
        may("ingest") && drop()),
    ],
  };
}

function beginning() {
  return {
    title: "Welcome",
    content: [
      h("div", { class: "heading" }, h("div", null,
        h("h1", null, "Welcome to ruad"),
        h("p", { class: "lead" }, "Mail providers send daily reports about the mail they saw in your domains’ names. ruad collects them and shows who sends, what passes, and what would be lost under a strict policy."))),
      h("ol", { class: "steps" },
        h("li", { class: "card" },
          h("h2", null, "Ask for reports"),
          h("p", null, "Publish this record in the DNS of your domain. It changes nothing for your mail; it only asks receivers to report."),
          h("pre", { tabindex: 0 }, h("code", null, "_dmarc.example.com.  TXT  \"v=DMARC1; p=none; rua=mailto:dmarc@example.com\"")),
          h("p", { class: "faint" }, "The first reports arrive within a day or two.")),
        h("li", { class: "card" },
          h("h2", null, "Let ruad read the mailbox"),
          h("p", null, "Name the mailbox of that address in the configuration, and start ruad again:"),
          h("pre", { tabindex: 0 }, h("code", null, "[mailboxes.dmarc]\nhost = \"imap.example.com\"\nuser = \"dmarc@example.com\"\npassword_file = \"/run/secrets/dmarc-password\"")),
          h("p", null, h("code", null, "ruad mailbox test dmarc"), " says step by step what works; then ", link("/mailboxes", "Mailboxes"), " shows how it goes.")),
        may("ingest") && h("li", { class: "card" },
          h("h2", null, "Or begin with reports you have"),
          drop(),
          h("p", { class: "faint" }, "On the command line: ", h("code", null, "ruad import ~/Mail/dmarc")))),
    ],
  };
}
