"""A look at this machine and at what the settings name, before something fails for it.

Decides: what is looked at, and the advice. Must never: change anything, or show a secret.
"""

import asyncio
import importlib.util
import json
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp

from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.world import genesis_of, is_of, lamports_of, rules_of, tokens_of
from fillwright.config import CHAIN_PORT, SERVE_PORT, Config, Live, load
from fillwright.errors import FillwrightError
from fillwright.live import plan_of, signer_of
from fillwright.units import format_atoms

_LOOK_S: Final = 5.0
_NODE_S: Final = 2.0
_LAMPORTS_MIN: Final = 10_000_000
"""About five token accounts' rent."""
_SOL_DECIMALS: Final = 9
_FREE_MIN: Final = 2**30
_SKEW_S_MAX: Final = 2.0
_UNSAFE: Final = (
    "SELECT name FROM pg_settings"
    " WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name"
)


class Finding(NamedTuple):
    """`verdict`: ok, warning, or failed: the engine cannot work so."""

    what: str
    verdict: str
    told: str
    advice: str = ""


def run(env: Mapping[str, str], *, as_json: bool) -> int:
    """The exit code: 1 where something failed."""
    findings = asyncio.run(_findings(env))
    for each in findings:
        if as_json:
            print(json.dumps(each._asdict()))
        else:
            print(f"{each.verdict:<8} {each.what:<10} {each.told}{f'; {each.advice}' if each.advice else ''}")
    return 1 if any(each.verdict == "failed" for each in findings) else 0


async def _findings(env: Mapping[str, str]) -> list[Finding]:
    findings = [_python()]
    try:
        config = load(env)
    except FillwrightError as error:
        return [*findings, Finding("settings", "failed", str(error), "docs/SETTINGS.md lists them all")]
    findings += [Finding("settings", "ok", "readable, and none contradicts another"), _extras(config), *_traces(config)]
    findings += [_folder(config), _disk(config), await _port(config)]
    looks: list[tuple[str, Callable[[Config], Awaitable[list[Finding]]]]] = [
        ("database", _database),
        ("redis", _redis),
        ("chain", _chain),
    ]
    for what, look in looks:
        findings += await _looked(what, look(config))
    return findings


