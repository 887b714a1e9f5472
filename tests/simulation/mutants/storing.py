"""Mutants of the store and of the claims on it.

Decides: how each safeguard of the store and the worker is switched off.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from fillwright import order
from fillwright.adapters import sqlite
from fillwright.adapters.sqlite import SqliteStore
from fillwright.order import TERMINAL, Order, Reclaimed, Recorded, Status
from fillwright.ports import Conflict, NewOrder, Stored
from fillwright.worker import Worker
from tests.simulation.mutants.patch import Mutant, Patches, change


def _no_compare_and_set() -> Patches:
    """Both halves of it: the seq in the UPDATE, and the unique seq of the events."""
    return [
        (sqlite, "_UPDATE_ORDER", sqlite._UPDATE_ORDER.replace("AND seq = ?", "AND ? > 0")),
        (sqlite, "_INSERT_EVENT", sqlite._INSERT_EVENT.replace("INSERT", "INSERT OR REPLACE")),
    ]


def _two_transactions() -> Patches:
    async def record(self: SqliteStore, before: Order, recorded: Sequence[Recorded]) -> None:
        values = (*sqlite._state(recorded[-1].order), None, before.id, before.account, before.seq)
        cursor = await self._write(lambda: self._writer.execute(sqlite._UPDATE_ORDER, values))
        if cursor.rowcount != 1:
            raise Conflict
        await self._write(lambda: self._append(recorded))

    return [(SqliteStore, "record", record)]


def _answered_first() -> Patches:
    honest = SqliteStore.create

    async def create(self: SqliteStore, new: NewOrder, *tied: NewOrder) -> Stored:
        _ = asyncio.get_running_loop().create_task(honest(self, new, *tied))
        return Stored(new.accepted.order, new.fingerprint, is_new=True)

    return [(SqliteStore, "create", create)]


def _commit_forgotten() -> Patches:
    """Every seventh transaction is rolled back and reported as done."""
    honest, done = SqliteStore._commit, [0]

    def commit(self: SqliteStore, statements: Sequence[Callable[[], Any]]) -> list[Any]:
        done[0] += 1
        if done[0] % 7:
            return honest(self, statements)
        self._writer.execute("BEGIN IMMEDIATE")
        outcomes = [statement() for statement in statements]
        self._writer.execute("ROLLBACK")
        return outcomes

    return [(SqliteStore, "_commit", commit)]


def _no_sweep() -> Patches:
    async def sweep(self: Worker, _: asyncio.TaskGroup) -> None:
        pass

    return [(Worker, "_sweep", sweep)]


def _claimable(condition: str) -> Callable[[], Patches]:
    """Another condition; each names all three parameters, as the store passes them."""
    return lambda: [(sqlite, "_CLAIMABLE", condition)]


def _terminal_revived() -> Patches:
    again: dict[Any, Any] = {(status, Reclaimed): Status.ROUTING for status in TERMINAL}
    claimable = sqlite._CLAIMABLE.replace("due_at <= :now", "(due_at <= :now OR due_at IS NULL)")
    return [(sqlite, "_CLAIMABLE", claimable), (order.TRANSITIONS, "", again)]


def _keys_forgotten() -> Patches:
    honest = SqliteStore.create

    async def create(self: SqliteStore, new: NewOrder, *tied: NewOrder) -> Stored:
        return await honest(self, change(new, idempotency_key=None), *tied)

    return [(SqliteStore, "create", create)]


def _existing_ignored() -> Patches:
    return [(SqliteStore, "_existing", lambda self, new: None)]


def _fingerprint_ignored() -> Patches:
    honest = SqliteStore._existing

    def existing(self: SqliteStore, new: NewOrder) -> Stored | None:
        found = honest(self, new)
        return found and change(found, fingerprint=new.fingerprint)

    return [(SqliteStore, "_existing", existing)]


def _accounts_ignored() -> Patches:
    honest = SqliteStore._read

    async def read(self: SqliteStore, sql: str, values: Any) -> Any:
        return await honest(self, re.sub(r"(o\.)?account = \?", "? <> ''", sql), values)

    return [(SqliteStore, "_read", read)]


MUTANTS: Final = {
    "no-compare-and-set": Mutant("a record is a compare-and-set on seq", _no_compare_and_set),
    "two-transactions": Mutant("an event and its order are stored in one transaction", _two_transactions),
    "answered-first": Mutant("an order is committed before it is acknowledged", _answered_first),
    "commit-forgotten": Mutant("what is reported as done is committed", _commit_forgotten),
    "no-sweep": Mutant("the sweep finds what no hint names", _no_sweep),
    "dead-keep-orders": Mutant(
        "a dead worker's orders may be claimed",
        _claimable("due_at <= :now AND (worker IS NULL OR worker = :worker OR :dead_since < 0)"),
    ),
    "living-are-robbed": Mutant(
        "a living worker's orders may not be claimed",
        _claimable("due_at <= :now AND :worker <> '' AND :dead_since > 0"),
    ),
    "due-ignored": Mutant(
        "an order is claimed when it is due, not before",
        _claimable("due_at > 0 AND :now > 0 AND :dead_since > 0 AND (worker IS NULL OR worker = :worker)"),
    ),
    "terminal-revived": Mutant("what has ended stays ended", _terminal_revived),
    "keys-forgotten": Mutant("an idempotency key is stored with its order", _keys_forgotten),
    "existing-ignored": Mutant("a repeated request finds its order", _existing_ignored),
    "fingerprint-ignored": Mutant("another request under a used name is refused", _fingerprint_ignored),
    "accounts-ignored": Mutant("an account finds its own orders only", _accounts_ignored),
}
