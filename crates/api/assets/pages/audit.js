// Who changed what.

import { address, get, isAdministrator } from "../api.js";
import { foreign, h, link, url } from "../dom.js";
import { time } from "../format.js";
import { forAdministrators, heading, table } from "../parts.js";

/** What was done: in a few words, in a sentence, and the page that shows what it was done to. */
const ACTIONS = {
  __proto__: null,
  token_created: ["Made a token", "Somebody who has it is let in from then on.", token],
  token_revoked: ["Revoked a token", "It is refused from then on, and the sessions that it began have ended.", token],
  signed_in: ["Signed in", "A browser shows this page with what a token, or the provider that people sign in at, allows.", holder],
  sign_in_failed: ["Was refused", "Somebody wanted to sign in with a token that is not known, was revoked or has expired, or was not let in by what the provider says.", holder],
  signed_out: ["Signed out", "The session of a browser was ended."],
  sessions_revoked: ["Ended sessions", "All browsers of a person or of a token were signed out (ruad session revoke).", holder],
  delivery_discarded: ["Discarded a delivery", "The bytes that were kept of it are gone; its entry stays.", delivery],
  delivery_retried: ["Tried a delivery again", "The bytes that were kept of it were taken in once more.", delivery],
  imported: ["Imported reports", "Reports were taken in on the command line (ruad import)."],
  migrated: ["Brought the schema up to date", "A newer ruad changed the tables."],
  rebuilt: ["Rebuilt the figures", "What summaries are made of was counted anew from the records (ruad rebuild)."],
  distributed: ["Spread the tables", "The tables were spread over the nodes of a cluster (ruad migrate --distribute)."],
};

const ACTORS = {
  __proto__: null,
  cli: "command line",
  open: "anybody, as access was open",
  serve: "ruad itself",
  nobody: "nobody who is known",
};

/** Facts whose name alone does not say what they are. */
const NAMES = { __proto__: null, expires_days: "days until it expires" };

const TOKEN_ID = /^[0-9a-f]{16}$/;

export async function audit({ signal }) {
  const title = "Audit";
  if (!isAdministrator()) return { title, content: forAdministrators(title) };
  const answer = await get(["audit"], { limit: 50 }, signal);
  return {
    title,
    content: [
      heading(title, { lead: "Every change that somebody made here, through the API or on the command line, and who signed in. What is taken in is under Deliveries." }),
      h("div", { class: "card" },
        table("Changes, newest first", [
          { name: "When", cell: (item) => time(item.at) },
          { name: "Who", cell: actor },
          { name: "What", cell: action },
          { name: "To what", cell: subject },
          { name: "From", cell: (item) => h("span", { class: "whole" }, foreign(item.address)) },
          { name: "More", cell: detail },
        ], answer.items, { next: answer.next, more: (cursor) => get(["audit"], { limit: 50, cursor }), empty: "Nobody has changed anything yet." }),
        h("p", null, link(address(["audit"], { format: "csv" }), "Download as CSV", { download: true }))),
      h("details", { class: "explain" },
        h("summary", null, "What do these changes mean?"),
        h("dl", null, Object.values(ACTIONS).map(([words, meaning]) => [h("dt", null, words), h("dd", null, meaning)]))),
    ],
  };
}

function actor(item) {
  if (item.actor in ACTORS) return ACTORS[item.actor];
  if (!TOKEN_ID.test(item.actor)) return [foreign(item.actor_name ?? item.actor), item.actor_name && h("small", null, foreign(item.actor))];
  return [foreign(item.actor_name, "a token without a name"), h("small", null, token(item.actor))];
}

/** What ruad does not know the word for is shown as it is. */
function action(item) {
  return ACTIONS[item.action]?.[0] ?? h("code", null, foreign(item.action));
}

function subject(item) {
  if (!item.subject) return h("span", { class: "faint" }, "–");
  const show = ACTIONS[item.action]?.[2];
  return show ? show(item.subject) : foreign(item.subject);
}

function token(id) {
  return link(url(["tokens"], { token: id }), ["token ", h("code", null, foreign(id))]);
}

/** Whose session it is: a token's, or a person's. */
function holder(id) {
  return TOKEN_ID.test(id) ? token(id) : foreign(id);
}

function delivery(id) {
  return link(url(["deliveries", id]), ["delivery ", h("code", null, foreign(id))]);
}

/** The facts that came with a change, those without a value left out. */
function detail(item) {
  const all = item.detail ?? {};
  const facts = typeof all === "object" && !Array.isArray(all) ? Object.entries(all) : [["detail", all]];
  const known = facts.filter(([, value]) => value !== null && value !== "");
  if (known.length === 0) return h("span", { class: "faint" }, "–");
  return known.map(([name, value]) => h("div", null, foreign(NAMES[name] ?? name.replaceAll("_", " ")), ": ", foreign(words(value))));
}

function words(value) {
  const plain = (one) => typeof one !== "object";
  if (Array.isArray(value) && value.every(plain)) return value.join(", ");
  return plain(value) ? value : JSON.stringify(value);
}
