// Operations: is it well, how much does it do, how long does each stage take, what waits.
// Decides: what an operator sees first. Must never: call a number current that was not just read.

import { duration, h, panel, problemNote, svg, table, whole, words } from "./dom.js";
import { call, listen, live, Problem, text } from "./engine.js";
import { counted, parse, quantile, valued } from "./metrics.js";

const EVERY_MS = 2_000;
const SAMPLES = 90;
const WIDE_FROM = 15; // samples that a line is drawn across at least
const ORDERS_READ = 12;
const DURATIONS_MAX = 500;
const STAGES = [
  ["accepted", "started", "waits for a worker"],
  ["started", "routed", "quotes and route"],
  ["routed", "signed", "builds and signs"],
  ["signed", "landed", "lands on the chain"],
];
const samples = []; // {at, events, ended, waiting, oldest}: kept while the console is open
const stages = new Map(STAGES.map(([from, to]) => [`${from} ${to}`, []]));
const before = new Map(); // order id → its last event, of orders on their way

// Durations are measured between recorded events, wherever this page saw both.
function measure(frame) {
  const last = before.get(frame.orderId);
  if (last && frame.seq === last.seq + 1) {
    const known = stages.get(`${last.cause} ${frame.cause}`);
    known?.push(frame.timestamp - last.timestamp);
    if (known?.length > DURATIONS_MAX) known.shift();
  }
  if (["confirmed", "failed", "canceled", "expired"].includes(frame.status)) before.delete(frame.orderId);
  else before.set(frame.orderId, frame);
}

live.addEventListener("frame", ({ detail }) => measure(detail));

export function operations() {
  const health = h("div", { class: "row checks" });
  const tiles = h("div", { class: "cards tiles" });
  const ended = h("div");
  const counts = h("div");
  const staged = h("div");
  const trouble = h("div");
  const element = h("div", { class: "page" },
    h("div", { class: "between heading" }, h("h1", {}, "Operations"), health), trouble, tiles,
    h("div", { class: "halves" }, panel("Latency by stage", staged), panel("From acceptance to the end", ended), panel("Recorded events", counts)));
  let isOpen = true;

  async function read() {
    try {
      const [metrics, ready] = await Promise.all([text("/metrics").then(parse), readiness()]);
      if (!isOpen) return;
      remember(metrics);
      health.replaceChildren(...checks(ready));
      tiles.replaceChildren(...tileViews(metrics));
      ended.replaceChildren(endedTable(metrics));
      counts.replaceChildren(eventTable(metrics));
      staged.replaceChildren(stageTable());
      trouble.replaceChildren();
    } catch (problem) {
      if (isOpen && problem instanceof Problem) trouble.replaceChildren(problemNote(problem));
    }
  }

  // The newest ended orders tell how long stages took before this page was opened.
  async function readBack() {
    if ([...stages.values()].some((known) => known.length)) return;
    const done = live.newestFirst().filter((order) => order.status === "confirmed").slice(0, ORDERS_READ);
    for (const order of done) {
      const history = await call(`/v1/orders/${order.id}/events`).catch(() => null);
      for (const event of history?.data ?? []) measure(event);
    }
    if (isOpen) staged.replaceChildren(stageTable());
  }

  const again = setInterval(() => document.hidden || read(), EVERY_MS);
  const unlisten = listen({ "caught-up": readBack });
  read();
  if (live.loaded) readBack();
  return {
    title: "Operations",
    element,
    close: () => {
      isOpen = false;
      unlisten();
      clearInterval(again);
    },
  };
}

// A 503 tells its checks as well.
async function readiness() {
  const response = await fetch("/readyz");
  return response.json();
}

function remember(metrics) {
  samples.push({
    at: performance.now(),
    events: valued(metrics, "fillwright_events_total") ?? 0,
    ended: valued(metrics, "fillwright_orders_ended_total") ?? 0,
    waiting: valued(metrics, "fillwright_orders_waiting") ?? 0,
    oldest: valued(metrics, "fillwright_oldest_seconds") ?? 0,
    driving: valued(metrics, "fillwright_orders_driving") ?? 0,
  });
  if (samples.length > SAMPLES) samples.shift();
}

function rates(name) {
  return samples.slice(1).map((sample, at) => Math.max(0, (sample[name] - samples[at][name]) / ((sample.at - samples[at].at) / 1_000)));
}

