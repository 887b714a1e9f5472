"""A whole deployment on the loopback interface: PostgreSQL, Redis, the simulated chain, API and worker processes.

Decides: how its processes are started, found, struck and ended. Must never: outlive its owner's `with`.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.servers.machine import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

Wire = Callable[[str, str, int], int]
"""Process ("api-0", "worker-2"), server ("postgres", "redis", "chain") and that server's port: the port at which the
process is to find it."""
_TICK: Final = os.sysconf("SC_CLK_TCK")
_STOP_S: Final = 40.0
INHERITED: Final = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
"""What a process of ours gets from this one: nothing that could configure it."""


class Process:
    """One `fillwright COMMAND`, across as many lives as its owner wants. It keeps its port."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        env: Mapping[str, str],
        log: Path,
        module: str = "fillwright.cli",
    ) -> None:
        self.name = name
        self.port = port
        self.log = log
        self.greeting = ""
        """The first line of this life."""
        self._command = [sys.executable, "-m", module, *command]
        self._env = {**INHERITED, "PORT": str(port), "FILLWRIGHT_LOG_LEVEL": "WARNING", **env}
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker(self) -> str:
        """The name under which this life of a worker claims orders."""
        return self.greeting.split()[3]

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Return once it says that it is at work."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(self._command, env=self._env, stdout=subprocess.PIPE, stderr=log)

    def await_ready(self) -> None:
        assert self._running is not None
        assert self._running.stdout is not None
        self.greeting = self._running.stdout.readline().decode()
        if not self.greeting:
            code = self._running.wait(_STOP_S)
            self._running.stdout.close()
            raise RuntimeError(f"{self._command[3:]} ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log, that of earlier lives included."""
        return self.log.read_text()[-2_000:]

    def kill9(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def cpu_s(self) -> float:
        """Seconds of CPU that this life has used so far."""
        return cpu_s(self.pid)

    def memory_mb(self) -> float:
        return self._memory_mb("VmRSS")

    def peak_mb(self) -> float:
        return self._memory_mb("VmHWM")

    def _memory_mb(self, kind: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(kind))
        return int(line.split()[1]) / 1_024

    def _end(self, number: int) -> int:
        assert self._running is not None
        assert self._running.stdout is not None
        if self._running.poll() is None:
            self._running.send_signal(number)
            if number == signal.SIGTERM:
                self._running.send_signal(signal.SIGCONT)
        code = self._running.wait(_STOP_S)
        self._running.stdout.close()
        return code


class Fleet:
    """One deployment. `redis` is None where PostgreSQL does everything. `special`: settings of single processes, by
    their names."""

    def __init__(
        self,
        folder: Path,
        *,
        apis: int = 2,
        workers: int = 3,
        with_redis: bool = True,
        settings: Mapping[str, str] | None = None,
        special: Mapping[str, Mapping[str, str]] | None = None,
        postgres: Mapping[str, str] | None = None,
        wire: Wire | None = None,
    ) -> None:
        self.folder = folder
        self.postgres = PostgresServer(**(postgres or {}))
        self.redis = RedisServer() if with_redis else None
        self._sizes = (apis, workers)
        self._settings = dict(settings or {})
        self._special = dict(special or {})
        self._wire = wire or (lambda _process, _server, port: port)
        self._stack = ExitStack()

    def __enter__(self) -> "Fleet":
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self._stack.enter_context(self.postgres)
        self.database = self._stack.enter_context(self.postgres.database())
        if self.redis is not None:
            self._stack.enter_context(self.redis)
        self.ledger = self.folder / "chain" / "chain.db"
        self.chain = self._process("chain", "simchain", env={"FILLWRIGHT_DATA": str(self.ledger.parent)})
        self.chain.start()
        apis, workers = self._sizes
        self.apis = [self._engine(f"api-{n}", "serve", "--workers", "0") for n in range(apis)]
        self.workers = [self._engine(f"worker-{n}", "worker") for n in range(workers)]
        for process in (*self.apis, *self.workers):
            process.launch()
        for process in (*self.apis, *self.workers):
            process.await_ready()

    def _engine(self, name: str, *command: str) -> Process:
        """A process that works on the shared servers, each found where the wire leads."""
        chain = self._wire(name, "chain", self.chain.port)
        env = {
            "DATABASE_URL": at_port(self.database, self._wire(name, "postgres", self.postgres.port)),
            "FILLWRIGHT_CHAIN": f"http://127.0.0.1:{chain}",
        }
        if self.redis is not None:
            env["REDIS_URL"] = at_port(self.redis.url, self._wire(name, "redis", self.redis.port))
        return self._process(name, *command, env=env)

    def _process(self, name: str, *command: str, env: Mapping[str, str]) -> Process:
        settings = {**env, **self._settings, **self._special.get(name, {})}
        process = Process(name, command, port=free_port(), env=settings, log=self.folder / f"{name}.log")
        self._stack.callback(lambda: process.kill9() if process.alive else None)
        return process


def at_port(url: str, port: int) -> str:
    """The URL with another port."""
    return re.sub(r":[0-9]+(?=/)", f":{port}", url)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
