// Who has no token, and is not signed in at an OpenID provider, sees nothing else.

import { signIn } from "../api.js";
import { h, link, url } from "../dom.js";

// Why signing in at the provider came to nothing: the codes are those of the API.
const FAILURES = {
  __proto__: null,
  stale: "The sign-in took too long, or was begun in another window or browser. Please try again.",
  refused: "The sign-in service did not sign you in.",
  unavailable: "The sign-in service cannot be reached at the moment. Please try again later.",
  not_verified: "The answer of the sign-in service could not be verified. The audit of ruad says why.",
  not_granted: "You are known to the sign-in service, but have no access here. Whoever runs ruad can grant it.",
  claim_elsewhere: "The sign-in service does not say here which groups you are in, because there are too many. Whoever runs it can grant you a role.",
  too_many_requests: "There were too many sign-ins from your address. Please try again in a minute.",
  failed: "ruad could not complete the sign-in at the moment. Please try again later.",
  no_domains: "You are known to the sign-in service, but it does not say which domains you may see. Whoever runs it can add them.",
};

/** Takes out of the address why a sign-in at the provider failed; null if none did. */
export function takeFailure() {
  const query = new URLSearchParams(location.search);
  const code = query.get("sign_in");
  if (code === null) return null;
  query.delete("sign_in");
  history.replaceState(history.state, "", query.size > 0 ? `${location.pathname}?${query}` : location.pathname);
  return FAILURES[code] ?? "The sign-in failed.";
}

/** `label` is what leads to the provider, if there is one; `failure` why nobody came back signed in. */
export function signInForm({ label, failure, then }) {
  const message = h("p", { role: "alert", class: "bad" }, !label && failure);
  const input = h("input", { type: "password", name: "token", id: "token", required: true, autocomplete: "current-password", spellcheck: "false" });
  const submit = async (event) => {
    event.preventDefault();
    message.textContent = "";
    try {
      await signIn(input.value.trim());
      await then();
    } catch (problem) {
      message.textContent = problem.status === 401 ? "This token is not known, or no longer." : problem.message;
      input.focus();
    }
  };
  const provider = url(["api", "v1", "session", "oidc"], { return_to: location.pathname + location.search });
  return {
    title: "Sign in",
    content: h("div", { class: "card narrow" },
      h("h1", null, "Sign in"),
      label && [
        failure && h("p", { role: "alert", class: "bad" }, failure),
        h("p", { class: "buttons" }, link(provider, label, { class: "button" })),
        h("h2", null, "With a token"),
      ],
      h("p", null, label ? "If you have a token, it does as well. " : "This page needs a token. ",
        "Whoever runs ruad makes one with ", h("code", null, "ruad token create --scope read"), "."),
      h("form", { method: "post", class: "stack", submit },
        // What a password manager keeps a token under.
        h("input", { type: "text", name: "username", value: "ruad", autocomplete: "username", hidden: true }),
        h("label", { class: "field", for: "token" }, h("span", null, "Token"), input),
        message,
        h("p", { class: "buttons" }, h("button", { type: "submit", class: label && "quiet" }, "Sign in")))),
  };
}
