// The blotter: the newest orders as they move, filtered.
// Decides: which rows are shown, and where the keyboard is in them. Must never: hold a filter that the address does not
// show, or two rows for one order.

import { awaited, bound } from "./conditions.js";
import { amount, bps, clock, empty, ENDED, h, stamp, STATUSES, statusChip, statusName, unitName, whole } from "./dom.js";
import { ifOffered, listen, live } from "./engine.js";
import { sliceMeter } from "./slices.js";
import { awaitsEntry, gathered, tiedIds, why } from "./ties.js";
import { got, wish } from "./ticket.js";

const LOOK_EVERY_MS = 500;
const WAIT = 4; // the column that tells how far an order has to go

export function blotter(query) {
  const filter = { status: STATUSES.find((status) => statusName(status) === query.get("status")) ?? "", q: query.get("q") ?? "" };
  const rows = new Map(); // order id → {row, seq}
  const body = h("tbody");
  const head = ["Order", "Status", "Got", "Price", "Venue, wait or problem", "Attempts", "Accepted"];
  const classes = ["", "", "end wide", "end wide", "wide", "end wider", "end"];
  const grid = h("table", { class: "blotter" },
    h("caption", { class: "unseen" }, "Orders, newest first. Arrow keys move, Enter opens."),
    h("thead", {}, h("tr", {}, head.map((name, at) => h("th", { scope: "col", class: classes[at] }, name)))), body);
  const none = h("div");
  const older = h("button", { type: "button", hidden: true, onclick: () => live.showOlder() }, "Show older orders");
  const keys = h("p", { class: "note keys wide" }, h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " move · ", h("kbd", {}, "Enter"), " opens · ", h("kbd", {}, "/"), " searches, while a row has the focus");
  const told = h("p", { class: "note", id: "told" });
  const search = h("input", { type: "search", name: "q", value: filter.q, placeholder: "Token, venue, id, signature, error…", "aria-label": "Search orders", autocomplete: "off", spellcheck: "false" });
  const choices = h("div", { class: "filters", role: "group", "aria-label": "Status" });
  const buttons = ["", ...STATUSES].map((status) => {
    const button = h("button", { type: "button", class: "filter", "data-status": status || "all", "aria-pressed": String(filter.status === status) });
    button.addEventListener("click", () => choose({ status }));
    return button;
  });
  choices.append(...buttons);
  search.addEventListener("input", () => choose({ q: search.value.trim() }));

  const element = h("div", { class: "page" },
    h("div", { class: "between heading" }, h("h1", {}, "Orders"), told),
    h("div", { class: "bar" }, search, choices),
    h("section", { class: "panel flush", "aria-label": "Orders" }, grid, none), h("div", { class: "row" }, older),
    keys);

  let current = null; // the row that the keyboard is on

  function choose(change) {
    Object.assign(filter, change);
    const address = new URLSearchParams(Object.entries({ ...filter, status: statusName(filter.status) }).filter(([, value]) => value));
    history.replaceState(null, "", `#/orders${address.size ? `?${address}` : ""}`);
    draw();
  }

  function draw() {
    const found = gathered(live.newestFirst().filter((order) => matches(order, filter.q)));
    const counts = {};
    for (const order of found) counts[order.status] = (counts[order.status] ?? 0) + 1;
    buttons.forEach((button, at) => {
      const status = STATUSES[at - 1] ?? "";
      button.setAttribute("aria-pressed", String(filter.status === status));
      button.replaceChildren(status ? statusChip(status) : "all", h("span", { class: "count num" }, whole(status ? counts[status] ?? 0 : found.length)));
    });
    const shown = filter.status ? found.filter((order) => order.status === filter.status) : found;
    place(shown);
    told.textContent = live.isComplete ? `${whole(live.orders.size)} in all` : live.loaded ? `the newest ${whole(live.orders.size)}` : "";
    keys.hidden = shown.length === 0;
    older.hidden = !live.hasOlder;
    grid.hidden = shown.length === 0;
    none.replaceChildren(shown.length ? "" : nothing(filter));
  }

  // Rows are kept by order, so that one that moves keeps the keyboard's place and a reader's.
  function place(shown) {
    const wanted = new Set(shown.map((order) => order.id));
    for (const [id, { row }] of rows) {
      if (!wanted.has(id)) {
        row.remove();
        rows.delete(id);
      }
    }
    let at = body.firstElementChild;
    for (const order of shown) {
      const row = rowOf(order);
      if (row === at) at = at.nextElementSibling;
      else body.insertBefore(row, at);
    }
    if (!rows.has(current)) current = shown[0]?.id ?? null;
    for (const [id, { row }] of rows) row.tabIndex = id === current ? 0 : -1;
  }

  function rowOf(order) {
    const known = rows.get(order.id);
    if (known && known.seq === order.seq) return known.row;
    const row = known?.row ?? newRow(order.id);
    if (order.linkedTo) row.dataset.tied = order.linkedTo.parent ? "exit" : "entry";
    row.replaceChildren(...cells(order, far.get(order.id)).map((cell, at) => h("td", { class: classes[at] }, cell)));
    if (known) {
      row.classList.remove("moved");
      requestAnimationFrame(() => row.classList.add("moved"));
    }
    rows.set(order.id, { row, seq: order.seq });
    return row;
  }

  function newRow(id) {
    const row = h("tr", { "data-id": id });
    row.addEventListener("click", (event) => event.target.closest("a") || open(id));
    row.addEventListener("focus", () => go(id, false));
    return row;
  }

  function open(id) {
    location.hash = `#/orders/${id}`;
  }

  function go(id, focus = true) {
    if (current !== null && rows.has(current)) rows.get(current).row.tabIndex = -1;
    current = id;
    rows.get(id).row.tabIndex = 0;
    if (focus) rows.get(id).row.focus();
  }

  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = {
      ArrowDown: row.nextElementSibling, j: row.nextElementSibling,
      ArrowUp: row.previousElementSibling, k: row.previousElementSibling,
      Home: body.firstElementChild, End: body.lastElementChild,
    }[event.key];
    if (to) go(to.dataset.id);
    else if (event.key === "Enter" && event.target === row) open(row.dataset.id);
    else if (event.key === "/") search.focus();
    else return;
    event.preventDefault();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && current !== null) {
      event.preventDefault();
      go(current);
    }
  });

  // How far each resting order in sight has to go: one is asked about at a time, the one that was asked longest ago.
  const far = new Map(); // order id → {explain, at}
  let isLooking = false;
  const again = setInterval(async () => {
    if (document.hidden || isLooking) return;
    const inSight = [...rows].filter(([id, { row }]) => live.orders.get(id)?.status === "open" && isInSight(row));
    const [id] = inSight.map(([each]) => each).sort((a, b) => (far.get(a)?.at ?? 0) - (far.get(b)?.at ?? 0));
    if (!id) return;
    isLooking = true;
    const explain = await ifOffered(`/v1/orders/${id}/explain`);
    isLooking = false;
    far.set(id, { explain, at: Date.now() });
    const cell = rows.get(id)?.row.cells[WAIT];
    if (cell && live.orders.get(id)?.status === "open") cell.replaceChildren(waitCell(live.orders.get(id), far.get(id)));
    for (const each of far.keys()) if (live.orders.get(each)?.status !== "open") far.delete(each);
  }, LOOK_EVERY_MS);

  const unlisten = listen({ orders: draw, "caught-up": draw });
  draw();
  return {
    title: "Orders",
    element,
    close: () => {
      unlisten();
      clearInterval(again);
    },
  };
}

