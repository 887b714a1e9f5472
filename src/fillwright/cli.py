"""The command line: `fillwright serve`, `worker`, `localnet` and `demo`.

Decides: what is printed and the exit code. Must never: do what the engine does.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from fillwright import __version__
from fillwright.config import Config, load
from fillwright.errors import FillwrightError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed, 2 bad usage or configuration."""
    asked = _parser().parse_args(argv)
    try:
        return _run(_command(asked, load(os.environ)))
    except FillwrightError as error:
        print(f"fillwright: {error}", file=sys.stderr)
        return 2


def _command(asked: argparse.Namespace, config: Config) -> Coroutine[Any, Any, int | None]:
    if asked.command == "demo":
        from fillwright.demo import demo

        return demo(config)
    from fillwright import processes

    match asked.command:
        case "worker":
            return processes.work(msgspec.structs.replace(config, start_worker=True), _greet_worker)
        case "localnet":
            return processes.localnet(config, _greet_localnet)
        case _:
            if asked.workers is not None:
                config = msgspec.structs.replace(config, start_worker=asked.workers > 0)
            return processes.serve(config, _greet)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fillwright", description="A self-hosted order execution engine.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the engine with its HTTP and WebSocket interface")
    serve.add_argument(
        "--workers", type=int, choices=(0, 1), help="0: accept orders, leave the work to `fillwright worker`"
    )
    commands.add_parser("worker", help="work on the orders of a shared database; start as many as you like")
    commands.add_parser("localnet", help="run the simulated chain for several processes")
    commands.add_parser("demo", help="send five orders through a fresh engine and show what happens")
    return parser


def _run(work: Coroutine[Any, Any, int | None]) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work) or 0


def _greet(url: str) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
