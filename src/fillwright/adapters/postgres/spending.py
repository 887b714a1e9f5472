"""What wallets may have spent, in PostgreSQL.

Decides: its statements. Reservations take turns, behind one lock, so that each sees all before it. Must never: judge a
cap outside of the transaction that counts what it lets through.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import asyncpg

from fillwright.adapters.postgres.batch import NOW_MS
from fillwright.policy import DAY_MS
from fillwright.ports import Excess, Take
from fillwright.units import Atoms, Mint, OrderId

_ONE_BY_ONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('spendings', 0))"
_COUNTED: Final = (
    "SELECT coalesce(sum(s.amount), 0)::numeric FROM spendings s JOIN orders o ON o.id = s.order_id"
    " WHERE s.mint = {mint} AND (o.filled_in > s.filled_before OR o.status IN ('routing', 'building', 'submitted'))"
)
_OF_DAY: Final = f" AND s.at > {NOW_MS} - {DAY_MS}"
_OTHERS: Final = f"{_COUNTED.format(mint='t.mint')} AND NOT (s.order_id = $1 AND s.filled_before = filled.before)"
# The parts of one statement see the rows as they were before it, so what goes and what comes must be different rows.
_RESERVE: Final = (
    "WITH filled AS (SELECT coalesce(filled_in, 0) AS before FROM orders WHERE id = $1),"
    " asked AS (SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY"
    " AS a (mint, amount, order_cap, day_cap, nth)),"
    f" counted AS (SELECT t.*, ({_OTHERS} AND s.order_id = $1) AS of_order, ({_OTHERS}{_OF_DAY}) AS of_day"
    " FROM asked t CROSS JOIN filled),"
    " excess AS (SELECT mint, amount, CASE WHEN of_order + amount > order_cap THEN of_order ELSE of_day END AS spent,"
    " (of_order + amount > order_cap) IS NOT TRUE AS is_of_day FROM counted"
    " WHERE of_order + amount > order_cap OR of_day + amount > day_cap ORDER BY nth LIMIT 1),"
    " gone AS (DELETE FROM spendings s USING filled WHERE s.order_id = $1 AND s.filled_before = filled.before"
    " AND s.mint <> ALL ($2::text[]) AND NOT EXISTS (SELECT FROM excess)),"
    " kept AS (INSERT INTO spendings (order_id, filled_before, mint, amount, at)"
    f" SELECT $1, filled.before, asked.mint, asked.amount, {NOW_MS} FROM asked CROSS JOIN filled"
    " WHERE NOT EXISTS (SELECT FROM excess) ON CONFLICT (order_id, filled_before, mint)"
    " DO UPDATE SET amount = excluded.amount, at = excluded.at)"
    " SELECT mint, amount, spent, is_of_day FROM excess"
)
_SPENT: Final = _COUNTED.format(mint="$1") + _OF_DAY


class PostgresSpending:
    """See ports.Spending. `ask` runs one statement and commits it; `ask_after` runs another one before it, in the same
    transaction."""

    def __init__(
        self,
        ask: Callable[..., Awaitable[list[asyncpg.Record]]],
        ask_after: Callable[..., Awaitable[list[asyncpg.Record]]],
    ) -> None:
        self._ask = ask
        self._ask_after = ask_after

    async def reserve(self, order_id: OrderId, takes: Sequence[Take]) -> Excess | None:
        rows = await self._ask_after(
            (_ONE_BY_ONE,),
            _RESERVE,
            order_id,
            [take.mint for take in takes],
            [take.amount for take in takes],
            [take.order_cap for take in takes],
            [take.day_cap for take in takes],
        )
        if not rows:
            return None
        mint, amount, spent, is_of_day = rows[0]
        return Excess(Mint(mint), Atoms(amount), Atoms(int(spent)), of_day=is_of_day)

    async def spent(self, mint: Mint) -> Atoms:
        ((amount,),) = await self._ask(_SPENT, mint)
        return Atoms(int(amount))
