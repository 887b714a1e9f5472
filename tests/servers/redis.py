"""A Redis of the tests' own: private port, folder and password; killed, paused and flushed as they please.

Decides: how it is installed, started and stopped. Must never: touch a server that it did not start.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.servers.machine import free_port, installed

_PATIENCE_S: Final = 20.0
# The shell ends the server when its standard input does: on `stop`, or when this process is gone.
_GUARD: Final = '"$@" >>log 2>&1 & server=$!; echo $server; read -r _; kill -KILL $server 2>/dev/null; wait $server'


class RedisServer:
    """Use as a context manager. Only who knows its random password is answered, so that a stranger on the same port
    is never mistaken for it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fillwright-redis-"))
        self._program = installed(_program, "redis-server")
        self._password = secrets.token_hex(16)
        self._guard: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.pid = 0

    def __enter__(self) -> "RedisServer":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill9()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns once it answers. It keeps its port and nothing else."""
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password,
            "save": "",
            "appendonly": "no",
        }
        command = ["sh", "-c", _GUARD, "sh", str(self._program)]
        command += [part for name, value in options.items() for part in (f"--{name}", value)]
        self._guard = subprocess.Popen(
            command, cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())
        deadline = time.monotonic() + _PATIENCE_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"Redis does not start: {(self._folder / 'log').read_text()[-2_000:]}")
            time.sleep(0.01)

    def kill9(self) -> None:
        """All that it held is gone."""
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None

    def pause(self) -> None:
        """It keeps its connections and accepts more, but says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connected and silent, as behind a network that drops everything."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def flush(self) -> None:
        assert self.ask("FLUSHALL") == "+OK"

    def ask(self, *command: str) -> str:
        """The first line of the answer, which is all there is of short ones; later lines follow it."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=5)) as connection:
            connection.sendall(_packed("AUTH", self._password) + _packed(*command) + _packed("ECHO", "that-is-all"))
            answer = b""
            while not answer.endswith(b"that-is-all\r\n"):
                part = connection.recv(65_536)
                if not part:
                    raise ConnectionError(answer.decode())
                answer += part
        allowed, _, rest = answer.decode().partition("\r\n")
        if allowed != "+OK":
            raise ConnectionError(allowed)
        return rest.removesuffix("$11\r\nthat-is-all\r\n").rstrip()

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.ask("PING") == "+PONG"
        return False


def _packed(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word) for word in (each.encode() for each in words)
    )


def _program() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None
