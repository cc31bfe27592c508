// The public API, from the side of a browser.

import { url } from "./dom.js";

/** An answer that is a problem document, or no answer at all. */
export class Problem extends Error {
  constructor(status, code, detail, signInLabel) {
    super(detail);
    this.status = status;
    this.code = code;
    this.signInLabel = signInLabel;
  }
}

/** Who uses the page: without access control, everybody may do everything. */
export let session = { access: "open", scope: "admin", domains: null, csrf_token: null, name: null };

const OPEN = session;

/** Asks who we are. Throws a problem with status 401 where a token is needed. */
export async function loadSession() {
  try {
    session = await get(["session"]);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    session = OPEN;
  }
}

export async function signIn(token) {
  session = await create(["session"], { token });
}

export async function signOut() {
  await call(["session"], { method: "DELETE" });
}

/** Whether whoever uses the page may do what needs this scope. */
export const may = (scope) => session.scope === "admin" || session.scope === scope;

/** Whether tokens and the audit are for whoever uses the page. */
export const isAdministrator = () => session.scope === "admin" && session.domains === null;

/** The address of something in the API. */
export function address(parts, query) {
  return url(["api", "v1", ...parts], query);
}

/** What is at this place of the API. */
export async function get(parts, query, signal) {
  const answer = await call(parts, { signal }, query);
  return answer.json();
}

/** Makes something of a description; returns what was made. */
export async function create(parts, description) {
  const headers = { "content-type": "application/json" };
  const answer = await call(parts, { method: "POST", headers, body: JSON.stringify(description) });
  return answer.json();
}

/** Changes something; returns the status with the answer, where it has one. Outcomes of uploads are answers, whatever their status. */
export async function change(method, parts, body) {
  const answer = await call(parts, { method, body }, undefined, (status) => status === 409 || status === 422);
  const text = await answer.text();
  return { status: answer.status, body: text === "" ? null : JSON.parse(text) };
}

async function call(parts, options, query, alsoFine = () => false) {
  const headers = { accept: "application/json", ...options.headers };
  if (options.method && session.csrf_token) headers["x-csrf-token"] = session.csrf_token;
  let answer;
  try {
    answer = await fetch(address(parts, query), { ...options, headers, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "ruad cannot be reached. Is it running?");
  }
  const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json");
  if (answer.ok || (alsoFine(answer.status) && !isProblem)) return answer;
  const problem = isProblem ? await answer.json() : {};
  throw new Problem(answer.status, problem.code ?? "unknown", problem.detail ?? `The answer was ${answer.status} ${answer.statusText}.`, problem.sign_in_label);
}
