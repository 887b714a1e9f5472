"""Disks that lose power again and again, or fail for a while, with the real store on them.

Decides: what each seed's disk goes through and when its power goes. Must never: touch the store's own settings, but for
how much is written ahead (so that checkpoints are met often) and where a control weakens it on purpose.
"""

import asyncio
import shutil
import sqlite3
from collections import Counter
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import FillwrightError
from fillwright.ports import Clock
from tests.conformance.samples import HandClock
from tests.power.audit import audit
from tests.power.clients import LEASE_S, Crew, Memory
from tests.power.disk import SOUND, Cut, Disk, Faults
from tests.simulation.loop import SimLoop
from tests.simulation.runs import workshop

CUTS_PER_DISK: Final = 20
_CALLS: Final = 120
"""So many calls are made between two cuts, at most; on a failing disk, so many more when it is well."""
_FAT: Final = 60_000
# At which of its calls the power goes, at the latest; where there are fewer, it goes when all is done.
_LOG: Final = {"log write": 450, "log sync": 30}
_CHECKPOINT: Final = {"database write": 120, "database sync": 6, "database truncate": 6}
_OPENING: Final = {"journal open": 1, "journal write": 2, "journal sync": 2, "journal delete": 1, "log open": 2}
_FAULTS: Final = (
    Faults(full=True),
    Faults(write=0.02),
    Faults(sync=0.3),
    Faults(read=0.05),
    Faults(full=True, write=0.02, sync=0.2, read=0.02),
    Faults(write=1.0, sync=1.0, read=1.0),
)


class Kind(StrEnum):
    SHIPPED = "as shipped"
    FAULTS = "disk faults"
    """As shipped, on a disk that is full or fails now and then."""
    NORMAL = "synchronous=NORMAL"
    LIAR = "a disk that lies"
    """Says that it has synced, and has not."""


class Outcome(msgspec.Struct):
    """What one disk came to, or several."""

    disks: int = 0
    moments: Counter[str] = msgspec.field(default_factory=Counter)
    """Power cuts, by what they struck."""
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    struck: Counter[str] = msgspec.field(default_factory=Counter)
    lost: list[str] = []
    torn: list[str] = []
    wrong: list[str] = []

    @property
    def cuts(self) -> int:
        return self.moments.total()

    def missing(self, kind: Kind) -> list[str]:
        happened = self.moments + self.counts + self.struck
        return [strike for strike in STRIKES[kind] if not happened[strike]]

    def add(self, other: "Outcome") -> None:
        self.disks += other.disks
        self.moments += other.moments
        self.counts += other.counts
        self.struck += other.struck
        self.lost += other.lost
        self.torn += other.torn
        self.wrong += other.wrong


STRIKES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SHIPPED: (
        *("cuts while calls waited", "cuts that lost writes", "unanswered, found done", "unanswered, found not done"),
        *("write lost", "write torn", "noise", "name lost", "opening", "at rest", *_LOG, *_CHECKPOINT),
    ),
    Kind.FAULTS: (
        *("disk full", "write failed", "sync failed", "read failed", "refused", "openings refused"),
        *("refused, found done", "refused, found not done", *_LOG, *_CHECKPOINT),
    ),
}
"""What has to happen in a campaign, or it has shown nothing."""


class DiskStore(SqliteStore):
    """The real store on a disk of ours."""

    def __init__(self, path: Path, clock: Clock, disk: Disk, pragmas: list[str]) -> None:
        self._disk = disk
        super().__init__(path, clock, lease_s=LEASE_S)
        for connection in (self._writer, self._reader):
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")

    def _open(self, path: Path) -> sqlite3.Connection:
        return self._disk.connect(path)  # type: ignore[return-value]  # has what the store uses of one


def run_disk(seed: int, kind: Kind = Kind.SHIPPED, cuts: int = CUTS_PER_DISK) -> Outcome:
    """One disk from new, through all its power cuts, or to the first that broke a promise."""
    with workshop() as folder:
        return _Life(seed, kind, folder).run(cuts)


