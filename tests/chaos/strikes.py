"""Every fault, and the proof that it struck.

Decides: how each kind is done and what shows that it was felt: a process is gone, a connection ended, bytes were
withheld, a lease was taken over. Must never: count a strike that nothing felt.
"""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from fillwright.policy import Policy
from tests.chaos.proxy import Link
from tests.chaos.world import Away, Target, World
from tests.servers.fleet import Process
from tests.servers.redis import RedisServer

STALE: Final = "stale worker"
KILLS: Final = ("worker", "api", "redis", "chain", "backend", "postgres")
FAULTS: Final = (
    "stop worker",
    "stop api",
    "restart postgres",
    "end backend",
    "flush redis",
    "pause redis",
    "pause postgres",
    STALE,
    "link finished",
    "link reset",
    "link torn",
    "link silent",
    "link slow",
)
_LEASE_S: Final = Policy().lease_s
_TAKE_OVER_S: Final = 15.0
"""Beyond the lease, for others to notice."""
_HELD: Final = "SELECT id FROM orders WHERE worker = $1 AND due_at IS NOT NULL"
_BUSY: Final = "SELECT DISTINCT worker FROM orders WHERE worker IS NOT NULL AND due_at IS NOT NULL"
_TAKEN: Final = (
    "SELECT count(*) FROM order_events WHERE order_id = ANY($1::text[]) AND event = 'reclaimed' AND created_at > $2"
    " AND payload->>'worker' <> $3"
)
_NOW: Final = "SELECT statement_timestamp()"


@dataclass
class Outage:
    """The whole PostgreSQL was killed, and came back; nothing else was struck until `quiet_until`. Epoch seconds."""

    killed_at: float
    back_at: float
    quiet_until: float


