"""What the venues offer now, for whoever wants to look: one reading that all share.

Decides: how fresh it is. Must never: let those who look cost the venues more than one question a while.
"""

import asyncio

import msgspec

from fillwright.executor import Executor
from fillwright.guard import GuardedVenue
from fillwright.routing import Offer
from fillwright.tokens import Tokens
from fillwright.units import Millis


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

    async def _read(self) -> Reading:
        executor = self._executor
        offers = await executor.offers(None, self._mints)
        resting = [venue.name for venue in executor.venues if isinstance(venue, GuardedVenue) and venue.resting]
        return Reading(executor.clock.now(), tuple(offers), frozenset(resting))
