// The fault lab: break the simulated chain and the worker under real orders, and see whether anything gets lost.
// Decides: how faults are turned, and how loudly a broken promise is told. Must never: judge for itself; the counters
// are the audit's, of the files.

import { clock, duration, ENDED, h, panel, problemNote, say, svg, whole } from "./dom.js";
import { call, ifOffered, listen, live, Problem, randomKey } from "./engine.js";

export const FAULTS_PATH = "/v1/sim/faults";
const AUDIT_EVERY_MS = 1_500;
const TURN_AFTER_MS = 150; // a slider on its way is not yet a wish
const AT_ONCE_MAX = 20; // orders on their way to the engine
const TRIES_MAX = 8;
const TRY_AGAIN_MS = 500;
const ORDERS_MAX = 1_000;
const RATE_MAX = 50;
const HAPPENED_MAX = 8;
const TRADES = [
  { tokenIn: "SOL", tokenOut: "USDC", amount: "0.01" },
  { tokenIn: "USDC", tokenOut: "SOL", amount: "2" },
];

const FAULTS = [
  ["dropPct", "Dropped sends", 100, "%", "A broadcast that no node receives"],
  ["lostAnswerPct", "Lost answers", 90, "%", "A call that works, and its answer never comes"],
  ["latePct", "Late landings", 100, "%", "A broadcast that lands a minute later, or never"],
  ["revertPct", "Reverts", 100, "%", "A swap that the chain executes and undoes"],
  ["lyingHeightPct", "Lying nodes", 90, "%", "A node that tells a wrong block height"],
  ["quoteFailurePct", "Failed quotes", 100, "%", "A venue that answers with an error"],
  ["quoteDelayMs", "Slower quotes", 5_000, "ms", "Too slow, and the venue is left out"],
  ["landDelayMs", "Slower blocks", 5_000, "ms", "More time from a broadcast to its block"],
];
const CALM = { ...Object.fromEntries(FAULTS.map(([name]) => [name, 0])), venuesDown: [] };
const PRESETS = [
  ["Calm", CALM],
  ["Rough", { ...CALM, dropPct: 20, lostAnswerPct: 15, latePct: 3, revertPct: 10, lyingHeightPct: 10, quoteFailurePct: 10, quoteDelayMs: 200, landDelayMs: 500 }],
  ["Hell", { ...CALM, dropPct: 60, lostAnswerPct: 50, latePct: 10, revertPct: 25, lyingHeightPct: 50, quoteFailurePct: 30, quoteDelayMs: 800, landDelayMs: 2_000 }],
];
const NAMES = {
  lost: "Lost",
  settledTwice: "Settled twice",
  settledUnconfirmed: "Settled, not confirmed",
  confirmedUnsettled: "Confirmed, not settled",
  wrongFill: "Wrong amounts",
  gaps: "Gaps in a history",
  stuck: "Stuck",
};

// --- what is counted and remembered while the console is open ---------------------------------------------------------

const counts = { accepted: 0, confirmed: 0, failed: 0, canceled: 0, expired: 0, retries: 0, takeOvers: 0 };
const open = new Set(); // orders on their way
const happened = []; // {at, of, element}, newest first
let kill = null; // the last one: what the engine told, {taken, at, element}

function count(frame) {
  if (!open.has(frame.orderId)) {
    counts.accepted += 1;
    open.add(frame.orderId);
  }
  if (frame.cause === "started" && frame.attempt > 1) counts.retries += 1;
  if (frame.cause === "reclaimed") takenOver();
  end(frame.orderId, frame.status);
}

function end(id, status) {
  if (ENDED.has(status) && open.delete(id)) counts[status] += 1;
}

function takenOver() {
  counts.takeOvers += 1;
  if (!kill) return;
  kill.taken += 1;
  const first = (kill.after ??= performance.now() - kill.at);
  kill.element.textContent = `${kill.successor} has taken over ${whole(kill.taken)} of them, the first after ${duration(first)}.`;
}

// Until the successor has begun: how long it must wait yet.
function countDown() {
  if (!kill?.held || kill.taken) return;
  const left = kill.leaseMs - (performance.now() - kill.at);
  kill.element.textContent = left > 0 ? `Their lease runs out in ${duration(left)} at the latest.` : `Their lease has run out; ${kill.successor} takes them up as it has room.`;
}

