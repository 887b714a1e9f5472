"""The command line: `fillwright serve` and `fillwright demo`.

Decides: what is printed and the exit code. Must never: do what the engine does.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from fillwright import __version__
from fillwright.config import load
from fillwright.errors import FillwrightError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed, 2 bad usage or configuration."""
    command = _parser().parse_args(argv).command
    try:
        config = load(os.environ)
        if command == "serve":
            from fillwright.app import serve

            return _run(serve(config, _greet))
        from fillwright.demo import demo

        return _run(demo(config))
    except FillwrightError as error:
        print(f"fillwright: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fillwright", description="A self-hosted order execution engine.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the engine with its HTTP and WebSocket interface")
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


if __name__ == "__main__":
    sys.exit(main())
