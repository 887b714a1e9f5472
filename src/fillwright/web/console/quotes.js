// The quotes that were compared, best first, beside what the route gives.

import { amount, bps, h, percentApart, atoms, table, unitName } from "./dom.js";
import { poolName } from "./picture.js";

// `exactOut`: then less of the input is better.
export function quoteTable(route, { tokenIn, tokenOut, exactOut }) {
  const [name, token] = exactOut ? ["amountIn", tokenIn] : ["amountOut", tokenOut];
  const inRoute = new Set(route.legs.map((leg) => leg.pool));
  const rows = [...route.quotes].sort((a, b) => order(a, b, name, exactOut)).map((quote) => ({
    class: inRoute.has(quote.pool) ? "won" : undefined,
    cells: quote.error ? refused(quote) : offered(quote, route, name, inRoute),
  }));
  const columns = [
    ["Pool alone", ""], [exactOut ? `Pay, ${unitName(token)}` : `Get, ${unitName(token)}`, "end"], ["vs route", "end"],
    ["Impact", "end wide"], ["Fee", "end wide"], ["Answered in", "end wide"],
  ];
  return table("Quotes of single pools, best first", columns, rows);
}

function order(a, b, name, exactOut) {
  if (a.error || b.error) return Number(Boolean(a.error)) - Number(Boolean(b.error));
  const [x, y] = [atoms(a[name]), atoms(b[name])];
  return (x < y ? 1 : x > y ? -1 : 0) * (exactOut ? -1 : 1);
}

function offered(quote, route, name, inRoute) {
  return [
    h("span", { class: "pool", title: quote.pool }, poolName(quote), inRoute.has(quote.pool) ? h("span", { class: "tag" }, "in route") : null),
    h("span", { title: quote[name] }, amount(quote[name], 9)),
    percentApart(quote[name], route[name]),
    bps(quote.priceImpactBps),
    h("span", { title: quote.fee }, amount(quote.fee, 4), h("small", {}, ` ${unitName(quote.feeToken)}`)),
    `${quote.latencyMs} ms`,
  ];
}

function refused(quote) {
  return [poolName(quote), h("span", { class: "bad", title: quote.error }, "no offer"), "–", "–", "–", `${quote.latencyMs} ms`];
}
