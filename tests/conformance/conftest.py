"""The adapters under test: each suite here runs over every adapter of its port. A new adapter is one more line.

Decides: how an adapter is opened for a test. Must never: know what is tested.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

import pytest

from fillwright.adapters.local import LocalBus, LocalQueue, SystemClock
from fillwright.adapters.notify import PostgresBus, PostgresQueue
from fillwright.adapters.postgres import PostgresStore
from fillwright.adapters.redis import RedisBus, RedisQueue
from fillwright.ports import Bus, Clock, Queue
from tests.conformance.rigs import LEASE_S, ChainRig, PostgresRig, RemoteChainRig, SqliteRig, StoreRig
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

QueueOf: TypeAlias = Callable[[int], AbstractAsyncContextManager[Queue]]
"""Open a queue that keeps so many hints. Each call is another process's view of the same queue."""
BusOf: TypeAlias = Callable[[int], AbstractAsyncContextManager[Bus]]
"""Open a bus whose inboxes keep so many events. Each call is another process's view of the same bus."""


# --- queues and buses, each under a name of its own -------------------------------------------------------


@asynccontextmanager
async def _local_queue(hints_max: int) -> AsyncIterator[Queue]:
    yield LocalQueue(hints_max)


@asynccontextmanager
async def _local_bus(inbox_max: int) -> AsyncIterator[Bus]:
    yield LocalBus(inbox_max)


def _redis_queue(url: str) -> QueueOf:
    name = uuid4().hex
    return lambda hints_max: RedisQueue.open(url, name, hints_max=hints_max)


def _redis_bus(url: str) -> BusOf:
    name = uuid4().hex
    return lambda inbox_max: RedisBus.open(url, name, inbox_max=inbox_max)


def _postgres_queue(url: str) -> QueueOf:
    name = uuid4().hex
    return lambda hints_max: PostgresQueue.open(url, name, hints_max=hints_max)


def _postgres_bus(url: str) -> BusOf:
    name = uuid4().hex
    return lambda inbox_max: PostgresBus.open(url, name, inbox_max=inbox_max)


# --- what there is ---------------------------------------------------------------------------------------

_STORES: Final[dict[str, Callable[[pytest.FixtureRequest], StoreRig]]] = {
    "sqlite": lambda request: SqliteRig(request.getfixturevalue("tmp_path")),
    "postgres": lambda request: PostgresRig(request.getfixturevalue("postgres_url")),
}
QUEUES: Final[dict[str, Callable[[Any], QueueOf]]] = {
    "local": lambda _: _local_queue,
    "redis": lambda request: _redis_queue(request.getfixturevalue("redis_server").url),
    "postgres": lambda request: _postgres_queue(request.getfixturevalue("hints_url")),
}
BUSES: Final[dict[str, Callable[[Any], BusOf]]] = {
    "local": lambda _: _local_bus,
    "redis": lambda request: _redis_bus(request.getfixturevalue("redis_server").url),
    "postgres": lambda request: _postgres_bus(request.getfixturevalue("hints_url")),
}
_CHAINS: Final[dict[str, Callable[[Path], ChainRig]]] = {"sim": ChainRig, "remote": RemoteChainRig}
_CLOCKS: Final[dict[str, Callable[[], Clock]]] = {"system": SystemClock}


@pytest.fixture(params=_STORES)
def stores(request: Any) -> StoreRig:
    return _STORES[request.param](request)


@pytest.fixture(params=QUEUES)
def queue_of(request: Any) -> QueueOf:
    return QUEUES[request.param](request)


@pytest.fixture(params=BUSES)
def bus_of(request: Any) -> BusOf:
    return BUSES[request.param](request)


@pytest.fixture(params=_CHAINS)
def chains(request: Any, tmp_path: Path) -> ChainRig:
    return _CHAINS[request.param](tmp_path)


@pytest.fixture
def embedded(tmp_path: Path) -> ChainRig:
    """The simulated chain in the engine's own process."""
    return ChainRig(tmp_path)


@pytest.fixture(params=_CLOCKS)
def clock(request: Any) -> Clock:
    return _CLOCKS[request.param]()


# --- servers, started by the first test that needs one ----------------------------------------------------


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process, started when the first one needs it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def hints_url(postgres: PostgresServer) -> Iterator[str]:
    """A database with all tables."""
    with postgres.database() as url:
        asyncio.run(_migrated(url))
        yield url


async def _migrated(url: str) -> None:
    store = await PostgresStore.open(url, lease_s=LEASE_S)
    await store.close()
