"""The processes that run until they are stopped: their loop and their greeting.

Decides: what an operator reads first. Must never: say that something is ready before it is.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from fillwright import __version__


def run(work: Coroutine[Any, Any, int | None]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work) or 0


def greet(process: str, *, as_json: bool) -> Callable[[str], None]:
    """Tells the process's URL, or a worker's name, once it is at work."""
    if as_json:
        key = "worker" if process == "worker" else "url"
        return lambda told: print(json.dumps({"process": process, "version": __version__, key: told}), flush=True)
    return {"serve": _greet_engine, "worker": _greet_worker, "localnet": _greet_localnet}[process]


def _greet_engine(url: str) -> None:
    stream = url.replace("http", "ws", 1)
    print(f"Fillwright {__version__} is ready (simulated chain; no real funds)")
    print(f"  console    {url}/")
    print(f"  orders     POST {url}/v1/orders")
    print(f"  stream     {stream}/v1/stream")
    print(f"  legacy     POST {url}/api/orders/execute")
    print(f"  health     {url}/readyz   metrics {url}/metrics", flush=True)


def _greet_worker(name: str) -> None:
    print(f"Fillwright {__version__}: worker {name} is at work", flush=True)


def _greet_localnet(url: str) -> None:
    print(f"Fillwright {__version__}: simulated chain at {url} (no real funds)", flush=True)
