// Elements and words.
// Decides: how elements are made, and how amounts, times and statuses are worded. Must never: read text as HTML, or
// turn an amount into a float for anything but a picture.

import { symbolOf } from "./tokens.js";

const SVG = "http://www.w3.org/2000/svg";
const PLACES = 18;
const ONE = 10n ** BigInt(PLACES);
export const STATUSES = ["open", "pending", "routing", "building", "submitted", "confirmed", "failed", "canceled", "expired"];
export const ENDED = new Set(["confirmed", "failed", "canceled", "expired"]);

// An element. `on…` members listen, true and false set or leave out, the rest are attributes.
export function h(tag, members = {}, ...children) {
  return fill(document.createElement(tag), members, children);
}

export function svg(tag, members = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), members, children);
}

function fill(element, members, children) {
  for (const [name, value] of Object.entries(members)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// --- amounts: text in, text out -------------------------------------------------------------------------------

// Decimal text as an integer of 10^-18, exact.
export function atoms(text) {
  const [whole, fraction = ""] = text.split(".");
  return BigInt(whole + fraction.slice(0, PLACES).padEnd(PLACES, "0"));
}

// Grouped, and cut towards zero to about `digits` digits; integer digits are never cut. The exact text is the title.
export function amount(text, digits = 8) {
  if (text === undefined || text === null) return "–";
  const [whole, fraction = ""] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const zeros = whole === "0" ? /^0*/.exec(fraction)[0].length : 0;
  const room = whole === "0" ? zeros + Math.max(3, digits - 2) : Math.max(2, digits - whole.length);
  const cut = fraction.slice(0, room).replace(/0+$/, "");
  return cut ? `${grouped}.${cut}` : grouped;
}

export function figure(text, unit, digits) {
  return h("span", { class: "num", title: text && unit ? `${text} ${unit}` : text }, amount(text, digits), unit ? h("small", {}, ` ${unitName(unit)}`) : null);
}

// Symbols stay; the mint of a token that has none is shortened, and that of one that is not chosen yet is told so.
export function unitName(unit) {
  return unit.replace(/[^\s/]{21,}/g, symbolOf).replace(/(^|\s)[?](?=$|\s)/g, "$1new token");
}

// How far `text` is from `base`, signed, in percent with two places, cut towards zero.
export function percentApart(text, base) {
  const [of, from] = [atoms(text), atoms(base)];
  if (from === 0n) return "–";
  const hundredths = ((of - from) * 10_000n) / from;
  const size = hundredths < 0n ? -hundredths : hundredths;
  const sign = hundredths < 0n ? "−" : hundredths > 0n ? "+" : "";
  return `${sign}${size / 100n}.${String(size % 100n).padStart(2, "0")}\u00a0%`;
}

// The parts of a whole, in percent with one place.
export function shares(texts) {
  const each = texts.map((text) => atoms(text));
  const sum = each.reduce((total, part) => total + part, 0n);
  return each.map((part) => (sum === 0n ? 0 : Number((part * 2000n + sum) / (2n * sum)) / 10));
}

export function bps(count) {
  return count === undefined ? "–" : `${(count / 100).toFixed(2)}\u00a0%`;
}

export function whole(number) {
  return Math.round(number).toLocaleString("en-US");
}

// --- times ------------------------------------------------------------------------------------------------------

export function moment(time) {
  return typeof time === "number" ? time : Date.parse(time);
}

export function duration(ms) {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

const two = (number) => String(number).padStart(2, "0");

export function clock(time, withMs = false) {
  const at = new Date(moment(time));
  const text = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return withMs ? `${text}.${String(at.getMilliseconds()).padStart(3, "0")}` : text;
}

export function stamp(time, withMs = false) {
  const at = new Date(moment(time));
  const today = new Date().toDateString() === at.toDateString();
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const shown = today ? clock(time, withMs) : `${day} ${clock(time, withMs)}`;
  return h("time", { datetime: at.toISOString(), title: at.toISOString(), class: "num" }, shown);
}

// --- statuses ----------------------------------------------------------------------------------------------------

// Where the engine lists orders, `open` means all that have not ended; of one order it means that it rests.
export function statusName(status) {
  return status === "open" ? "resting" : status;
}

const MARKS = {
  open: "M4.6 4v4M7.4 4v4",
  confirmed: "M3.6 6.3 5.3 8 8.6 4.3",
  failed: "M4 4l4 4M8 4l-4 4",
  canceled: "M3.5 6h5",
  expired: "M6 3.5V6l1.8 1.2",
};
const QUARTERS = { pending: 0, routing: 1, building: 2, submitted: 3 };

// A shape and a word: never colour alone.
export function statusChip(status) {
  const icon = svg("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" });
  icon.append(svg("circle", { cx: 6, cy: 6, r: 5, class: "ring" }));
  if (status in MARKS) icon.append(svg("path", { d: MARKS[status], class: "mark" }));
  else icon.append(svg("circle", { cx: 6, cy: 6, r: 2.5, class: "pie", "stroke-dasharray": `${(QUARTERS[status] ?? 0) * 3.93} 99`, transform: "rotate(-90 6 6)" }));
  return h("span", { class: "chip", "data-status": status }, icon, statusName(status));
}

// --- common parts ------------------------------------------------------------------------------------------------

export function panel(title, ...children) {
  const id = `h-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), ...children);
}

export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return h("dl", { class: "facts" }, known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// `columns`: [name, classes]. `rows`: lists of cells, or {cells, …attributes of the row}.
export function table(caption, columns, rows) {
  const classes = columns.map(([, of]) => of);
  const head = columns.map(([name, of]) => h("th", { scope: "col", class: of }, name));
  const body = rows.map((row) => {
    const { cells, ...members } = Array.isArray(row) ? { cells: row } : row;
    return h("tr", members, cells.map((cell, at) => h("td", { class: classes[at] }, cell)));
  });
  return h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
}

export function empty(title, text, ...more) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("p", {}, text), ...more);
}

export function problemNote(problem) {
  return h("div", { class: "problem-note" }, h("strong", {}, problem.title), (problem.errors?.length ? problem.errors.map((error) => h("p", {}, error.detail)) : h("p", {}, problem.detail)), problem.code ? h("code", {}, problem.code) : null);
}

export function copyable(text, shown = text) {
  const button = h("button", { type: "button", class: "copy mono", title: `Copy ${text}` }, shown);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
      button.dataset.done = "";
      setTimeout(() => delete button.dataset.done, 1_200);
    } catch {
      say("The browser does not allow copying here.");
    }
  });
  return button;
}

export function shortId(id) {
  return id.length > 20 ? `${id.slice(0, 8)}…${id.slice(-6)}` : id;
}

// For those who listen to the page.
export function say(text) {
  document.getElementById("spoken").textContent = text;
}

// "maxPriceImpactBps" as people read it.
export function words(name) {
  const text = name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
