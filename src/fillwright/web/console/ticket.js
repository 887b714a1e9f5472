// The order ticket: what you want, what the venues offer for it now, and the order once it is sent.
// Decides: when quotes are asked for, and that a repeated press is the same order until it is answered. Must never:
// send an order that is not what the form shows.

import { bound, awaited, exitsInWords, FIELDS as CONDITIONS, FORCES, hundredths, inputOf, inWords, suggested, TYPES, typeName } from "./conditions.js";
import { amount, bps, copyable, empty, ENDED, facts, figure, h, panel, problemNote, say, shortId, stamp, statusChip, statusName, unitName } from "./dom.js";
import { call, listen, live, Problem, randomKey } from "./engine.js";
import { requireOf, safetyBoxes } from "./hunt.js";
import { routePicture } from "./picture.js";
import { quoteTable } from "./quotes.js";
import { sliceMeter } from "./slices.js";
import { awaitsEntry, gathered, inOrder, role, tiedIds, tiedList } from "./ties.js";
import { TOKENS } from "./tokens.js";

const TYPING_MS = 250;
const QUOTES_EVERY_MS = 4_000;
const AMOUNT = "(0|[1-9][0-9]{0,18})([.][0-9]{1,18})?";
const FIELDS = { "/tokenIn": "pay", "/tokenOut": "get", "/amount": "amount", "/slippageBps": "slippage", "/maxPriceImpactBps": "impact", "/deadlineMs": "deadline", "/routing/maxLegs": "legs", "/type": "type", "/limitPrice": "limit", "/expireAt": "expire", "/trigger": "trigger", "/trail": "trail", "/timeInForce": "force", "/trigger/price": "trigger", "/trail/bps": "trail", "/schedule/slices": "slices", "/schedule/intervalSeconds": "interval", "/schedule/jitterPct": "jitter", "/sniper/mint": "mint", "/sniper/creator": "creator", "/sniper/minLiquidity": "liquidity", "/sniper/maxAgeSeconds": "age", "/sniper/venues": "venue", "/routing/venues": "venue" };
const CONDITIONAL = Object.keys(CONDITIONS).filter((name) => !["amount", "slippage", "expire"].includes(name)); // fields that not every type has
const EXITS = ["profit", "loss"];
const STEPS = ["pending", "routing", "building", "submitted", "confirmed"];
const PRICES = Object.keys(CONDITIONS).filter((name) => CONDITIONS[name].isPrice);
const DEFAULTS = { type: "market", force: "gtc", pay: "SOL", get: "USDC", amount: "10", mode: "exactIn", slippage: "1" };

