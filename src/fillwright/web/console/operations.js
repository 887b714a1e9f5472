// Operations: is it well, how much does it do, how long does each stage take, what waits.
// Decides: what an operator sees first. Must never: call a number current that was not just read.

import { duration, h, panel, problemNote, svg, table, whole, words } from "./dom.js";
import { call, Problem, text } from "./engine.js";
import { venueTable } from "./markets.js";
import { counted, parse, quantile, valued } from "./metrics.js";

const EVERY_MS = 2_000;
const SAMPLES = 90;
const WIDE_FROM = 15; // samples that a line is drawn across at least
const STAGES = [
  ["triggered", "rests until the market meets its condition"],
  ["started", "waits for a worker, or for its next attempt"],
  ["routed", "quotes and route"],
  ["signed", "builds and signs"],
  ["landed", "lands on the chain"],
  ["reverted", "is undone by the chain"],
  ["lapsed", "is proven dead"],
  ["aborted", "finds no route, or cannot be signed"],
  ["reclaimed", "is taken over from a dead worker"],
];
const samples = []; // {at, events, ended, waiting, oldest}: kept while the console is open

export function operations() {
  const verdicts = h("div", { class: "row checks" });
  const tiles = h("div", { class: "cards tiles" });
  const ended = h("div");
  const counts = h("div");
  const staged = h("div");
  const trouble = h("div");
  const venues = h("div");
  const element = h("div", { class: "page" },
    h("div", { class: "between heading" }, h("h1", {}, "Operations"), verdicts), trouble, tiles,
    h("div", { class: "halves" }, panel("Latency by stage", staged), panel("From acceptance to the end", ended), panel("Recorded events", counts)), panel("Venues", venues));
  let isOpen = true;

  async function read() {
    try {
      const [metrics, ready, health] = await Promise.all([text("/metrics").then(parse), readiness(), call("/v1/venues")]);
      if (!isOpen) return;
      remember(metrics);
      verdicts.replaceChildren(...checks(ready));
      venues.replaceChildren(venueTable(health.data));
      tiles.replaceChildren(...tileViews(metrics));
      ended.replaceChildren(endedTable(metrics));
      counts.replaceChildren(eventTable(metrics));
      staged.replaceChildren(stageTable(metrics));
      trouble.replaceChildren();
    } catch (problem) {
      if (isOpen && problem instanceof Problem) trouble.replaceChildren(problemNote(problem));
    }
  }

  const again = setInterval(() => document.hidden || read(), EVERY_MS);
  read();
  return {
    title: "Operations",
    element,
    close: () => {
      isOpen = false;
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
  const workers = valued(metrics, "fillwright_workers_alive");
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

function stageTable(metrics) {
  const seen = (event) => valued(metrics, "fillwright_stage_seconds_count", { event });
  const rows = STAGES.filter(([event]) => seen(event)).map(([event, meaning]) => [
    h("span", {}, h("strong", {}, words(event)), h("small", { class: "block note" }, meaning)),
    within(metrics, "fillwright_stage_seconds", 0.5, { event }), within(metrics, "fillwright_stage_seconds", 0.95, { event }), whole(seen(event)),
  ]);
  if (!rows.length) return h("p", { class: "note" }, "No order has moved in this process yet.");
  return h("div", {}, table("Latency by stage", [["Until it", ""], ["Half within", "end num"], ["95 % within", "end num"], ["Times", "end num wide"]], rows),
    h("p", { class: "note" }, "From an order's previous event to this one, since the process began."));
}

// The upper end of the bucket that this part of the observations fits into.
function within(metrics, name, part, labels) {
  const edge = quantile(metrics, name, part, labels);
  return edge === undefined ? "–" : edge === Infinity ? "> 2 min" : `≤ ${duration(edge * 1_000)}`;
}

function endedTable(metrics) {
  const by = counted(metrics, "fillwright_orders_ended_total", "status");
  const took = (part, status) => within(metrics, "fillwright_order_seconds", part, { status });
  if (!by.size) return h("p", { class: "note" }, "No order has ended in this process yet.");
  return table("Orders ended since the process began", [["Ended as", ""], ["Orders", "end num"], ["Half within", "end num"], ["99 % within", "end num"]],
    [...by].map(([status, count]) => [status, whole(count), took(0.5, status), took(0.99, status)]));
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
