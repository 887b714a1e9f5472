// One order: what was asked, each step and how long it took, each attempt, the route, the raw events.
// Decides: how its history is told. Must never: tell a step that was not recorded.

import { bps, clock, copyable, duration, empty, ENDED, facts, figure, h, moment, panel, problemNote, shortId, stamp, statusChip, unitName, words } from "./dom.js";
import { call, ifOffered, listen, live, Problem } from "./engine.js";
import { routePicture } from "./picture.js";
import { quoteTable } from "./quotes.js";
import { conditionFacts, resting } from "./resting.js";
import { slicePanel } from "./slices.js";
import { awaitsEntry, tied, tiedIds, tiedPanel } from "./ties.js";
import { cancelOrder, got, paid, reasonText, wish } from "./ticket.js";

const EVENTS_SHOWN = 80; // of a long history the latest
const ATTEMPTS_SHOWN = 12;
const SETTLE_MS = 40; // events that come together are read together
const CAUSES = {
  accepted: "Accepted and stored",
  slice_landed: "A slice landed",
  slice_skipped: "A slice was skipped",
  released: "Its entry is filled: it waits for the market, with what that gave",
  sniped: "A new pool meets its conditions",
  declined: "The pool is left alone: it failed the last check",
  armed: "Rests until what it waits for comes",
  trailed: "Best price noted; the trigger follows",
  amended: "Amended",
  triggered: "Triggered by the market",
  slipped: "The market left the limit price; it rests again",
  started: "Taken by a worker",
  reclaimed: "Taken over by a worker",
  routed: "Route chosen",
  signed: "Signed and stored, then broadcast",
  landed: "Landed on the chain",
  reverted: "Reverted on the chain",
  lapsed: "Proven dead: it can no longer land",
  aborted: "Attempt given up before anything was sent",
  attested: "An operator vouches for what happened",
  reopened: "The chain took the block back; landed once more",
  cancel_requested: "Cancel asked for",
  canceled: "Canceled",
  expired: "Expired",
  failed: "Failed",
};

export function orderPage(id) {
  const element = h("div", { class: "page" }, empty("Reading the order", shortId(id)));
  let reading = null;
  let timer = 0;
  let isOpen = false;
  let relatives = new Set(); // ids of the orders that it is tied to
  let waits = null; // the panel of an order that rests, kept with what is being typed into it

  async function read() {
    const mine = (reading = {});
    try {
      const [order, events, attempts, route, explain, fills] = await Promise.all([
        call(`/v1/orders/${id}`),
        call(`/v1/orders/${id}/events`),
        call(`/v1/orders/${id}/attempts`),
        call(`/v1/orders/${id}/route`),
        ifOffered(`/v1/orders/${id}/explain`),
        call(`/v1/orders/${id}/fills`),
      ]);
      const family = await tied(order);
      if (mine !== reading) return;
      live.take(order);
      relatives = new Set(tiedIds(order));
      const held = element.contains(document.activeElement) ? document.activeElement.dataset.act : null;
      waits ??= order.status === "open" ? resting(id) : null;
      waits?.show(order, explain);
      element.replaceChildren(...view(order, events.data, attempts.data, route.route, explain, fills.data, family));
      if (held) element.querySelector(`[data-act="${held}"]`)?.focus();
    } catch (problem) {
      if (mine !== reading) return;
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status !== 0 || !element.querySelector("h1")) {
        element.replaceChildren(h("h1", {}, problem.status === 404 ? "There is no such order" : "The order cannot be shown"), problemNote(problem), h("p", {}, h("a", { href: "#/orders" }, "All orders")));
      }
    }
  }

  function view(order, events, attempts, route, explain, fills, family) {
    const raw = h("details", { class: "raw", open: isOpen }, h("summary", { "data-act": "raw" }, `${events.length} events as recorded`), h("pre", { class: "mono", tabindex: 0, "aria-label": "Events as JSON" }, JSON.stringify(events, null, 2)));
    raw.addEventListener("toggle", () => (isOpen = raw.open));
    return [
      heading(order),
      h("div", { class: "order" },
        h("div", { class: "stack" },
          order.sniper && order.status === "open" ? panel("New pools, judged now", waits.pools) : null,
          order.slices ? slicePanel(order, fills) : null,
          panel("Timeline", timeline(events)),
          route ? panel("Route", h("p", { class: "why" }, reasonText(route)), routePicture(route, order.mintIn, order.mintOut)) : null,
          route ? panel("Quotes compared", quoteTable(route, { tokenIn: order.tokenIn, tokenOut: order.tokenOut, exactOut: order.amountMode === "exactOut" })) : null,
          panel("Raw events", raw)),
        h("div", { class: "stack side" },
          order.status === "open" ? null : outcome(order, route),
          order.status === "open" ? first(panel("What it waits for", waits.element)) : explain && !ENDED.has(order.status) ? panel("What happens next", explained(explain)) : null,
          family.length ? first(tiedPanel(family, id, cancelTied)) : null,
          panel("Asked for", asked(order)),
          panel("Attempts", attempts.length ? h("ol", { class: "attempts" }, attempts.slice(-ATTEMPTS_SHOWN).map((attempt) => attemptView(attempt, order))) : empty("None yet", order.status === "open" ? "What it waits for has not come." : "No worker has taken it.")))),
    ];
  }

  function heading(order) {
    const cancel = h("button", { type: "button", class: "danger", "data-act": "cancel", disabled: order.cancelRequested }, order.cancelRequested ? "Cancel requested" : "Cancel order");
    const refusal = h("div", { role: "alert" });
    cancel.addEventListener("click", async () => {
      cancel.disabled = true;
      const problem = await cancelOrder(id);
      if (problem) refusal.replaceChildren(problemNote(problem));
      soon();
    });
    return h("div", {},
      h("p", { class: "crumb" }, h("a", { href: "#/orders" }, "Orders"), " / ", copyable(order.id, shortId(order.id))),
      h("div", { class: "between heading" }, h("h1", {}, wish(order)), h("div", { class: "row" }, statusChip(order.status), ENDED.has(order.status) ? null : cancel)),
      refusal);
  }

  async function cancelTied(other) {
    await cancelOrder(other);
    soon();
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(read, SETTLE_MS);
  }

  const unlisten = listen({ frame: ({ detail }) => (detail.orderId === id || relatives.has(detail.orderId)) && soon(), "caught-up": soon });
  read();
  return {
    title: `Order ${shortId(id)}`,
    element,
    close: () => {
      unlisten();
      waits?.close();
      clearTimeout(timer);
      reading = null;
    },
  };
}