export function ticket(query) {
  const form = ticketForm({ ...DEFAULTS, ...Object.fromEntries(query) });
  const quotes = h("div", { class: "quotes" });
  const sent = h("div", { class: "sent", hidden: true });
  const recent = h("div");
  const refusal = h("div", { class: "refusal", role: "alert" });
  const send = h("button", { class: "primary wide-button" }, "Send order");
  const estimate = h("p", { class: "estimate" });
  const waits = h("p", { class: "sentence" });
  form.append(waits, estimate, refusal, send);

  const element = h("div", { class: "trade" }, h("h1", { class: "unseen" }, "Order ticket"),
    h("div", { class: "trade-form" }, panel("Order", form), sent),
    h("div", { class: "trade-quotes" }, panel("Best route now", quotes), panel("Newest orders", recent)));

  // --- quotes ---
  let asking = null;
  let typing = 0;
  let quoted = "";
  const again = setInterval(() => document.hidden || asking || ask(), QUOTES_EVERY_MS);

  async function ask() {
    const complete = orderOf(form);
    const body = complete ?? swapAlone(form); // the price now is what a condition is chosen by
    if (body === null) {
      quoted = "";
      waits.textContent = "";
      estimate.replaceChildren();
      quotes.replaceChildren(empty("No amount yet", "Enter an amount to see what every venue offers for it."));
      return;
    }
    asking?.abort();
    const mine = (asking = new AbortController());
    quotes.setAttribute("aria-busy", "true");
    try {
      // The preview is the quote, with the bound that would be signed and the warnings, in one answer.
      const preview = await call("/v1/orders/preview", { method: "POST", body, signal: mine.signal });
      if (mine !== asking) return;
      quotes.replaceChildren(...quoteView(preview));
      const back = form.elements.exits.checked && !form.elements.exits.disabled ? await call("/v1/quotes", { method: "POST", body: wayBack(preview), signal: mine.signal }) : null;
      if (mine !== asking) return;
      if (complete === null && prefill(form, preview, back)) ask();
      waits.textContent = complete === null ? "" : said(form, preview, back);
      estimate.replaceChildren(...estimated(preview));
      blame(form, []);
      if (quoted !== JSON.stringify(body)) say(`${preview.route.amountIn} ${body.tokenIn} for ${preview.route.amountOut} ${body.tokenOut}, ${preview.route.reason}. ${waits.textContent}`);
      quoted = JSON.stringify(body);
    } catch (problem) {
      if (mine !== asking || !(problem instanceof Problem)) return;
      const isHunt = body.sniper && problem.code === "ROUTE_NONE"; // all that can be told of it before there is a pool
      quotes.replaceChildren(isHunt ? empty("No route yet", "A sniper is routed on the new pool that it chooses, within its slippage.", "Once it rests, its page judges each new pool and says why it is left alone.") : problemNote(problem));
      if (isHunt && waits.textContent !== inWords(body)) say((waits.textContent = inWords(body)));
      if (!isHunt) waits.textContent = "";
      estimate.replaceChildren();
      blame(form, problem.errors);
    } finally {
      if (mine === asking) {
        asking = null;
        quotes.removeAttribute("aria-busy");
      }
    }
  }

  form.addEventListener("input", ({ target }) => {
    // A price means another thing for another pair, side or type.
    if (["type", "pay", "get"].includes(target.name)) for (const name of PRICES) form.elements[name].value = "";
    fit(form);
    keepInAddress(form);
    clearTimeout(typing);
    typing = setTimeout(ask, TYPING_MS);
  });
  form.querySelector(".turn").addEventListener("click", () => {
    const { pay, get } = form.elements;
    [pay.value, get.value] = [get.value, pay.value];
    get.dispatchEvent(new Event("input", { bubbles: true }));
  });

  // --- the order ---
  let pressed = null; // {text, key}: the key stays until this very order is answered
  let followed = null;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = bodyOf(form);
    if (body === null || send.disabled) return;
    const text = JSON.stringify(body);
    if (pressed?.text !== text) pressed = { text, key: randomKey() };
    send.disabled = true;
    refusal.replaceChildren();
    try {
      const told = await call(body.exits ? "/v1/brackets" : "/v1/orders", { method: "POST", body, idempotencyKey: pressed.key });
      pressed = null;
      const orders = body.exits ? [told.entry, ...told.exits] : [told];
      followed = orders[0].id;
      orders.forEach((order) => live.take(order));
      drawSent();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status !== 0) pressed = null;
      refusal.replaceChildren(problemNote(problem));
      blame(form, problem.errors)?.focus();
    } finally {
      send.disabled = false;
    }
  });

  let drawn = "";
  function drawSent() {
    const order = live.orders.get(followed);
    if (!order) return;
    const family = inOrder(tiedIds(order).map((id) => live.orders.get(id)).filter(Boolean));
    const seen = [order, ...family].map(({ id, seq }) => `${id} ${seq}`).join();
    if (drawn === seen) return;
    drawn = seen;
    const held = document.activeElement?.dataset?.act;
    sent.hidden = false;
    sent.replaceChildren(sentView(order, family));
    if (held) sent.querySelector(`[data-act="${held}"]`)?.focus();
    say(`Order is ${statusName(order.status)}.`);
  }

  const unlisten = listen({
    orders: () => {
      drawSent();
      drawRecent(recent);
    },
  });
  drawRecent(recent);
  ask();
  return {
    title: "Trade",
    element,
    close: () => {
      unlisten();
      asking?.abort();
      clearInterval(again);
      clearTimeout(typing);
    },
  };
}

// --- the form -------------------------------------------------------------------------------------------------------

