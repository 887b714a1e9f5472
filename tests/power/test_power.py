"""A slice of the power cuts at every `make test`, with the controls that show that the audit can fail.

Must never: depend on one cut's course, only on what some of many have to show.
"""

import sqlite3
from typing import Any

import pytest

from tests.power.campaign import Kind, Outcome, run_disk
from tests.power.disk import Connection, Rows


def _run(kind: Kind, disks: int) -> Outcome:
    total = Outcome()
    for seed in range(1, 1 + disks):
        total.add(run_disk(seed, kind))
    return total


@pytest.mark.parametrize(("kind", "disks"), [(Kind.SHIPPED, 6), (Kind.FAULTS, 4)])
def test_no_cut_and_no_fault_loses_or_tears_what_was_acknowledged(kind: Kind, disks: int) -> None:
    total = _run(kind, disks)
    assert total.lost + total.torn + total.wrong == []
    assert total.missing(kind) == []


def test_the_audit_sees_a_commit_that_was_not_synced() -> None:
    assert _run(Kind.NORMAL, 4).lost


def test_the_audit_sees_a_disk_that_lies() -> None:
    total = _run(Kind.LIAR, 8)
    assert total.lost
    assert total.torn


def test_the_audit_sees_a_failed_commit_that_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    execute = Connection.execute

    def careless(self: Connection, sql: str, values: Any = ()) -> Rows:
        try:
            return execute(self, sql, values)
        except sqlite3.Error:
            if sql == "COMMIT":
                return Rows([], 0)
            raise

    monkeypatch.setattr(Connection, "execute", careless)
    total = _run(Kind.FAULTS, 4)
    assert total.lost
    assert total.wrong


def test_a_disk_replays_exactly() -> None:
    assert run_disk(3, Kind.FAULTS, cuts=5) == run_disk(3, Kind.FAULTS, cuts=5)
