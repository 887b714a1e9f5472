"""Put the parts together: the only file that names adapters.

Decides: which adapter stands behind each port for a given configuration. Must never: hold behaviour of its own.
"""

import asyncio
import fcntl
import gc
import logging
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from fillwright.adapters.local import LocalBus, LocalQueue, SystemClock
from fillwright.adapters.sim import PRESETS, SimChain, SimVenue, default_market
from fillwright.adapters.sim.market import HUBS, TOKENS
from fillwright.adapters.sqlite import SqliteStore
from fillwright.api import make_app
from fillwright.config import Config
from fillwright.engine import Engine
from fillwright.errors import Code, FillwrightError
from fillwright.executor import Executor
from fillwright.observe import JsonLines, Observer, TextLines
from fillwright.tokens import Tokens
from fillwright.worker import Worker

VENUES: Final = ("raydium", "meteora")
_WORKER: Final = "embedded"
"""One process owns the embedded data (`_owned`), so its worker keeps its name: after a crash its orders are its own."""
_LOAD_EVERY_S: Final = 1.0


class Assembled(msgspec.Struct, frozen=True):
    """An engine at work, and what its operator and its tests may look at."""

    engine: Engine
    chain: SimChain
    registry: CollectorRegistry


@asynccontextmanager
async def open_engine(config: Config) -> AsyncIterator[Assembled]:
    """The embedded engine on `config.data`, working until the context is left; then it drains.

    Raises FillwrightError(CONFIG_INVALID) where another process already works on that folder.
    """
    with _owned(config.data):
        clock = SystemClock()
        preset = PRESETS[config.sim]
        market = default_market(config.seed, _text_of(config.prices))
        chain = SimChain(config.data / "chain.db", clock, market, preset, config.seed)
        store = SqliteStore(config.data / "orders.db", clock, lease_s=config.policy.lease_s)
        registry = _registry()
        observer = Observer(registry)
        queue = LocalQueue()
        executor = Executor(
            store=store,
            bus=LocalBus(),
            venues=[SimVenue(name, chain, clock, preset, config.seed) for name in VENUES],
            chain=chain,
            clock=clock,
            policy=config.policy,
            hubs=HUBS,
            observe=observer.recorded,
        )
        worker = Worker(_WORKER, executor, queue, observer.failed) if config.start_worker else None
        engine = Engine(executor=executor, queue=queue, worker=worker, entropy=os.urandom, tokens=Tokens(TOKENS))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(engine.run())
                load = group.create_task(_watch_load(observer, worker, queue))
                try:
                    yield Assembled(engine, chain, registry)
                finally:
                    engine.stop()
                    load.cancel()
        finally:
            store.close()
            chain.close()


async def serve(config: Config, announce: Callable[[str], None]) -> None:
    """Run the engine and its HTTP and WebSocket interface until SIGTERM or SIGINT.

    `announce` is told the base URL once connections are accepted.
    """
    log_to_stderr(config)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with open_engine(config) as running:
        app = make_app(running.engine, registry=running.registry, request_id=lambda: uuid.uuid4().hex)
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=config.policy.drain_s, auto_decompress=False
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, config.host, config.port, backlog=1024)
            await _start(site, config)
            gc.freeze()  # what start-up made stays; the collector need not look at it again
            announce(_url(runner))
            await stopped.wait()
            running.engine.stop()
        finally:
            await runner.cleanup()


def log_to_stderr(config: Config) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if config.log == "json" else TextLines())
    logging.basicConfig(level=config.log_level, handlers=[handler], force=True)


async def _start(site: web.TCPSite, config: Config) -> None:
    try:
        await site.start()
    except OSError as error:
        why = f"cannot listen on {config.host}:{config.port} ({error.strerror}); PORT chooses another port"
        raise FillwrightError(Code.CONFIG_INVALID, why) from error


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _watch_load(observer: Observer, worker: Worker | None, queue: LocalQueue) -> None:
    while True:
        observer.load(driving=worker.running if worker else 0, waiting=queue.depth())
        await asyncio.sleep(_LOAD_EVERY_S)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            why = f"another engine is working on {folder}; FILLWRIGHT_DATA chooses another folder"
            raise FillwrightError(Code.CONFIG_INVALID, why) from error
        yield


def _text_of(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FillwrightError(Code.CONFIG_INVALID, f"FILLWRIGHT_PRICES: cannot read {file}") from error


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
