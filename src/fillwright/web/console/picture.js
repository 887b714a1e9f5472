// A route as a picture: tokens left and right, one ribbon a leg, as thick as its share.
// Decides: where things stand. Must never: show a share or an amount that the route does not tell.

import { amount, h, shares, svg } from "./dom.js";
import { symbolOf } from "./tokens.js";

const ROW = 62;
const CARD = { width: 248, height: 48 };
const PILL = 58;
const SMALL_PILL = 50;
const RIBBON_MAX = 26;
const NARROW = 660;
const LETTER = 6.5; // how wide a letter of the small text is, about

// The picture, drawn again whenever its width changes.
export function routePicture(route, mintIn, mintOut) {
  const legs = measured(route.legs);
  const holder = h("div", { class: "picture", role: "img", "aria-label": inWords(legs) });
  let drawn = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width && width !== drawn) {
      drawn = width;
      holder.replaceChildren(width < NARROW ? list(legs, width) : map(legs, mintIn, mintOut, width));
    }
  }).observe(holder);
  return holder;
}

// Each leg with its share of what all legs take of its input token, and its part of the whole order.
function measured(legs) {
  const parts = new Map();
  for (const mint of new Set(legs.map((leg) => leg.mintIn))) {
    const same = legs.filter((leg) => leg.mintIn === mint);
    const each = shares(same.map((leg) => leg.amountIn ?? leg.amountInAtoms));
    same.forEach((leg, at) => parts.set(leg, each[at]));
  }
  const brought = (mint) => legs.filter((leg) => leg.mintOut === mint).reduce((sum, leg) => sum + parts.get(leg), 0) || 100;
  return legs.map((leg) => ({ ...leg, share: parts.get(leg), flow: (parts.get(leg) * brought(leg.mintIn)) / 10_000 }));
}

function inWords(legs) {
  const each = legs.map((leg) => `${leg.share} % of ${symbolOf(leg.mintIn)} through ${poolName(leg)}, ${told(leg, "In")} for ${told(leg, "Out")}`);
  return `Route of ${legs.length} ${legs.length === 1 ? "leg" : "legs"}: ${each.join("; ")}.`;
}

function told(leg, way, digits = 7) {
  const exact = leg[`amount${way}`];
  const symbol = symbolOf(leg[`mint${way}`]);
  return exact === undefined ? `${amount(leg[`amount${way}Atoms`])} atoms of ${symbol}` : `${amount(exact, digits)} ${symbol}`;
}

// "sim-raydium-clmm-SOL-USDC" tells its kind; an address tells nothing that fits.
export function poolName(leg) {
  const kind = leg.kind ?? /^sim-[^-]+-([^-]+)-/.exec(leg.pool ?? "")?.[1];
  return kind ? `${leg.venue} ${kind}` : leg.venue;
}

// --- wide: a map ---------------------------------------------------------------------------------------------------

function map(legs, mintIn, mintOut, width) {
  const direct = legs.filter((leg) => leg.mintIn === mintIn && leg.mintOut === mintOut);
  const hubs = [...new Set(legs.filter((leg) => leg.mintOut !== mintOut).map((leg) => leg.mintOut))];
  const ways = [...direct.map((leg) => ({ legs: [leg], rows: 1 })), ...hubs.map((hub) => overHub(legs, hub))];
  const height = ways.reduce((sum, way) => sum + way.rows, 0) * ROW;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
  const left = PILL;
  const right = width - PILL;
  const card = Math.min(CARD.width, (width - 3 * PILL - 120) / 2);
  let top = 0;
  for (const way of ways) {
    const middle = top + (way.rows * ROW) / 2;
    if (way.hub) {
      const centre = width / 2;
      const first = spread(way.into, left + (centre - left - 30) / 2, top, way.rows);
      const second = spread(way.from, right - (right - centre - 30) / 2, top, way.rows);
      for (const [leg, x, y] of first) leaf(drawing, { leg, x, y, from: [left, height / 2], to: [centre - 30, middle], card });
      for (const [leg, x, y] of second) leaf(drawing, { leg, x, y, from: [centre + 30, middle], to: [right, height / 2], card });
      pill(drawing, way.hub, centre, middle);
    } else {
      leaf(drawing, { leg: way.legs[0], x: width / 2, y: middle, from: [left, height / 2], to: [right, height / 2], card: CARD.width });
    }
    top += way.rows * ROW;
  }
  pill(drawing, mintIn, PILL / 2, height / 2);
  pill(drawing, mintOut, width - PILL / 2, height / 2);
  return drawing;
}

