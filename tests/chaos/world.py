"""The deployment under fire: a fleet whose processes reach each other over links, and who is started again.

Decides: what can be struck, and that whatever ended is started again until it runs. Must never: strike by itself.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

import asyncpg

from fillwright.adapters.postgres.link import FOREIGN
from tests.chaos.memory import Findings
from tests.chaos.proxy import Link
from tests.servers.fleet import Fleet, Process

T = TypeVar("T")
_SETTINGS: Final = {
    "CONCURRENCY": "200",
    "FILLWRIGHT_QUEUE_AGE_MAX_S": "600",
    "FILLWRIGHT_DRAIN_S": "5",
    "FILLWRIGHT_RETRY": "fast",
}
_THREADS: Final = 24
_QUERY_S: Final = 3.0
_AGAIN_S: Final = 0.2
_LOOK_S: Final = 0.3
_START_S: Final = 60.0


class Away(Exception):
    """The database did not answer."""


class Server(Protocol):
    """What a target is, whatever stands behind it. All of it blocks."""

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def kill9(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass(eq=False)
class Target:
    """Held by one strike at a time, until it runs again."""

    kind: str
    name: str
    server: Server
    hold: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_free(self) -> bool:
        return not self.hold.locked()


@dataclass(eq=False)
class World:
    """`links` by process and server; "client" is the process that reaches each API."""

    fleet: Fleet
    links: dict[tuple[str, str], Link]
    targets: list[Target]
    findings: Findings
    _pool: ThreadPoolExecutor

    @property
    def postgres(self) -> Target:
        return self.of("postgres")[0]

    @property
    def urls(self) -> list[str]:
        """Each API, as clients reach it."""
        return [f"http://127.0.0.1:{self.links['client', api.name].port}" for api in self.fleet.apis]

    def of(self, kind: str) -> list[Target]:
        return [target for target in self.targets if target.kind == kind]

    async def blocking(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def query(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Rows, past all links. Raises Away."""
        try:
            connection = await asyncpg.connect(self.fleet.database, timeout=_QUERY_S, command_timeout=_QUERY_S)
            try:
                return await connection.fetch(sql, *values)
            finally:
                connection.terminate()
        except FOREIGN as error:
            raise Away from error

    async def revive(self, target: Target) -> None:
        """Start it, as often as it takes: while a server is away, a process that needs it does not come up."""
        give_up_at = time.monotonic() + _START_S
        while True:
            try:
                await self.blocking(target.server.start)
                return
            except RuntimeError as error:
                self.findings.notes["starts without success"] += 1
                if time.monotonic() > give_up_at:
                    self.findings.violate("process", f"{target.name} does not start: {error}")
                    return
            await asyncio.sleep(_AGAIN_S)

    async def stand_guard(self) -> None:
        """A process that ends although nobody struck it has broken its promise; it is started again."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for target in self.targets:
                if isinstance(target.server, Process) and target.is_free and not target.server.alive:
                    async with target.hold:
                        self.findings.violate("process", f"{target.name} ended by itself: {target.server.last_words()}")
                        await self.revive(target)

    def heal(self) -> None:
        for link in self.links.values():
            link.heal()


@asynccontextmanager
async def open_world(
    findings: Findings, *, with_redis: bool, chain: str, apis: int = 2, workers: int = 3
) -> AsyncIterator[World]:
    """A fleet at work. One of its workers quotes slowly, so that it always holds orders; `chain`: how that behaves."""
    loop = asyncio.get_running_loop()
    links: dict[tuple[str, str], Link] = {}

    async def lay(process: str, server: str, port: int) -> int:
        link = links[process, server] = Link(port)
        return await link.open()

    def wire(process: str, server: str, port: int) -> int:
        return asyncio.run_coroutine_threadsafe(lay(process, server, port), loop).result()

    with (
        tempfile.TemporaryDirectory(prefix="fillwright-chaos-") as folder,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        fleet = Fleet(
            Path(folder),
            apis=apis,
            workers=workers,
            with_redis=with_redis,
            settings={**_SETTINGS, "FILLWRIGHT_SIM": "instant"},
            special={"chain": {"FILLWRIGHT_SIM": chain}, "worker-0": {"FILLWRIGHT_SIM": "classic"}},
            wire=wire,
        )
        await loop.run_in_executor(pool, fleet.__enter__)
        try:
            for api in fleet.apis:
                await lay("client", api.name, api.port)
            yield World(fleet, links, _targets(fleet), findings, pool)
        finally:
            for link in links.values():
                await link.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_START_S):
                    await loop.run_in_executor(pool, fleet.__exit__, None)


def _targets(fleet: Fleet) -> list[Target]:
    targets = [Target("postgres", "postgres", fleet.postgres), Target("chain", "chain", fleet.chain)]
    if fleet.redis is not None:
        targets.append(Target("redis", "redis", fleet.redis))
    targets += [Target("api", api.name, api) for api in fleet.apis]
    targets += [Target("worker", worker.name, worker) for worker in fleet.workers]
    return targets
