// An order in slices: how far it has come, and what each slice has swapped.
// Decides: how progress is counted and drawn. Must never: count a slice that the engine has not told as swapped.

import { amount, clock, ENDED, facts, figure, h, moment, panel, stamp, table } from "./dom.js";

const SHOWN = 50; // slices, the latest

// "3 of 10" with a bar of what is filled; null for an order without a schedule.
export function sliceMeter(order) {
  if (!order.slices) return null;
  if (order.status === "confirmed") return h("span", { class: "num" }, sliceWords(order));
  const meter = h("span", { class: "meter", role: "img", "aria-label": `${amount(order.filledIn)} of ${amount(order.amount)} ${order.tokenIn} swapped` }, h("i"));
  meter.firstChild.style.width = `${Math.min(100, (100 * Number(order.filledIn)) / Number(order.amount))}%`; // a float, for the picture only
  return h("span", { class: "slices num" }, h("span", {}, sliceWords(order)), meter);
}

function sliceWords(order) {
  if (order.status === "confirmed") return `all ${order.slices} slices`;
  if (ENDED.has(order.status)) return `ended at slice ${order.slice} of ${order.slices}`;
  const next = order.status === "open" && order.nextSliceAt;
  return `slice ${order.slice} of ${order.slices}${next ? `, ${moment(next) > Date.now() ? `next ${clock(next)}` : "due"}` : ""}`;
}

export function slicePanel(order, fills) {
  const [base, quote] = order.pair.split("/");
  const latest = fills.slice(-SHOWN).reverse();
  const rows = latest.map((fill) => [String(fill.slice), figure(fill.amountIn, order.tokenIn), figure(fill.amountOut, order.tokenOut), figure(fill.price, undefined, 8), stamp(fill.at)]);
  return panel("Slices", sliceMeter(order),
    facts([
      ["Swapped", h("span", {}, figure(order.filledIn, order.tokenIn, 9), " → ", figure(order.filledOut, order.tokenOut, 9))],
      ["Left", ENDED.has(order.status) && order.leaves === "0" ? undefined : figure(order.leaves, order.tokenIn, 9)],
      ["Average price", order.averagePrice && figure(order.averagePrice, `${quote} per ${base}`, 9)],
    ]),
    rows.length ? h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "What each slice swapped" }, table("What each slice swapped, the latest first", [["Slice", ""], ["Paid", "end wide"], ["Got", "end"], ["Price", "end"], ["At", "end"]], rows)) : null,
    fills.length > SHOWN ? h("p", { class: "note" }, `The latest ${SHOWN} of ${fills.length}.`) : null);
}
