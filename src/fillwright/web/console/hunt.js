// A sniper: which new pool it waits for, by which conditions, and why it has left others alone.
// Decides: the words of each safety condition, held or given up. Must never: show a condition as held that is not.

import { amount, empty, h, shortId, stamp } from "./dom.js";

// `given`: what a request says to give it up. Each holds unless that is said.
export const SAFETY = [
  { name: "mintAuthority", given: "any", holds: "Nobody can make more of it", lost: "Its maker can make more of it, and yours be worth less." },
  { name: "freezeAuthority", given: "any", holds: "Nobody can freeze it", lost: "Its maker can freeze what you hold." },
  { name: "liquidity", given: "any", holds: "Its liquidity is locked", lost: "The pool’s liquidity can be taken away at any moment." },
  { name: "extensions", given: "any", holds: "No token extensions", lost: "An extension of the token may tax or block transfers." },
  { name: "sellable", given: false, holds: "What is bought can be sold", lost: "It may be impossible to sell it again." },
];

const isGivenUp = (require, { name, given }) => require?.[name] === given;

// The boxes of the ticket, all ticked, and what it means that one is not.
export function safetyBoxes() {
  const lost = h("div", { "aria-live": "polite" });
  const boxes = SAFETY.map(({ name, holds }) => h("label", { class: "check" }, h("input", { type: "checkbox", name: "holds", value: name, checked: true }), h("span", {}, holds)));
  const element = h("fieldset", { class: "safety whole", hidden: true }, h("legend", {}, "A pool must be safe"), boxes, lost);
  element.addEventListener("change", () => lost.replaceChildren(givenUp(requireOf(element)) ?? ""));
  return element;
}

// What the boxes say in a request: those that are not ticked, each by its name.
export function requireOf(element) {
  const off = [...element.querySelectorAll("input")].filter((box) => !box.checked).map((box) => box.value);
  return Object.fromEntries(SAFETY.filter(({ name }) => off.includes(name)).map(({ name, given }) => [name, given]));
}

export function givenUp(require) {
  const lost = SAFETY.filter((each) => isGivenUp(require, each));
  return lost.length ? h("ul", { class: "warnings", "aria-label": "Given up" }, lost.map((each) => h("li", {}, each.lost))) : null;
}

// What it waits for: of a request, or of an order as the engine tells it.
export function huntInWords({ tokenIn, amount: paid, sniper, expireAt }, until) {
  const which = sniper.mint ? `of ${shortId(sniper.mint)}` : "of any token";
  const parts = [
    `against ${tokenIn}`,
    sniper.creator && `made by ${shortId(sniper.creator)}`,
    sniper.venues && `on ${sniper.venues.join(" or ")}`,
    `at most ${sniper.maxAgeSeconds ?? 60} s old`,
    sniper.minLiquidity && sniper.minLiquidity !== "0" && `with at least ${amount(sniper.minLiquidity)} ${tokenIn} in it`,
  ].filter(Boolean);
  const lost = SAFETY.filter((each) => isGivenUp(sniper.require, each)).length;
  const safe = lost === 0 ? "It must be safe in every respect" : lost === SAFETY.length ? "It need not be safe in any respect" : `It must be safe but for what is given up (${lost} of ${SAFETY.length})`;
  return `Waits for a new pool ${which} ${parts.join(", ")}, and pays ${amount(paid)} ${tokenIn} there, on the first that fits. ${safe}; that is checked again once the swap is signed, before it is sent. ${expireAt ? `It waits until ${until}.` : "It waits until it is canceled."}`;
}

export function huntFacts({ sniper, pool, tokenIn }) {
  if (!sniper) return [];
  const lost = SAFETY.filter((each) => isGivenUp(sniper.require, each));
  return [
    ["Pool chosen", pool],
    ["Token", sniper.mint ?? "any new one"],
    ["Made by", sniper.creator],
    ["On", sniper.venues?.join(", ")],
    ["Liquidity at least", sniper.minLiquidity !== "0" && `${amount(sniper.minLiquidity)} ${tokenIn}`],
    ["Liquidity must be", sniper.require.liquidity === "burned" && "burned"],
    ["Oldest pool", `${sniper.maxAgeSeconds} s`],
    ["Given up", lost.length ? lost.map((each) => each.holds.toLowerCase()).join("; ") : "nothing"],
  ];
}

// The latest pools that it could have taken, judged now.
export function candidateList(candidates, order) {
  if (!candidates?.length) return empty("No new pool yet", "Each that appears is judged here, with the reasons against it.");
  return h("ol", { class: "pools", "aria-label": "The latest new pools, judged now" }, candidates.map((pool) => h("li", {},
    h("div", {}, h("strong", { class: "mono", title: pool.mint }, shortId(pool.mint)),
      h("p", { class: "note num" }, pool.venue, pool.liquidity ? `, ${amount(pool.liquidity, 5)} ${order.tokenIn} in it` : "", ", listed ", stamp(pool.listedAt))),
    pool.refusals.length ? h("div", { class: "bad" }, h("strong", {}, "Left alone"), h("ul", {}, pool.refusals.map((each) => h("li", {}, each.detail)))) : h("strong", { class: "good" }, "Nothing against it"))));
}
