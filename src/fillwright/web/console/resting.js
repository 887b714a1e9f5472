// An order that rests: what it waits for and how far that is, drawn, and the form that changes it.
// Decides: how the distance is shown, and what an amendment names. Must never: change an order that is not as it was
// shown: what another has changed meanwhile is shown first.

import { amount, bps, duration, facts, figure, h, moment, problemNote, say, shortId, stamp, svg } from "./dom.js";
import { call, ifOffered, live, Problem } from "./engine.js";
import { candidateList, huntFacts } from "./hunt.js";
import { awaited, dated, FIELDS, FORCES, inputOf, lasting, TYPES, typeName } from "./conditions.js";

const EVERY_MS = 2_000;
const WIDTH = 320;
const HEIGHT = 78;
const LINE = 38;
const PAD = 0.16; // of the width, on either side of what is drawn

// One panel's content, which stays while the page around it is drawn again: `show` tells it the order as it is now.
export function resting(id) {
  const holder = h("div", { class: "waits" });
  const pools = h("div"); // of a sniper: what it has seen
  const amend = amendForm(id);
  const element = h("div", {}, holder, amend.element);
  let order = null;
  let isAsking = false;

  async function look() {
    if (document.hidden || isAsking || order?.status !== "open") return;
    isAsking = true;
    const explain = await ifOffered(`/v1/orders/${id}/explain`);
    isAsking = false;
    if (order.status === "open" && explain?.status === "open") draw(explain);
  }

  function draw(explain) {
    holder.replaceChildren(...waiting(order, explain));
    if (order.sniper) pools.replaceChildren(candidateList(explain?.candidates, order));
  }

  const again = setInterval(look, EVERY_MS);
  return {
    element,
    pools,
    show(told, explain) {
      order = told;
      if (order.status !== "open") return;
      draw(explain);
      amend.show(order);
    },
    close: () => clearInterval(again),
  };
}

function waiting(order, explain) {
  const [base, quote] = order.pair.split("/");
  const unit = `${quote} per ${base}`;
  const told = { ...order, triggerPrice: explain?.triggerPrice ?? order.triggerPrice };
  const waits = awaited(told);
  const now = explain?.currentPrice;
  const far = explain?.distanceBps;
  const name = waits?.price === order.limitPrice ? "limit" : "trigger";
  return [
    h("p", { class: "why" }, (explain?.summary ?? "The order rests until the market meets its condition.").replace(/[0-9a-f-]{36}/g, shortId)),
    far === undefined ? null : h("div", { class: "distance" }, h("span", { class: "eyebrow" }, "The price has yet to move"), h("p", { class: "result num" }, bps(far))),
    waits && now ? pricePicture(name, waits, now, order.trail?.bestPrice) : null,
    facts([
      ["Price now", now ? figure(now, unit, 9) : explain?.waitsFor === "price" ? "not known: no venue answers" : undefined],
      ["Best price noted", order.trail?.bestPrice && figure(order.trail.bestPrice, unit, 9)],
      ["Limit, once triggered", order.type !== "limit" && order.limitPrice ? figure(order.limitPrice, unit, 9) : undefined],
      ["Waits until", order.expireAt && stamp(order.expireAt)],
      ["Next slice", order.nextSliceAt && stamp(order.nextSliceAt)],
      ["Has rested for", duration(Date.now() - moment(order.createdAt))],
    ]),
  ].filter(Boolean);
}

// --- the picture: prices on a line, and the side of it on which the order swaps --------------------------------------

// Floats serve the picture only.
function pricePicture(name, waits, now, best) {
  const marks = [
    { name: "now", text: now, top: true },
    { name, text: waits.price, kind: "trigger" },
    ...(best && best !== now ? [{ name: "best", text: best, kind: "best" }] : []),
  ].map((mark) => ({ ...mark, at: Number(mark.text) }));
  const low = Math.min(...marks.map((mark) => mark.at));
  const span = Math.max(...marks.map((mark) => mark.at)) - low || Math.abs(low) || 1;
  const x = (price) => WIDTH * (PAD + ((1 - 2 * PAD) * (price - low)) / span);
  const from = x(marks[0].at);
  const to = x(marks[1].at);
  const [left, right] = waits.op === "gte" ? [to, WIDTH] : [0, to];
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": marks.map((mark) => `${mark.name} ${amount(mark.text, 7)}`).join(", ") },
    svg("rect", { class: "zone", x: left, y: LINE - 9, width: Math.max(0, right - left), height: 18, rx: 3 }),
    svg("path", { class: "axis", d: `M0 ${LINE}H${WIDTH}` }),
    svg("path", { class: "gap", d: `M${from} ${LINE}H${to}` }));
  for (const mark of marks) drawing.append(...drawn(mark, x(mark.at)));
  return h("div", { class: "pricing" }, drawing);
}

