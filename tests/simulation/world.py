"""One seed's world: a database, a chain, one to three hosts that crash, and clients; and how it ends.

Decides: who is struck and when, when everything heals, and when a run counts as stuck. Must never: draw from
anything but the seed.
"""

import asyncio
import shutil
from collections import Counter
from contextvars import Context
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from fillwright.adapters.sim import Market, default_market
from fillwright.adapters.sim.market import MSOL, WBTC
from fillwright.policy import Policy
from fillwright.units import Millis
from tests.simulation.clients import CLIENT, Clients
from tests.simulation.faults import Dice, WorldChain
from tests.simulation.hosts import Host, SkewedClock, WatchedStore, random_offset
from tests.simulation.invariants import Witness
from tests.simulation.loop import SimLoop
from tests.simulation.verdict import judge
from tests.simulation.wishes import NEWCOMER_EVERY_SLOTS

POLICY: Final = Policy(
    backoff_ms=(Millis(500), Millis(2_000)),
    quote_ttl_ms=Millis(2_000),
    sign_timeout_s=2.0,
    poll_s=3.0,
    rebroadcast_s=6.0,
    chain_timeout_s=3.0,
    land_s=20.0,
    heartbeat_s=6.0,
    lease_s=14.0,
    sweep_s=4.0,
    look_s=2.0,
    watch_s=5.0,
    drain_s=15.0,
)
"""Sparse timers: a run is a few thousand steps, and everything still happens."""
PATIENCE_S: Final = 600.0
"""From the healing on; a transaction that nobody included takes about 65 s to be proven over."""
LATE_S: Final = 130.0
"""Beyond this nothing that was ever signed can land."""
STRIKES_MAX: Final = 12


