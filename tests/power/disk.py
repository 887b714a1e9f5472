"""A disk with a volatile cache under SQLite: what was written and not yet synced is lost, in part, when the power goes.

Decides: what is durable and when, what of the rest survives a cut, and which calls fail. Must never: lose a byte that
was synced, or let a program read anything but what it wrote.

A file's bytes and length are durable once it is synced; a name's creation or removal once its folder is, which
SQLite's own layer does at the first sync of a journal or log and at a deletion that asks for it. Until then each sector
of each write survives or not, in any order, or as noise. Bytes beside a write are safe, even in its sector: SQLite
assumes as much of a disk ("powersafe overwrite"), and so does the store. The index of the log (-shm) is memory.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import apsw

_SECTORS: Final = (512, 4_096)
_LOCK_TIMEOUT_MS: Final = 5_000


class Cut(NamedTuple):
    """The power goes at the nth call of this kind, right before it or right after it."""

    kind: str
    nth: int
    after: bool


class Faults(NamedTuple):
    """How a disk misbehaves. A failed sync is the kernel's: what it did not save is taken for saved from then on."""

    full: bool = False
    """No file can grow."""
    write: float = 0.0
    sync: float = 0.0
    read: float = 0.0


SOUND: Final = Faults()


class _Change(NamedTuple):
    """What the cache holds of one write, or that a file ends at `offset` (`data` is None)."""

    platter: bytearray
    offset: int
    data: bytes | None

    def reach(self) -> None:
        if len(self.platter) < self.offset:
            self.platter.extend(bytes(self.offset - len(self.platter)))
        if self.data is None:
            del self.platter[self.offset :]
        else:
            self.platter[self.offset : self.offset + len(self.data)] = self.data

    def sectors(self, size: int) -> Iterator["_Change"]:
        if self.data is None:
            yield self
            return
        at = 0
        while at < len(self.data):
            end = at + size - (self.offset + at) % size
            yield self._replace(offset=self.offset + at, data=self.data[at:end])
            at = end


