// Who is let in: tokens, those that were revoked or have expired included.

import { change, create, get, isAdministrator, session } from "../api.js";
import { announce, foreign, h, link, url } from "../dom.js";
import { count, onDay, time } from "../format.js";
import { choice, choices, confirmed, field, forAdministrators, heading, section, table } from "../parts.js";
import { badge, explain } from "../words.js";

const STATES = {
  __proto__: null,
  valid: ["Valid", "good"],
  expired: ["Expired", "plain"],
  revoked: ["Revoked", "plain"],
};

const SCOPES = {
  read: "read: see all answers",
  ingest: "ingest: upload reports, nothing else",
  admin: "admin: everything",
};

export async function tokens({ query, signal, reload }) {
  const title = "Tokens";
  if (!isAdministrator()) return { title, content: forAdministrators(title) };
  const place = h("div", { class: "stack", tabindex: -1 });
  const show = ({ items }) => place.replaceChildren(...list(items, query, refresh));
  const refresh = async () => {
    try {
      show(await get(["tokens"]));
      // What had the focus may be gone.
      if (document.activeElement === document.body) place.focus({ preventScroll: true });
    } catch (problem) {
      // Whoever revokes the token of their own session has to sign in anew.
      if (problem.status !== 401) throw problem;
      reload();
    }
  };
  show(await get(["tokens"], {}, signal));
  return {
    title,
    content: [
      heading(title, { lead: "Whoever uses ruad shows a token: programs with each request, people when they sign in here." }),
      session.access === "open" && openNotice(),
      section("All tokens", place),
      section("Make a token", maker(refresh)),
      explain("scope", "domains", "revoked"),
    ],
  };
}

function openNotice() {
  return h("div", { class: "card notice plain" },
    h("h2", null, "Nobody is asked for a token now"),
    h("p", null, "Access is open: whoever reaches this page may do everything. Tokens count where ", h("code", null, "http.access"), " is ", h("code", null, "token"), ", or is ", h("code", null, "auto"), " and ruad listens on another address than those of its own machine."));
}

function list(items, query, refresh) {
  const [state, only] = [query.get("state") ?? "", query.get("token")];
  const amount = (value) => items.filter((item) => item.state === value).length;
  const options = [["", `All ${count(items.length)}`], ...Object.entries(STATES).map(([value, [word]]) => [value, `${word} ${count(amount(value))}`])];
  const shown = items.filter((item) => (only ? item.token_id === only : state === "" || item.state === state));
  return [
    only
      ? h("p", null, "Only the token ", h("code", null, foreign(only)), " is shown. ", link("/tokens", "Show all", { id: "all-tokens" }))
      : choices("Which state", options, state, (value) => url(["tokens"], { state: value }), "state"),
    table("Tokens, newest first", [
      { name: "Name", cell: (item) => [foreign(item.name, "no name"), h("small", { class: "mono" }, foreign(item.token_id))] },
      { name: "Scope", cell: (item) => item.scope },
      { name: "Domains", cell: (item) => (item.domains ? item.domains.map((name) => h("div", { class: "whole" }, foreign(name))) : "all") },
      { name: "Made", wide: true, cell: (item) => onDay(item.created_at) },
      { name: "Last used", cell: (item) => time(item.last_used_at) },
      { name: "Expires", cell: (item) => onDay(item.expires_at) },
      { name: "State", cell: (item) => standing(item) },
      { name: "Change", cell: (item) => (item.state === "valid" ? revoker(item, refresh) : h("span", { class: "faint" }, "–")) },
    ], shown, { empty: "There is no such token." }),
  ];
}

function standing(item) {
  const [word, kind] = STATES[item.state] ?? [item.state, "plain"];
  return [badge(word, kind), item.revoked_at && h("small", null, onDay(item.revoked_at))];
}

function revoker(item, refresh) {
  const name = [foreign(item.name, "without a name"), " (", h("code", null, foreign(item.token_id)), ")"];
  const message = h("small", { role: "alert", class: "bad" });
  const revoke = async () => {
    const question = ["Revoke the token ", name, "? Whoever uses it is refused at once, and whoever is signed in with it is signed out. This cannot be undone."];
    if (!(await confirmed(question, "Revoke"))) return;
    try {
      await change("DELETE", ["tokens", item.token_id]);
      await refresh();
      announce("The token is revoked");
    } catch (problem) {
      message.textContent = problem.message;
    }
  };
  const spoken = `Revoke ${foreign(item.name, "the token without a name").textContent}`;
  return [h("button", { type: "button", class: "danger small", id: `revoke-${item.token_id}`, "aria-label": spoken, click: revoke }, "Revoke"), message];
}

function maker(refresh) {
  const message = h("p", { role: "alert", class: "bad" });
  const made = h("div");
  const form = h("form", { method: "post", class: "filters", "aria-label": "The new token" },
    field("Name", h("input", { name: "name", id: "name", maxlength: 200, autocomplete: "off", placeholder: "Grafana" }), "what it is for"),
    field("Scope", choice("scope", Object.entries(SCOPES), "read"), "what it may do"),
    field("Domains", h("input", { name: "domains", id: "domains", autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder: "example.com, example.org" }), "with the names below them; empty for all"),
    field("Days", h("input", { type: "number", name: "days", id: "days", min: 1, max: 36500, step: 1 }), "until it expires; empty for never"),
    h("button", { type: "submit" }, "Make the token"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.textContent = "";
    try {
      const token = await create(["tokens"], wanted(new FormData(form)));
      form.reset();
      made.replaceChildren(once(token));
      made.querySelector("input").focus();
      await refresh();
    } catch (problem) {
      message.textContent = problem.message;
    }
  });
  return h("div", { class: "stack" }, form, message, made);
}

/** What the API asks for; fields that are empty are left out. */
function wanted(fields) {
  const text = (name) => fields.get(name).trim();
  const domains = text("domains").split(/[\s,;]+/).filter(Boolean);
  return {
    scope: text("scope"),
    ...(text("name") && { name: text("name") }),
    ...(domains.length > 0 && { domains }),
    ...(text("days") && { expires_days: Number(text("days")) }),
  };
}

/** The text of a new token, which nobody can look up later. */
function once(token) {
  const input = h("input", { id: "made-token", class: "mono", readonly: true, value: token.token, "aria-describedby": "made-once", spellcheck: "false", focus: () => input.select() });
  const said = h("p", { role: "status", class: "faint" });
  const copy = async () => {
    said.textContent = (await copied(input)) ? "Copied." : "The browser does not let this page copy: copy the marked text by hand.";
  };
  return h("div", { class: "notice good stack" },
    h("p", { id: "made-once" }, h("strong", null, "Copy it now."), " This is the only time that it is shown: it cannot be had again."),
    h("div", { class: "filters" },
      field(["The token ", foreign(token.name, "without a name"), token.expires_at && [", until ", time(token.expires_at)]], input),
      h("button", { type: "button", id: "copy", click: copy }, "Copy")),
    said);
}

/** Browsers have a clipboard for pages over HTTPS and of this machine only; the old way works for the others. */
async function copied(input) {
  input.select();
  try {
    await navigator.clipboard.writeText(input.value);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