function ticketForm(of) {
  const token = (label, name) => field(label, h("input", { name, value: of[name], list: "tokens", required: true, maxlength: 64, autocomplete: "off", spellcheck: "false" }));
  const mode = (value, label) => h("label", {}, h("input", { type: "radio", name: "mode", value, checked: of.mode === value }), h("span", {}, label));
  const turn = h("button", { type: "button", class: "turn", "aria-label": "Swap the two tokens", title: "Swap the two tokens" }, "⇄");
  const choice = (value, label, chosen) => h("option", { value, selected: value === chosen }, label);
  const form = h("form", { class: "ticket", autocomplete: "off" },
    field("Order type", h("select", { name: "type" }, Object.entries(TYPES).map(([type, { name, choice: long }]) => choice(type, long ?? name, of.type)))),
    h("datalist", { id: "tokens" }, Object.keys(TOKENS).map((symbol) => h("option", { value: symbol }))),
    h("div", { class: "pair" }, token("Pay", "pay"), turn, token("Get", "get")),
    h("fieldset", { class: "segments" }, h("legend", {}, "The amount is what I"), mode("exactIn", "pay"), mode("exactOut", "get")),
    field("Amount", h("input", { name: "amount", class: "big num", value: of.amount, required: true, inputmode: "decimal", pattern: AMOUNT, maxlength: 39, title: "A plain decimal number, such as 12.5" })),
    h("div", { class: "limits conditions" },
      ...CONDITIONAL.filter((name) => !EXITS.includes(name)).map((name) => inputOf(name, { value: of[name] ?? CONDITIONS[name].suggested?.() })),
      safetyBoxes(),
      field("Waits", h("select", { name: "force" }, Object.entries(FORCES).map(([force, label]) => choice(force, label, of.force)))),
      inputOf("expire", { value: of.expire ?? CONDITIONS.expire.suggested(), required: true })),
    h("fieldset", { class: "exits" }, h("legend", { class: "unseen" }, "Exits"),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "exits", checked: of.exits === "on" }), h("span", {}, "Take profit and stop")),
      h("div", { class: "limits" }, EXITS.map((name) => inputOf(name, { value: of[name] })))),
    field("Slippage, %", h("input", { name: "slippage", class: "num", value: of.slippage, required: true, inputmode: "decimal", pattern: "[0-9]{1,2}([.][0-9]{1,2})?", maxlength: 5, title: "Percent, at most two decimals" })),
    h("details", {}, h("summary", {}, "Limits"),
      h("div", { class: "limits" },
        field("Price impact at most, %", h("input", { name: "impact", class: "num", value: of.impact ?? "", inputmode: "decimal", pattern: "[0-9]{1,2}([.][0-9]{1,2})?", placeholder: "none" })),
        field("Sign within, s", h("input", { name: "deadline", class: "num", value: of.deadline ?? "", inputmode: "numeric", pattern: "[1-9][0-9]{0,4}", placeholder: "no limit" })),
        field("Legs at most", h("input", { name: "legs", class: "num", value: of.legs ?? "", inputmode: "numeric", pattern: "[1-9]", placeholder: "engine’s" })),
        field("Venue", h("select", { name: "venue" }, ["", "raydium", "meteora"].map((venue) => h("option", { value: venue, selected: of.venue === venue }, venue || "all")))))));
  fit(form);
  return form;
}

