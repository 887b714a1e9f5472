"""What clients ask for: orders of every kind, easy and hopeless.

Decides: the mix of intents and of names (idempotency key, client order id, both, neither).
"""

from hashlib import sha256
from random import Random
from typing import Final

import msgspec

from fillwright.adapters.sim.market import BONK, MSOL, SOL, USDC, USDT
from fillwright.engine import Submission
from fillwright.order import Intent, Mode, Side
from fillwright.units import Atoms, Bps, Millis
from tests.simulation.hosts import VENUES

ACCOUNT: Final = "alice"
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
    return Intent(
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
