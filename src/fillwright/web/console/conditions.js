// When an order is to swap: which fields each type needs, how they are asked for and said, and in plain words.
// Decides: the fields and the words of a type; TYPES and FIELDS are the only places that know them. Must never: say a
// condition that the engine has not understood so: the words are made from the order as the engine tells it.

import { huntInWords } from "./hunt.js";
import { amount, atoms, clock, h, moment, percentApart } from "./dom.js";

const PRICE = { inputmode: "decimal", pattern: "(0|[1-9][0-9]{0,18})([.][0-9]{1,18})?", maxlength: 38, title: "A plain decimal number, such as 98.5", class: "num" };
const PERCENT = { inputmode: "decimal", pattern: "[0-9]{1,2}([.][0-9]{1,2})?", maxlength: 5, title: "Percent, at most two decimals", class: "num" };
const ADDRESS = { pattern: "[1-9A-HJ-NP-Za-km-z]{32,44}", maxlength: 44, spellcheck: "false", title: "An address: 32 to 44 characters of base58", class: "mono" };
const whole = (most, pattern) => ({ inputmode: "numeric", pattern, maxlength: String(most).length, title: `A whole number, at most ${most}`, class: "num" });
const HOUR_MS = 3_600_000;
const DIGITS = 6; // of a price that is estimated
const FEW = 4; // of one that is suggested
const PLACES = 18;

const isSell = (order) => order.side === "sell";
const better = (order) => (isSell(order) ? "gte" : "lte");
const rests = ["gtc", "gtd"];
const ONCE = { 1: "second", 60: "minute", 3_600: "hour", 86_400: "day" }; // every …
const BAND = { limit: "Price at worst" };

// `choice`: its name in the ticket, where that says more. `labels`: of fields that mean another thing for it. `exits`:
// whether an entry of this type can have them in the ticket. `fixed`: whether the amount is always what is paid.
// `isNow`: whether today's quote tells what the chain would enforce. `awaits`: the price it waits for, as far as the order, or else the price now, tells. `start`: where its price is
// suggested, in basis points better than now.
export const TYPES = {
  market: { name: "Market", isNow: true, exits: true, needs: [], may: [], forces: [], start: 0, awaits: () => null },
  limit: { name: "Limit", isNow: true, exits: true, needs: ["limit"], may: [], forces: [...rests, "ioc", "fok"], start: 100, awaits: (order) => ({ op: better(order), price: order.limitPrice }) },
  stop: { name: "Stop", needs: ["trigger"], may: ["limit"], forces: rests, start: -500, awaits: (order) => order.trigger },
  take_profit: { name: "Take profit", needs: ["trigger"], may: ["limit"], forces: rests, start: 500, awaits: (order) => order.trigger },
  trailing_stop: { name: "Trailing stop", needs: ["trail"], may: ["limit"], forces: rests, start: 0, awaits: (order, now) => ({ op: isSell(order) ? "lte" : "gte", price: order.trail.triggerPrice ?? (now && moved(now, isSell(order) ? -order.trail.bps : order.trail.bps)) }) },
  twap: { name: "TWAP", choice: "TWAP, in slices", labels: BAND, isNow: true, fixed: true, needs: ["slices", "interval"], may: ["jitter", "limit"], forces: rests, start: 0, awaits: band },
  dca: { name: "DCA", choice: "DCA, in equal slices", labels: BAND, isNow: true, fixed: true, needs: ["slices", "interval"], may: ["jitter", "limit"], forces: rests, start: 0, awaits: band },
  sniper: { name: "Sniper", choice: "Sniper, for a new pool", fixed: true, needs: [], may: ["mint", "creator", "liquidity", "age"], forces: rests, start: 0, awaits: () => null },
};

// Outside of it a slice waits.
function band(order) {
  return order.limitPrice ? { op: better(order), price: order.limitPrice } : null;
}