// A fault that is turned right after another one takes its line.
function tell(of, ...children) {
  if (of === "faults" && happened[0]?.of === of) happened.shift();
  happened.unshift({ at: Date.now(), of, element: h("p", {}, children) });
  happened.length = Math.min(happened.length, HAPPENED_MAX);
}

live.addEventListener("frame", ({ detail }) => count(detail));
live.addEventListener("caught-up", async () => {
  for (const order of live.orders.values()) {
    if (open.has(order.id)) end(order.id, order.status);
    else if (!ENDED.has(order.status)) count({ ...order, orderId: order.id });
  }
  for (const id of [...open]) {
    const order = live.orders.has(id) ? null : await ifOffered(`/v1/orders/${id}`); // not among the newest any more
    if (order) end(id, order.status);
  }
});

// --- the page ---------------------------------------------------------------------------------------------------------

export function lab() {
  const verdict = h("div", { class: "verdict" }, h("span", {}, "Comparing the orders with the chain's ledger…"));
  const promises = h("div", { class: "promises" });
  const tally = h("dl", { class: "tally" });
  const events = h("ol", { class: "happened" });
  const trouble = h("div", { "aria-live": "polite" });
  const element = h("div", { class: "page lab" },
    h("div", { class: "between heading" }, h("h1", {}, "Fault lab"), h("p", { class: "note" }, "The chain is simulated. Break it, or the worker, and watch that nothing gets lost.")),
    trouble,
    h("section", { class: "panel promise-panel", "aria-label": "Promises" }, verdict, promises),
    panel("Orders since this page was opened", tally),
    h("div", { class: "halves bench" }, faultPanel(complain),
      h("div", { class: "stack" }, streamPanel(complain), workerPanel(complain), panel("What happened", events))));
  let isOpen = true;

  // What went wrong with the latest wish; without a problem, that nothing did.
  function complain(problem = null) {
    if (problem && !(problem instanceof Problem)) throw problem;
    trouble.replaceChildren(problem ? problemNote(problem) : "");
  }

  function draw() {
    countDown();
    tally.replaceChildren(...tallyViews());
    if (happened.length && happened[0].element === events.firstChild?.lastChild) return;
    events.replaceChildren(...happened.map(({ at, element: what }) => h("li", {}, h("span", { class: "num note" }, clock(at)), what)));
    if (!happened.length) events.replaceChildren(h("li", { class: "note" }, "Nothing yet. Turn a fault, place orders, then kill the worker."));
  }

  async function audit() {
    try {
      const found = await call("/v1/sim/audit");
      if (!isOpen) return;
      drawVerdict(verdict, found);
      promises.replaceChildren(...found.findings.map(promiseView));
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (isOpen && problem.status === 404) element.replaceChildren(noLab(problem));
      else if (isOpen) drawState(verdict, "unknown", "Not known now", `${problem.title}.`);
    }
  }

  const again = setInterval(() => document.hidden || audit(), AUDIT_EVERY_MS);
  const redraw = setInterval(draw, 250);
  const unlisten = listen({ orders: draw });
  draw();
  audit();
  return {
    title: "Fault lab",
    element,
    close: () => {
      isOpen = false;
      unlisten();
      clearInterval(again);
      clearInterval(redraw);
    },
  };
}

function noLab(problem) {
  return h("div", { class: "empty" }, h("h1", {}, "This engine has no fault lab"), h("p", {}, problem.detail), h("p", {}, h("a", { href: "#/" }, "To the order ticket")));
}

// --- promises -----------------------------------------------------------------------------------------------------------

const SHIELD = "M8 1.5 13.5 3.5V8c0 3-2.3 5.4-5.5 6.5C4.8 13.4 2.5 11 2.5 8V3.5z";
const ALARM = ["M8 1.8 15 14H1z", "M8 6.2v4M8 12v.3"];
const ICONS = { well: [SHIELD, "M5.6 8.1 7.3 9.8l3.2-3.5"], alarm: ALARM, unknown: [SHIELD, "M6.3 6.2a1.7 1.7 0 1 1 2.5 1.5c-.6.3-.8.6-.8 1.2M8 11.2v.1"] };

function icon(...paths) {
  return svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, paths.map((d) => svg("path", { d })));
}

function drawVerdict(verdict, found) {
  const isWell = found.broken === 0;
  const scope = `${found.whole ? "All" : "The newest"} ${whole(found.orders)} orders against ${whole(found.lines)} lines of the chain's own ledger`;
  if (isWell) drawState(verdict, "well", "Every promise holds", scope);
  else {
    const broken = found.findings.filter((each) => each.count).length;
    drawState(verdict, "alarm", broken === 1 ? "Alarm: a promise is broken" : `Alarm: ${broken} promises are broken`, scope);
  }
}