// Show and ask for the fields that the chosen type needs, and no others.
function fit(form) {
  const { type, force, expire, exits, get, mode, venue } = form.elements;
  const { needs, may, forces, fixed, labels } = TYPES[type.value] ?? TYPES.market;
  const isHunt = type.value === "sniper";
  offer(exits, Boolean(TYPES[type.value]?.exits));
  for (const name of CONDITIONAL) {
    const input = form.elements[name];
    const isExit = EXITS.includes(name);
    input.required = needs.includes(name) || (isExit && EXITS.every((each) => !form.elements[each].value));
    offer(input, isExit ? !exits.disabled && exits.checked : input.required || may.includes(name));
    input.closest("label").firstChild.textContent = labels?.[name] ?? CONDITIONS[name].label;
    input.placeholder = may.includes(name) || isExit ? CONDITIONS[name].blank ?? "none" : "";
  }
  form.querySelector(".exits").hidden = exits.disabled;
  for (const radio of mode) radio.disabled = Boolean(fixed); // then it is always the amount that is paid
  form.querySelector(".segments").hidden = Boolean(fixed);
  offer(get, !isHunt);
  form.querySelector(".pair").classList.toggle("alone", isHunt);
  form.querySelector(".turn").hidden = isHunt;
  form.querySelector(".safety").hidden = !isHunt;
  // A sniper's venue is one of its conditions, not one of its limits.
  const venues = form.querySelector(isHunt ? ".conditions" : "details .limits");
  if (!venues.contains(venue)) isHunt ? venues.querySelector(".safety").before(venue.closest("label")) : venues.append(venue.closest("label"));
  for (const option of force.options) option.hidden = option.disabled = !forces.includes(option.value);
  if (forces.length && !forces.includes(force.value)) force.value = forces[0];
  offer(force, forces.length > 0);
  offer(expire, forces.length > 0 && force.value === "gtd");
  form.querySelector(".conditions").hidden = type.value === "market";
}

// What is not offered is neither sent nor kept in the address.
function offer(input, isOffered) {
  input.disabled = !isOffered;
  input.closest("label").hidden = !isOffered;
}

// Suggest the prices that are missing, from the price now. Whether there were any.
function prefill(form, { order, route }, back) {
  const { type } = form.elements;
  const needed = [...TYPES[type.value].needs, ...(back && EXITS.every((name) => !form.elements[name].value) ? EXITS : [])];
  const missing = needed.filter((name) => !form.elements[name].value && form.elements[name] !== document.activeElement);
  for (const name of missing) form.elements[name].value = suggested(type.value, name, order, CONDITIONS[name].exit ? back.price : route.price);
  if (missing.length) fit(form);
  if (missing.length) keepInAddress(form);
  return missing.length > 0;
}

function field(label, input) {
  return h("label", { class: "field" }, h("span", {}, label), input);
}

// What the form asks for, or null while it is incomplete.
function bodyOf(form) {
  const entry = orderOf(form);
  const { profit, loss } = Object.fromEntries(new FormData(form));
  if (!entry || !(profit || loss)) return entry;
  const exit = (type, price) => ({ type, trigger: { price }, slippageBps: entry.slippageBps });
  return { entry, exits: [...(profit ? [exit("take_profit", profit)] : []), ...(loss ? [exit("stop", loss)] : [])] };
}

// The order alone, without its exits.
function orderOf(form) {
  if (!form.checkValidity()) return null;
  const of = Object.fromEntries(new FormData(form));
  const conditions = [...CONDITIONAL, "expire"].filter((name) => CONDITIONS[name].told && of[name]);
  const told = conditions.map((name) => CONDITIONS[name].told(of[name]));
  if (of.type === "sniper") {
    const require = requireOf(form.querySelector(".safety"));
    told.push({ sniper: { ...(of.venue && { venues: [of.venue] }), ...(Object.keys(require).length && { require }) } });
    delete of.venue;
  }
  return joined({ ...swapOf(of), type: of.type, ...(of.force && { timeInForce: of.force }) }, ...told);
}

// Members that several fields share, such as a schedule, are one.
function joined(first, ...others) {
  for (const each of others) for (const [name, value] of Object.entries(each)) first[name] = value?.constructor === Object ? { ...first[name], ...value } : value;
  return first;
}

// The swap of the exits, as far as the entry's route tells: another price than the entry's decides about them.
function wayBack({ order, route }) {
  return { tokenIn: order.tokenOut, tokenOut: order.tokenIn, amount: route.amountOut };
}

// What will happen, in words.
function said(form, { order, route }, back) {
  const { profit, loss } = Object.fromEntries(new FormData(form));
  const parts = order.type === "market" && !(profit || loss) ? [] : [inWords(order, route.price)];
  if (back && (profit || loss)) parts.push(exitsInWords(order, { profit, loss }, back.price));
  return parts.join(" ");
}

