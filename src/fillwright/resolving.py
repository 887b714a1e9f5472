"""An operator's word on a transaction of which the chain gives no proof.

Decides: when a person may say what became of it. Must never: take a person's word where the chain's can be had, or for
the death of a transaction that may still land.
"""

from enum import StrEnum

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.executor import Executor
from fillwright.landing import look, proves_lapse
from fillwright.order import (
    Attested,
    Fill,
    Landed,
    Lapsed,
    Mode,
    Order,
    Reverted,
    Signed,
    SignedTx,
    SliceLanded,
    Status,
    landed,
    resolve,
)
from fillwright.ports import Conflict, Sighting
from fillwright.units import Atoms, Millis


class Outcome(StrEnum):
    LANDED = "landed"
    REVERTED = "reverted"
    LAPSED = "lapsed"


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order's transaction, who says so, and from what they know it."""

    outcome: Outcome
    by: str
    evidence: str
    amount_in: Atoms | None = None
    """What it swapped: both are told where it landed."""
    amount_out: Atoms | None = None


async def settle_by_hand(executor: Executor, order: Order, told: Statement) -> Order:
    """Record it, and what follows from it: after a lapse or a revert the order goes on, or ends if it was canceled.

    Raises FillwrightError: ORDER_NOT_IN_DOUBT where the chain knows, may yet tell, or has not been asked for
    `policy.unknown_s`; VALIDATION_CONTRADICTION for amounts that the transaction cannot have swapped; ORDER_CHANGED.
    """
    tx = order.tx
    if order.status is not Status.SUBMITTED or tx is None:
        raise _refused(f"the order is {order.status}; only one that is submitted can be in doubt")
    await _waited(executor, order)
    _judge(tx, told.outcome, await look(executor.chain, tx, executor.policy))
    now = executor.clock.now()
    recorded = resolve(
        order, _event(order, tx, told, now), Attested(by=told.by, evidence=told.evidence), now, executor.policy
    )
    try:
        await executor.store.record(order, recorded)
    except Conflict:
        raise FillwrightError(Code.ORDER_CHANGED, "the order has moved on meanwhile; look at it again") from None
    await executor.announce(recorded)
    return recorded[-1].order


async def _waited(executor: Executor, order: Order) -> None:
    history = await executor.store.history(order.account, order.id)
    signed_at = max((each.at for each in history if isinstance(each.event, Signed)), default=order.updated_at)
    left_s = executor.policy.unknown_s - (executor.clock.now() - signed_at) / 1_000
    if left_s > 0:
        raise _refused(f"the chain is still being asked; nobody's word is taken for another {left_s:.0f} s")


def _judge(tx: SignedTx, outcome: Outcome, sighting: Sighting | None) -> None:
    if sighting is None:
        return
    if sighting.outcome is not None:
        raise _refused("the chain knows what became of it, which will be recorded at the next look")
    if outcome is Outcome.LANDED and proves_lapse(tx, sighting):
        raise _refused("the chain proves that it never landed, which will be recorded at the next look")
    if outcome is not Outcome.LANDED and sighting.height <= tx.last_valid_height:
        left = tx.last_valid_height - sighting.height
        raise _refused(f"it may still land: by what a node says, it is valid for {left} more blocks")


def _event(order: Order, tx: SignedTx, told: Statement, now: Millis) -> Landed | SliceLanded | Reverted | Lapsed:
    match told.outcome:
        case Outcome.LANDED:
            return landed(order, _fill(order, tx, told))
        case Outcome.REVERTED:
            problem = Problem(Code.CHAIN_REVERTED, "the transaction was undone, by an operator's word")
            return Reverted(signature=tx.signature, slot=tx.signed_slot, problem=problem, retry_at=now)
        case Outcome.LAPSED:
            problem = Problem(Code.CHAIN_LAPSED, "the transaction never landed, by an operator's word")
            return Lapsed(signature=tx.signature, height=tx.last_valid_height, problem=problem, retry_at=now)


def _fill(order: Order, tx: SignedTx, told: Statement) -> Fill:
    """The chain enforced the transaction's limit, so other amounts are not what it swapped."""
    assert told.amount_in is not None
    assert told.amount_out is not None
    part = order.part
    exact_in = part.mode is Mode.EXACT_IN
    most_in = part.amount if exact_in else tx.limit
    least_out = tx.limit if exact_in else part.amount
    if not 0 < told.amount_in <= most_in:
        why = "the transaction could not have taken so much, or nothing"
        raise FillwrightError(Code.VALIDATION_CONTRADICTION, why, pointer="/amountIn")
    if told.amount_out < least_out:
        why = "the transaction could not have given so little"
        raise FillwrightError(Code.VALIDATION_CONTRADICTION, why, pointer="/amountOut")
    return Fill(signature=tx.signature, slot=tx.signed_slot, amount_in=told.amount_in, amount_out=told.amount_out)


def _refused(why: str) -> FillwrightError:
    return FillwrightError(Code.ORDER_NOT_IN_DOUBT, why)