function isInSight(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

function waitCell(order, look) {
  if (order.slices) return sliceMeter(order);
  const told = look?.explain;
  if (awaitsEntry(order) || told?.waitsFor === "order") return h("span", { class: "note" }, "waits for its entry");
  if (order.sniper) return h("span", { class: "note" }, `waits for a new pool${told?.candidates?.length ? `, ${told.candidates.length} left alone` : ""}`);
  if (told?.distanceBps === undefined) return h("span", { class: "note" }, "waits for its price");
  return h("span", { class: "num", title: `price now ${told.currentPrice}, as of ${clock(look.at)}` }, `${bps(told.distanceBps)} to go`);
}

function awaitedCell(order) {
  const price = awaited(order);
  return price ? h("span", { class: "note", title: `waits for ${price.price}` }, bound(price), h("small", {}, ` ${order.pair.split("/")[1]}`)) : "–";
}

function cells(order, look) {
  return [
    h("a", { href: `#/orders/${order.id}`, tabindex: -1 }, wish(order), order.status === "open" && awaited(order) ? h("small", { class: "narrow" }, ` ${bound(awaited(order))}`) : order.slices ? h("small", { class: "narrow" }, ` ${order.status === "confirmed" ? order.slices : order.slice}/${order.slices}`) : null),
    statusChip(order.status),
    got(order) ? h("span", { title: got(order) }, amount(got(order)), h("small", {}, ` ${unitName(order.tokenOut)}`)) : "–",
    order.averagePrice ? h("span", { title: `${order.averagePrice} on average` }, amount(order.averagePrice), h("small", {}, ` ${order.pair.split("/")[1]}`)) : order.status === "open" ? awaitedCell(order) : order.executedPrice ? h("span", { title: `${order.executedPrice} (${order.pair})` }, amount(order.executedPrice), h("small", {}, ` ${order.pair.split("/")[1]}`)) : order.price ? h("span", { class: "note", title: `quoted ${order.price}` }, amount(order.price), h("small", {}, ` ${order.pair.split("/")[1]}`)) : "–",
    order.status === "open" || (order.slices && !ENDED.has(order.status)) ? waitCell(order, look) : why(order) ? h("span", { class: "note", title: order.error }, why(order)) : order.error && order.status !== "confirmed" ? h("span", { class: "bad", title: order.error }, order.error) : order.slices ? sliceMeter(order) : order.dex ?? "–",
    order.attempt ?? "–",
    stamp(order.createdAt),
  ];
}

function matches(order, q) {
  if (!q) return true;
  const text = [order.id, order.clientOrderId, order.pair, order.tokenIn, order.tokenOut, order.dex, order.txHash, order.error, order.code, order.type, statusName(order.status), ...tiedIds(order), ...(order.tags ?? [])].join(" ").toLowerCase();
  return q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function nothing(filter) {
  if (!live.loaded) return empty("Reading orders", "…");
  if (live.orders.size === 0) return empty("No orders yet", "They appear here as soon as they are accepted, whoever sends them.", h("a", { href: "#/" }, "Send one"));
  return empty("No order matches", filter.status ? `None of the orders held here is ${statusName(filter.status)}${filter.q ? ` and fits “${filter.q}”` : ""}.` : `Nothing fits “${filter.q}”.`, h("a", { href: "#/orders" }, "Show all"));
}
