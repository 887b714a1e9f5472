"""What clients ask for: orders of every kind, easy and hopeless.

Decides: the mix of intents and of names (idempotency key, client order id, both, neither).
"""

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import Any, Final

import msgspec

from fillwright.adapters.sim.market import BONK, MSOL, SOL, USDC, USDT
from fillwright.adapters.sim.newcomers import Newcomers
from fillwright.adapters.sim.prices import START_USD
from fillwright.engine import Submission
from fillwright.order import Intent, Mode, OrderType, Side, TimeInForce
from fillwright.schedule import Schedule
from fillwright.sniping import UNCHOSEN, Lock, Require, Snipe
from fillwright.units import Atoms, Bps, Millis, Mint, Price, Token
from tests.simulation.hosts import VENUES

ACCOUNT: Final = "alice"
NEWCOMER_EVERY_SLOTS: Final = 10
"""About four seconds between two new pools."""
_NEWCOMERS: Final = 25
_PAIRS: Final = ((SOL, USDC), (SOL, USDC), (SOL, USDT), (USDC, USDT), (BONK, SOL), (BONK, USDC), (MSOL, USDC))
"""Base and quote. BONK/USDC goes over SOL only; the last pair has no pool in the world's market."""
_TYPICAL: Final = {SOL: 2 * 10**9, USDC: 150 * 10**6, USDT: 150 * 10**6, BONK: 3 * 10**10, MSOL: 10**9}


def submission(random: Random, number: int) -> Submission:
    names = random.choice(((f"c{number}", None), (None, f"k{number}"), (f"c{number}", f"k{number}"), (None, None)))
    if names == (None, None) and random.random() < 0.7:
        names = (f"c{number}", None)
    asked = Submission(
        account=ACCOUNT, intent=_intent(random), fingerprint=b"", client_order_id=names[0], idempotency_key=names[1]
    )
    return fingerprinted(asked, asked.intent)


def fingerprinted(asked: Submission, intent: Intent) -> Submission:
    meaning = sha256(msgspec.json.encode([intent, asked.client_order_id])).digest()
    return msgspec.structs.replace(asked, intent=intent, fingerprint=meaning)


def _intent(random: Random) -> Intent:
    base, quote = random.choice(_PAIRS)
    side = random.choice((Side.BUY, Side.SELL))
    mode = random.choice((Mode.EXACT_IN, Mode.EXACT_OUT))
    token_in, token_out = (base, quote) if side is Side.SELL else (quote, base)
    fixed = token_in if mode is Mode.EXACT_IN else token_out
    amount = int(_TYPICAL[fixed] * random.choice((0.01, 0.5, 1, 1, 20, 30_000)) * random.uniform(0.5, 1.5))
    market = Intent(
        side=side,
        token_in=token_in,
        token_out=token_out,
        amount=Atoms(amount),
        mode=mode,
        slippage_bps=Bps(random.choice((0, 10, 50, 100, 500))),
        max_price_impact_bps=Bps(random.choice((1, 50))) if random.random() < 0.2 else None,
        deadline_ms=Millis(random.randint(1_000, 90_000)) if random.random() < 0.25 else None,
        venues=(random.choice(VENUES),) if random.random() < 0.25 else None,
    )
    return conditional(random, market) if random.random() < 0.4 else market


RESTING: Final = (OrderType.LIMIT, OrderType.STOP, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP)


def conditional(
    random: Random, market: Intent, kinds: Sequence[OrderType] = (*RESTING, OrderType.TWAP, OrderType.DCA)
) -> Intent:
    """The same swap, under a condition: some are met at once, some after a while, some never."""
    kind = random.choice(kinds)
    told: dict[str, Any] = {"type": kind, "deadline_ms": Millis(random.randint(5_000, 120_000))}
    if kind in (OrderType.TWAP, OrderType.DCA):
        return _scheduled(random, market, told)
    if kind is OrderType.TRAILING_STOP:
        told["trail_bps"] = Bps(random.choice((1, 30, 300)))
    elif kind is not OrderType.LIMIT:
        told["trigger"] = price_near(random, market)
    if kind is OrderType.LIMIT or random.random() < 0.4:
        told["limit"] = price_near(random, market)
    if kind is OrderType.LIMIT and random.random() < 0.2:
        told["time_in_force"] = random.choice((TimeInForce.IOC, TimeInForce.FOK))
    return msgspec.structs.replace(market, **told)


def _scheduled(random: Random, market: Intent, told: dict[str, Any]) -> Intent:
    """In a few slices, in or near the market, with time for all of them or not."""
    told["mode"] = Mode.EXACT_IN
    told["amount"] = Atoms(int(_TYPICAL[market.token_in] * random.choice((0.01, 1, 20)) * random.uniform(0.5, 1.5)))
    told["schedule"] = Schedule(
        slices=random.randint(2, 4),
        interval_ms=Millis(random.choice((1_000, 5_000, 12_000))),
        jitter_pct=random.choice((0, 20, 50)),
    )
    if random.random() < 0.5:
        told["deadline_ms"] = None
    if random.random() < 0.4:
        told["limit"] = price_near(random, market)
    return msgspec.structs.replace(market, **told)


def hunt(random: Random, seed: int) -> Intent:
    """A new pool instead: any, of a mint that is to come, or by a creator; careful, or with a condition given up."""
    token_in = random.choice((SOL, SOL, USDC))
    named = Newcomers(seed, NEWCOMER_EVERY_SLOTS).number(random.randrange(_NEWCOMERS))
    mint = Mint(named.token.mint) if random.random() < 0.2 else None
    careful = random.random() < 0.6
    snipe = Snipe(
        mint=mint,
        creator=named.creator if random.random() < 0.2 else None,
        min_liquidity=Atoms(_TYPICAL[token_in] * random.choice((0, 1, 5))),
        max_age_s=random.choice((5, 20, 60)),
        require=Require() if careful else _given_up(random),
    )
    return Intent(
        type=OrderType.SNIPER,
        side=Side.BUY,
        token_in=token_in,
        token_out=UNCHOSEN if mint is None else Token(mint, mint, 0),
        amount=Atoms(int(_TYPICAL[token_in] * random.uniform(0.01, 1))),
        mode=Mode.EXACT_IN,
        slippage_bps=Bps(random.choice((0, 100, 500))),
        max_price_impact_bps=Bps(100) if random.random() < 0.2 else None,
        deadline_ms=Millis(random.randint(5_000, 120_000)),
        venues=(random.choice(VENUES),) if random.random() < 0.2 else None,
        snipe=snipe,
    )


def _given_up(random: Random) -> Require:
    return Require(
        mint_authority_revoked=random.random() < 0.5,
        freeze_authority_none=random.random() < 0.5,
        liquidity=random.choice(tuple(Lock)),
        extensions_none=random.random() < 0.5,
        sellable=random.random() < 0.5,
    )


def price_near(random: Random, intent: Intent) -> Price:
    """About what the pair costs when the world begins."""
    base, quote = intent.base, intent.quote
    factor = random.choice((1, 1, 1, 1, 3)) * random.uniform(-0.03, 0.03)
    quote_atoms = int(START_USD[base.symbol] * 10**quote.decimals * (1 + factor) * 10**6)
    return Price.of(quote_atoms, START_USD[quote.symbol] * 10**base.decimals * 10**6)
