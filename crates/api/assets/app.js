// The shell: which address shows which page, and the way from one to the next. Start reading here.

import { Problem, isAdministrator, loadSession, may, session, signOut } from "./api.js";
import { announce, append, foreign, h, link } from "./dom.js";
import { audit } from "./pages/audit.js";
import { deliveries } from "./pages/deliveries.js";
import { delivery } from "./pages/delivery.js";
import { domain } from "./pages/domain.js";
import { mailboxes } from "./pages/mailboxes.js";
import { overview } from "./pages/overview.js";
import { report } from "./pages/report.js";
import { reports } from "./pages/reports.js";
import { signInForm, takeFailure } from "./pages/sign_in.js";
import { source } from "./pages/source.js";
import { tokens } from "./pages/tokens.js";
import { upload } from "./pages/upload.js";
import { complete } from "./parts.js";

const PAGES = [
  [/^\/$/, overview],
  [/^\/domains\/([^/]+)$/, domain],
  [/^\/sources\/([^/]+)$/, source],
  [/^\/reports$/, reports],
  [/^\/reports\/([^/]+)$/, report],
  [/^\/deliveries$/, deliveries],
  [/^\/deliveries\/([^/]+)$/, delivery],
  [/^\/mailboxes$/, mailboxes],
  [/^\/upload$/, upload],
  [/^\/tokens$/, tokens],
  [/^\/audit$/, audit],
];

const PLACES = [
  ["/", "Domains", () => may("read")],
  ["/reports", "Reports", () => may("read")],
  ["/deliveries", "Deliveries", () => may("read")],
  ["/mailboxes", "Mailboxes", () => may("read") && session.domains === null],
  ["/upload", "Upload", () => may("ingest")],
  ["/tokens", "Tokens", isAdministrator],
  ["/audit", "Audit", isAdministrator],
];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const api = document.getElementById("api");

let running = null;
let known = false;
let shownPath = null;
let signInFailure = takeFailure();

function showNav(path) {
  const places = PLACES.filter(([, , isFor]) => isFor()).map(([href, name]) => {
    const inside = href === "/" ? /^\/($|domains\/|sources\/)/.test(path) : path.startsWith(href);
    return h("li", null, link(href, name, { "aria-current": path === href ? "page" : inside ? "true" : null }));
  });
  const leave = session.access === "token"
    && h("li", null, h("button", { type: "button", class: "quiet", click: leaveSession, title: session.name && `Signed in as ${session.name}` }, "Sign out"));
  nav.replaceChildren(h("ul", null, places, leave));
  api.hidden = false;
}

async function leaveSession() {
  try {
    await signOut();
  } catch (problem) {
    // A session that has ended is what was wanted.
    if (problem.status !== 401) {
      running?.abort();
      put(fault(problem), location.pathname, true, null, 0);
      return;
    }
  }
  known = false;
  show();
}

/** Shows what the address asks for. `fresh` is a page somebody went to, rather than one that changed under their hands. */
async function show({ fresh = true, scroll = 0 } = {}) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const { pathname, search } = location;
  const focused = document.activeElement?.id;
  main.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => {
    if (shownPath !== pathname) main.replaceChildren(h("p", { class: "loading" }, "Loading…"));
  }, 250);
  try {
    const page = await make(pathname, new URLSearchParams(search), signal);
    const content = new DocumentFragment();
    append(content, page.content);
    // Whoever is on the page already, or comes back to a place on it, must not lose that place while parts are missing.
    if (shownPath === pathname || scroll > 0) await complete(content);
    if (signal.aborted) return;
    put({ ...page, content }, pathname, fresh, focused, scroll);
  } catch (error) {
    if (signal.aborted) return;
    put(fault(error), pathname, fresh, focused, scroll);
  } finally {
    clearTimeout(slow);
  }
}

async function make(pathname, query, signal) {
  if (!known) {
    await loadSession();
    known = true;
  }
  showNav(pathname);
  if (session.scope === "ingest" && pathname === "/") return upload({ query, signal });
  for (const [pattern, page] of PAGES) {
    const match = pattern.exec(pathname);
    if (match) {
      const params = match.slice(1).map(decode);
      return await page({ params, query, signal, go, reload });
    }
  }
  throw new Problem(404, "unknown_page", "There is no such page.");
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function put({ title, content }, pathname, fresh, focused, scroll) {
  const moved = shownPath !== pathname;
  shownPath = pathname;
  document.title = title === "ruad" ? title : `${title} – ruad`;
  main.replaceChildren();
  append(main, content);
  main.setAttribute("aria-busy", "false");
  const again = focused && document.getElementById(focused);
  if (!moved && again) again.focus({ preventScroll: true });
  if (moved && fresh) {
    window.scrollTo(0, scroll);
    main.focus({ preventScroll: true });
  }
  announce(title);
}

function fault(error) {
  if (error.status === 401) {
    nav.replaceChildren();
    api.hidden = true;
    const failure = signInFailure;
    signInFailure = null;
    const then = () => {
      known = false;
      return show();
    };
    return signInForm({ label: error.signInLabel, failure, then });
  }
  if (!(error instanceof Problem)) console.error(error);
  const lost = error.status === 404;
  return {
    title: lost ? "Not found" : "Something went wrong",
    content: h("div", { class: "card notice", role: "alert" },
      h("h1", null, lost ? "There is nothing here" : "This did not work"),
      h("p", null, error instanceof Problem ? foreign(error.message) : "The page itself has a fault; its text is in the console of the browser."),
      h("p", { class: "buttons" },
        h("button", { type: "button", click: () => show() }, "Try again"),
        link("/", "To the domains", { class: "button quiet" }))),
  };
}

/** Goes to an address of ours. */
function go(href) {
  history.replaceState({ scroll: window.scrollY }, "");
  history.pushState({ scroll: 0 }, "", href);
  return show();
}

/** Shows the same page with what is new. */
function reload() {
  return show({ fresh: false });
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!anchor || !plain || event.defaultPrevented || anchor.hasAttribute("download") || anchor.target) return;
  const to = new URL(anchor.href);
  const isPage = to.origin === location.origin && PAGES.some(([pattern]) => pattern.test(to.pathname));
  if (!isPage || (to.hash && to.pathname === location.pathname && to.search === location.search)) return;
  event.preventDefault();
  go(to.pathname + to.search);
});

// A form that asks for a view of a page becomes its address, without the fields that are empty.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "get") return;
  event.preventDefault();
  const fields = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  const path = new URL(form.action).pathname;
  go(fields.size > 0 ? `${path}?${fields}` : path);
});

window.addEventListener("popstate", (event) => show({ scroll: event.state?.scroll ?? 0 }));

// A file that misses the place for it must not replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

history.scrollRestoration = "manual";
show({ fresh: false });