// The swap without its condition, where only that is incomplete.
function swapAlone(form) {
  if (form.elements.type.value === "sniper") return null;
  const others = [...form.elements].filter((input) => !input.closest(".conditions, .exits"));
  return others.every((input) => input.validity?.valid ?? true) ? swapOf(Object.fromEntries(new FormData(form))) : null;
}

function swapOf(of) {
  const routing = { ...(of.venue && { venues: [of.venue] }), ...(of.legs && { maxLegs: Number(of.legs) }) };
  return {
    type: "market",
    tokenIn: of.pay.trim(),
    ...(of.get && { tokenOut: of.get.trim() }),
    amount: of.amount,
    ...(of.mode && { amountMode: of.mode }),
    slippageBps: hundredths(of.slippage),
    ...(of.impact && { maxPriceImpactBps: hundredths(of.impact) }),
    ...(of.deadline && { deadlineMs: Number(of.deadline) * 1_000 }),
    ...(Object.keys(routing).length && { routing }),
  };
}

// Mark the fields that the engine has refused; the first of them.
function blame(form, errors) {
  const { profit, loss } = form.elements;
  const exits = [profit, loss].filter((input) => input.value && !input.disabled).map((input) => input.name);
  const wrong = new Set(errors.map(({ pointer = "" }) => (pointer.startsWith("/exits/") ? exits[pointer.split("/")[2]] : FIELDS[pointer.replace(/^[/]entry/, "")])));
  const inputs = [...form.elements].filter((input) => input.name && !["radio", "checkbox"].includes(input.type));
  for (const input of inputs) wrong.has(input.name) ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
  return inputs.find((input) => wrong.has(input.name) && !input.disabled);
}

function keepInAddress(form) {
  const of = new URLSearchParams([...new FormData(form)].filter(([name, value]) => name !== "holds" && value && DEFAULTS[name] !== value));
  history.replaceState(null, "", `#/${of.size ? `?${of}` : ""}`);
}

// --- what is shown ------------------------------------------------------------------------------------------------------

function estimated({ order, route }) {
  const exactOut = order.amountMode === "exactOut";
  const when = order.schedule ? "First slice " : order.type === "market" ? "" : "Now ";
  return [h("span", { class: "note" }, `${when}${exactOut ? "pays about" : "gets about"}`), h("b", {}, exactOut ? figure(route.amountIn, order.tokenIn, 8) : figure(route.amountOut, order.tokenOut, 8))];
}

function quoteView({ order, route, minOut, maxIn, warnings }) {
  const exactOut = order.amountMode === "exactOut";
  const [label, result, token] = exactOut ? ["You pay", route.amountIn, order.tokenIn] : [order.schedule ? "The first slice gets" : "You get", route.amountOut, order.tokenOut];
  const [base, quote] = order.pair.split("/");
  return [
    h("div", { class: "headline" },
      h("div", {}, h("span", { class: "eyebrow" }, label), h("p", { class: "result num", title: result }, amount(result, 10), h("small", {}, ` ${token}`))),
      h("p", { class: "why" }, h("span", { class: "eyebrow" }, "Why this route"), reasonText(route))),
    facts([
      ["Price", figure(route.price, `${quote} per ${base}`, 8)],
      ["Price impact", bps(route.priceImpactBps)],
      [exactOut ? "At most, enforced" : "At least, enforced", TYPES[order.type]?.isNow && figure(minOut ?? maxIn, token, 9)],
      ["Short of the best possible", route.gapBps === undefined ? undefined : h("span", { title: `${route.gapBps} bps; bound ${route.bound}` }, `${amount(route.gapBps, 3)} bps`)],
    ]),
    warnings.length ? h("ul", { class: "warnings" }, warnings.map((warning) => h("li", {}, warning))) : "",
    routePicture(route, order.mintIn, order.mintOut),
    quoteTable(route, { tokenIn: order.tokenIn, tokenOut: order.tokenOut, exactOut }),
  ];
}

export function reasonText(route) {
  return route.reason.charAt(0).toUpperCase() + route.reason.slice(1);
}

