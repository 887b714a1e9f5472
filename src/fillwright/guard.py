"""A venue within limits: so many calls at once, each within its time, and a rest after too many failures.

Decides: when a venue is asked. Must never: let one slow or failing venue take the time that orders need for the others.
"""

import asyncio

from fillwright.errors import Code, FillwrightError
from fillwright.order import Leg, Mode
from fillwright.policy import Policy
from fillwright.ports import Clock, Instruction, Snapshot, Venue
from fillwright.units import Atoms, Mint


class GuardedVenue:
    """See ports.Venue, and a circuit breaker: closed, open for `venue_rest_s`, then one call tries (half-open)."""

    def __init__(self, venue: Venue, clock: Clock, policy: Policy) -> None:
        self.name = venue.name
        self._venue = venue
        self._clock = clock
        self._policy = policy
        self._room = asyncio.Semaphore(policy.venue_calls_max)
        self._failures = 0
        self._rests_until = 0.0

    @property
    def resting(self) -> bool:
        return self._failures >= self._policy.venue_failures_max and self._clock.monotonic() < self._rests_until

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        """Raises FillwrightError: VENUE_TIMEOUT; VENUE_UNAVAILABLE, also while it rests."""
        if self.resting:
            raise FillwrightError(Code.VENUE_UNAVAILABLE, f"{self.name} rests after {self._failures} failures")
        if self._failures >= self._policy.venue_failures_max:
            self._rests_until = self._clock.monotonic() + self._policy.venue_rest_s  # the others wait for this one
        try:
            async with asyncio.timeout(self._policy.quote_timeout_s), self._room:
                snapshot = await self._venue.pools(mints)
        except TimeoutError:
            self._failed()
            raise FillwrightError(Code.VENUE_TIMEOUT, f"{self.name} did not answer in time") from None
        except FillwrightError:
            self._failed()
            raise
        self._failures = 0
        return snapshot

    async def build(self, leg: Leg, *, mode: Mode, limit: Atoms) -> Instruction:
        return await self._venue.build(leg, mode=mode, limit=limit)

    def _failed(self) -> None:
        self._failures += 1
        self._rests_until = self._clock.monotonic() + self._policy.venue_rest_s
