"""What an order asks for. Pure.

Decides: the fields of an intent, and how a price is read on its side. Must never: know what has become of it.
"""

from enum import StrEnum

import msgspec

from fillwright.schedule import Schedule
from fillwright.sniping import Snipe
from fillwright.units import Atoms, Bps, Millis, OrderId, Price, Token


class Mode(StrEnum):
    EXACT_IN = "exactIn"
    EXACT_OUT = "exactOut"


class Side(StrEnum):
    """Seen from the base token: a sell pays it in, a buy gets it out."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """When an order swaps. What it waits for is judged by the quote that its own size would get, after all fees."""

    MARKET = "market"
    """At once."""
    LIMIT = "limit"
    """While that quote is at the limit price or better."""
    STOP = "stop"
    """Once it has become as bad as the trigger price."""
    TAKE_PROFIT = "take_profit"
    """Once it has become as good as the trigger price."""
    TRAILING_STOP = "trailing_stop"
    """Once it has become worse, by the trail, than the best that was seen."""
    TWAP = "twap"
    """In slices over time: what is left is spread evenly over those to come, so that a skipped one is caught up."""
    DCA = "dca"
    """In equal slices over time; the part of a skipped one stays unspent."""
    SNIPER = "sniper"
    """Once there is a new pool that it waits for and that meets its conditions: on that pool alone."""


class TimeInForce(StrEnum):
    """How long an order waits."""

    GTC = "gtc"
    """Until it is filled or canceled."""
    GTD = "gtd"
    """Until a given time."""
    IOC = "ioc"
    """Not at all: what cannot be swapped at once is canceled."""
    FOK = "fok"
    """Not at all, and all of it or nothing."""


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an order is tied to others of its account. All are accepted together, so each can name the others."""

    parent: OrderId | None = None
    """It waits until this order is filled, and swaps what that fill gave."""
    children: tuple[OrderId, ...] = ()
    """These wait for its fill."""
    group: OrderId | None = None
    """Of all orders of this group at most one ever swaps."""
    siblings: tuple[OrderId, ...] = ()
    """The others of its group."""


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for. `amount` is of token_in for exact in, of token_out for exact out."""

    type: OrderType = OrderType.MARKET
    side: Side
    token_in: Token
    token_out: Token
    amount: Atoms
    mode: Mode
    slippage_bps: Bps
    max_price_impact_bps: Bps | None = None
    deadline_ms: Millis | None = None
    """From acceptance; no attempt is signed after it."""
    venues: tuple[str, ...] | None = None
    """Only these venues, where given."""
    max_legs: int | None = None
    max_hops: int | None = None
    """Shorter routes than the engine would take, where given."""
    tags: tuple[str, ...] = ()
    limit: Price | None = None
    """The worst price at which it may swap, whatever the slippage."""
    trigger: Price | None = None
    """Of a stop or take profit."""
    trail_bps: Bps | None = None
    """Of a trailing stop: how far its trigger stays behind the best price seen."""
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at: Millis | None = None
    """No attempt is signed after it, either."""
    schedule: Schedule | None = None
    """Of a twap or dca, whose `amount` is that of all slices together; exact in."""
    snipe: Snipe | None = None
    """Of a sniper. Its token_out is the mint that it names, of unknown decimals, or `sniping.UNCHOSEN`."""
    link: Link | None = None

    @property
    def base(self) -> Token:
        return self.token_in if self.side is Side.SELL else self.token_out

    @property
    def quote(self) -> Token:
        return self.token_out if self.side is Side.SELL else self.token_in

    @property
    def rests(self) -> bool:
        """Whether it may have to wait for the market."""
        if self.type is OrderType.MARKET or self.schedule is not None:
            return False
        return self.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)

    @property
    def opening(self) -> "Intent":
        """What its first transaction is to swap."""
        if self.schedule is None:
            return self
        return msgspec.structs.replace(self, amount=self.schedule.even(self.amount, 1))

    @property
    def is_watched(self) -> bool:
        """Whether watchers must hear of its events."""
        return self.rests or self.link is not None

    @property
    def is_immediate(self) -> bool:
        """Whether it has one attempt, now or never."""
        return self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)

    def rate(self, price: Price) -> tuple[int, int]:
        """The price as atoms out per atoms in: numerator and denominator."""
        return (price.quote, price.base) if self.side is Side.SELL else (price.base, price.quote)

    def price(self, amount_in: int, amount_out: int) -> Price:
        """The price of this swap."""
        return Price.of(amount_out, amount_in) if self.side is Side.SELL else Price.of(amount_in, amount_out)

    def keeps_limit(self, amount_in: int, amount_out: int) -> bool:
        """Whether this swap is at the limit price or better."""
        return self.limit is None or is_at_least(self.rate(self.limit), amount_in, amount_out)


def is_at_least(rate: tuple[int, int], amount_in: int, amount_out: int) -> bool:
    """Whether a swap gives this many atoms out per atoms in, or more."""
    numerator, denominator = rate
    return amount_out * denominator >= amount_in * numerator