function checks(ready) {
  const each = Object.entries(ready.checks ?? {});
  return each.map(([name, verdict]) => h("span", { class: "tag", "data-outcome": verdict === "ok" ? "landed" : "reverted", title: verdict }, `${name}: ${verdict === "ok" ? "ok" : verdict}`));
}

function tileViews(metrics) {
  const failures = valued(metrics, "fillwright_failures_total") ?? 0;
  const dropped = valued(metrics, "fillwright_dropped") ?? 0;
  const workers = valued(metrics, "fillwright_workers_alive") ?? valued(metrics, "fillwright_workers");
  const ended = rates("ended");
  const events = rates("events");
  const now = samples.at(-1);
  return [
    tile("Orders ended", ended.length ? ended.at(-1).toFixed(1) : "–", "a second", ended),
    tile("Events recorded", events.length ? events.at(-1).toFixed(1) : "–", "a second", events),
    tile("Being driven", whole(now.driving), "orders", samples.map((sample) => sample.driving)),
    tile("Waiting", whole(now.waiting), "orders", samples.map((sample) => sample.waiting)),
    tile("Longest wait", duration(now.oldest * 1_000), "oldest", samples.map((sample) => sample.oldest)),
    workers === undefined ? null : tile("Workers", whole(workers), "alive"),
    tile("Failures", whole(failures), "survived", null, failures > 0),
    tile("Not sent", whole(dropped), "hints and events", null, dropped > 0),
  ].filter(Boolean);
}

function tile(name, value, unit, line, isBad = false) {
  return h("section", { class: `panel tile${isBad ? " bad-tile" : ""}`, "aria-label": name },
    h("span", { class: "eyebrow" }, name), h("p", { class: "result num" }, value, h("small", {}, ` ${unit}`)), line ? spark(line) : null);
}

function spark(values) {
  const [width, height] = [160, 28];
  if (values.length < 2) values = [0, 0];
  const most = Math.max(...values, 1e-9);
  const step = width / (Math.max(values.length, WIDE_FROM) - 1);
  const from = width - (values.length - 1) * step;
  const points = values.map((value, at) => `${(from + at * step).toFixed(1)},${(height - 1 - (value / most) * (height - 3)).toFixed(1)}`);
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { d: `M0 ${height - 0.5}H${width}` }), svg("polygon", { points: `${from.toFixed(1)},${height} ${points.join(" ")} ${width},${height}` }), svg("polyline", { points: points.join(" ") }));
}

function stageTable() {
  const rows = STAGES.map(([from, to, meaning]) => {
    const known = [...stages.get(`${from} ${to}`)].sort((a, b) => a - b);
    const at = (part) => (known.length ? duration(known[Math.min(known.length - 1, Math.floor(known.length * part))]) : "–");
    return [h("span", {}, h("strong", {}, `${words(from)} → ${to}`), h("small", { class: "block note" }, meaning)), at(0.5), at(0.95), whole(known.length)];
  });
  return h("div", {}, table("Latency by stage", [["Stage", ""], ["Half within", "end num"], ["95 % within", "end num"], ["Seen", "end num wide"]], rows),
    h("p", { class: "note" }, "Between recorded events that this page saw, the newest 500 a stage."));
}

function endedTable(metrics) {
  const by = counted(metrics, "fillwright_orders_ended_total", "status");
  const within = (part, status) => {
    const edge = quantile(metrics, "fillwright_order_seconds", part, { status });
    return edge === undefined ? "–" : edge === Infinity ? "> 2 min" : `≤ ${duration(edge * 1_000)}`;
  };
  if (!by.size) return h("p", { class: "note" }, "No order has ended in this process yet.");
  return table("Orders ended since the process began", [["Ended as", ""], ["Orders", "end num"], ["Half within", "end num"], ["99 % within", "end num"]],
    [...by].map(([status, count]) => [status, whole(count), within(0.5, status), within(0.99, status)]));
}

function eventTable(metrics) {
  const by = [...counted(metrics, "fillwright_events_total", "event")].sort(([, a], [, b]) => b - a);
  const most = Math.max(1, ...by.map(([, count]) => count));
  if (!by.length) return h("p", { class: "note" }, "Nothing has been recorded by this process yet.");
  return table("Events recorded since the process began", [["Event", ""], ["", "grow wide"], ["Count", "end num"]], by.map(([event, count]) => {
    const part = h("i");
    part.style.width = `${(count / most) * 100}%`;
    return [words(event), h("span", { class: "meter", "aria-hidden": "true" }, part), whole(count)];
  }));
}