class World:
    def __init__(self, loop: SimLoop, seed: int, folder: Path, policy: Policy = POLICY) -> None:
        self.loop = loop
        self.policy = policy
        self.random = Random(f"{seed}:world")
        self.dice = Dice(loop, seed)
        self.database = _fresh_database(folder, seed)
        clock = SkewedClock(loop)
        self.chain = WorldChain(":memory:", clock, _small_market(seed), self.dice.preset(), seed)
        self.chain.dice = self.dice
        self.witness = Witness(loop, self.database, self.chain, policy, clock.now)
        self.clients = Clients(loop, seed, self, self.witness)
        self.hosts: dict[str, Host] = {}
        self._born = 0
        self._size = self.random.choice((1, 2, 2, 3))
        self._keeps_name = self._size == 1 and self.random.random() < 0.5
        self._heal_at_s = self.random.choice((40.0, 100.0, 160.0))
        self._healed = False
        self._strikes_left = self.random.choice((0, 3, STRIKES_MAX))
        self._mean_gap = self.random.choice((30, 150, 500))
        self._crash_after_commit = self.random.choice((0.0, 0.05, 0.2))
        self._strike_at = self._gap()
        self._victim: str | None = None

    async def run(self) -> None:
        """Raises Violation."""
        self.loop.on_step = self._on_step
        for _ in range(self._size):
            self._start()
        self.loop.call_later(self._heal_at_s, self._heal, context=Context())
        trading = self.loop.spawn(CLIENT, self.clients.run())
        await self._until_done(trading)
        for host in list(self.hosts.values()):
            self._bury(host)
        await asyncio.sleep(LATE_S)
        self.witness.blind = False
        judge(self.witness, self.chain, self.database, self.clients.acknowledged)
        self._check()

    def counts(self) -> Counter[str]:
        """What happened, for the summary."""
        orders = [states[-1].order for states in self.witness.states.values()]
        ends = Counter(f"orders {order.status}" for order in orders)
        return ends + self.witness.counts + Counter(orders=len(orders))

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        self.witness.close()
        self.chain.close()
        for path in self.database.parent.glob(f"{self.database.name}*"):
            path.unlink()

    async def _until_done(self, trading: asyncio.Task[None]) -> None:
        deadline_s = self.loop.time() + self._heal_at_s + PATIENCE_S
        while not (trading.done() and self.witness.all_ended() and not self.witness.armed):
            if self.loop.time() > deadline_s:
                self.witness.violate("I1", f"stuck: {self._unfinished()}")
                return
            await asyncio.sleep(1)
        trading.result()  # raises what no client expected

    def _unfinished(self) -> list[str]:
        orders = [self.witness.last(order_id) for order_id in self.witness.states]
        return [f"{o.id} {o.status} by {o.worker}" for o in orders if not o.is_terminal] or [
            f"clients; switches of {[*self.witness.armed]}"
        ]

    # --- hosts --------------------------------------------------------------------------------------------

    def pick(self) -> Host | None:
        return self.random.choice(list(self.hosts.values())) if self.hosts else None

    def _start(self) -> None:
        name = f"host{self._born}"
        self._born += 1
        host = Host(
            name=name,
            worker="embedded" if self._keeps_name else name,
            loop=self.loop,
            dice=self.dice,
            chain=self.chain,
            database=self.database,
            policy=self.policy,
            witness=self.witness,
            committed=self._committed,
        )
        self.hosts[name] = host
        self.loop.spawn(name, host.run(self._left)).add_done_callback(self._fell)

    def _fell(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.witness.violate("defect", f"a host fell: {error!r}")

    def _left(self, host: Host) -> None:
        """It was asked to stop and has drained."""
        if host.name in self.hosts:
            self._replace(host)

    def _replace(self, host: Host) -> None:
        self._bury(host)
        pause_s = 0.0 if self._healed else self.random.choice((0.0, 1.0, 15.0)) * self.random.random()
        self.loop.call_later(pause_s, self._start, context=Context())

    def _bury(self, host: Host) -> None:
        self.loop.kill(host.name)
        del self.hosts[host.name]
        self.clients.cut(host.name)
        host.close()

    # --- strikes ------------------------------------------------------------------------------------------

    def _on_step(self) -> None:
        if self.witness.violation is not None:
            self._check()
        if self.loop.steps >= self._strike_at and not self._healed and self._strikes_left:
            self._strikes_left -= 1
            self._strike_at = self.loop.steps + self._gap()
            self._strike()

    def _check(self) -> None:
        if self.witness.violation is not None:
            raise self.witness.violation

    def _gap(self) -> int:
        return 1 + int(self.random.expovariate(1 / self._mean_gap))

    def _committed(self, name: str, worker: str) -> None:
        """After a commit the next few steps of that host are the ones worth crashing in."""
        if self.witness.committed(worker) and self.random.random() < self._crash_after_commit:
            self._victim = name
            self._strike_at = self.loop.steps + self.random.randint(1, 25)

    def _strike(self) -> None:
        victim, self._victim = self._victim, None
        host = self.hosts.get(victim or "") or self.pick()
        if host is None:
            return
        kind = self.random.choice(("kill", "kill", "pause", "pause", "stop", "jump", "cut"))
        self.dice.count("watch.cut" if kind == "cut" else f"host.{kind}")
        match kind:
            case "kill":
                self._replace(host)
            case "pause":
                self.witness.known.disturbed.add(host.worker)
                self.loop.pause(host.name, self.policy.lease_s * self.random.choice((0.3, 1.2, 2.5, 8.0)))
            case "stop":
                host.engine.stop()
            case "jump":
                self.witness.known.disturbed.add(host.worker)
                host.clock.offset_ms = random_offset(self.random)
            case _:
                self.clients.cut(host.name)

    def _heal(self) -> None:
        self._healed = True
        self.dice.heal()
        self.chain.heal()
        self.loop.note("healed")


def _fresh_database(folder: Path, seed: int) -> Path:
    """A copy of an empty database: cheaper than migrating one for each seed."""
    empty = folder / "empty.db"
    if not empty.exists():
        WatchedStore(empty, SkewedClock(SimLoop(0)), 1.0, lambda: None).close()
    return Path(shutil.copyfile(empty, folder / f"{seed}.db"))


def _small_market(seed: int) -> Market:
    """Every kind of pool and every kind of route, on few enough pools for thousands of worlds."""
    market = default_market(seed, newcomer_every_slots=NEWCOMER_EVERY_SLOTS)
    left_out = {MSOL.mint, WBTC.mint}
    pools = tuple(pool for pool in market.pools if not {pool.mint_0, pool.mint_1} & left_out)
    return msgspec.structs.replace(market, pools=pools)
