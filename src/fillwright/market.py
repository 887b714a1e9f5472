"""What the venues offer now: for whoever wants to look, one reading that all share; and what an order is worth by it.

Decides: how fresh a reading is, and what counts as worth. Must never: let those who look cost the venues more than one
question a while, or make up a price where there is none.
"""

import asyncio

import msgspec

from fillwright.errors import FillwrightError
from fillwright.executor import Executor
from fillwright.guard import GuardedVenue
from fillwright.order import Intent, Mode, Side
from fillwright.routing import NoRoute, Offer
from fillwright.tokens import USDC, Tokens, is_dollar
from fillwright.units import Atoms, Bps, Millis, ceil_div


class Reading(msgspec.Struct, frozen=True):
    """Every venue's offer at one moment, as this process met it."""

    at: Millis
    offers: tuple[Offer, ...]
    resting: frozenset[str]
    """Venues that are left alone for a while after failures."""


class Market:
    """One question to the venues answers everybody for `market_s`."""

    def __init__(self, executor: Executor, tokens: Tokens) -> None:
        self._executor = executor
        self._tokens = tokens
        self._mints = frozenset(token.mint for token in tokens.all)
        self._reading: asyncio.Task[Reading] | None = None
        self._asked_at = 0.0

    async def read(self) -> Reading:
        """The pools of all known tokens. A venue that fails is an offer with a problem."""
        now = self._executor.clock.monotonic()
        if self._reading is None or now - self._asked_at >= self._executor.policy.market_s:
            self._asked_at = now
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(self._reading)  # one that gives up must not take the answer from the others

    async def worth(self, intent: Intent) -> Atoms:
        """What the order's amount is worth in atoms of USDC, rounded up.

        An amount that is told in a dollar stable coin is its own worth. Any other is worth what selling it for USDC
        would bring now, or for exact out what buying it would cost, by the best route over all venues.

        Raises FillwrightError: TOKEN_UNKNOWN, or what a router has to say where nobody has a price.
        """
        usdc, is_out = self._tokens.find(USDC), intent.mode is Mode.EXACT_OUT
        told = intent.token_out if is_out else intent.token_in
        if is_dollar(told):
            return Atoms(ceil_div(intent.amount * 10**usdc.decimals, 10**told.decimals))
        swap = Intent(
            side=Side.BUY if is_out else Side.SELL,
            token_in=usdc if is_out else told,
            token_out=told if is_out else usdc,
            amount=intent.amount,
            mode=intent.mode,
            slippage_bps=Bps(0),
        )
        route = await self._executor.route(swap)
        if isinstance(route, NoRoute):
            raise FillwrightError(route.problem.code, route.problem.detail)
        return route.amount_in if is_out else route.amount_out

    async def _read(self) -> Reading:
        executor = self._executor
        offers = await executor.offers(None, self._mints)
        resting = [venue.name for venue in executor.venues if isinstance(venue, GuardedVenue) and venue.resting]
        return Reading(executor.clock.now(), tuple(offers), frozenset(resting))
