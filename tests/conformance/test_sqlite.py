"""What the SQLite store promises beyond the port: a crash loses nothing, and it knows its own file."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import Code, FillwrightError
from fillwright.order import Status
from fillwright.ports import Page, Stored
from tests.conformance.rigs import SqliteRig, in_loop
from tests.conformance.samples import HandClock, accepted, new_order, stamped, way_to

_DIES_AFTER_THE_ANSWER = """
import asyncio, os, signal, sys
from pathlib import Path
from fillwright.adapters.sqlite import SqliteStore
from tests.conformance.samples import HandClock, accepted, new_order

async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]), HandClock(), lease_s=10)
    await asyncio.gather(*(store.create(new_order(accepted(f"o-{n}"))) for n in range(30)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def rig(tmp_path: Path) -> SqliteRig:
    return SqliteRig(tmp_path)


@in_loop
async def test_a_killed_process_has_lost_nothing_that_it_was_answered(rig: SqliteRig) -> None:
    """I1, by a real SIGKILL."""
    command = [sys.executable, "-c", _DIES_AFTER_THE_ANSWER, str(rig.path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    died = await asyncio.to_thread(subprocess.run, command, env=env, check=False)
    assert died.returncode == -signal.SIGKILL
    async with rig.open() as store:
        assert len(await store.page(Page(account="alice", limit=100))) == 30


@in_loop
async def test_a_commit_is_on_the_disk_before_it_is_answered(rig: SqliteRig) -> None:
    """Against a power cut only the sync at each commit helps."""
    async with rig.open() as store:
        assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._writer.execute("PRAGMA foreign_keys").fetchone() == (1,)


@in_loop
async def test_concurrent_calls_share_commits(rig: SqliteRig) -> None:
    """Group commit: many calls, few transactions."""
    async with rig.open() as store:
        statements: list[str] = []
        store._writer.set_trace_callback(statements.append)
        await asyncio.gather(*(store.create(new_order(accepted(f"o-{n}"))) for n in range(200)))
        store._writer.set_trace_callback(None)
        assert 1 <= statements.count("COMMIT") <= 3


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    SqliteStore(path, HandClock(), lease_s=10).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA user_version = 999")
    with pytest.raises(FillwrightError, match="999") as refused:
        SqliteStore(path, HandClock(), lease_s=10)
    assert refused.value.code is Code.CONFIG_INVALID
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (999,)


@in_loop
async def test_a_file_from_before_slices_is_brought_up_to_date_with_all_that_is_in_it(
    rig: SqliteRig, tmp_path: Path
) -> None:
    lives = [way_to(status, accepted(f"o-{status}")) for status in Status if status is not Status.OPEN]
    async with rig.open() as store:
        for life in lives:
            await store.create(new_order(life[0], key=f"k-{life[0].order.id}"))
            for before, after in pairwise(life):
                await store.record(before.order, [after])
    older = tmp_path / "older.db"
    scripts = resources.files("fillwright") / "migrations" / "sqlite"
    with closing(sqlite3.connect(older, isolation_level=None)) as file:
        for number in ("0001_orders", "0002_keys", "0003_switches", "0005_resting"):
            file.executescript((scripts / f"{number}.sql").read_text())
        file.execute("PRAGMA user_version = 5")
        file.execute("ATTACH ? AS newer", (str(rig.path),))
        for table in ("orders", "order_events", "idempotency_keys"):
            columns = ", ".join(row[1] for row in file.execute(f"PRAGMA main.table_info({table})"))
            file.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
    store = SqliteStore(older, HandClock(), lease_s=10)
    for life in lives:
        order = life[-1].order
        assert await store.get("alice", order.id) == order
        assert await store.history("alice", order.id) == stamped(life)
        assert await store.get_by_key("alice", f"k-{order.id}") == order
    signed = store._writer.execute("SELECT tx_hash FROM order_events WHERE event = 'signed'").fetchall()
    assert len(signed) == 2
    assert None not in {row[0] for row in signed}
    assert store._writer.execute("PRAGMA foreign_key_check").fetchall() == []
    store.close()


def test_processes_that_open_a_new_file_at_once_all_work(tmp_path: Path) -> None:
    """The engine and `fillwright keys`, say."""
    for n in range(10):
        path = tmp_path / f"{n}.db"
        with ThreadPoolExecutor(6) as openers:
            opened = list(openers.map(lambda _: SqliteStore(path, HandClock(), lease_s=10), range(6)))  # noqa: B023
        for store in opened:
            store.close()


def test_a_new_file_that_another_is_just_writing_opens_once_that_one_is_done(rig: SqliteRig) -> None:
    with closing(sqlite3.connect(rig.path, isolation_level=None, check_same_thread=False)) as other:
        other.executescript("CREATE TABLE something (x); BEGIN IMMEDIATE; INSERT INTO something VALUES (1)")
        with ThreadPoolExecutor(1) as opener:
            opening = opener.submit(SqliteStore, rig.path, HandClock(), lease_s=10)
            time.sleep(0.2)
            assert not opening.done()
            other.execute("ROLLBACK")
            opening.result(timeout=5).close()


@in_loop
async def test_a_busy_file_is_an_expected_failure_and_passes(rig: SqliteRig) -> None:
    async with rig.open() as store:
        store._writer.execute("PRAGMA busy_timeout = 10")
        with closing(sqlite3.connect(rig.path, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            results = await asyncio.gather(
                *(store.create(new_order(accepted(f"o-{n}"))) for n in range(3)), return_exceptions=True
            )
            assert [getattr(result, "code", None) for result in results] == [Code.STORE_UNAVAILABLE] * 3
        assert (await store.create(new_order(accepted("o-0")))).is_new


@in_loop
async def test_a_full_disk_is_an_expected_failure_and_passes(rig: SqliteRig) -> None:
    """By the system's own limit on the size of a file. tests/power does worse to a disk."""
    async with rig.open() as store:
        with _no_file_beyond(400_000):
            calls = [store.create(new_order(accepted(f"o-{n:03}"))) for n in range(600)]
            results = await asyncio.gather(*calls, return_exceptions=True)
        codes = Counter(getattr(result, "code", None) for result in results)
        assert codes.keys() == {None, Code.STORE_UNAVAILABLE}
        kept = {order.id for order in await store.page(Page(account="alice", limit=1_000))}
        assert kept == {f"o-{n:03}" for n, result in enumerate(results) if isinstance(result, Stored)}
        assert (await store.create(new_order(accepted("after")))).is_new


@contextmanager
def _no_file_beyond(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_be_opened_is_an_expected_failure(tmp_path: Path) -> None:
    nonsense = tmp_path / "orders.db"
    nonsense.write_text("not a database " * 100)
    for path in (nonsense, tmp_path, tmp_path / "nowhere" / "orders.db"):
        with pytest.raises(FillwrightError, match=str(path)) as refused:
            SqliteStore(path, HandClock(), lease_s=10)
        assert refused.value.code is Code.STORE_UNAVAILABLE


@in_loop
async def test_older_tools_find_the_history_under_its_old_name(rig: SqliteRig) -> None:
    async with rig.open() as store:
        await store.create(new_order(accepted()))
    with closing(sqlite3.connect(rig.path)) as file:
        rows = file.execute("SELECT order_id, status FROM order_status_history").fetchall()
    assert rows == [("o-1", "pending")]
