"""The life of a process: what it listens on, and how it ends.

Decides: the order of things between SIGTERM and the exit: report "not ready", go on for a while, accept no more, finish
what runs, close the sockets. Must never: put parts together (app does), or end without having tried to finish.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from fillwright.access import ACCOUNT_DEFAULT, Limits, Scope, key_of
from fillwright.adapters.local import SystemClock
from fillwright.adapters.sim.market import TOKENS
from fillwright.adapters.sim.node import serving
from fillwright.api import Access, is_loopback, is_ours_to_tell, make_app, make_probes
from fillwright.app import Assembled, open_engine, open_store, owned, sim_chain
from fillwright.config import CHAIN_PORT, SERVE_PORT, Config, has_colours
from fillwright.errors import Code, FillwrightError
from fillwright.localnet.server import serving as serving_localnet
from fillwright.localnet.world import Plan, open_network
from fillwright.observe import JsonLines, TextLines
from fillwright.tokens import Tokens

Announce = Callable[[str], None]
"""Told the base URL, or the worker's name, once the process is at work."""


async def serve(config: Config, announce: Announce) -> None:
    """The HTTP and WebSocket interface, and a worker if so configured, until SIGTERM or SIGINT."""
    if not config.start_worker and config.database is not None:
        _require_shared_chain(config)
    stopped = _signals(config)
    await _require_key(config)
    async with open_engine(config) as running:
        port = SERVE_PORT if config.port is None else config.port
        async with _listening(config, port, _interface(running, config)) as url:
            announce(url)
            await _until_stopped(stopped, running, config)


async def work(config: Config, announce: Announce) -> None:
    """A worker, with probes and metrics if it has a port, until SIGTERM or SIGINT."""
    if config.database is None:
        why = "a worker of its own needs a database that it shares with `fillwright serve`: set DATABASE_URL"
        raise FillwrightError(Code.CONFIG_INVALID, why)
    _require_shared_chain(config)
    stopped = _signals(config)
    async with open_engine(config) as running:
        name = running.worker.name if running.worker else ""
        if config.port is None:
            announce(name)
            await _until_stopped(stopped, running, config)
            return
        access = _access(running, config)
        probes = make_probes(running.engine, access, registry=running.registry, request_id=_request_ids(running))
        async with _listening(config, config.port, probes):
            announce(name)
            await _until_stopped(stopped, running, config)


async def simchain(config: Config, announce: Announce) -> None:
    """The simulated chain for processes that share it, until SIGTERM or SIGINT."""
    stopped = _signals(config)
    port = CHAIN_PORT if config.port is None else config.port
    with owned(config.data):
        chain = sim_chain(config, SystemClock())
        try:
            async with serving(chain, config.host, port) as url:
                announce(url)
                await stopped.wait()
        finally:
            chain.close()


async def localnet(config: Config, plan: Plan, announce: Announce, *, port: int | None, block_s: float | None) -> None:
    """A Solana of one's own, until SIGTERM or SIGINT. `port` None: as configured. `block_s` None: blocks by hand."""
    stopped = _signals(config)
    network = open_network(plan, Tokens(TOKENS), unix_seconds=SystemClock().now() // 1_000)
    port = port or (CHAIN_PORT if config.port is None else config.port)
    async with serving_localnet(
        network, config.host, port, block_s=block_s, sockets_port=port + 1 if port else None
    ) as url:
        announce(url)
        await stopped.wait()


def log_to_stderr(config: Config) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if config.log == "json" else TextLines(colours=has_colours(sys.stderr)))
    handler.addFilter(is_ours_to_tell)
    logging.basicConfig(level=config.log_level, handlers=[handler], force=True)


# --- beginning and end ------------------------------------------------------------------------------------


def _require_shared_chain(config: Config) -> None:
    if config.chain is None and config.live is None:
        why = "processes that share orders must share a chain: set FILLWRIGHT_CHAIN to that of `fillwright simchain`"
        raise FillwrightError(Code.CONFIG_INVALID, why)


async def _require_key(config: Config) -> None:
    """Raises FillwrightError(CONFIG_INVALID) where other machines could come in and nobody had decided who may."""
    async with open_store(config) as store:
        known = await store.keys.active()
        if known is None and config.first_key is not None:
            known = [
                key_of(
                    config.first_key.reveal(),
                    account=ACCOUNT_DEFAULT,
                    label="first key",
                    scopes=frozenset(Scope),
                    limits=Limits(),
                    now=SystemClock().now(),
                )
            ]
            await store.keys.add(known[0])
    if not (known or config.open_to or is_loopback(config.host)):
        why = (
            f"FILLWRIGHT_HOST={config.host} lets other machines in, and there is no API key: make one with"
            " `fillwright keys create`, or set FILLWRIGHT_FIRST_KEY, or, where something else decides who may come in,"
            " FILLWRIGHT_OPEN"
        )
        raise FillwrightError(Code.CONFIG_INVALID, why)


def _signals(config: Config) -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT."""
    log_to_stderr(config)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _until_stopped(stopped: asyncio.Event, running: Assembled, config: Config) -> None:
    gc.freeze()  # what start-up made stays; the collector need not look at it again
    await stopped.wait()
    running.engine.announce_stop()
    await asyncio.sleep(config.policy.drain_notice_s)
    running.engine.stop()


def _interface(running: Assembled, config: Config) -> web.Application:
    return make_app(
        running.engine,
        _access(running, config),
        registry=running.registry,
        request_id=_request_ids(running),
        lab=running.lab,
    )


def _access(running: Assembled, config: Config) -> Access:
    return Access(running.keys, running.engine.clock, running.entropy, host=config.host, open_to=config.open_to)


def _request_ids(running: Assembled) -> Callable[[], str]:
    return lambda: running.entropy(16).hex()


@asynccontextmanager
async def _listening(config: Config, port: int, app: web.Application) -> AsyncIterator[str]:
    """Serve until the context is left; open requests and sockets then end within their time."""
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=config.policy.drain_s, auto_decompress=False
    )
    await runner.setup()
    try:
        await _start(web.TCPSite(runner, config.host, port, backlog=1024), f"{config.host}:{port}")
        host, bound = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()


async def _start(site: web.TCPSite, where: str) -> None:
    try:
        await site.start()
    except OSError as error:
        why = f"cannot listen on {where} ({error.strerror}); PORT chooses another port"
        raise FillwrightError(Code.CONFIG_INVALID, why) from error