class _Life:
    def __init__(self, seed: int, kind: Kind, folder: Path) -> None:
        self._dice = dice = Random(f"{kind} {seed}")
        self._seed = seed
        self._kind = kind
        self._copy = folder / "copy"
        self._path = folder / "disk" / "orders.db"
        self._path.parent.mkdir()
        self._disk = Disk(self._path.parent, dice, lies=kind is Kind.LIAR)
        self._loop = SimLoop(seed, step_limit=100_000_000)
        self._clock = HandClock()
        self._memory = Memory()
        self._outcome = Outcome(disks=1)
        # Every 50th disk fills the log until the shipped limit; of the others, most write little ahead.
        self._is_deep = seed % 50 == 0
        self._pragmas = ["synchronous = NORMAL"] if kind is Kind.NORMAL else []
        self._is_short = not self._is_deep and dice.random() < 0.7
        if self._is_short:
            self._pragmas.append(f"wal_autocheckpoint = {dice.choice((5, 20, 60))}")

    def run(self, cuts: int) -> Outcome:
        outcome = self._outcome
        for _ in range(cuts):
            self._until_cut()
            self._judge()
            if outcome.lost or outcome.torn or outcome.wrong:
                break
        self._disk.power_up()
        self._disk.unregister()
        outcome.wrong += [f"{error.message}: {error.exception!r}" for error in self._loop.errors]
        for complaints in (outcome.lost, outcome.torn, outcome.wrong):
            complaints[:] = [f"disk {self._seed}, cut {outcome.cuts}: {complaint}" for complaint in complaints]
        self._loop.close()
        outcome.counts += self._memory.counts
        outcome.struck += self._disk.struck
        return outcome

    def _until_cut(self) -> None:
        disk = self._disk
        disk.cut_at(self._cut())
        store = self._opened()
        moment = "opening"
        if store is not None:
            self._loop.run_until_complete(self._work(store))
            moment = disk.off_at or "at rest"
            disk.power_off(moment)
            store.close()
        counts = self._memory.counts
        self._outcome.moments[moment] += 1
        counts["cuts while calls waited"] += any(
            doubt.commits is None for told in self._memory.orders.values() for doubt in told.doubts
        )
        counts["cuts in a checkpoint of the shipped size"] += self._is_deep and moment.startswith("database")

    def _opened(self) -> DiskStore | None:
        """The store; None where the power went before it was open. A failing disk is tried again when it is well."""
        disk = self._disk
        if self._kind is Kind.FAULTS and self._dice.random() < 0.3:
            disk.faults = self._dice.choice(_FAULTS)
        while not disk.is_off():
            try:
                return DiskStore(self._path, self._clock, disk, self._pragmas)
            except FillwrightError as error:
                if disk.is_off():
                    break
                if disk.faults == SOUND:
                    self._outcome.wrong.append(f"the store does not open: {error!r}")
                    break
                self._memory.counts["openings refused"] += 1
                disk.faults = SOUND
        return None

    def _cut(self) -> Cut:
        dice = self._dice
        if self._outcome.cuts == 0:
            kinds = _OPENING | _LOG | _CHECKPOINT
        elif self._is_deep:
            kinds = _CHECKPOINT
        else:
            kinds = _LOG | _CHECKPOINT if self._is_short else _LOG
        kind = dice.choice(list(kinds))
        return Cut(kind, dice.randint(1, kinds[kind]), dice.random() < 0.5)

    async def _work(self, store: SqliteStore) -> None:
        memory, disk = self._memory, self._disk
        fat = _FAT if self._is_deep else self._dice.choice((0, 0, 3_000))
        crew = Crew(store, memory, self._clock, self._dice, fat=fat, is_off=disk.is_off)
        if self._kind is Kind.FAULTS:
            trouble = asyncio.create_task(self._trouble())
            await crew.work(_CALLS)
            await trouble
        refused = memory.counts["refused"]
        await crew.work(_CALLS)
        if not disk.is_off():
            await crew.check_all()
        if not disk.is_off() and memory.counts["refused"] > refused:
            memory.wrong.append("a call was refused on a sound disk")

    async def _trouble(self) -> None:
        """Now and then the disk fails for a while."""
        for _ in range(self._dice.randint(1, 3)):
            await asyncio.sleep(self._dice.uniform(0, 0.02))
            self._disk.faults = self._dice.choice(_FAULTS)
            await asyncio.sleep(self._dice.uniform(0, 0.03))
            self._disk.faults = SOUND

    def _judge(self) -> None:
        lost_before = self._disk.struck["write lost"]
        self._disk.power_up()
        self._memory.counts["cuts that lost writes"] += self._disk.struck["write lost"] > lost_before
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._path.parent, self._copy)
        found = audit(self._copy / self._path.name, self._memory, self._clock, self._loop)
        self._outcome.lost += found.lost
        self._outcome.torn += found.torn
        self._outcome.wrong += self._memory.wrong
        self._memory.wrong.clear()
        self._clock.at += self._dice.choice((0, 1_000, 60_000))