function sentView(order, family) {
  const at = STEPS.indexOf(order.status);
  const steps = STEPS.map((step, index) => h("li", { "data-at": index < at || order.status === "confirmed" ? "past" : index === at ? "now" : "ahead", "aria-current": index === at ? "step" : undefined }, step));
  const ended = ENDED.has(order.status);
  const cancel = h("button", { type: "button", class: "quiet", "data-act": "cancel", disabled: order.cancelRequested }, order.cancelRequested ? "Cancel requested" : "Cancel");
  cancel.addEventListener("click", () => cancelOrder(order.id));
  return panel(family.length ? "Your bracket" : "Your order",
    h("p", { class: "between" }, statusChip(order.status), h("span", { class: "note" }, order.attempt > 1 ? `attempt ${order.attempt}` : "")),
    sliceMeter(order),
    order.status === "open" ? h("p", { class: "note" }, waitsFor(order)) : ended && order.status !== "confirmed" ? null : h("ol", { class: "steps" }, steps),
    order.error ? h("p", { class: "bad" }, order.error) : null,
    facts([
      ["Paid", paid(order) && figure(paid(order), order.tokenIn)],
      ["Got", got(order) && figure(got(order), order.tokenOut)],
      ["Signature", order.txHash && copyable(order.txHash, shortId(order.txHash))],
    ]),
    family.length ? tiedList(family, order.id, cancelOrder) : null,
    h("p", { class: "between" }, h("a", { href: `#/orders/${order.id}`, "data-act": "open" }, "Everything about it"), ended ? null : cancel));
}

// What the chain has swapped of it, all slices together.
export const paid = (order) => (order.slices ? order.filledIn !== "0" && order.filledIn : order.amountIn);
export const got = (order) => (order.slices ? order.filledOut !== "0" && order.filledOut : order.amountOut);

function waitsFor(order) {
  if (order.sniper) return "It rests until a new pool fits. The order’s page tells why each was left alone.";
  if (order.slices) return order.limitPrice ? "Between two slices, or until its price is there." : "Between two slices.";
  if (awaitsEntry(order)) return "It waits until its entry is filled.";
  const price = awaited(order);
  const [base, quote] = order.pair.split("/");
  return price ? `It rests until the price for its size is ${bound(price)} ${quote} per ${base}.` : "It rests, and waits for a first price to trail from.";
}

// Asks for a cancel and tells what became of the wish.
export async function cancelOrder(id) {
  try {
    const order = await call(`/v1/orders/${id}/cancel`, { method: "POST", body: {} });
    live.take(order);
    say(order.status === "canceled" ? "The order is canceled." : "The swap may be on the chain; the cancel waits for its outcome.");
    return null;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    say(`${problem.title}: ${problem.detail}`);
    return problem;
  }
}

function drawRecent(holder) {
  const newest = gathered(live.newestFirst()).slice(0, 6);
  if (!newest.length) {
    holder.replaceChildren(empty(live.loaded ? "No orders yet" : "Reading orders", live.loaded ? "Send the first one with the ticket." : "…"));
    return;
  }
  holder.replaceChildren(h("ul", { class: "recent" }, newest.map((order) => h("li", {}, h("a", { href: `#/orders/${order.id}` },
    h("span", {}, wish(order)), statusChip(order.status), h("span", { class: "note" }, stamp(order.createdAt)))))));
}

// What an order asks for, in one line.
export function wish(order) {
  const exactIn = order.amountMode === "exactIn";
  const how = order.type === "market" && !order.linkedTo ? null : h("small", {}, ` ${order.linkedTo && order.type === "market" ? role(order) : typeName(order.type).toLowerCase()}`);
  if (awaitsEntry(order)) return h("span", { class: "wish num", title: "what its entry gives" }, `${order.tokenIn} → ${order.tokenOut}`, how);
  return h("span", { class: "wish num", title: `${order.amount} ${exactIn ? order.tokenIn : order.tokenOut}` },
    exactIn ? h("b", {}, amount(order.amount, 7)) : null, ` ${order.tokenIn} → `, exactIn ? null : h("b", {}, amount(order.amount, 7)), ` ${unitName(order.tokenOut)}`, how);
}
