"""A campaign: load, fire, calm, and the last look.

Decides: when which fault strikes, and when a promise on time is measured. Must never: let a kind of fault be forgotten:
kinds come from shuffled decks, so each has its turn.
"""

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.clients import Clients
from tests.chaos.memory import Findings, Memory
from tests.chaos.strikes import STALE, Outage, Strikes
from tests.chaos.verdict import Totals, judge, settled
from tests.chaos.watchers import Frame, Watchers
from tests.chaos.world import Away, World, open_world

KILLS: Final = {
    "kill worker": 8,
    "kill api": 6,
    "kill redis": 9,
    "kill chain": 2,
    "kill backend": 5,
    "kill postgres": 3,
}
FAULTS: Final = {
    "stop worker": 2,
    "stop api": 2,
    "restart postgres": 1,
    "end backend": 2,
    "flush redis": 3,
    "pause redis": 1,
    "pause postgres": 1,
    STALE: 0,
    "link finished": 4,
    "link reset": 4,
    "link torn": 4,
    "link silent": 4,
    "link slow": 4,
}
"""Cards of each kind in a deck. The stale worker has none: it takes longer than a fire's end could wait for."""
_CALM_S: Final = 3.0
"""Before PostgreSQL is killed for the measurement: what was struck before has had its effect."""
QUIET_S: Final = 7.0
_BOUND_S: Final = 90.0
"""From the end of all faults to the end of every order."""
_TRIES: Final = 5
RECOVERY: Final = 0.9
RECOVERY_S: Final = 5.0
_SAMPLED: Final = 0.005
"""Frames that are looked up in the database as they arrive."""
_EXISTS: Final = "SELECT status FROM order_events WHERE order_id = $1 AND seq = $2"


@dataclass(frozen=True)
class Plan:
    """What a campaign is to be like. `every_s`: between two kills, and between two other faults, on average."""

    seconds: float
    seed: int
    with_redis: bool = True
    chain: str = "instant"
    rate: float = 80.0
    kills: Mapping[str, int] = field(default_factory=lambda: KILLS)
    faults: Mapping[str, int] = field(default_factory=lambda: FAULTS)
    every_s: tuple[float, float] = (0.6, 1.0)
    warm_up_s: float = 8.0
    fire_s: float = 25.0
    """Between two measurements of the recovery."""
    apis: int = 2
    workers: int = 3

    def kinds(self, cards: Mapping[str, int]) -> list[str]:
        return [name for name in cards if self.with_redis or "redis" not in name]

    def deck(self, cards: Mapping[str, int]) -> list[str]:
        return [name for name in self.kinds(cards) for _ in range(cards[name])]


@dataclass
class Result:
    plan: Plan
    memory: Memory
    strikes: Strikes
    clients: Clients
    watchers: Watchers
    totals: Totals
    outages: list[Outage]
    steady: float
    """Confirmations a second before the first fault."""
    settled_s: float

    @property
    def findings(self) -> Findings:
        return self.memory.findings

    def recoveries(self) -> list[float | None]:
        """For each measured outage: seconds from PostgreSQL's return to throughput as it was; None: not seen."""
        return [recovered(self.totals.landed_at_s, outage, self.steady) for outage in self.outages]


def recovered(landed: Sequence[float], outage: Outage, steady: float) -> float | None:
    """Seconds until a moment from which the next second and all the quiet time have RECOVERY of the rate.

    `landed` is sorted.
    """
    for tenth in range(int((outage.quiet_until - outage.back_at - 1) * 10) + 1):
        start = outage.back_at + tenth / 10
        if all(
            _rate(landed, start, end) >= RECOVERY * steady for end in (start + 1, outage.quiet_until) if end > start
        ):
            return tenth / 10
    return None


def _rate(landed: Sequence[float], start: float, end: float) -> float:
    return (bisect_left(landed, end) - bisect_left(landed, start)) / (end - start)


async def run(plan: Plan) -> Result:
    findings = Findings()
    async with open_world(
        findings, with_redis=plan.with_redis, chain=plan.chain, apis=plan.apis, workers=plan.workers
    ) as world:
        return await Campaign(plan, world).run()


