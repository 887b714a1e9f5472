// Pools and venues: who offers what for one pair and size, and how the venues are.
// Decides: how offers are grouped. Must never: ask more often than a person can read.

import { duration, empty, figure, h, panel, problemNote, table, whole } from "./dom.js";
import { call, ifOffered, Problem, text } from "./engine.js";
import { counted, parse, valued } from "./metrics.js";
import { poolName, routePicture } from "./picture.js";
import { quoteTable } from "./quotes.js";
import { TOKENS } from "./tokens.js";

const EVERY_MS = 5_000;
const TYPING_MS = 300;

export function markets(query) {
  const of = { pay: query.get("pay") ?? "SOL", get: query.get("get") ?? "USDC", amount: query.get("amount") ?? "10" };
  const choice = (label, name) => h("label", { class: "field" }, h("span", {}, label), h("select", { name }, Object.keys(TOKENS).map((symbol) => h("option", { selected: symbol === of[name] }, symbol))));
  const form = h("form", { class: "bar inline" }, choice("Pay", "pay"), choice("Get", "get"),
    h("label", { class: "field" }, h("span", {}, "Size"), h("input", { name: "amount", class: "num", value: of.amount, inputmode: "decimal", pattern: "(0|[1-9][0-9]{0,18})([.][0-9]{1,18})?", required: true, autocomplete: "off" })));
  const venues = h("div", { class: "cards" });
  const offers = h("div");
  const picture = h("div");
  const lists = h("div", { class: "stack" });
  const element = h("div", { class: "page" }, h("div", { class: "between heading" }, h("h1", {}, "Markets")), form, venues,
    h("div", { class: "stack" }, panel("Best route for this size", picture), panel("Every pool's offer", offers), lists));
  let reading = null;
  let isOpen = true;
  let hasLists = true;
  let typing = 0;

  async function read() {
    if (!form.checkValidity()) return;
    const mine = (reading = {});
    const { pay, get, amount: size } = Object.fromEntries(new FormData(form));
    try {
      const [route, metrics] = await Promise.all([
        call("/v1/quotes", { method: "POST", body: { tokenIn: pay, tokenOut: get, amount: size } }),
        text("/metrics").catch(() => ""),
      ]);
      if (mine !== reading) return;
      venues.replaceChildren(...venueCards(route, parse(metrics)));
      offers.replaceChildren(quoteTable(route, { tokenIn: pay, tokenOut: get, exactOut: false }));
      picture.replaceChildren(h("p", { class: "why" }, route.reason), routePicture(route, TOKENS[pay], TOKENS[get]));
    } catch (problem) {
      if (mine !== reading || !(problem instanceof Problem)) return;
      venues.replaceChildren();
      picture.replaceChildren(problemNote(problem));
      offers.replaceChildren(empty("No offers", "No pool trades this pair and size at the moment."));
    }
  }

  // Engines that list their pools and venues tell more than one quote can; the others are asked once.
  async function readLists() {
    const [listed, health] = await Promise.all([ifOffered("/v1/pools"), ifOffered("/v1/venues")]);
    if (!isOpen) return;
    hasLists = listed !== null || health !== null;
    lists.replaceChildren(
      ...(health?.data.length ? [panel("Venues, as this process met them", venueTable(health.data))] : []),
      ...(listed?.data.length ? [panel(`All pools, ${whole(listed.data.length)}`, poolTable(listed.data))] : []));
  }

  form.addEventListener("input", () => {
    history.replaceState(null, "", `#/markets?${new URLSearchParams(new FormData(form))}`);
    clearTimeout(typing);
    typing = setTimeout(read, TYPING_MS);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  const again = setInterval(() => {
    if (document.hidden) return;
    read();
    if (hasLists) readLists();
  }, EVERY_MS);
  read();
  readLists();
  return {
    title: "Markets",
    element,
    close: () => {
      isOpen = false;
      clearInterval(again);
      clearTimeout(typing);
      reading = null;
    },
  };
}

function venueCards(route, metrics) {
  const wins = counted(metrics, "fillwright_route_wins_total", "venue");
  return [...new Set(route.quotes.map((quote) => quote.venue))].map((venue) => {
    const quotes = route.quotes.filter((quote) => quote.venue === venue);
    const offered = quotes.filter((quote) => !quote.error);
    const rests = valued(metrics, "fillwright_venue_resting", { venue }) === 1;
    const won = [...wins].filter(([name]) => name.split("+").includes(venue)).reduce((sum, [, count]) => sum + count, 0);
    const isSilent = quotes.every((quote) => quote.code?.startsWith("VENUE_"));
    const [said, outcome] = rests ? ["resting", "lapsed"] : isSilent ? ["no answer", "reverted"] : offered.length ? ["answering", "landed"] : ["no single pool", undefined];
    return h("section", { class: "panel card", "aria-label": venue },
      h("p", { class: "between" }, h("strong", {}, venue), h("span", { class: "tag", "data-outcome": outcome }, said)),
      h("dl", { class: "facts" }, ...[["Offers", offered.length], ["Answered in", `${Math.max(...quotes.map((quote) => quote.latencyMs))} ms`], ["Slot", whole(Math.max(...quotes.map((quote) => quote.slot ?? 0)))], ["Part of routes", whole(won)]]
        .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "num" }, value)))));
  });
}

export function venueTable(list) {
  return table("Venues", [["Venue", ""], ["Status", ""], ["Answered in", "end"], ["Pools", "end"], ["Slot", "end wide"], ["Read", "end wide"]], list.map((venue) => [
    h("strong", {}, venue.venue),
    h("span", { class: "tag", "data-outcome": venue.status === "ok" ? "landed" : "lapsed", title: venue.error }, venue.status),
    `${venue.latencyMs} ms`, whole(venue.pools), venue.slot === undefined ? "–" : whole(venue.slot), `${duration(venue.ageMs)} ago`,
  ]));
}

function poolTable(list) {
  return table("All pools", [["Pool", ""], ["Pair", ""], ["Spot price", "end"], ["Reserves", "end wide"], ["", "end wide"], ["Read", "end wide"]], list.map((pool) => {
    const [base, quote] = pool.pair.split("/");
    return [h("span", { title: pool.pool }, poolName(pool)), pool.pair, figure(pool.price, undefined, 8), figure(pool.reserveBase, base, 9), figure(pool.reserveQuote, quote, 9), `${duration(pool.ageMs)} ago`];
  }));
}
