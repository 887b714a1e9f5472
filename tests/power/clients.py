"""Clients of one store, who remember every answer.

Decides: what is asked of the store, and what it may then be found to hold. Must never: take a call for done that was
not answered, or for not done that was not proven so.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import Code, FillwrightError
from fillwright.order import TRANSITIONS, Order, Recorded, claim, transition
from fillwright.ports import Conflict
from fillwright.units import Atoms, Millis, OrderId
from tests.conformance.samples import HandClock, accepted, event_of, new_order, stamped

CLIENTS: Final = 12
LEASE_S: Final = 10.0
_PAUSE_S: Final = 0.01
_PATIENCE: Final = 10_000
"""So often an order is asked after before the store counts as broken for good."""


class Doubt(msgspec.Struct):
    """A call that got no answer, or STORE_UNAVAILABLE, and may have been done."""

    recorded: list[Recorded]
    commits: int | None = None
    """Acknowledged changes when it was refused; None while it waits. The next one is written over it and buries it."""


class Told(msgspec.Struct):
    """What clients have been told of one order."""

    id: OrderId
    key: str
    states: list[Recorded] = []
    doubts: list[Doubt] = []

    @property
    def order(self) -> Order | None:
        return self.states[-1].order if self.states else None

    @property
    def ended(self) -> bool:
        return self.order is not None and self.order.is_terminal


class Memory:
    """All that clients have been told, over every power cut of one disk."""

    def __init__(self) -> None:
        self.orders: dict[OrderId, Told] = {}
        self.seen: dict[str, Millis] = {}
        """Each worker's last acknowledged heartbeat."""
        self.commits = 0
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        """Answers that were not true."""

    def possible(self, told: Told) -> list[list[Recorded]]:
        """The histories that the store may hold of this order, shortest first."""
        live = [doubt for doubt in told.doubts if doubt.commits in (None, self.commits)]
        return [told.states, *(told.states + doubt.recorded for doubt in live)]


class Crew:
    """Some clients at work on one opened store, until `calls` are answered or the power is off."""

    def __init__(
        self,
        store: SqliteStore,
        memory: Memory,
        clock: HandClock,
        dice: Random,
        *,
        fat: int,
        is_off: Callable[[], bool],
    ) -> None:
        """`fat`: how many bytes an order carries, to fill the log sooner."""
        self._store = store
        self._memory = memory
        self._clock = clock
        self._dice = dice
        self._fat = fat
        self._is_off = is_off
        self._calls_left = 0
        self._idle = [told for told in memory.orders.values() if not told.ended]

    async def work(self, calls: int) -> None:
        self._calls_left = calls
        await asyncio.gather(*(self._client(f"w-{n}") for n in range(CLIENTS)))

    async def check_all(self) -> None:
        """Whether the open store shows to its users just what they were told."""
        for told in self._memory.orders.values():
            await self._read(told)

    async def _client(self, worker: str) -> None:
        while self._calls_left > 0 and not self._is_off():
            self._calls_left -= 1
            told = self._next()
            try:
                await self._call(told, worker)
            except FillwrightError as error:
                if error.code is not Code.STORE_UNAVAILABLE:
                    raise
                await self._refused(told)
            if not told.ended:
                self._idle.append(told)

    def _next(self) -> Told:
        if self._idle and self._dice.random() < 0.8:
            return self._idle.pop(self._dice.randrange(len(self._idle)))
        name = f"o-{len(self._memory.orders)}"
        told = self._memory.orders[OrderId(name)] = Told(OrderId(name), f"key-{name}")
        return told

    async def _call(self, told: Told, worker: str) -> None:
        dice, order = self._dice, told.order
        if order is None:
            await self._create(told)
        elif dice.random() < 0.05:
            await self._heartbeat(worker)
        elif dice.random() < 0.1:
            await self._read(told)
        elif dice.random() < 0.3:
            await self._claim(told, order, worker)
        else:
            await self._record(told, order, worker)

    async def _create(self, told: Told) -> None:
        dice = self._dice
        amount, tags = Atoms(dice.randint(1, 2**63 - 1)), ("x" * self._fat,)
        first = accepted(told.id, at=self._clock.now(), client_order_id=f"mine-{told.id}", amount=amount, tags=tags)
        doubt = self._ask(told, [first])
        stored = await self._store.create(new_order(first, key=told.key))
        self._answered(told, doubt)
        if not stored.is_new or stored.order != first.order:
            self._memory.wrong.append(f"creating {told.id} answered {stored.order.id}, new: {stored.is_new}")

    async def _record(self, told: Told, order: Order, worker: str) -> None:
        recorded: list[Recorded] = []
        for _ in range(self._dice.randint(1, 2)):
            kinds = [kind for status, kind in TRANSITIONS if status is order.status]
            if not kinds:
                break
            at = Millis(order.updated_at + 1)
            event = event_of(self._dice.choice(kinds), order, worker=worker, at=at, retry_at=at)
            order = transition(order, event, at)
            recorded.append(Recorded(order, event))
        doubt = self._ask(told, recorded)
        try:
            await self._store.record(told.states[-1].order, recorded)
        except Conflict:
            self._memory.wrong.append(f"a conflict over {told.id}, which nobody else has changed")
            return
        self._answered(told, doubt)

    async def _claim(self, told: Told, order: Order, worker: str) -> None:
        expected = claim(order, worker, self._clock.now())
        doubt = self._ask(told, [expected])
        taken = await self._store.claim([told.id], worker)
        if taken:
            self._answered(told, doubt)
            if taken != [expected]:
                self._memory.wrong.append(f"claiming {told.id} answered {taken}")
        else:  # not due yet, or its worker is alive
            told.doubts.remove(doubt)

    async def _heartbeat(self, worker: str) -> None:
        await self._store.heartbeat(worker)
        if not self._is_off():
            self._memory.seen[worker] = self._clock.now()
            self._memory.commits += 1

    async def _read(self, told: Told) -> None:
        """What it shows was answered, or is then certain: a store may not take back what it has shown."""
        history = await self._store.history("alice", told.id)
        order = await self._store.get("alice", told.id)
        for states in self._memory.possible(told):
            if history == stamped(states) and order == (states[-1].order if states else None):
                if len(states) > len(told.states):
                    self._memory.counts["done though refused"] += 1
                    told.states = states
                    told.doubts.clear()
                return
        self._memory.wrong.append(
            f"{told.id} is shown with {len(history)} events, {len(told.states)} were acknowledged"
        )

    # --- answers --------------------------------------------------------------------------------------------

    def _ask(self, told: Told, recorded: list[Recorded]) -> Doubt:
        doubt = Doubt(recorded)
        told.doubts.append(doubt)
        return doubt

    def _answered(self, told: Told, doubt: Doubt) -> None:
        if self._is_off():  # the machine is dead: this answer never left it
            return
        told.states = told.states + doubt.recorded
        told.doubts.clear()
        self._memory.commits += 1
        self._memory.counts["acknowledged"] += 1

    async def _refused(self, told: Told) -> None:
        """Ask until the store says what it has."""
        if self._is_off():
            return
        for doubt in told.doubts:
            if doubt.commits is None:
                doubt.commits = self._memory.commits
        self._memory.counts["refused"] += 1
        for _ in range(_PATIENCE):
            if self._is_off():
                return
            try:
                return await self._read(told)
            except FillwrightError:
                await asyncio.sleep(_PAUSE_S)
        self._memory.wrong.append("the store does not recover")