// A field of a form: its label and attributes, what it says in a request, and, where it can be amended, its text for an
// order. `blank`: what it means that it is empty. `exit`: the type of the exit whose trigger it is.
export const FIELDS = {
  amount: { label: "Amount", pointer: "/amount", attributes: { ...PRICE, title: "A plain decimal number, such as 12.5" }, told: (text) => ({ amount: text }), of: (order) => order.amount },
  trigger: { label: "Trigger price", pointer: "/trigger", attributes: PRICE, isPrice: true, told: (text) => ({ trigger: { price: text } }), of: (order) => order.trigger.price },
  trail: { label: "Trail, %", pointer: "/trail", attributes: PERCENT, suggested: () => "5", told: (text) => ({ trail: { bps: hundredths(text) } }), of: (order) => percent(order.trail.bps) },
  slices: { label: "Slices", attributes: whole(1000, "[2-9]|[1-9][0-9]{1,2}|1000"), suggested: () => "10", told: (text) => ({ schedule: { slices: Number(text) } }) },
  interval: { label: "One every, s", attributes: whole(31_622_400, "[1-9][0-9]*"), suggested: () => "60", told: (text) => ({ schedule: { intervalSeconds: Number(text) } }) },
  jitter: { label: "Moved at random by, %", blank: "0", attributes: whole(50, "[0-4]?[0-9]|50"), told: (text) => ({ schedule: { jitterPct: Number(text) } }) },
  limit: { label: "Limit price", pointer: "/limitPrice", attributes: PRICE, isPrice: true, told: (text) => ({ limitPrice: text || null }), of: (order) => order.limitPrice ?? "" },
  mint: { label: "Token, by its mint", blank: "any new one", attributes: ADDRESS, isLong: true, told: (text) => ({ sniper: { mint: text } }) },
  creator: { label: "Made by", blank: "anybody", attributes: ADDRESS, isLong: true, told: (text) => ({ sniper: { creator: text } }) },
  liquidity: { label: "Liquidity at least", blank: "any", attributes: PRICE, told: (text) => ({ sniper: { minLiquidity: text } }) },
  age: { label: "Oldest pool, s", blank: "60", attributes: whole(3600, "[1-9][0-9]*"), told: (text) => ({ sniper: { maxAgeSeconds: Number(text) } }) },
  profit: { label: "Take profit at", blank: "none", attributes: PRICE, isPrice: true, exit: "take_profit" },
  loss: { label: "Stop at", blank: "none", attributes: PRICE, isPrice: true, exit: "stop" },
  slippage: { label: "Slippage, %", pointer: "/slippageBps", attributes: PERCENT, told: (text) => ({ slippageBps: hundredths(text) }), of: (order) => percent(order.slippageBps) },
  expire: { label: "Wait until", pointer: "/expireAt", attributes: { type: "datetime-local", step: "any", class: "num" }, suggested: () => localTime(Math.ceil(Date.now() / HOUR_MS) * HOUR_MS + 24 * HOUR_MS), told: (text) => ({ expireAt: text ? new Date(text).toISOString() : null }), of: (order) => (order.expireAt ? localTime(order.expireAt) : "") },
};

export const FORCES = { gtc: "until canceled", gtd: "until a time", ioc: "not at all", fok: "all or nothing" };

export function typeName(type) {
  return TYPES[type]?.name ?? type;
}

export function inputOf(name, members = {}) {
  const { label, attributes } = FIELDS[name];
  return h("label", { class: name === "expire" || FIELDS[name].isLong ? "field whole" : "field" }, h("span", {}, members.label ?? label), h("input", { name, autocomplete: "off", ...attributes, ...members }));
}

// "1.25" percent as basis points, by its digits; and back.
export function hundredths(text) {
  const [units, fraction = ""] = text.split(".");
  return Number(units + fraction.padEnd(2, "0"));
}

function percent(bps) {
  return String(bps / 100);
}

// As a `datetime-local` input has it.
function localTime(time) {
  const at = moment(time);
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace(/:00$/, "");
}

// --- prices: text in, text out -------------------------------------------------------------------------------------

// A price that many basis points higher, or lower, cut to so many digits: for suggestions and estimates.
function moved(price, bps, count = DIGITS) {
  const digits = String((atoms(price) * BigInt(10_000 + bps)) / 10_000n);
  return plain(digits.slice(0, count).padEnd(digits.length, "0"));
}

// Digits of 10^-18 as a decimal number.
function plain(digits) {
  const kept = digits.padStart(PLACES + 1, "0");
  return `${kept.slice(0, -PLACES)}.${kept.slice(-PLACES)}`.replace(/[.]?0+$/, "");
}

// The price at which an order of this type would be suggested to wait.
export function suggested(type, name, order, now) {
  if (!FIELDS[name].isPrice) return FIELDS[name].suggested();
  const { exit } = FIELDS[name];
  const bps = TYPES[exit ?? type].start;
  return moved(now, isSell(order) === !exit ? bps : -bps, FEW); // an exit swaps the other way
}

// What an open order waits for, {op, price}: the last that the engine has told, else what its type says.
export function awaited(order, now) {
  const first = TYPES[order.type]?.awaits(order, now);
  if (!first) return null;
  const price = order.triggerPrice ?? first.price;
  if (!price) return null;
  // Once triggered, a stop with a limit waits for that.
  return { op: order.type !== "limit" && price === order.limitPrice ? better(order) : first.op, price };
}