// --- parts ----------------------------------------------------------------------------------------------------------------

function timeline(all) {
  const first = moment(all[0].timestamp);
  const events = all.slice(-EVENTS_SHOWN);
  const last = moment(events.at(-1).timestamp);
  const longest = Math.max(1, ...events.map((event, at) => (at ? event.timestamp - events[at - 1].timestamp : 0)));
  const steps = events.map((event, at) => {
    const took = at ? event.timestamp - events[at - 1].timestamp : null;
    const meter = h("span", { class: "meter", "aria-hidden": "true" });
    const part = h("i");
    part.style.width = took === null ? "0" : `${Math.max(1, (took / longest) * 100)}%`;
    meter.append(part);
    return h("li", { "data-status": event.status, "data-bad": Boolean(event.error) },
      h("div", { class: "what" }, h("strong", {}, CAUSES[event.cause] ?? words(event.cause)), detail(event, events[at + 1])),
      h("div", { class: "when num" }, h("time", { datetime: new Date(event.timestamp).toISOString(), title: new Date(event.timestamp).toISOString() }, clock(event.timestamp, true))),
      h("div", { class: "took num" }, ...(took === null ? [] : [`+${duration(took)}`, meter])));
  });
  const left = all.length - events.length;
  return h("div", {}, left ? h("p", { class: "note" }, `${left} earlier events stand among the raw ones.`) : null, h("ol", { class: "timeline" }, steps), h("p", { class: "note total" }, `${duration(last - first)} from acceptance to ${ENDED.has(events.at(-1).status) ? "the end" : "the last event"}`));
}

function detail(event, next) {
  const notes = [];
  if (event.cause === "started" || event.cause === "reclaimed") notes.push(...(event.slice ? [`slice ${event.slice} of ${event.slices}`] : []), `attempt ${event.attempt}`);
  if (event.cause === "triggered") notes.push(`at ${event.price}`);
  if (event.status === "open" && event.triggerPrice) notes.push(`waits for ${event.triggerPrice}`);
  if (event.cause === "routed") notes.push(event.reason);
  if (event.cause === "signed") notes.push(shortId(event.txHash));
  if (event.cause === "landed") notes.push(`executed at ${event.executedPrice}`);
  if (event.cause === "slice_landed") notes.push(`${event.amountIn} for ${event.amountOut}, at ${event.executedPrice} · ${event.leaves} left`);
  if (event.cause === "sniped" || event.cause === "declined") notes.push(event.pool);
  if (event.refusals) notes.push(...event.refusals.map((each) => each.detail));
  if (event.error) notes.push(event.error);
  if (event.retryAt && (!next || next.timestamp >= event.retryAt)) notes.push(`again at ${clock(event.retryAt, true)}`);
  return h("span", { class: event.error ? "bad" : "note" }, notes.join(" · "));
}