async def _looked(what: str, look: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(_LOOK_S):
            return await look
    except Exception as error:  # whatever a driver raises: that it cannot be used is the finding
        told = "no answer" if isinstance(error, TimeoutError) else f"cannot be used ({type(error).__name__})"
        return [Finding(what, "failed", told, f"is it running, and does its setting name it? {_ADVICE[what]}")]


_ADVICE: Final = {
    "database": "see DATABASE_URL",
    "redis": "see REDIS_URL; without it the database carries hints and events as well",
    "chain": "start `fillwright simchain`, see FILLWRIGHT_CHAIN",
}


# --- this machine -----------------------------------------------------------------------------------------


def _python() -> Finding:
    return Finding("python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))}, of {sys.prefix}")


def _extras(config: Config) -> Finding:
    missing = [name for name in ("asyncpg", "redis") if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding("extras", "ok", "production: PostgreSQL and Redis can be used")
    told = f"{', '.join(missing)} not installed"
    if config.database is None:
        return Finding("extras", "ok", f"{told}, and not needed without a database")
    return Finding("extras", "failed", told, "pip install 'fillwright[production]'")


def _traces(config: Config) -> list[Finding]:
    """Nothing is said where nobody asked for them."""
    if config.traces is None:
        return []
    if importlib.util.find_spec("opentelemetry") is None:
        return [Finding("traces", "failed", "opentelemetry not installed", "pip install 'fillwright[otel]'")]
    return [Finding("traces", "ok", "can be sent to the collector that is named")]


def _folder(config: Config) -> Finding:
    where = _existing(config.data)
    try:
        with (where / f".fillwright-{time.time_ns()}").open("x") as probe:
            pass
        Path(probe.name).unlink()
    except OSError as error:
        advice = "FILLWRIGHT_DATA chooses another folder"
        return Finding("data", "failed", f"{config.data} cannot be written to ({error.strerror})", advice)
    return Finding("data", "ok", f"{config.data} can be written to")


def _disk(config: Config) -> Finding:
    free = shutil.disk_usage(_existing(config.data)).free
    told = f"{free / 2**30:.1f} GiB free"
    if free < _FREE_MIN:
        return Finding("disk", "warning", told, "a full disk refuses orders: make room, or choose another disk")
    return Finding("disk", "ok", told)


def _existing(folder: Path) -> Path:
    """The folder, or the next one above it that is there."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())


async def _port(config: Config) -> Finding:
    port = SERVE_PORT if config.port is None else config.port
    try:
        with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.host, port))
    except OSError as error:
        if await _is_engine(config.host, port):
            return Finding("port", "ok", f"an engine answers on {config.host}:{port}")
        told = f"{config.host}:{port} is not free ({error.strerror})"
        return Finding("port", "failed", told, "PORT chooses another one")
    return Finding("port", "ok", f"{config.host}:{port} is free")


async def _is_engine(host: str, port: int) -> bool:
    try:
        async with _asking() as http, http.get(f"http://{host}:{port}/livez") as answer:
            return answer.headers.get("Server") == "fillwright"
    except (aiohttp.ClientError, TimeoutError):
        return False


# --- servers ----------------------------------------------------------------------------------------------


async def _database(config: Config) -> list[Finding]:
    if config.database is None:
        return [
            Finding("database", "ok", "embedded, in the data folder"),
            Finding("clock", "ok", "one machine, one clock"),
        ]
    import asyncpg  # noqa: PLC0415 - an extra

    connection: Any = await asyncpg.connect(config.database.reveal(), timeout=_LOOK_S)
    try:
        version = await connection.fetchval("SHOW server_version")
        unsafe = [row[0] for row in await connection.fetch(_UNSAFE)]
        theirs = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))
    finally:
        await connection.close(timeout=_LOOK_S)
    told = f"PostgreSQL {version}"
    found = Finding("database", "ok", told)
    if unsafe:
        verdict = "warning" if config.allow_unsafe_database else "failed"
        found = Finding("database", verdict, f"{told}: {', '.join(unsafe)} off", "it may lose acknowledged orders")
    return [found, _clock(theirs - time.time())]


def _clock(ahead_s: float) -> Finding:
    told = f"{abs(ahead_s):.1f} s {'behind' if ahead_s > 0 else 'ahead of'} the database's"
    if abs(ahead_s) > _SKEW_S_MAX:
        return Finding("clock", "warning", told, "no outcome depends on it, but deadlines do: synchronise it (NTP)")
    return Finding("clock", "ok", told)


async def _redis(config: Config) -> list[Finding]:
    if config.redis is None:
        return [Finding("redis", "ok", "not configured, and not needed")]
    from redis.asyncio import Redis  # noqa: PLC0415 - an extra

    async with Redis.from_url(config.redis.reveal()) as server:
        version = (await server.info("server"))["redis_version"]
    return [Finding("redis", "ok", f"Redis {version}")]


async def _chain(config: Config) -> list[Finding]:
    if config.live is not None:
        return await _real(config.live)
    if config.chain is None:
        if config.database is None:
            return [Finding("chain", "ok", "simulated, inside the engine")]
        advice = f"start `fillwright simchain` and set FILLWRIGHT_CHAIN=http://127.0.0.1:{CHAIN_PORT}"
        return [Finding("chain", "warning", "inside the engine: one process only", advice)]
    asked = {"jsonrpc": "2.0", "id": 1, "method": "getBlockHeight"}
    async with _asking() as http, http.post(config.chain, json=asked) as answer:
        height = (await answer.json(content_type=None))["result"]
    return [Finding("chain", "ok", f"simulated, at block height {height}")]


async def _real(live: Live) -> list[Finding]:
    """The wallet, each node, what lies in the wallet, and the caps in the tokens of this chain."""
    try:
        signer, plan = signer_of(live), plan_of(live)
    except FillwrightError as error:
        return [Finding("wallet", "failed", str(error), "see docs/how-to/live.md")]
    found = [Finding("wallet", "ok", f"signs as {signer.address}")]
    told = await asyncio.gather(*(genesis_of(url.reveal(), _NODE_S) for url in live.rpc))
    found += [_node(live.cluster, number, genesis) for number, genesis in enumerate(told, 1)]
    if any(each.verdict == "failed" for each in found):
        return found
    rpc = Rpc([url.reveal() for url in live.rpc])
    try:
        found.append(_balance(await lamports_of(rpc, signer.address)))
        rules_of(plan, await tokens_of(plan, rpc), signer.address)
        found.append(_caps(live))
    except FillwrightError as error:
        found.append(Finding("limits", "failed", str(error)))
    finally:
        await rpc.close()
    return found


def _node(cluster: str, number: int, genesis: str | None) -> Finding:
    what = f"node {number}"
    if genesis is None:
        return Finding(what, "failed", "no answer", "see FILLWRIGHT_RPC")
    if not is_of(cluster, genesis):
        return Finding(what, "failed", f"is not of {cluster}: its genesis hash is {genesis}", "see FILLWRIGHT_RPC")
    return Finding(what, "ok", f"answers, and is of {cluster}")


def _balance(lamports: int) -> Finding:
    told = f"{format_atoms(lamports, _SOL_DECIMALS)} SOL"
    if lamports < _LAMPORTS_MIN:
        return Finding("balance", "warning", told, "fees and the rent of new token accounts are paid out of it")
    return Finding("balance", "ok", told)


def _caps(live: Live) -> Finding:
    caps = ", ".join(f"{amount} {token}" for token, amount in live.day_caps)
    if not caps:
        return Finding("limits", "warning", "none for 24 hours", "FILLWRIGHT_DAY_CAPS sets them")
    return Finding("limits", "ok", f"in 24 hours at most {caps}")


@asynccontextmanager
async def _asking() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_LOOK_S)) as http:
        yield http
