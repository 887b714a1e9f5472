"""One simulated machine: its own clock, and a real engine with a real store on the shared database.

Decides: how an engine is put together in the simulation (as app.py does it in earnest) and how far its clock may
be off. Must never: replace a part of the engine; only ports are wrapped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from fillwright.adapters.sim import SimVenue
from fillwright.adapters.sim.market import HUBS, TOKENS
from fillwright.adapters.sqlite import SqliteStore
from fillwright.engine import Engine
from fillwright.errors import FillwrightError
from fillwright.executor import Alarm, Executor
from fillwright.guard import GuardedVenue
from fillwright.order import Recorded
from fillwright.policy import Policy
from fillwright.subscribers import Subscribers
from fillwright.tokens import Tokens
from fillwright.units import Millis
from fillwright.wire.frames import news_of
from fillwright.worker import Failure, Worker
from tests.simulation.faults import Dice, WorldChain
from tests.simulation.faulty import FaultyBus, FaultyChain, FaultyDiscovery, FaultyQueue, FaultyStore, FaultyVenue
from tests.simulation.invariants import Witness
from tests.simulation.loop import START_S, SimLoop

EPOCH_MS: Final = 1_790_000_000_000
OFFSET_MS_MAX: Final = 30_000
DRIFT_MAX: Final = 0.02
VENUES: Final = ("raydium", "meteora")


class SkewedClock:
    """A clock that starts off by `offset_ms` and runs `rate` times as fast as true time."""

    def __init__(self, loop: SimLoop, offset_ms: int = 0, rate: float = 1.0) -> None:
        self.offset_ms = offset_ms
        self._loop = loop
        self._rate = rate

    def now(self) -> Millis:
        elapsed_ms = (self._loop.time() - START_S) * self._rate * 1_000
        return Millis(EPOCH_MS + self.offset_ms + int(elapsed_ms))

    def monotonic(self) -> float:
        return self._loop.time() * self._rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)


class WatchedStore(SqliteStore):
    """The real store, telling the witness of each transaction in the moment of its commit."""

    def __init__(self, path: Path, clock: SkewedClock, lease_s: float, committed: Callable[[], None]) -> None:
        super().__init__(path, clock, lease_s=lease_s)
        self._committed = committed
        for connection in (self._writer, self._reader):
            connection.execute("PRAGMA synchronous = OFF")

    def _commit(self, statements: Any) -> list[Any]:
        outcomes = super()._commit(statements)
        self._committed()
        return outcomes


class Host:
    """One process. After a crash another one is built, under a new name and with an empty memory."""

    def __init__(
        self,
        *,
        name: str,
        worker: str,
        loop: SimLoop,
        dice: Dice,
        chain: WorldChain,
        database: Path,
        policy: Policy,
        witness: Witness,
        committed: Callable[[str, str], None],
    ) -> None:
        self.name = name
        self.worker = worker
        random = dice.random
        self.clock = SkewedClock(loop, random_offset(random), 1 + random.uniform(-DRIFT_MAX, DRIFT_MAX))
        self._witness = witness
        self._store = WatchedStore(database, SkewedClock(loop), policy.lease_s, lambda: committed(name, worker))
        preset = dice.preset()
        venues = [
            FaultyVenue(SimVenue(venue, chain, self.clock, preset, loop.seed), dice, policy.quote_timeout_s)
            for venue in VENUES
        ]
        guarded = [GuardedVenue(venue, self.clock, policy) for venue in venues]
        queue = FaultyQueue(dice)
        executor = Executor(
            store=FaultyStore(self._store, dice, witness),
            bus=FaultyBus(dice, witness),
            venues=guarded,
            chain=FaultyChain(chain, dice, witness, policy.chain_timeout_s),
            discovery=FaultyDiscovery(chain, dice, policy.chain_timeout_s),
            clock=self.clock,
            policy=policy,
            hubs=HUBS,
            observe=_nothing,
            alarm=_nothing,
            news_of=news_of,
        )
        crew = Worker(worker, executor, queue, self._failed)
        self.engine = Engine(
            executor=executor,
            queue=queue,
            worker=crew,
            entropy=random.randbytes,
            tokens=Tokens(TOKENS),
            subscribers=Subscribers(executor, self._store.webhooks, random.randbytes, allow_private=False),
        )

    async def run(self, left: Callable[["Host"], None]) -> None:
        await self.engine.run()
        left(self)

    def close(self) -> None:
        """Its memory is gone. What it has committed stays."""
        self._store.close()

    def _failed(self, failure: Failure) -> None:
        if not isinstance(failure.error, FillwrightError):
            self._witness.violate("defect", f"{failure.where} of {failure.order_id}: {failure.error!r}")


def random_offset(random: Random) -> int:
    return random.randint(-OFFSET_MS_MAX, OFFSET_MS_MAX)


async def answer(question: Callable[[], Awaitable[Any]]) -> Any:
    """What a host answers to a client: a value, or the error that the interface would report."""
    try:
        return await question()
    except FillwrightError as error:
        return error


def _nothing(_: Recorded | Alarm) -> None:
    pass
