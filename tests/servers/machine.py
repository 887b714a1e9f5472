"""What the tests take from the machine: a free port, and Debian's packages where a server is missing.

Decides: how a missing program comes here. Must never: install anything that is there already.
"""

import fcntl
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_pair() -> int:
    """A port that is free, as is the one above it: below those that the system gives to whoever asks for any."""
    while True:
        port = Random().randrange(20_000, 32_000, 2)
        with closing(socket.socket()) as first, closing(socket.socket()) as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


def installed(find: Callable[[], Path | None], package: str) -> Path:
    """What `find` finds; as root, after installing the package if need be. Raises RuntimeError."""
    with (Path(tempfile.gettempdir()) / "fillwright-install.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may get here at once
        if find() is None and os.geteuid() == 0:
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
                subprocess.run(["apt-get", "-q", *command], check=True, env=quiet, stdout=subprocess.DEVNULL)
        found = find()
    if found is None:
        raise RuntimeError(f"these tests need a server that is not here; install the package {package}")
    return found
