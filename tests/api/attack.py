"""`python -m tests.api.attack [N] [--seed K]`: hostile requests against the real server, as a process of its own.

Decides: what counts as a finding: a 5xx, a request that was accepted, an answer that is missing where the transport was
whole, a row in any table, a
word in the log. Must never: take the server's word for what it stored.
"""

import argparse
import asyncio
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from tests.api.bodies import Hostile, hostile
from tests.servers.fleet import Process
from tests.servers.machine import free_port

ANSWER_S: Final = 60.0
"""Far beyond what an answer takes; a machine may be busy."""
PATIENCE_S: Final = 0.2
"""For the answer to a torn request; then its sender says that there is no more to come."""
CLIENTS: Final = 8
_HEAD_MAX: Final = 64 * 1024
_STATUS: Final = re.compile(rb"HTTP/[01]\.[019] (\d{3}) ")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SHOWN_MAX: Final = 10


class Tally:
    """What was answered, and what should not have been."""

    def __init__(self) -> None:
        self.sent = 0
        self.statuses: Counter[str] = Counter()
        """By what was answered; `none`: the connection ended without an answer."""
        self.kinds: Counter[str] = Counter()
        self.findings: list[str] = []

    def note(self, number: int, sent: Hostile, statuses: list[int]) -> None:
        self.sent += 1
        self.kinds[sent.kind] += 1
        self.statuses.update(map(str, statuses) if statuses else ["none"])
        wrong = [status for status in statuses if not 400 <= status < 500]
        if wrong or not (statuses or sent.torn):
            self.findings.append(f"request {number} ({sent.kind}, {sent.target}) was answered {wrong or 'nothing'}")


async def attack(port: int, requests: Iterable[tuple[int, Hostile]]) -> Tally:
    """Send all of them, several at once, and judge every answer."""
    tally, left = Tally(), iter(requests)

    async def client() -> None:
        async with _connections(port) as ask:
            for number, sent in left:
                tally.note(number, sent, await ask(sent))

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
    return tally


class _Connections:
    """One client: whole requests share a connection while the server keeps it, a torn one has its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __call__(self, sent: Hostile) -> list[int]:
        """The statuses of all answers to it."""
        async with asyncio.timeout(ANSWER_S):
            if sent.torn:
                return await self._torn(sent.wire)
            kept = self._kept is not None
            status = await self._whole(sent.wire)
            if status is None and kept:  # the server had closed it before this came
                status = await self._whole(sent.wire)
            return [] if status is None else [status]

    async def _torn(self, wire: bytes) -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_HEAD_MAX)
        told = b""
        with suppress(ConnectionError):  # it may answer, and close, before it has read all
            writer.write(wire)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    told = await reader.read(_HEAD_MAX)
            writer.write_eof()
            while part := await reader.read(_HEAD_MAX):
                told += part
        await _close(writer)
        return [int(status) for status in _STATUS.findall(told)]

    async def _whole(self, wire: bytes) -> int | None:
        if self._kept is None:
            self._kept = await asyncio.open_connection("127.0.0.1", self._port, limit=_HEAD_MAX)
        reader, writer = self._kept
        try:
            writer.write(wire)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
        except (ConnectionError, asyncio.IncompleteReadError):
            await self.close()
            return None
        if b"connection: close" in head.lower():
            await self.close()
        status = _STATUS.match(head)
        return int(status[1]) if status else None

    async def close(self) -> None:
        if self._kept is not None:
            _, writer = self._kept
            self._kept = None
            await _close(writer)


@asynccontextmanager
async def _connections(port: int) -> AsyncIterator[_Connections]:
    connections = _Connections(port)
    try:
        yield connections
    finally:
        await connections.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def rows(folder: Path) -> dict[str, int]:
    """How many rows each table has, as the database itself tells it."""
    with closing(sqlite3.connect(folder / "orders.db")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def added(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}


@contextmanager
def serving_process(folder: Path) -> Iterator[Process]:
    """The embedded engine as people run it, without a worker, whose heartbeat is a row."""
    env = {"FILLWRIGHT_DATA": str(folder / "data"), "FILLWRIGHT_SIM": "instant"}
    server = Process("server", ["serve", "--workers", "0"], port=free_port(), env=env, log=folder / "log")
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Verdict(msgspec.Struct, frozen=True):
    """What is left of a campaign: nothing of it may have been stored, shouted into the log, or answered otherwise."""

    tally: Tally
    rows: dict[str, int]
    log: str
    alive: bool
    grown_mb: float
    peak_mb: float

    @property
    def well(self) -> bool:
        return self.alive and not (self.rows or self.log or self.tally.findings)


def campaign(folder: Path, requests: Iterable[tuple[int, Hostile]]) -> Verdict:
    with serving_process(folder) as server:
        before, memory_mb = rows(folder / "data"), server.memory_mb()
        tally = asyncio.run(attack(server.port, requests))
        grown_mb, peak_mb, alive = server.memory_mb() - memory_mb, server.peak_mb(), server.alive
    new = added(before, rows(folder / "data"))
    return Verdict(tally, new, server.log.read_text(errors="replace"), alive, grown_mb, peak_mb)


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="send this one request of the seed alone")
    asked = parser.parse_args()
    numbers = range(asked.requests) if asked.only is None else range(asked.only, asked.only + 1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fillwright-attack-") as folder:
        verdict = campaign(Path(folder), ((number, hostile(number, asked.seed)) for number in numbers))
    tally = verdict.tally
    print(
        f"seed {asked.seed}: {tally.sent:,} requests of {len(tally.kinds)} kinds in {time.monotonic() - began:,.0f} s"
    )
    print("kinds    " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(tally.kinds.items())))
    print("answers  " + ", ".join(f"{status}: {count:,}" for status, count in sorted(tally.statuses.items())))
    print(f"rows     {sum(verdict.rows.values())} {verdict.rows or ''}")
    print(f"server   memory {verdict.grown_mb:+.1f} MB, {verdict.peak_mb:.0f} MB at most")
    for finding in tally.findings[:_SHOWN_MAX]:
        print("FOUND    " + finding)
    if verdict.log:
        print("LOGGED   " + verdict.log[-2_000:])
    print("no 5xx, none accepted, no row" if verdict.well else f"FAILED, with {len(tally.findings)} wrong answers")
    return 0 if verdict.well else 1


if __name__ == "__main__":
    sys.exit(_main())
