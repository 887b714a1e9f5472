"""The engine under fire on a localnet: a slice of the campaign, and the proof that its verdict sees what is broken."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from fillwright.units import NATIVE_MINT
from tests.solana.__main__ import report
from tests.solana.campaign import Plan, run
from tests.solana.verdict import Executed, OrderRow, Record, broken

USDC, MSOL = "usdc", "msol"
GOOD = Record(
    acknowledged=frozenset({"a", "b", "c"}),
    orders=(
        OrderRow("a", "confirmed", NATIVE_MINT, USDC, 100, 9, "sig-a"),
        OrderRow("b", "failed", USDC, NATIVE_MINT, None, None, None),
        OrderRow("c", "confirmed", MSOL, USDC, 50, 7, "sig-c"),
    ),
    executed=(
        Executed("sig-a", "a", False, 5, {NATIVE_MINT: -105, USDC: 9}),
        Executed("sig-b", "b", True, 5, {NATIVE_MINT: -5}),
        Executed("sig-c", "c", False, 5, {NATIVE_MINT: -2, MSOL: -50, USDC: 7}),
    ),
    before={NATIVE_MINT: 1_000, USDC: 1_000, MSOL: 1_000},
    after={NATIVE_MINT: 888, USDC: 1_016, MSOL: 950},
    seqs={"a": [1, 2, 3], "b": [1], "c": [1, 2]},
)
"""Of the SOL between the two swaps of `c` 3 lamports were left over."""
a, b, c = GOOD.orders
ran_a, ran_b, ran_c = GOOD.executed

DOCTORED = {
    "an order is gone": replace(GOOD, acknowledged=GOOD.acknowledged | {"d"}),
    "an order has no end": replace(GOOD, orders=(a, replace(b, status="submitted"), c)),
    "an order was executed twice": replace(GOOD, executed=(*GOOD.executed, replace(ran_a, signature="sig-a2"))),
    "a failed order was executed": replace(GOOD, executed=(ran_a, replace(ran_b, failed=False), ran_c)),
    "a confirmed order was undone": replace(GOOD, executed=(replace(ran_a, failed=True), ran_b, ran_c)),
    "a fill is of another transaction": replace(GOOD, orders=(replace(a, fill_hash="sig-b"), b, c)),
    "a fill tells too much": replace(GOOD, orders=(replace(a, filled_out=10), b, c)),
    "a fill tells too little": replace(GOOD, orders=(replace(a, filled_in=99), b, c)),
    "the wallet lost an atom": replace(GOOD, after={**GOOD.after, USDC: 1_015}),
    "the wallet gained an atom": replace(GOOD, after={**GOOD.after, NATIVE_MINT: 889}),
    "a token between two swaps was spent": replace(
        GOOD,
        executed=(ran_a, ran_b, replace(ran_c, moved={**ran_c.moved, NATIVE_MINT: -9})),
        after={**GOOD.after, NATIVE_MINT: 881},
    ),
    "a history has a gap": replace(GOOD, seqs={**GOOD.seqs, "a": [1, 3]}),
}


def test_a_good_record_breaks_nothing() -> None:
    assert broken(GOOD) == []


@pytest.mark.parametrize("how", DOCTORED)
def test_the_verdict_sees_it(how: str) -> None:
    assert broken(DOCTORED[how])


@pytest.mark.timeout(300)
def test_under_fire_every_order_settles_at_most_once_and_balances_equal_fills(tmp_path: Path) -> None:
    """`make localnet-faults` is the same with thousands of orders."""
    result = asyncio.run(run(Plan(orders=40, kill_s=(3.0, 6.0)), tmp_path))
    assert broken(result.record) == [], "\n".join(report(result))
    assert result.kills
    assert result.struck["dropped"]
    assert any(order.status == "confirmed" for order in result.record.orders)