// Changed in place: who listens to the page hears the verdict once, not with every audit.
function drawState(verdict, state, words, scope) {
  if (verdict.dataset.state !== state) {
    verdict.dataset.state = state;
    verdict.replaceChildren(icon(...ICONS[state]), h("strong", { role: state === "alarm" ? "alert" : "status" }), h("span", {}));
  }
  const [strong, span] = [verdict.querySelector("strong"), verdict.querySelector("span")];
  if (strong.textContent !== words) strong.textContent = words;
  span.textContent = scope;
}

function promiseView({ name, promise, count: broken, orders }) {
  return h("div", { class: "promise", "data-broken": broken > 0, title: promise },
    h("span", { class: "eyebrow" }, NAMES[name] ?? name),
    h("p", { class: "zero num" }, broken ? icon(...ALARM) : null, whole(broken)),
    broken ? h("ul", {}, orders.map((id) => h("li", {}, h("a", { href: `#/orders/${id}` }, id.slice(-6))))) : null,
    h("span", { class: "unseen" }, promise));
}

function tallyViews() {
  const ended = counts.canceled + counts.expired;
  return [
    ["Accepted", counts.accepted],
    ["In flight", open.size],
    ["Confirmed", counts.confirmed],
    ["Failed", counts.failed],
    ended ? ["Canceled, expired", ended] : null,
    ["Retries", counts.retries],
    ["Take-overs", counts.takeOvers],
  ].filter(Boolean).map(([name, value]) => h("div", {}, h("dt", { class: "eyebrow" }, name), h("dd", { class: "num" }, whole(value))));
}

// --- faults -------------------------------------------------------------------------------------------------------------

function faultPanel(complain) {
  let plan = null; // as the sliders show it
  let waiting = null;
  let sending = Promise.resolve();
  const sliders = FAULTS.map(([name, label, most, unit, hint]) => slider(name, label, most, unit, hint, (value) => plan && turn({ ...plan, [name]: value })));
  const venues = h("div", { class: "row venues" });
  const outages = h("fieldset", {}, h("legend", {}, "Venues that are down"), venues);
  const presets = PRESETS.map(([name, wanted]) => h("button", { type: "button", class: "filter", "aria-pressed": "false", onclick: () => turn(wanted, `Faults: ${name.toLowerCase()}.`) }, name));

  function draw() {
    for (const each of sliders) each.show(plan[each.name]);
    for (const box of venues.querySelectorAll("input")) box.checked = plan.venuesDown.includes(box.value);
    presets.forEach((button, at) => button.setAttribute("aria-pressed", String(isSame(plan, PRESETS[at][1]))));
  }

  // The latest wish is sent, after the one before was answered.
  function turn(wanted, words) {
    plan = wanted;
    draw();
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const sent = plan;
      sending = sending.then(() => call(FAULTS_PATH, { method: "PUT", body: sent })).then(() => {
        tell("faults", words ?? described(sent));
        complain();
      }, (problem) => {
        complain(problem);
        return read(); // the sliders show what is in force
      });
    }, TURN_AFTER_MS);
  }

  async function read() {
    try {
      plan = await call(FAULTS_PATH);
    } catch {
      return; // the audit tells that there is no lab
    }
    draw();
    const known = (await ifOffered("/v1/venues"))?.data ?? []; // slow where venues are
    venues.replaceChildren(...known.map(({ venue }) => h("label", { class: "check" }, h("input", { type: "checkbox", value: venue, onchange: () => turn({ ...plan, venuesDown: [...venues.querySelectorAll(":checked")].map((box) => box.value) }) }), venue)));
    draw();
  }

  read();
  return panel("Faults", h("div", { class: "filters", role: "group", "aria-label": "Presets" }, presets), h("div", { class: "sliders" }, sliders.map((each) => each.element)), outages);
}

function slider(name, label, most, unit, hint, changed) {
  const told = h("output", { class: "num", for: name });
  const input = h("input", { type: "range", id: name, min: 0, max: most, step: unit === "ms" ? 100 : 1, value: 0, "aria-describedby": `${name}-hint` });
  const show = (value) => {
    input.value = value;
    const text = unit === "ms" ? duration(Number(value)) : `${value} %`;
    told.textContent = text;
    input.setAttribute("aria-valuetext", text);
    element.toggleAttribute("data-on", Number(value) > 0);
  };
  input.addEventListener("input", () => changed(Number(input.value)));
  const element = h("div", { class: "slider" }, h("label", { for: name }, label), told, input, h("small", { id: `${name}-hint` }, hint));
  return { name, element, show };
}