@dataclass
class Strikes:
    world: World
    dice: random.Random
    struck: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    links_struck: Counter[str] = field(default_factory=Counter)
    """By the kind of fault and what the link leads to."""
    taken_over: int = 0
    """Orders that others took from workers that were paused."""

    @property
    def kills(self) -> int:
        return sum(self.struck[f"kill {kind}"] for kind in KILLS)

    async def strike(self, name: str) -> None:
        """One fault of this kind, until what it struck runs again."""
        act: dict[str, Callable[[], Awaitable[bool]]] = {
            **{f"kill {kind}": lambda kind=kind: self._kill(kind) for kind in KILLS},  # type: ignore[misc]
            "kill backend": self._kill_backend,
            "end backend": self._end_backend,
            "stop worker": lambda: self._stop("worker"),
            "stop api": lambda: self._stop("api"),
            "restart postgres": self._restart_postgres,
            "flush redis": self._flush,
            "pause redis": lambda: self._pause("redis"),
            "pause postgres": lambda: self._pause("postgres"),
            STALE: self._stale_worker,
            "link finished": lambda: self._cut("finished", Link.finish),
            "link reset": lambda: self._cut("reset", Link.reset),
            "link torn": self._tear,
            "link silent": self._silence,
            "link slow": self._slow,
        }
        felt = await act[name]()
        (self.struck if felt else self.missed)[name] += 1

    # --- processes ----------------------------------------------------------------------------------------

    async def _kill(self, kind: str) -> bool:
        target = self._some(kind)
        if target is None:
            return False
        async with target.hold:
            pid = target.server.pid
            await self.world.blocking(target.server.kill9)
            gone = not _exists(pid)
            await asyncio.sleep(self.dice.uniform(0, 0.5))
            await self.world.revive(target)
        return gone

    async def kill_postgres_and_watch(self, quiet_s: float) -> Outage:
        """The whole server at once, and back at once; then nothing for a while."""
        target = self.world.postgres
        async with target.hold:
            pid = target.server.pid
            killed_at = time.time()
            await self.world.blocking(target.server.kill9)
            gone = not _exists(pid)
            await self.world.revive(target)
            back_at = time.time()
        (self.struck if gone else self.missed)["kill postgres"] += 1
        await asyncio.sleep(quiet_s)
        return Outage(killed_at, back_at, time.time())

    async def _stop(self, kind: str) -> bool:
        """SIGTERM: it drains, says goodbye and is started again."""
        target = self._some(kind)
        if target is None:
            return False
        async with target.hold:
            process = target.server
            assert isinstance(process, Process)
            code = await self.world.blocking(process.stop)
            if code != 0:
                self.world.findings.violate("process", f"{target.name} ended with {code}: {process.last_words()}")
            await asyncio.sleep(self.dice.uniform(0, 0.5))
            await self.world.revive(target)
        return code == 0

    async def _restart_postgres(self) -> bool:
        target = self.world.postgres
        if not target.is_free:
            return False
        async with target.hold:
            pid = target.server.pid
            await self.world.blocking(self.world.fleet.postgres.stop)
            gone = not _exists(pid)
            await self.world.revive(target)
        return gone

    async def _kill_backend(self) -> bool:
        """One process of PostgreSQL dies; the server then ends all others and recovers."""
        return await self._hit_backend(signal.SIGKILL)

    async def _end_backend(self) -> bool:
        """One process of PostgreSQL is told to end; nobody else is touched."""
        return await self._hit_backend(signal.SIGTERM)

    async def _hit_backend(self, number: int) -> bool:
        target = self.world.postgres
        if not target.is_free:
            return False
        async with target.hold:
            pid = self.world.fleet.postgres.hit_some_backend(self.dice.random(), number)
            return pid is not None and await _gone(pid)

    async def _pause(self, kind: str) -> bool:
        target = self._some(kind)
        if target is None:
            return False
        async with target.hold:
            pid = target.server.pid
            await self.world.blocking(target.server.pause)
            try:
                await asyncio.sleep(self.dice.uniform(1, 5))
                return _state(pid) == "T"
            finally:
                await self.world.blocking(target.server.resume)

    async def _flush(self) -> bool:
        target = self._some("redis")
        if target is None:
            return False
        async with target.hold:
            redis = target.server
            assert isinstance(redis, RedisServer)
            with suppress(OSError):
                held = await self.world.blocking(lambda: redis.ask("DBSIZE"))
                await self.world.blocking(redis.flush)
                return held != ":0"
        return False

    async def _stale_worker(self) -> bool:
        """Paused beyond its lease, until others have taken what it held; then it goes on with what it thinks it has."""
        target = await self._some_busy_worker()
        if target is None:
            return False
        async with target.hold:
            process = target.server
            assert isinstance(process, Process)
            process.pause()
            try:
                since = (await self._asked(_NOW))[0][0]
                held = [row[0] for row in await self._asked(_HELD, process.worker)]
                taken = 0
                give_up_at = time.monotonic() + _LEASE_S + _TAKE_OVER_S
                while taken < len(held) and time.monotonic() < give_up_at:
                    await asyncio.sleep(0.5)
                    taken = (await self._asked(_TAKEN, held, since, process.worker))[0][0]
            finally:
                process.resume()
            self.taken_over += taken
            return taken > 0 and process.alive

    async def _some_busy_worker(self) -> Target | None:
        """One that holds orders, as far as the database knows."""
        for _ in range(10):
            busy = {row[0] for row in await self._asked(_BUSY)}
            free = [target for target in self.world.of("worker") if target.is_free and _worker_of(target) in busy]
            if free:
                return self.dice.choice(free)
            await asyncio.sleep(0.3)
        return None

    # --- links --------------------------------------------------------------------------------------------

    async def _cut(self, fault: str, cut: Callable[[Link], Awaitable[int]]) -> bool:
        link, leads_to = await self._some_link()
        return self._felt(fault, leads_to, await cut(link))

    async def _tear(self) -> bool:
        link, leads_to = await self._some_link()
        before = link.torn
        link.tear(self.dice.randint(1, 3))
        await asyncio.sleep(2)
        link.tear(0)
        return self._felt("torn", leads_to, link.torn - before)

    async def _silence(self) -> bool:
        link, leads_to = await self._some_link()
        before = link.withheld
        link.silence()
        await asyncio.sleep(self.dice.uniform(1, 5))
        link.heal()
        return self._felt("silent", leads_to, link.withheld - before)

    async def _slow(self) -> bool:
        link, leads_to = await self._some_link()
        before = link.delayed
        link.delay_s = self.dice.uniform(0.02, 0.3)
        await asyncio.sleep(self.dice.uniform(1, 5))
        link.heal()
        return self._felt("slow", leads_to, link.delayed - before)

    def _felt(self, fault: str, leads_to: str, how_much: int) -> bool:
        if how_much > 0:
            self.links_struck[f"{fault}: to {leads_to}"] += 1
        return how_much > 0

    async def _some_link(self) -> tuple[Link, str]:
        """One that carries something. What it leads to is drawn first: there are few to the APIs."""
        while True:
            by_end: dict[str, list[Link]] = {}
            for (_, server), link in self.world.links.items():
                if link.connections:
                    by_end.setdefault("api" if server.startswith("api") else server, []).append(link)
            if by_end:
                leads_to = self.dice.choice(sorted(by_end))
                return self.dice.choice(by_end[leads_to]), leads_to
            await asyncio.sleep(0.1)

    # --- parts --------------------------------------------------------------------------------------------

    def _some(self, kind: str) -> Target | None:
        """One that nobody strikes at the moment."""
        free = [target for target in self.world.of(kind) if target.is_free]
        return self.dice.choice(free) if free else None

    async def _asked(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Rows, as soon as the database answers."""
        while True:
            with suppress(Away):
                return await self.world.query(sql, *values)
            await asyncio.sleep(0.3)


def _worker_of(target: Target) -> str:
    assert isinstance(target.server, Process)
    return target.server.worker


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def _gone(pid: int) -> bool:
    for _ in range(100):
        if not _exists(pid):
            return True
        await asyncio.sleep(0.02)
    return False
