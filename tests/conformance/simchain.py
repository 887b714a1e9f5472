"""A node as its own process, to be killed: `python -m tests.conformance.simchain FILE PORT`."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from fillwright.adapters.local import SystemClock
from fillwright.adapters.sim import Preset, SimChain, default_market
from fillwright.adapters.sim.node import serving

PRESET: Final = Preset(execute_ms=(0, 1_200))


class NodeProcess:
    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns once it accepts connections."""
        command = [sys.executable, "-m", "tests.conformance.simchain", str(self._file), str(self._port)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the node did not start"

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is written any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


async def _run(file: Path, port: int) -> None:
    chain = SimChain(file, SystemClock(), default_market(1), PRESET, seed=1)
    async with serving(chain, "127.0.0.1", port) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), int(sys.argv[2])))
