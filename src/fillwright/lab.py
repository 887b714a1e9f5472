"""The fault lab: what goes wrong on a simulated chain, a worker to kill, and whether anything got lost.

Decides: what may be turned while the engine works, and how one worker follows another that was killed. Must never: be
known to what it disturbs: orders, landing and stores work as if it did not exist.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.units import Millis, OrderId
from fillwright.worker import Worker

LOST_PCT_MAX: Final = 90
"""Of answers that get lost or lie. At 100 nothing could ever be known of a transaction: no fault, but another world."""
DELAY_MS_MAX: Final = 5_000


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What goes wrong from now on. Shares in percent, each drawn from the simulation's seed."""

    drop_pct: int = 0
    """Of broadcasts, that nobody receives."""
    lost_answer_pct: int = 0
    """Of calls to the chain, that have their effect and fail for the caller."""
    late_pct: int = 0
    """Of broadcasts, that land up to 1.4 times their validity later: the rest of these never do."""
    revert_pct: int = 0
    """Of transactions, that the chain executes and undoes."""
    lying_height_pct: int = 0
    """Of nodes' answers, that tell the slot for the block height."""
    quote_failure_pct: int = 0
    """Of quotes, that a venue answers with an error."""
    quote_delay_ms: int = 0
    """More than a quote takes anyway."""
    land_delay_ms: int = 0
    """More than it takes from a broadcast to its block anyway."""
    venues_down: tuple[str, ...] = ()
    """Venues that answer no quote at all."""


class Killed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A worker that is no more. It has told nobody: what it held is free once its lease has run out."""

    worker: str
    held: int
    """Orders that it was driving."""
    successor: str
    lease_ms: Millis


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A promise, and the orders that break it."""

    name: str
    promise: str
    count: int
    orders: tuple[OrderId, ...]
    """Some of them."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What the orders' file and the chain's own ledger say of each other. Every count must be 0."""

    at: Millis
    broken: int
    """All counts together."""
    findings: tuple[Finding, ...]
    orders: int
    """How many were looked at: the newest."""
    lines: int
    """Of the ledger: the newest as well."""
    whole: bool
    """Whether these were all there are."""


class World(Protocol):
    """The simulated chain and its venues."""

    @property
    def plan(self) -> FaultPlan: ...

    def turn(self, plan: FaultPlan) -> None:
        """From the next call on; what is on its way stays as it was drawn."""


class Lab(msgspec.Struct, frozen=True):
    """What there is to break, and to judge by. Made only where the chain is simulated in this very process."""

    world: World
    crew: "Crew | None"
    """None where this process does not work on orders."""
    audit: Callable[[], Awaitable[Audit]]
    """Raises FillwrightError(STORE_UNAVAILABLE)."""


class Crew:
    """See engine.Hands. One worker at a time, which can be killed: another with a new name then takes its place."""

    def __init__(self, name: str, hire: Callable[[str], Worker], *, lease_s: float) -> None:
        """The first worker gets this very name."""
        self._name = name
        self._hire = hire
        self._lease_ms = Millis(round(lease_s * 1_000))
        self._number = 1
        self._worker = hire(name)
        self._life: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def name(self) -> str:
        return self._worker.name

    @property
    def running(self) -> int:
        return self._worker.running

    async def run(self) -> None:
        """Work until `stop`, with one worker after another."""
        while True:
            worker = self._worker
            async with asyncio.TaskGroup() as group:
                self._life = group.create_task(worker.run())
            if worker is self._worker:
                return

    def stop(self) -> None:
        self._is_stopping = True
        self._worker.stop()

    def kill(self) -> Killed:
        """As kill -9 would: its tasks end where they stand, nothing is handed back, and its claims stay behind.

        Raises FillwrightError(ENGINE_DRAINING): who stops now would not be followed.
        """
        if self._is_stopping:
            raise FillwrightError(Code.ENGINE_DRAINING, "the engine is stopping; its worker is not killed any more")
        killed = self._worker
        self._number += 1
        self._worker = self._hire(f"{self._name}-{self._number}")
        if self._life is not None:
            self._life.cancel()
        return Killed(worker=killed.name, held=killed.running, successor=self._worker.name, lease_ms=self._lease_ms)
