"""The processes that run until they are stopped: their loop and their greeting.

Decides: what an operator reads first. Must never: say that something is ready before it is.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from fillwright import __version__
from fillwright.config import Config, Live, has_colours

_RED, _PLAIN = "\033[1;97;41m", "\033[0m"


def run(work: Coroutine[Any, Any, int | None]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work) or 0


def warn(config: Config) -> None:
    """Where money is real: says so on standard error, first of all. Raises FillwrightError(CONFIG_INVALID)."""
    if config.live is None:
        return
    from fillwright.live import signer_of  # noqa: PLC0415 - nothing of it is loaded where no money is

    on, off = (_RED, _PLAIN) if has_colours(sys.stderr) else ("", "")
    head, *lines = _warning(config.live, signer_of(config.live).address)
    print(f"{on} {head} {off}", *lines, sep="\n", file=sys.stderr, flush=True)


def _warning(live: Live, wallet: str) -> list[str]:
    def caps(told: tuple[tuple[str, str], ...]) -> str:
        return ", ".join(f"{amount} {token}" for token, amount in told) or "no limit"

    tip = f", and a tip of {live.tip[1]} lamports" if live.tip else ""
    return [
        f"LIVE on {live.cluster}: orders are real transactions, and what they spend is gone",
        f"  wallet     {wallet}",
        f"  an order   {caps(live.order_caps)}",
        f"  24 hours   {caps(live.day_caps)}",
        f"  fee        {live.priority_fee_max} micro-lamports a compute unit at most{tip}",
    ]


def greet(process: str, *, as_json: bool, cluster: str | None = None) -> Callable[[str], None]:
    """Tells the process's URL, or a worker's name, once it is at work."""
    if as_json:
        key = "worker" if process == "worker" else "url"
        where = {} if cluster is None else {"cluster": cluster}
        told_first = {"process": process, "version": __version__, **where}
        return lambda told: print(json.dumps({**told_first, key: told}), flush=True)
    if process == "serve":
        return lambda url: _greet_engine(url, cluster)
    return {
        "worker": _greet_worker,
        "simchain": _greet_simchain,
        "localnet": _greet_localnet,
    }[process]


def _greet_engine(url: str, cluster: str | None) -> None:
    stream = url.replace("http", "ws", 1)
    funds = "simulated chain; no real funds" if cluster is None else f"live on {cluster}"
    print(f"Fillwright {__version__} is ready ({funds})")
    print(f"  console    {url}/")
    print(f"  orders     POST {url}/v1/orders")
    print(f"  stream     {stream}/v1/stream")
    print(f"  legacy     POST {url}/api/orders/execute")
    print(f"  health     {url}/readyz   metrics {url}/metrics", flush=True)


def _greet_worker(name: str) -> None:
    print(f"Fillwright {__version__}: worker {name} is at work", flush=True)


def _greet_simchain(url: str) -> None:
    print(f"Fillwright {__version__}: simulated chain at {url} (no real funds)", flush=True)


def _greet_localnet(url: str) -> None:
    print(
        f"Fillwright {__version__}: localnet at {url}, nodes at /, /lagging, /lying, /flaky (no real funds)", flush=True
    )