export function isMet({ op, price }, now) {
  return op === "gte" ? atoms(now) >= atoms(price) : atoms(now) <= atoms(price);
}

export function bound({ op, price }) {
  return `${op === "gte" ? "≥" : "≤"}\u00a0${amount(price, 7)}`;
}

// --- in plain words --------------------------------------------------------------------------------------------------

// What the order will wait for, with the price now.
export function inWords(order, now) {
  if (order.sniper) return huntInWords(order, order.expireAt && dated(order.expireAt));
  if (order.schedule) return slicesInWords(order);
  const [base, quote] = order.pair.split("/");
  const unit = `${quote} per ${base}`;
  const waits = awaited(order, now);
  if (!waits) return "Swaps at once.";
  const price = `${amount(waits.price, 9)} ${unit}`;
  const met = isMet(waits, now);
  if (!rests.includes(order.timeInForce)) return `Swaps at once if the price for this size, after all fees, is ${price} or ${waits.op === "gte" ? "more" : "less"}; if not, it is canceled. The price now, ${amount(now, 9)}, would ${met ? "do" : "not do"}.`;
  const parts = [];
  if (order.trail) parts.push(`Follows the best price it sees, ${percent(order.trail.bps)} % behind. From now that is a trigger of ${price}, which only moves ${isSell(order) ? "up" : "down"}.`);
  else if (met) return `The price now, ${amount(now, 9)} ${unit}, meets this condition already: it swaps as soon as it is accepted${order.limitPrice ? `, at ${amount(order.limitPrice, 9)} or better` : ""}.`;
  else parts.push(`Waits until the price for this size, after all fees, is ${price} or ${waits.op === "gte" ? "more" : "less"}: ${percentApart(waits.price, now)} from now.`);
  if (order.type !== "limit") parts.push(order.limitPrice ? `Once triggered it swaps at ${amount(order.limitPrice, 9)} or better, and waits for that if need be.` : "Once triggered it swaps at the best price on offer.");
  parts.push(order.expireAt ? `It waits until ${dated(order.expireAt)}.` : "It waits until it is canceled.");
  return parts.join(" ");
}

function slicesInWords(order) {
  const { slices, intervalSeconds, jitterPct } = order.schedule;
  const part = plain(String(atoms(order.amount) / BigInt(slices)));
  const parts = [`Swaps ${amount(part)} ${order.tokenIn} now, then every ${ONCE[intervalSeconds] ?? lasting(intervalSeconds)}: ${slices} slices, the last one in ${lasting(intervalSeconds * (slices - 1))}.`];
  if (jitterPct) parts.push(`Each but the first is moved at random, by up to ${jitterPct} % of that interval.`);
  parts.push(order.type === "twap" ? "A slice that does not succeed is caught up by those after it." : "The part of a slice that does not succeed stays unspent.");
  if (order.limitPrice) parts.push(`A slice waits for ${amount(order.limitPrice, 9)} ${order.pair.split("/")[1]} or better, and is skipped once the next is due.`);
  if (order.expireAt) parts.push(`What is left at ${dated(order.expireAt)} stays unspent.`);
  return parts.join(" ");
}

// "90" seconds as "1 min 30 s".
export function lasting(seconds) {
  const units = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const told = [];
  for (const [size, name] of units) {
    if (seconds >= size) told.push(`${Math.floor(seconds / size)} ${name}`);
    seconds %= size;
  }
  return told.slice(0, 2).join(" ");
}

// What becomes of an entry's fill; `exits`: {profit, loss}, each a price or empty; `now`: the price of swapping back.
export function exitsInWords(entry, exits, now) {
  const order = { ...entry, side: isSell(entry) ? "buy" : "sell" };
  const [, quote] = order.pair.split("/");
  const told = ["profit", "loss"].filter((name) => exits[name]).map((name) => {
    const op = (name === "profit") === isSell(order) ? "gte" : "lte";
    const met = isMet({ op, price: exits[name] }, now);
    return `${name === "profit" ? "takes profit" : "stops"} at ${amount(exits[name], 9)} ${quote} or ${op === "gte" ? "more" : "less"} (${met ? "met already: at once" : percentApart(exits[name], now)})`;
  });
  return `Once it is filled, the ${entry.tokenOut} that it gave is swapped back to ${entry.tokenIn}: ${told.join(", or ")}.${told.length > 1 ? " When one of the two swaps, the other is canceled." : ""} The price of swapping back is ${amount(now, 9)} now.`;
}

export function dated(time) {
  const at = new Date(moment(time));
  return at.toDateString() === new Date().toDateString() ? clock(at.getTime()) : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
