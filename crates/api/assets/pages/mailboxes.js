// Where mail is taken from, and how that goes.

import { get } from "../api.js";
import { foreign, h, link, url } from "../dom.js";
import { count, time } from "../format.js";
import { facts, heading } from "../parts.js";
import { badge } from "../words.js";

const STATES = {
  __proto__: null,
  connecting: ["Connecting", "plain", "It is logging in."],
  working: ["Working", "good", "Mail is being taken."],
  waiting: ["Waiting", "good", "All mail is taken; new mail is taken when it comes."],
  failed: ["Failed", "bad", "Something is wrong; it is tried again."],
  stopped: ["Stopped", "plain", "The process that worked on it was stopped."],
  unattended: ["Unattended", "warn", "The process that worked on it went away, and no other took over."],
};

export async function mailboxes({ signal }) {
  const answer = await get(["mailboxes"], {}, signal);
  return {
    title: "Mailboxes",
    content: [
      heading("Mailboxes", { lead: "ruad takes reports out of these mailboxes by itself." }),
      answer.items.length === 0 ? none() : h("div", { class: "stack" }, answer.items.map(mailbox)),
    ],
  };
}

function none() {
  return h("div", { class: "card" },
    h("h2", null, "No mailbox yet"),
    h("p", null, "Name the mailbox that the ", h("code", null, "rua="), " address of your domain delivers to in the configuration, and start ruad again:"),
    h("pre", { tabindex: 0 }, h("code", null, "[mailboxes.dmarc]\nhost = \"imap.example.com\"\nuser = \"dmarc@example.com\"\npassword_file = \"/run/secrets/dmarc-password\"")),
    h("p", null, h("code", null, "ruad mailbox test dmarc"), " says step by step what works."));
}

function mailbox(item, place) {
  const [word, kind, meaning] = STATES[item.state] ?? [item.state, "plain", ""];
  const id = `mailbox-${place}`;
  const fresh = item.last_error && item.state === "failed";
  return h("section", { class: "card", "aria-labelledby": id },
    h("h2", { id }, foreign(item.name), " ", badge(word, kind)),
    h("p", null, meaning),
    item.last_error && h("div", { class: fresh ? "notice" : "faint" },
      h("p", null, fresh ? "" : "Some time ago: ", foreign(item.last_error.detail), " ", h("code", null, foreign(item.last_error.code))),
      h("p", { class: "faint" }, time(item.last_error.at))),
    facts(
      ["Mails waiting", item.backlog === null ? "not known yet" : count(item.backlog)],
      ["Last looked at", time(item.last_poll_at)],
      ["Last mail taken", time(item.last_delivery_at)],
      ["Last let in", time(item.last_connected_at)],
      ["In this state since", time(item.state_at)],
      ["Worked on by", item.holder && foreign(item.holder)]),
    h("p", null, link(url(["deliveries"], { origin: `imap:${item.name}` }), "What came from it")));
}
