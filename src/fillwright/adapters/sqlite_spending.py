"""What wallets may have spent, in the embedded store.

Decides: its statements, which run in the store's transactions, one after another. Must never: judge a cap outside of
the transaction that counts what it lets through.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fillwright.policy import DAY_MS
from fillwright.ports import Clock, Excess, Take
from fillwright.units import Atoms, Mint, OrderId

_COUNTED: Final = (
    "SELECT coalesce(sum(s.amount), 0) FROM spendings s JOIN orders o ON o.id = s.order_id WHERE s.mint = :mint"
    " AND (o.filled_in > s.filled_before OR o.status IN ('routing', 'building', 'submitted'))"
)
_OTHERS: Final = f"{_COUNTED} AND NOT (s.order_id = :order_id AND s.filled_before = :filled)"
_OF_ORDER: Final = f"{_OTHERS} AND s.order_id = :order_id"
_OF_DAY: Final = f"{_OTHERS} AND s.at > :since"


class SqliteSpending:
    """See ports.Spending. Its calls share the store's transactions and its threads."""

    def __init__(
        self,
        read: Callable[[str, Any], Awaitable[list[tuple[Any, ...]]]],
        write: Callable[[Callable[[], Any]], Awaitable[Any]],
        writer: sqlite3.Connection,
        clock: Clock,
    ) -> None:
        self._read = read
        self._write = write
        self._writer = writer
        self._clock = clock

    async def reserve(self, order_id: OrderId, takes: Sequence[Take]) -> Excess | None:
        excess: Excess | None = await self._write(lambda: self._reserve(order_id, takes))
        return excess

    async def spent(self, mint: Mint) -> Atoms:
        values = {"mint": mint, "since": self._clock.now() - DAY_MS}
        ((amount,),) = await self._read(f"{_COUNTED} AND s.at > :since", values)
        return Atoms(amount)

    def _reserve(self, order_id: OrderId, takes: Sequence[Take]) -> Excess | None:
        now = self._clock.now()
        filled = self._one("SELECT coalesce(filled_in, 0) FROM orders WHERE id = ?", (order_id,))
        for take in takes:
            values = {"mint": take.mint, "order_id": order_id, "filled": filled, "since": now - DAY_MS}
            for cap, counted in ((take.order_cap, _OF_ORDER), (take.day_cap, _OF_DAY)):
                if cap is not None and (spent := self._one(counted, values)) + take.amount > cap:
                    return Excess(take.mint, take.amount, Atoms(spent), of_day=counted is _OF_DAY)
        self._writer.execute("DELETE FROM spendings WHERE order_id = ? AND filled_before = ?", (order_id, filled))
        self._writer.executemany(
            "INSERT INTO spendings (order_id, filled_before, mint, amount, at) VALUES (?, ?, ?, ?, ?)",
            [(order_id, filled, take.mint, take.amount, now) for take in takes],
        )
        return None

    def _one(self, sql: str, values: Any) -> int:
        ((number,),) = self._writer.execute(sql, values).fetchall()
        return int(number)
