"""A venue's limits (guard.py): calls at once, time, and a rest after failures."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fillwright.errors import Code, FillwrightError
from fillwright.guard import GuardedVenue
from fillwright.order import Leg, Mode
from fillwright.policy import Policy
from fillwright.pools import ChainTime
from fillwright.ports import Instruction, Snapshot
from fillwright.units import Atoms, Mint
from tests.conformance.samples import HandClock

POLICY = Policy(quote_timeout_s=0.02, venue_calls_max=2, venue_failures_max=3, venue_rest_s=5.0)
MINTS = frozenset({Mint("a"), Mint("b")})
NOTHING = Snapshot((), ChainTime(slot=1, unix_seconds=1))


class Venue:
    """Answers as the test says, and counts."""

    name = "raydium"

    def __init__(self, answer: Callable[[], Awaitable[Snapshot]]) -> None:
        self.answer = answer
        self.calls = self.at_once = self.most_at_once = 0

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.answer()
        finally:
            self.at_once -= 1

    async def build(self, leg: Leg, *, mode: Mode, limit: Atoms) -> Instruction:
        raise NotImplementedError


async def fine() -> Snapshot:
    return NOTHING


async def failing() -> Snapshot:
    raise FillwrightError(Code.VENUE_UNAVAILABLE, "out of order")


async def silent() -> Snapshot:
    await asyncio.sleep(60)
    return NOTHING


async def code_of(venue: GuardedVenue) -> Code | None:
    try:
        await venue.pools(MINTS)
    except FillwrightError as error:
        return error.code
    return None


def test_a_silent_venue_costs_its_time_and_no_more() -> None:
    async def scenario() -> None:
        assert await code_of(GuardedVenue(Venue(silent), HandClock(), POLICY)) is Code.VENUE_TIMEOUT

    asyncio.run(scenario())


def test_calls_at_once_are_limited_and_waiting_counts_as_time() -> None:
    async def slowly() -> Snapshot:
        await asyncio.sleep(0.012)
        return NOTHING

    async def scenario() -> None:
        venue = Venue(slowly)
        guarded = GuardedVenue(venue, HandClock(), POLICY)
        codes = await asyncio.gather(*(code_of(guarded) for _ in range(12)))
        assert venue.most_at_once == POLICY.venue_calls_max
        assert set(codes) == {None, Code.VENUE_TIMEOUT}

    asyncio.run(scenario())


@pytest.mark.parametrize(("trouble", "code"), [(failing, Code.VENUE_UNAVAILABLE), (silent, Code.VENUE_TIMEOUT)])
def test_after_failures_in_a_row_it_rests_then_one_call_tries(
    trouble: Callable[[], Awaitable[Snapshot]], code: Code
) -> None:
    async def scenario() -> None:
        venue, clock = Venue(trouble), HandClock()
        guarded = GuardedVenue(venue, clock, POLICY)
        for _ in range(POLICY.venue_failures_max):
            assert await code_of(guarded) is code
        asked = venue.calls
        assert await code_of(guarded) is Code.VENUE_UNAVAILABLE
        assert guarded.resting
        assert venue.calls == asked, "a resting venue is not asked"
        clock.at += 5_000
        answers = await asyncio.gather(*(code_of(guarded) for _ in range(5)))
        assert venue.calls == asked + 1, "one call tries for all"
        assert answers.count(code) >= 1
        clock.at += 5_000
        venue.answer = fine
        assert await code_of(guarded) is None
        assert [await code_of(guarded) for _ in range(3)] == [None] * 3, "all may ask again"

    asyncio.run(scenario())


def test_a_success_forgives_earlier_failures() -> None:
    async def scenario() -> None:
        venue = Venue(failing)
        guarded = GuardedVenue(venue, HandClock(), POLICY)
        for _ in range(5):
            for _ in range(POLICY.venue_failures_max - 1):
                await code_of(guarded)
            venue.answer = fine
            assert await code_of(guarded) is None
            venue.answer = failing

    asyncio.run(scenario())