class Campaign:
    def __init__(self, plan: Plan, world: World) -> None:
        dice = random.Random(f"{plan.seed}:strikes")
        placed: asyncio.Queue[str] = asyncio.Queue()
        self._plan = plan
        self._world = world
        self._memory = Memory(world.findings)
        self._strikes = Strikes(world, dice)
        self._dice = random.Random(f"{plan.seed}:schedule")
        self._clients = Clients(world.urls, self._memory, random.Random(f"{plan.seed}:clients"), plan.rate, placed)
        self._watchers = Watchers(
            world.urls, self._memory, placed, random.Random(f"{plan.seed}:watchers"), self._look_up
        )
        self._fire = asyncio.Event()
        self._fire_until = 0.0
        self._under_way: set[asyncio.Task[None]] = set()
        self._outages: list[Outage] = []
        self._steady = (0.0, 0.0)

    async def run(self) -> Result:
        stopped, watched = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            guard = group.create_task(self._world.stand_guard())
            clients = group.create_task(self._clients.run(stopped))
            watchers = group.create_task(self._watchers.run(watched))
            await self._warm_up()
            await self._under_fire()
            await self._leave_none_out()
            self._world.heal()
            stopped.set()
            await self._finish("I1", "some requests were never answered", clients)
            settled_s = await settled(self._world.fleet.database, _BOUND_S)
            watched.set()
            await self._finish("I3", "some followers never saw the end", watchers)
            guard.cancel()
        totals = await judge(self._memory, self._world.fleet.database, self._world.fleet.ledger)
        return self._result(totals, _BOUND_S if settled_s is None else settled_s)

    def _result(self, totals: Totals, settled_s: float) -> Result:
        result = Result(
            plan=self._plan,
            memory=self._memory,
            strikes=self._strikes,
            clients=self._clients,
            watchers=self._watchers,
            totals=totals,
            outages=self._outages,
            steady=_rate(totals.landed_at_s, *self._steady),
            settled_s=settled_s,
        )
        self._demand_strikes()
        self._demand_recovery(result)
        return result

    async def _finish(self, invariant: str, what: str, work: "asyncio.Task[None]") -> None:
        await asyncio.wait([work], timeout=_BOUND_S)
        if not work.done():
            work.cancel()
            self._world.findings.violate(invariant, f"{what} within {_BOUND_S:.0f} s")

    # --- phases -------------------------------------------------------------------------------------------

    async def _warm_up(self) -> None:
        await asyncio.sleep(2)
        begun = time.time()
        await asyncio.sleep(self._plan.warm_up_s)
        self._steady = (begun, time.time())

    async def _under_fire(self) -> None:
        """Fire and measurements by turns, until the time is over; then everything runs again."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._plan.seconds
        gaps = self._plan.every_s
        loops = [
            asyncio.create_task(self._keep_striking(self._plan.deck(cards), gap))
            for cards, gap in zip((self._plan.kills, self._plan.faults), gaps, strict=True)
        ]
        while (left := give_up_at - loop.time()) > 0:
            self._fire_until = loop.time() + min(self._plan.fire_s, left)
            self._fire.set()
            if STALE in self._plan.faults:
                self._begin(STALE)
            await asyncio.sleep(self._fire_until - loop.time())
            self._fire.clear()
            await self._calm()
            if loop.time() + _CALM_S + QUIET_S < give_up_at:
                await asyncio.sleep(_CALM_S)
                self._outages.append(await self._strikes.kill_postgres_and_watch(QUIET_S))
        for each in loops:
            each.cancel()
        for outcome in await asyncio.gather(*loops, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _leave_none_out(self) -> None:
        """A kind that nothing has felt yet gets its chance now."""
        for name in self._kinds():
            for _ in range(_TRIES):
                if not self._strikes.struck[name]:
                    await self._strikes.strike(name)

    def _kinds(self) -> list[str]:
        return [*self._plan.kinds(self._plan.kills), *self._plan.kinds(self._plan.faults)]

    async def _keep_striking(self, deck: Sequence[str], every_s: float) -> None:
        for name in self._dealt(deck):
            await asyncio.sleep(self._dice.expovariate(1 / every_s))
            await self._fire.wait()
            self._begin(name)

    def _begin(self, name: str) -> None:
        task = asyncio.create_task(self._strikes.strike(name))
        self._under_way.add(task)
        task.add_done_callback(self._struck)

    def _dealt(self, deck: Sequence[str]) -> Iterator[str]:
        while True:
            cards = list(deck)
            self._dice.shuffle(cards)
            yield from cards

    def _struck(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._world.findings.violate("harness", f"a strike failed: {error!r}")

    async def _calm(self) -> None:
        """Everything that was struck runs again."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    # --- judgements in passing ----------------------------------------------------------------------------

    async def _look_up(self, frame: Frame) -> None:
        """What is streamed is committed at that moment."""
        if self._dice.random() >= _SAMPLED:
            return
        with suppress(Away):
            rows = await self._world.query(_EXISTS, frame.order_id, frame.seq)
            self._world.findings.notes["frames looked up as they came"] += 1
            if [row[0] for row in rows] != [frame.status]:
                self._world.findings.violate("I9", f"{frame.order_id}/{frame.seq} was streamed, stored was {rows}")

    def _demand_strikes(self) -> None:
        for name in self._kinds():
            if not self._strikes.struck[name]:
                missed = self._strikes.missed[name]
                self._world.findings.violate("harness", f"'{name}' never struck (missed {missed} times)")

    def _demand_recovery(self, result: Result) -> None:
        for outage, seconds in zip(result.outages, result.recoveries(), strict=True):
            if seconds is None or seconds > RECOVERY_S:
                around = [
                    _rate(result.totals.landed_at_s, outage.back_at + n, outage.back_at + n + 1) for n in range(-5, 7)
                ]
                what = (
                    f"{RECOVERY:.0%} of {result.steady:.0f}/s after {seconds} s; each second from 5 s before: {around}"
                )
                self._world.findings.violate("recovery", what)
