"""A PostgreSQL of the tests' own: a fresh one in a temporary folder, on a free port of the loopback interface.

Decides: how it is started, crashed and ended; it ends with its owner, however that ends. Must never: talk to a server
that is not this one, or leave anything behind.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.servers.machine import free_port, installed

_START_S: Final = 60.0
_STOP_S: Final = 30.0
_PORTS_MAX: Final = 5
# The shell ends the server when its standard input does: on `stop`, or when this process is gone.
_GUARD: Final = '"$@" & server=$!; read -r _; kill -INT $server 2>/dev/null; wait $server'
_SMALL: Final = {"shared_buffers": "32MB", "max_wal_size": "256MB", "log_min_messages": "fatal"}


class PostgresServer:
    """Use as a context manager. `settings` are the server's own, such as fsync="off"."""

    def __init__(self, **settings: str) -> None:
        self._bin = installed(_programs, "postgresql")
        self._settings = {**_SMALL, **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="fillwright-postgres-"))
        self._as: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:  # the server refuses to be root
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._data = self._folder / "data"
        self._guard: subprocess.Popen[Any] | None = None
        self._databases = 0
        self.port = 0
        self.marker = secrets.token_hex(16)

    def __enter__(self) -> "PostgresServer":
        try:
            options = ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"]
            self._run("initdb", "-D", str(self._data), *options)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of the parent of all its processes."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    # --- life ---------------------------------------------------------------------------------------------

    def start(self, **settings: str) -> None:
        """Return once it answers. After the first start it keeps its port. `settings` hold until it stops."""
        ports = [self.port] if self.port else [free_port() for _ in range(_PORTS_MAX)]
        for port in ports:
            self._launch(port, settings)
            if self._answers(port):
                self.port = port
                return
            self.stop()
        raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()[-2_000:]}")

    def stop(self) -> None:
        """An orderly end; what clients were doing is rolled back."""
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        try:
            self._guard.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._guard.wait(_STOP_S)
        self._guard = None

    def kill9(self) -> None:
        """A crash: every process of the server is gone at once."""
        self._kill()
        self.stop()

    def pause(self) -> None:
        """It keeps its connections and accepts more, but says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connected and silent, as behind a network that drops everything."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def hit_some_backend(self, which: float, number: int) -> int | None:
        """Signal one of the processes that serve clients; None while there are none. `which` is from 0 to 1."""
        backends = [pid for pid in self._children() if b": postgres fresh_" in _command_of(pid)]
        if not backends:
            return None
        pid = backends[int(which * len(backends))]
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def restart(self, **settings: str) -> None:
        self.stop()
        self.start(**settings)

    def _launch(self, port: int, settings: dict[str, str]) -> None:
        fixed = {
            "cluster_name": self.marker,
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(self._folder),
        }
        options = [f"--{name}={value}" for name, value in {**self._settings, **settings, **fixed}.items()]
        command = ["sh", "-c", _GUARD, "sh", str(self._bin / "postgres"), "-D", str(self._data), *options]
        with (self._folder / "log").open("ab") as log:
            self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, **self._as)

    def _answers(self, port: int) -> bool:
        """Whether it comes up there, and is this server and no other."""
        pid_file = self._data / "postmaster.pid"
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with suppress(subprocess.CalledProcessError):
                return self._psql("SHOW cluster_name", port=port) == self.marker
            time.sleep(0.05)
            if time.monotonic() > deadline - _START_S + 2 and not pid_file.exists():
                return False  # it has given up: the port was taken meanwhile
        return False

    def _kill(self) -> None:
        self.pause()  # the parent, at its next step, has no more children than are found
        self._signal(signal.SIGKILL)

    def _children(self) -> list[int]:
        parent = self.pid
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def _signal(self, number: signal.Signals) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in [self.pid, *self._children()]:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    # --- databases ----------------------------------------------------------------------------------------

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of an empty database, or of a copy of one to which nobody is connected."""
        self._databases += 1
        name = f"fresh_{self._databases}"
        self._psql(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self._psql(f"DROP DATABASE {name} WITH (FORCE)")

    def _psql(self, sql: str, *, port: int | None = None) -> str:
        where = ["-h", "127.0.0.1", "-p", str(port or self.port), "-U", "postgres", "-d", "postgres"]
        return self._run("psql", "-X", "-A", "-t", *where, "-v", "ON_ERROR_STOP=1", "-c", sql)

    def _run(self, program: str, *args: str) -> str:
        command = [str(self._bin / program), *args]
        done = subprocess.run(command, check=True, capture_output=True, timeout=_START_S, **self._as)
        return str(done.stdout, "utf-8").strip()


def _command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


# --- the programs ---------------------------------------------------------


def _programs() -> Path | None:
    """The folder of the newest server's programs."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None
