// Orders that are tied to each other: an entry and its exits, or two of which at most one swaps.
// Decides: who belongs together, and in what words. Must never: tell a state of one that is older than the last seen.

import { awaited, bound, typeName } from "./conditions.js";
import { ENDED, h, panel, statusChip } from "./dom.js";
import { ifOffered, live } from "./engine.js";

// The ids of the whole, the entry first; none for an order that stands alone.
export function tiedIds(order) {
  const { parent, children = [], siblings = [] } = order.linkedTo ?? {};
  if (!order.linkedTo) return [];
  const exits = children.length ? [...children] : [order.id, ...siblings].sort();
  const entry = children.length ? order.id : parent;
  return entry ? [entry, ...exits] : exits;
}

export async function tied(order) {
  const others = tiedIds(order).map((id) => (id === order.id ? order : live.orders.get(id) ?? ifOffered(`/v1/orders/${id}`)));
  return inOrder((await Promise.all(others)).filter(Boolean));
}

// The entry first, then what takes a profit.
export function inOrder(orders) {
  const rank = ({ linkedTo, type }) => (linkedTo.children?.length ? 0 : type === "take_profit" ? 1 : 2);
  return orders.sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

// What an order is to the others, in a word.
export function role({ linkedTo, type }) {
  if (!linkedTo) return "";
  if (linkedTo.children?.length) return "entry";
  return linkedTo.parent ? `exit: ${typeName(type).toLowerCase()}` : "one of two";
}

// Whether it still waits for its entry, as far as that is known here. Until then its amount is no more than a guess.
export function awaitsEntry(order) {
  const entry = live.orders.get(order.linkedTo?.parent);
  return ["pending", "open"].includes(order.status) && Boolean(entry) && entry.status !== "confirmed";
}

// Newest first, but with those that belong together in one place.
export function gathered(orders) {
  const groups = new Map();
  for (const order of orders) {
    const [first = order.id] = tiedIds(order);
    groups.set(first, [...(groups.get(first) ?? []), order]);
  }
  return [...groups.values()].flatMap((group) => (group.length > 1 ? inOrder(group) : group));
}

// Why it waits or ended because of the others; empty where that has other reasons.
export function why(order) {
  if (awaitsEntry(order)) return "waits for its entry";
  return order.code === "ORDER_SIBLING_FILLED" ? "the other exit was filled" : order.code === "ORDER_PARENT_UNFILLED" ? "its entry was not filled" : "";
}

// All of them as a list; `cancel(id)` is offered for those that have not ended, but for `here`.
export function tiedList(orders, here, cancel) {
  return h("ol", { class: "tied" }, orders.map((order) => {
    const price = order.type === "market" ? null : awaited(order);
    const name = h("strong", {}, role(order));
    return h("li", { "aria-current": order.id === here ? "true" : undefined, "data-status": order.status },
      h("div", { class: "between" }, h("span", {}, order.id === here ? name : h("a", { href: `#/orders/${order.id}`, "data-act": `go-${order.id}` }, name), price ? h("span", { class: "num" }, ` ${bound(price)}`) : null), statusChip(order.status)),
      h("div", { class: "between" }, h("span", { class: "note" }, order.id === here ? "this order" : why(order)),
        ENDED.has(order.status) || order.id === here ? null : h("button", { type: "button", class: "quiet", "data-act": `cancel-${order.id}`, "aria-label": `Cancel the ${role(order)}`, onclick: () => cancel(order.id) }, "Cancel")));
  }));
}

export function tiedPanel(orders, here, cancel) {
  const [first] = orders;
  const isBracket = Boolean(first.linkedTo.children?.length);
  return panel(isBracket ? "Bracket" : "Tied orders",
    h("p", { class: "why" }, isBracket ? `Once the entry is filled its ${orders.length > 2 ? "exits wait" : "exit waits"} for the market, with what that gave.` : "", orders.length > (isBracket ? 2 : 1) ? " Of the two, at most one swaps; the other is then canceled." : ""),
    tiedList(orders, here, cancel),
    h("p", { class: "group" }, h("a", { href: `#/orders?q=${first.id}`, "data-act": "group" }, "All of them among the orders")));
}
