// Who has no token sees nothing else.

import { signIn } from "../api.js";
import { h } from "../dom.js";

export function signInForm(then) {
  const message = h("p", { role: "alert", class: "bad" });
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
  return {
    title: "Sign in",
    content: h("div", { class: "card narrow" },
      h("h1", null, "Sign in"),
      h("p", null, "This page needs a token. Whoever runs ruad makes one with ", h("code", null, "ruad token create --scope read"), "."),
      h("form", { method: "post", class: "stack", submit },
        // What a password manager keeps a token under.
        h("input", { type: "text", name: "username", value: "ruad", autocomplete: "username", hidden: true }),
        h("label", { class: "field", for: "token" }, h("span", null, "Token"), input),
        message,
        h("p", { class: "buttons" }, h("button", { type: "submit" }, "Sign in")))),
  };
}