function outcome(order, route) {
  const [base, quote] = order.pair.split("/");
  const known = facts([
    ["Paid", paid(order) && figure(paid(order), order.tokenIn, 12)],
    ["Got", got(order) && figure(got(order), order.tokenOut, 12)],
    ["Executed at", order.executedPrice && !order.slices && figure(order.executedPrice, `${quote} per ${base}`, 9)],
    ["Quoted at", order.price && figure(order.price, `${quote} per ${base}`, 9)],
    ["At least, enforced", order.minOut && figure(order.minOut, order.tokenOut, 12)],
    ["At most, enforced", order.maxIn && figure(order.maxIn, order.tokenIn, 12)],
    ["Price impact", route && bps(route.priceImpactBps)],
    ["Next attempt", order.retryAt && stamp(order.retryAt, true)],
    ["Outcome known by", order.outcomeKnownBy && stamp(order.outcomeKnownBy)],
    ["Signature", order.txHash && copyable(order.txHash, shortId(order.txHash))],
  ]);
  const problem = order.error ? h("p", { class: "bad" }, order.error, " ", h("code", {}, order.code)) : null;
  const part = panel("Outcome", known.children.length || problem ? h("div", {}, problem, known) : empty("Not known yet", "It is told here as soon as it is recorded."));
  return first(part);
}

// On a narrow window it stands above the rest.
function first(part) {
  part.classList.add("outcome");
  return part;
}

function asked(order) {
  return facts([
    ...conditionFacts(order),
    ["Pair, side", order.pair.startsWith("?") ? undefined : `${unitName(order.pair)}, ${order.side}`],
    awaitsEntry(order) ? ["Pay", "what its entry gives"] : [order.amountMode === "exactIn" ? "Pay exactly" : "Get exactly", figure(order.amount, order.amountMode === "exactIn" ? order.tokenIn : order.tokenOut, 12)],
    ["Slippage at most", bps(order.slippageBps)],
    ["Price impact at most", order.maxPriceImpactBps === undefined ? undefined : bps(order.maxPriceImpactBps)],
    ["Sign by", order.deadlineAt && stamp(order.deadlineAt, true)],
    ["Venues", order.routing?.venues?.join(", ")],
    ["Legs at most", order.routing?.maxLegs],
    ["Client order id", order.clientOrderId],
    ["Tags", order.tags?.join(", ")],
    ["Accepted", stamp(order.createdAt, true)],
  ]);
}

function attemptView(attempt, order) {
  const took = attempt.endedAt ? duration(moment(attempt.endedAt) - moment(attempt.startedAt)) : "under way";
  const proof = attempt.proof?.slot ? `slot ${attempt.proof.slot}` : attempt.proof?.height ? `block height ${attempt.proof.height}` : undefined;
  return h("li", {},
    h("p", { class: "between" }, h("strong", {}, attempt.slice ? `Slice ${attempt.slice}, attempt ${attempt.attempt}` : `Attempt ${attempt.attempt}`), h("span", { class: "tag", "data-outcome": attempt.outcome }, attempt.outcome)),
    facts([
      ["Took", took],
      ["Venue", attempt.dex],
      ["Signature", attempt.txHash && copyable(attempt.txHash, shortId(attempt.txHash))],
      ["Signed", attempt.signedAt && stamp(attempt.signedAt, true)],
      ["Can land until", attempt.lastValidBlockHeight && `block height ${attempt.lastValidBlockHeight}`],
      ["At least", attempt.minOut && figure(attempt.minOut, order.tokenOut, 9)],
      ["At most", attempt.maxIn && figure(attempt.maxIn, order.tokenIn, 9)],
      ["Proof", proof],
    ]),
    attempt.error ? h("p", { class: "bad" }, attempt.error) : null);
}

function explained(explain) {
  return h("div", {}, h("p", { class: "why" }, explain.summary), facts([
    ["Next", explain.nextAction],
    ["Not before", explain.nextAt && stamp(explain.nextAt, true)],
    ["Outcome known by", explain.outcomeKnownBy && stamp(explain.outcomeKnownBy)],
    ["Attempts", `${explain.attempt} of ${explain.attemptsMax}`],
    ["Last problem", explain.lastProblem?.words],
  ]));
}