function drawn({ name, text, top, kind }, x) {
  const shape = kind === "trigger" ? svg("path", { class: "trigger", d: `M${x} ${LINE - 13}V${LINE + 13}` }) : svg("circle", { class: kind ?? "now", cx: x, cy: LINE, r: kind ? 4 : 5.5 });
  const anchor = x < WIDTH * 0.3 ? "start" : x > WIDTH * 0.7 ? "end" : "middle";
  const at = anchor === "start" ? Math.max(2, x - 24) : anchor === "end" ? Math.min(WIDTH - 2, x + 24) : x;
  return [shape, svg("text", { x: at, y: top ? 16 : HEIGHT - 8, "text-anchor": anchor }, `${name} `, svg("tspan", {}, amount(text, 7)))];
}

// --- the amendment ---------------------------------------------------------------------------------------------------

function amendForm(id) {
  let base = null; // the order as the fields show it; its seq is what the amendment is for
  let inputs = [];
  const fields = h("div", { class: "limits" });
  const refusal = h("div", { role: "alert" });
  const send = h("button", { class: "primary", "data-act": "amend-send" }, "Amend");
  const form = h("form", { class: "ticket", autocomplete: "off" }, fields, refusal, h("div", { class: "row" }, send, h("span", { class: "note" }, "It goes on waiting, as the fields say.")));
  const element = h("details", { class: "amend" }, h("summary", { "data-act": "amend" }, "Amend"), form);

  const told = new Map(); // of each input: the order's own text, and how the browser spells that
  const isTouched = (input) => input.value !== told.get(input)?.spelled;

  // Fields that were not touched follow the order.
  function adopt(order) {
    base = order;
    for (const input of inputs) {
      const typed = told.has(input) && isTouched(input) ? input.value : null;
      const text = (input.value = FIELDS[input.name].of(order));
      told.set(input, { text, spelled: input.value });
      if (typed !== null) input.value = typed;
    }
  }

  function build(order) {
    const { needs, may } = TYPES[order.type] ?? { needs: [], may: [] };
    const isFill = order.linkedTo?.parent; // then the amount is what its entry gives
    const names = [...needs, ...may, ...(isFill ? [] : ["amount"]), "slippage", "expire"].filter((name) => FIELDS[name].of);
    const required = new Set([...needs, "amount", "slippage"]);
    fields.replaceChildren(...names.map((name) => inputOf(name, {
      required: required.has(name),
      "data-act": `amend-${name}`,
      label: name === "amount" ? `Amount, ${order.amountMode === "exactIn" ? order.tokenIn : order.tokenOut}` : undefined,
      placeholder: name === "limit" ? "none" : undefined,
    })));
    inputs = [...fields.querySelectorAll("input")];
    adopt(order);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const touched = inputs.filter(isTouched);
    if (!touched.length) {
      refusal.replaceChildren(h("p", { class: "note" }, "Nothing is changed yet."));
      return;
    }
    send.disabled = true;
    refusal.replaceChildren();
    const body = Object.assign({}, ...touched.map((input) => FIELDS[input.name].told(input.value)));
    try {
      const order = await call(`/v1/orders/${id}`, { method: "PATCH", body, ifMatch: `"${base.seq}"` });
      live.take(order);
      told.clear();
      adopt(order);
      element.open = false;
      say("The order is amended.");
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      refusal.replaceChildren(...(await refused(problem)));
      if (!element.isConnected) say(`${problem.title}: ${problem.detail}`); // it has left its rest, and the form with it
      const wrong = inputs.filter((input) => problem.errors.some((error) => (error.pointer ?? "").startsWith(FIELDS[input.name].pointer)));
      for (const input of inputs) wrong.includes(input) ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
      (wrong[0] ?? send).focus();
    } finally {
      send.disabled = false;
    }
  });

  async function refused(problem) {
    if (problem.status !== 412) return [problemNote(problem)];
    const order = await ifOffered(`/v1/orders/${id}`);
    if (order) adopt(order);
    return [problemNote(problem), h("p", { class: "note" }, "Somebody, or the market, was faster. The fields you did not touch show the order as it is now: look, then press again.")];
  }

  return {
    element,
    // An order whose wishes changed under a form that is being filled in is not adopted: the engine will say so.
    show(order) {
      element.hidden = Boolean(order.schedule); // it has swapped by that already
      if (element.hidden) return;
      if (base === null) build(order);
      else if (!inputs.some(isTouched) || inputs.every((input) => FIELDS[input.name].of(order) === told.get(input).text)) adopt(order);
    },
  };
}

// What was asked for beside the swap, for the facts of an order.
export function conditionFacts(order) {
  const [base, quote] = order.pair.split("/");
  const unit = `${quote} per ${base}`;
  return [
    ["Type", typeName(order.type)],
    ["Limit price", order.limitPrice && figure(order.limitPrice, unit, 9)],
    ["Trigger", order.trigger && h("span", {}, `${order.trigger.op === "gte" ? "at or above" : "at or below"} `, figure(order.trigger.price, unit, 9))],
    ["Trails by", order.trail && bps(order.trail.bps)],
    ["Slices", order.schedule && `${order.schedule.slices}, one every ${lasting(order.schedule.intervalSeconds)}`],
    ["Moved at random by", order.schedule?.jitterPct ? `up to ${order.schedule.jitterPct} %` : undefined],
    ...huntFacts(order),
    ["Waits", order.expireAt ? `until ${dated(order.expireAt)}` : FORCES[order.timeInForce]],
  ];
}
