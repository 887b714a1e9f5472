// The shell: which page is shown, the connection's state, the theme.
// Decides: what an address shows. Must never: lose the keyboard's place when a page changes.

import { blotter } from "./blotter.js";
import { h, say, svg } from "./dom.js";
import { askKey, ifOffered, isLocked, live } from "./engine.js";
import { FAULTS_PATH, lab } from "./lab.js";
import { markets } from "./markets.js";
import { operations } from "./operations.js";
import { orderPage } from "./order.js";
import { ticket } from "./ticket.js";

const main = document.getElementById("main");
let close = () => {};
let shown = null;

// --- pages: a page is {title, element, close?}, made from the rest of its path and its query ------------------------

const PAGES = [
  [/^\/$/, (_, query) => ticket(query)],
  [/^\/orders$/, (_, query) => blotter(query)],
  [/^\/orders\/([0-9a-f-]{36})$/, ([, id]) => orderPage(id)],
  [/^\/markets$/, (_, query) => markets(query)],
  [/^\/operations$/, () => operations()],
  [/^\/lab$/, () => lab()],
];

function show() {
  const [path, query = ""] = (location.hash.slice(1) || "/").split("?");
  close();
  const page = find(path, new URLSearchParams(query));
  close = page.close ?? (() => {});
  document.title = `${page.title} · Fillwright`;
  main.replaceChildren(page.element);
  for (const link of document.querySelectorAll(".tabs a")) {
    const mine = link.hash.slice(1);
    const isHere = mine === "/" ? path === "/" : path === mine || path.startsWith(`${mine}/`);
    isHere ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  if (shown !== null) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
    say(page.title);
  }
  shown = path;
}

function find(path, query) {
  for (const [pattern, make] of PAGES) {
    const match = pattern.exec(path);
    if (match) return make(match, query);
  }
  return { title: "Not found", element: h("div", { class: "empty" }, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "To the order ticket"))) };
}

addEventListener("hashchange", show);
document.getElementById("skip").addEventListener("click", () => main.focus());

// --- the connection ---------------------------------------------------------------------------------------------------

const WORDS = { connecting: "Connecting", live: "Live", waiting: "Reconnecting" };
const link = document.getElementById("link");
const banner = document.getElementById("banner");
const keyButton = h("button", { type: "button", class: "quiet", onclick: async () => (await askKey()) && location.reload() }, "Enter a key");

live.addEventListener("state", () => {
  link.dataset.state = live.state;
  link.querySelector("span").textContent = WORDS[live.state];
  banner.hidden = live.state !== "waiting";
  banner.replaceChildren(isLocked() ? "This engine asks for an API key. " : "No connection to the engine. What you see may be old; it catches up by itself.", isLocked() ? keyButton : "");
  say(live.state === "live" ? "Connected." : "The connection is lost.");
});

// Only a simulated engine has a lab, for those who may use it.
live.addEventListener("caught-up", async () => {
  document.getElementById("lab").hidden = (await ifOffered(FAULTS_PATH)) === null;
}, { once: true });

// Real money shows on every page. The engine is asked until it tells: silence is no simulation.
const ASK_AGAIN_MS = 2_000;

async function showMoney() {
  const status = await ifOffered("/v1/status");
  if (status === null) setTimeout(showMoney, ASK_AGAIN_MS);
  if (!status?.live) return;
  const cluster = status.cluster.toUpperCase();
  document.documentElement.dataset.live = status.cluster;
  const money = document.getElementById("money");
  money.replaceChildren(h("strong", {}, cluster), h("span", {}, "live, real transactions from wallet"), h("code", {}, status.wallet));
  money.hidden = false;
  say(`${cluster}: live, real transactions.`);
}

live.addEventListener("caught-up", showMoney, { once: true });

// --- the theme ----------------------------------------------------------------------------------------------------------

const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

function drawTheme() {
  const name = isDark() ? "Switch to light theme" : "Switch to dark theme";
  const picture = isDark()
    ? [svg("circle", { cx: 8, cy: 8, r: 3 }), svg("path", { d: "M8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.5 1.5M11.5 11.5 13 13M3 13l1.5-1.5M11.5 4.5 13 3" })]
    : [svg("path", { d: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z" })];
  theme.setAttribute("aria-label", name);
  theme.title = name;
  theme.replaceChildren(svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, picture));
}

theme.addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("theme", chosen);
  } catch {
    // It holds for this page then.
  }
  drawTheme();
});
dark.addEventListener("change", drawTheme);

drawTheme();
show();
live.start();
