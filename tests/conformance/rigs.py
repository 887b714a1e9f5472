"""How each adapter is opened, closed and moved through time.

Decides: the few things a suite needs beside the port itself. Must never: reach into an adapter to make a test pass.
"""

import asyncio
import functools
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol

import asyncpg

from fillwright.adapters.postgres import PostgresStore
from fillwright.adapters.sim import PRESETS, Faults, Preset, SimChain, SimVenue, default_market
from fillwright.adapters.sim.node import serving
from fillwright.adapters.sim.remote import RemoteChain
from fillwright.adapters.sim.venue import PoolSource
from fillwright.adapters.sqlite import SqliteStore
from fillwright.order import Mode
from fillwright.ports import Chain, Discovery, Instruction, Store
from fillwright.units import Atoms, Millis, Token
from tests.conformance.samples import SOL, USDC, HandClock

P = ParamSpec("P")
LEASE_S: Final = 10.0


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a real event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class StoreRig(Protocol):
    """One store's data. Several connections may have it open, as several processes do."""

    def open(self) -> AbstractAsyncContextManager[Store]: ...

    def now(self) -> Millis:
        """The time by the store's clock."""

    async def pass_time(self, seconds: float) -> None:
        """Return when so much more time has passed by the store's clock."""


class SqliteRig(StoreRig):
    def __init__(self, folder: Path) -> None:
        self.path = folder / "orders.db"
        self.clock = HandClock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(self.path, self.clock, lease_s=LEASE_S)
        try:
            yield store
        finally:
            store.close()

    def now(self) -> Millis:
        return self.clock.now()

    async def pass_time(self, seconds: float) -> None:
        self.clock.at += round(seconds * 1_000)


_BACK: Final = """
    UPDATE workers SET seen_at = seen_at - make_interval(secs => $1);
    UPDATE orders SET due_at = due_at - ($1 * 1000)::bigint WHERE due_at > 0;
    UPDATE orders SET updated_at = updated_at - make_interval(secs => $1) WHERE due_at IS NOT NULL;
    UPDATE switches SET fires_at = fires_at - ($1 * 1000)::bigint;
    UPDATE webhooks SET failing_since = failing_since - ($1 * 1000)::bigint;
    UPDATE spendings SET at = at - ($1 * 1000)::bigint;
    UPDATE webhook_deliveries SET created_at = created_at - ($1 * 1000)::bigint, due_at = due_at - ($1 * 1000)::bigint,
        leased_until = leased_until - ($1 * 1000)::bigint;
"""


class PostgresRig(StoreRig):
    """A database of its own. Its clock is the machine's and cannot be moved: what has happened moves back instead."""

    def __init__(self, url: str) -> None:
        self.url = url

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PostgresStore]:
        store = await PostgresStore.open(self.url, lease_s=LEASE_S)
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def sql(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """The database, seen past the store."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()

    def now(self) -> Millis:
        return Millis(time.time_ns() // 1_000_000)

    async def pass_time(self, seconds: float) -> None:
        async with self.sql() as sql:
            for statement in _BACK.strip().split(";")[:-1]:
                await sql.execute(statement, seconds)


class Network(Chain, Discovery, PoolSource, Protocol):
    """A simulated chain and its pools, from wherever they are asked."""


class ChainRig:
    """A simulated network in a file, at a time that the test moves. `network` is the one that is open: the witness."""

    network: SimChain

    def __init__(self, folder: Path) -> None:
        self.path = folder / "chain.db"
        self.clock = HandClock()
        self.market = default_market(1)

    @asynccontextmanager
    async def open(self, preset: Preset = PRESETS["instant"], seed: int = 1) -> AsyncIterator[Network]:
        with self.running(preset, seed) as chain:
            yield chain

    @contextmanager
    def running(self, preset: Preset = PRESETS["instant"], seed: int = 1) -> Iterator[SimChain]:
        chain = self.network = SimChain(self.path, self.clock, self.market, preset, seed)
        try:
            yield chain
        finally:
            chain.close()

    def venue(self, chain: PoolSource, name: str = "raydium", preset: Preset = PRESETS["instant"]) -> SimVenue:
        return SimVenue(name, chain, self.clock, preset, seed=1)

    def pass_slots(self, slots: int) -> None:
        self.clock.at += 400 * slots


class RemoteChainRig(ChainRig):
    """The same network behind its node, on a real socket."""

    @asynccontextmanager
    async def open(self, preset: Preset = PRESETS["instant"], seed: int = 1) -> AsyncIterator[Network]:
        with self.running(preset, seed) as network:
            async with serving(network, "127.0.0.1", 0) as url, self.connected(url) as chain:
                yield chain

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[RemoteChain]:
        chain = RemoteChain(url, self.clock, os.urandom)
        try:
            yield chain
        finally:
            await chain.close()


def faulty(**rates: float) -> Preset:
    return Preset(faults=Faults(**rates))


def wish(
    *,
    limit: int,
    amount: int = 1_000_000_000,
    mode: Mode = Mode.EXACT_IN,
    token_in: Token = SOL,
    token_out: Token = USDC,
    pool: str = "sim-raydium-amm_v4-SOL-USDC",
) -> Instruction:
    return Instruction(
        venue="raydium",
        pool=pool,
        mint_in=token_in.mint,
        mint_out=token_out.mint,
        mode=mode,
        amount=Atoms(amount),
        limit=Atoms(limit),
    )