function isSame(a, b) {
  return FAULTS.every(([name]) => a[name] === b[name]) && String(a.venuesDown) === String(b.venuesDown);
}

function described(plan) {
  const on = FAULTS.filter(([name]) => plan[name] > 0).map(([name, label, , unit]) => `${label.toLowerCase()} ${unit === "ms" ? duration(plan[name]) : `${plan[name]} %`}`);
  if (plan.venuesDown.length) on.push(`down: ${plan.venuesDown.join(", ")}`);
  return on.length ? `Faults: ${on.join("; ")}.` : "No more faults.";
}

// --- orders -------------------------------------------------------------------------------------------------------------

function streamPanel(complain) {
  const many = h("input", { name: "many", inputmode: "numeric", type: "number", min: 1, max: ORDERS_MAX, value: 60, required: true });
  const rate = h("input", { name: "rate", inputmode: "numeric", type: "number", min: 1, max: RATE_MAX, value: 10, required: true });
  const button = h("button", { class: "primary" }, "Place orders");
  const progress = h("p", { class: "note num" });
  let placing = null;

  async function place(event) {
    event.preventDefault();
    if (placing) {
      placing.stopped = true;
      return;
    }
    placing = { stopped: false };
    button.textContent = "Stop";
    complain();
    const [wanted, began] = [many.valueAsNumber, performance.now()];
    try {
      const answered = await placeOrders(wanted, rate.valueAsNumber, placing, (n) => { progress.textContent = `${whole(n)} of ${whole(wanted)} accepted`; });
      tell("orders", `${whole(answered)} ${answered === 1 ? "order" : "orders"} placed and accepted in ${duration(performance.now() - began)}.`);
    } catch (problem) {
      complain(problem);
    }
    placing = null;
    button.textContent = "Place orders";
  }

  return panel("A stream of small orders", h("form", { class: "place", onsubmit: place },
    h("label", { class: "field" }, h("span", {}, "How many"), many), h("label", { class: "field" }, h("span", {}, "A second"), rate), button), progress);
}

// One after another at this rate, each repeated under its own key until it is answered. How many were accepted.
async function placeOrders(wanted, rate, placing, progressed) {
  let accepted = 0;
  const underway = new Set();
  for (let number = 0; number < wanted && !placing.stopped; number += 1) {
    while (underway.size >= AT_ONCE_MAX) await Promise.race(underway);
    const order = submitted(TRADES[number % TRADES.length]).then(() => progressed((accepted += 1)));
    const done = order.finally(() => underway.delete(done));
    done.catch(() => { placing.stopped = true; });
    underway.add(done);
    await pause(1_000 / rate);
  }
  await Promise.all(underway);
  return accepted;
}

async function submitted(trade) {
  const idempotencyKey = randomKey();
  for (let tries = 1; ; tries += 1) {
    try {
      return await call("/v1/orders", { method: "POST", body: { ...trade, slippageBps: 500, tags: ["fault-lab"] }, idempotencyKey });
    } catch (problem) {
      const mayWork = [0, 429, 503].includes(problem.status);
      if (!mayWork || tries === TRIES_MAX) throw problem;
    }
    await pause(TRY_AGAIN_MS);
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// --- the worker -----------------------------------------------------------------------------------------------------------

function workerPanel(complain) {
  const button = h("button", { type: "button", class: "danger", onclick: strike }, "Kill the worker");

  async function strike() {
    button.disabled = true;
    complain();
    try {
      const killed = await call("/v1/sim/workers/kill", { method: "POST", body: {} });
      const element = h("span", { class: "num" });
      kill = { ...killed, taken: 0, at: performance.now(), element };
      const words = `Worker ${killed.worker} was killed with ${whole(killed.held)} ${killed.held === 1 ? "order" : "orders"} in hand; ${killed.successor} follows. `;
      tell("worker", words, element);
      say(words);
    } catch (problem) {
      complain(problem);
    }
    button.disabled = false;
    button.focus();
  }

  return panel("Worker", h("p", { class: "why" }, "It ends as with kill -9: it hands nothing back. Its orders stay claimed until its lease runs out; then its successor takes them over."), button);
}
