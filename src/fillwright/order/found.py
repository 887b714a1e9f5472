"""What was found and done for an order: quotes, routes, a signed transaction, a fill. Pure values."""

import msgspec

from fillwright.errors import Problem
from fillwright.units import Atoms, Bps, Millis, Mint, Signature


class Quote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pool's promise at a slot, or the reason why it made none (`problem`; the amounts are then 0)."""

    venue: str
    pool: str = ""
    kind: str = ""
    slot: int = 0
    amount_in: Atoms = Atoms(0)
    amount_out: Atoms = Atoms(0)
    fee: Atoms = Atoms(0)
    fee_mint: Mint = Mint("")
    impact_bps: Bps = Bps(0)
    depth: int = 0
    """Liquidity for ranking equal quotes: the pool's reserve of the output token, in atoms."""
    latency_ms: Millis = Millis(0)
    problem: Problem | None = None


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A chosen swap on one pool. A route's legs stand in an order in which they can be executed."""

    venue: str
    pool: str
    mint_in: Mint
    mint_out: Mint
    amount_in: Atoms
    amount_out: Atoms


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen legs, beside every quote that was compared and why these won.

    `bound` certifies them: no split over the offered pools gives more for exact in, or takes less for exact out.
    """

    legs: tuple[Leg, ...]
    amount_in: Atoms
    amount_out: Atoms
    bound: Atoms
    impact_bps: Bps
    reason: str
    quotes: tuple[Quote, ...]
    found_at: Millis

    @property
    def venue(self) -> str:
        return "+".join(dict.fromkeys(leg.venue for leg in self.legs))


class SignedTx(msgspec.Struct, frozen=True, kw_only=True):
    """A signed transaction. These bytes, and no others, may be broadcast for their attempt.

    `signed_slot` and `signed_height` are the chain's when it was signed: later heights are judged by them.
    `limit` is the bound that the chain enforces: least out for exact in, most in for exact out.
    """

    signature: Signature
    raw: bytes
    last_valid_height: int
    signed_slot: int
    signed_height: int
    limit: Atoms


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """What the chain swapped, told by the chain."""

    signature: Signature
    slot: int
    amount_in: Atoms
    amount_out: Atoms
