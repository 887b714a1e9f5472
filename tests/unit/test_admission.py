"""When one more order is refused (admission.py)."""

import asyncio
from typing import Any, cast

import pytest

from fillwright.admission import Gate
from fillwright.errors import Code, FillwrightError
from fillwright.policy import Policy
from fillwright.ports import Backlog, Store
from tests.conformance.samples import HandClock

POLICY = Policy(waiting_max=10, waiting_s_max=5.0, accepting_max=3)


class Counted:
    """A store of which only the backlog is asked."""

    def __init__(self) -> None:
        self.backlog_now: Backlog | FillwrightError = Backlog(0, 0.0)
        self.asked = 0

    async def backlog(self, limit: int) -> Backlog:
        self.asked += 1
        if isinstance(self.backlog_now, FillwrightError):
            raise self.backlog_now
        return self.backlog_now


def admitted(gate: Gate) -> bool:
    try:
        with gate.accepting():
            return True
    except FillwrightError as error:
        if error.code is not Code.ENGINE_OVERLOADED:
            raise
        return False


async def counted(gate: Gate) -> None:
    """Let it count a few times."""
    task = asyncio.create_task(gate.run())
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()


def gate_and_store() -> tuple[Gate, Counted]:
    store = Counted()
    return Gate(cast(Store, store), HandClock(), POLICY), store


def test_as_many_wait_as_are_allowed_before_the_store_is_asked_again() -> None:
    gate, _ = gate_and_store()
    assert [admitted(gate) for _ in range(12)] == [True] * 10 + [False] * 2


@pytest.mark.parametrize(
    ("backlog", "welcome"),
    [
        (Backlog(0, 0.0), True),
        (Backlog(9, 4.9), True),
        (Backlog(10, 0.1), False),
        (Backlog(1, 5.1), False),
    ],
)
def test_the_store_tells_how_many_wait_and_how_long(backlog: Backlog, welcome: bool) -> None:
    async def scenario() -> None:
        gate, store = gate_and_store()
        assert admitted(gate)
        store.backlog_now = backlog
        await counted(gate)
        assert admitted(gate) is welcome

    asyncio.run(scenario())


def test_orders_are_not_forgotten_while_the_store_counts_them() -> None:
    class Slow(Counted):
        async def backlog(self, limit: int) -> Backlog:
            during.append(gate.waiting)
            return await super().backlog(limit)

    during: list[int] = []
    store = Slow()
    gate = Gate(cast(Store, store), HandClock(), POLICY)
    for _ in range(4):
        admitted(gate)
    store.backlog_now = Backlog(4, 0.1)
    asyncio.run(counted(gate))
    assert set(during) == {4}
    assert gate.waiting == 4


def test_what_was_worked_off_makes_room() -> None:
    async def scenario() -> None:
        gate, store = gate_and_store()
        while admitted(gate):
            pass
        await counted(gate)
        assert admitted(gate)
        assert store.asked

    asyncio.run(scenario())


def test_an_idle_engine_asks_nothing() -> None:
    async def scenario() -> None:
        gate, store = gate_and_store()
        await counted(gate)
        assert store.asked == 0

    asyncio.run(scenario())


def test_a_silent_store_changes_no_verdict() -> None:
    async def scenario() -> None:
        gate, store = gate_and_store()
        for _ in range(4):
            admitted(gate)
        store.backlog_now = FillwrightError(Code.STORE_UNAVAILABLE, "away")
        await counted(gate)
        assert gate.waiting == 4

    asyncio.run(scenario())


def test_orders_on_their_way_into_the_store_are_limited() -> None:
    gate, _ = gate_and_store()
    entered: list[Any] = []
    for _ in range(POLICY.accepting_max):
        way = gate.accepting()
        way.__enter__()
        entered.append(way)
    assert not admitted(gate)
    entered.pop().__exit__(None, None, None)
    assert admitted(gate)