class Disk(apsw.VFS):
    """One folder. Programs see its files as they wrote them; their platters lag behind, and are what a cut leaves."""

    def __init__(self, folder: Path, dice: Random, *, lies: bool = False) -> None:
        """`lies`: it says that it has synced, and has not."""
        self.folder = folder
        self.struck: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.faults = SOUND
        self.off_at: str | None = None
        """What was under way when the power went; None while it is on."""
        self._dice = dice
        self._lies = lies
        self._cut: Cut | None = None
        self._cache: list[_Change] = []
        self._names: dict[str, bytearray] = {}
        self._synced_names: dict[str, bytearray] = {}
        self._open: list[Connection] = []
        self.vfs_name = f"disk-{id(self)}"
        super().__init__(self.vfs_name, "unix")

    def connect(self, path: Path) -> "Connection":
        connection = Connection(path, self.vfs_name)
        self._open.append(connection)
        return connection

    # --- power ----------------------------------------------------------------------------------------------

    def cut_at(self, cut: Cut) -> None:
        self.calls.clear()
        self._cut = cut

    def is_off(self) -> bool:
        return self.off_at is not None

    def power_off(self, moment: str) -> None:
        self.off_at = moment

    def power_up(self) -> None:
        """Start anew with what has survived."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        share = self._share()
        for name in sorted(self._names.keys() | self._synced_names.keys()):
            self._pick_name(name, share)
        self._settle(self._cache, share)
        self._cache.clear()
        self._names = dict(self._synced_names)
        for file in self.folder.iterdir():
            file.unlink()
        for name, platter in self._names.items():
            Path(name).write_bytes(platter)
        self._cut = self.off_at = None
        self.faults = SOUND

    def _share(self) -> float:
        """How much of what was not synced survives this time."""
        return self._dice.choice((0.0, 0.1, 0.5, 0.9, 1.0))

    def _pick_name(self, name: str, share: float) -> None:
        synced, current = self._synced_names.get(name), self._names.get(name)
        if synced is current:
            return
        if self._dice.random() >= share:
            self.struck["name lost"] += 1
        elif current is None:
            del self._synced_names[name]
        else:
            self._synced_names[name] = current

    def _settle(self, changes: Iterable[_Change], share: float) -> None:
        """The power or a sync has failed: some of it reaches the platter, by sectors, in order or not."""
        dice, size = self._dice, self._dice.choice(_SECTORS)
        pieces = [(change, piece) for change in changes for piece in change.sectors(size)]
        in_order = dice.random() < 0.5
        kept, lost = set[int](), set[int]()
        for place, (change, piece) in enumerate(pieces):
            survives = place < share * len(pieces) if in_order else dice.random() < share
            (kept if survives else lost).add(id(change))
            if survives:
                piece.reach()
            elif piece.data is not None and not in_order and dice.random() < 0.05:
                piece._replace(data=dice.randbytes(len(piece.data))).reach()
                self.struck["noise"] += 1
        self.struck["write lost"] += len(lost - kept)
        self.struck["write torn"] += len(lost & kept)

    # --- what files and folders do --------------------------------------------------------------------------

    @contextmanager
    def call(self, kind: str) -> Iterator[None]:
        """Everything that changes the disk happens within one; the power may go at either end of it."""
        self.need_power()
        self.calls[kind] += 1
        cut = self._cut
        struck = cut is not None and cut.kind == kind and cut.nth == self.calls[kind]
        if struck and cut is not None and not cut.after:
            self.power_off(kind)
            self.need_power()
        yield
        if struck:
            self.power_off(kind)
            self.need_power()

    def need_power(self) -> None:
        if self.is_off():
            raise apsw.exception_for(apsw.SQLITE_IOERR)

    def fails(self, kind: str, rate: float) -> bool:
        failed = rate > 0 and self._dice.random() < rate
        self.struck[kind] += failed
        return failed

    def part_of(self, data: bytes) -> bytes:
        return data[: self._dice.randrange(len(data))]

    def file(self, name: str) -> bytearray:
        if name not in self._names:
            self._names[name] = bytearray()
        return self._names[name]

    def write(self, platter: bytearray, offset: int, data: bytes | None) -> None:
        self._cache.append(_Change(platter, offset, data))

    def sync(self, platter: bytearray, *, failing: bool = False) -> None:
        if self._lies:
            return
        mine = [change for change in self._cache if change.platter is platter]
        self._cache = [change for change in self._cache if change.platter is not platter]
        if failing:
            self._settle(mine, self._share())
            return
        for change in mine:
            change.reach()

    def sync_names(self) -> None:
        if not self._lies:
            self._synced_names = dict(self._names)

    # --- SQLite's interface ---------------------------------------------------------------------------------

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:  # a temporary file: no power cut finds it
            return apsw.VFSFile("unix", name, flags)
        with self.call(f"{_role(_text(name))} open"):
            return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        with self.call(f"{_role(filename)} delete"):
            super().xDelete(filename, syncdir)
            self._names.pop(filename)
            if syncdir:
                self.sync_names()

    def excepthook(self, *_: object) -> None:  # type: ignore[override]  # a failure nobody waits for is not news
        pass


class _File(apsw.VFSFile):
    """Writes through to the real file, for all to read, and into the disk's cache."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._role = _role(_text(name))
        self._platter = disk.file(_text(name))
        # As SQLite's own layer: the first sync of a log or a journal is its folder's as well.
        self._names_unsynced = self._role != "database" and bool(flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.need_power()
        if self._disk.fails("read failed", self._disk.faults.read):
            raise apsw.exception_for(apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        disk, whole = self._disk, bytes(data)
        with disk.call(f"{self._role} write"):
            full = disk.faults.full and offset + len(whole) > self.xFileSize()
            failed = disk.fails("disk full", float(full)) or disk.fails("write failed", disk.faults.write)
            written = disk.part_of(whole) if failed else whole
            if written:
                super().xWrite(written, offset)
                disk.write(self._platter, offset, written)
            if failed:
                raise apsw.exception_for(apsw.SQLITE_FULL if full else apsw.SQLITE_IOERR_WRITE)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        with self._disk.call(f"{self._role} truncate"):
            super().xTruncate(newsize)
            self._disk.write(self._platter, newsize, None)

    def xSync(self, flags: int) -> None:  # noqa: N802
        with self._disk.call(f"{self._role} sync"):
            if self._disk.fails("sync failed", self._disk.faults.sync):
                self._disk.sync(self._platter, failing=True)
                raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
            self._disk.sync(self._platter)
            if self._names_unsynced:
                self._disk.sync_names()
                self._names_unsynced = False

    def excepthook(self, *_: object) -> None:  # type: ignore[override]
        pass


def _text(name: str | apsw.URIFilename) -> str:
    return name if isinstance(name, str) else name.filename()


def _role(name: str) -> str:
    return "log" if name.endswith("-wal") else "journal" if name.endswith("-journal") else "database"


# --- the standard library's connection, on such a disk ------------------------------------------------------


class Rows:
    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self.rowcount = rowcount
        self._rows = rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows


class Connection:
    """As much of sqlite3.Connection as the store uses. The standard library's own cannot be given another disk."""

    def __init__(self, path: Path, vfs: str) -> None:
        with _as_sqlite3():
            self._connection = apsw.Connection(str(path), vfs=vfs)
        self._connection.set_busy_timeout(_LOCK_TIMEOUT_MS)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, values: Any = ()) -> Rows:
        with _as_sqlite3():
            rows = self._connection.execute(sql, values).fetchall()
        match rows:
            case [(int(pages),)] if "wal_autocheckpoint" in sql:
                self._write_ahead(pages)
        return Rows(rows, self._connection.changes())

    def _write_ahead(self, pages: int) -> None:
        """SQLite's own hook ignores a checkpoint that fails, as the commit is done; under it the failure would show."""

        def committed(connection: apsw.Connection, name: str, written: int) -> int:
            if written >= pages:
                with suppress(apsw.Error):
                    connection.wal_checkpoint(name)
            return apsw.SQLITE_OK

        self._connection.set_wal_hook(committed)

    def executemany(self, sql: str, values: Iterable[tuple[Any, ...]]) -> None:
        with _as_sqlite3():
            self._connection.executemany(sql, values)

    def executescript(self, script: str) -> None:
        self.execute(script)

    def close(self) -> None:
        with suppress(apsw.Error):
            self._connection.close(force=True)


@contextmanager
def _as_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.ConstraintError as error:
        raise sqlite3.IntegrityError(*error.args) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise sqlite3.DatabaseError(*error.args) from error
    except apsw.Error as error:
        raised = sqlite3.OperationalError(*error.args)
        raised.sqlite_errorcode = getattr(error, "extendedresult", sqlite3.SQLITE_ERROR)
        raise raised from error