function overHub(legs, hub) {
  const into = legs.filter((leg) => leg.mintOut === hub);
  const from = legs.filter((leg) => leg.mintIn === hub);
  return { hub, into, from, rows: Math.max(into.length, from.length) };
}

function spread(legs, x, top, rows) {
  const step = (rows * ROW) / legs.length;
  return legs.map((leg, at) => [leg, x, top + step * (at + 0.5)]);
}

function leaf(drawing, { leg, x, y, from, to, card }) {
  const thick = Math.max(2, leg.flow * RIBBON_MAX);
  const [left, right] = [x - card / 2, x + card / 2];
  drawing.prepend(ribbon(from, [left, y], thick), ribbon([right, y], to, thick));
  box(drawing, leg, left, y, card);
}

function ribbon([x1, y1], [x2, y2], thick) {
  const bend = (x1 + x2) / 2;
  return svg("path", { class: "ribbon", d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`, "stroke-width": thick.toFixed(1) });
}

function box(drawing, leg, left, y, width) {
  const top = y - CARD.height / 2;
  const room = Math.floor((width - 20) / LETTER);
  drawing.append(
    svg("rect", { class: "card", x: left, y: top, width, height: CARD.height, rx: 6 }),
    svg("title", {}, leg.pool),
    svg("text", { class: "name", x: left + 8, y: top + 20 }, poolName(leg)),
    svg("text", { class: "share", x: left + width - 8, y: top + 20, "text-anchor": "end" }, `${leg.share} %`),
    svg("text", { class: "swap", x: left + 8, y: top + 37 }, fitting(leg, room, width >= 200)),
  );
}

// What goes in and comes out, with as many digits as there is room for; the exact amounts stand in the events.
function fitting(leg, room, withSymbols) {
  const say = (way, digits) => withSymbols ? told(leg, way, digits) : amount(leg[`amount${way}`] ?? leg[`amount${way}Atoms`], digits);
  const texts = [7, 6, 5, 4, 3].map((digits) => `${say("In", digits)} → ${say("Out", digits)}`);
  return texts.find((text) => text.length <= room) ?? say("In", 3);
}

function pill(drawing, mint, x, y, width = PILL) {
  const symbol = symbolOf(mint);
  drawing.append(
    svg("rect", { class: "token", x: x - width / 2, y: y - 15, width, height: 30, rx: 15 }),
    svg("text", { class: "symbol", x, y: y + 4.5, "text-anchor": "middle" }, symbol.length > 6 ? `${symbol.slice(0, 4)}…` : symbol),
  );
}

// --- narrow: a list ------------------------------------------------------------------------------------------------

function list(legs, width) {
  const height = legs.length * (ROW + 6);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
  const card = width - 2 * SMALL_PILL - 16;
  legs.forEach((leg, at) => {
    const y = (at + 0.5) * (ROW + 6);
    leaf(drawing, { leg, x: width / 2, y, from: [SMALL_PILL, y], to: [width - SMALL_PILL, y], card });
    pill(drawing, leg.mintIn, SMALL_PILL / 2, y, SMALL_PILL);
    pill(drawing, leg.mintOut, width - SMALL_PILL / 2, y, SMALL_PILL);
  });
  return drawing;
}
