"""The swaps of one transaction with amounts that are fixed when it is signed. Pure.

Decides: what one swap hands to the next. A program cannot be told to swap all that arrived, so the next swap is written
for a little less than the one before it is quoted; for exact out, the one before it for a little more than is needed.
That is the hop tolerance. The amount at the order's fixed end is met exactly; what the tolerance did not need stays in
the wallet, as the token between the two swaps. Must never: let a taker's limit slip by a unit.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool
from fillwright.pools import pool as p
from fillwright.ports import Instruction
from fillwright.programs import Accounts, Program, SwapCall, by_id
from fillwright.programs.token import associated
from fillwright.units import BPS_ONE, Atoms, Bps, Mint, ceil_div

HOP_TOLERANCE_BPS: Final = Bps(10)


def calls_of(
    wishes: Sequence[Instruction], *, wallet: str, accounts: Accounts, now: ChainTime, hop_tolerance_bps: Bps
) -> list[SwapCall]:
    """One call a wish, in the same order; single swaps and parallel ones exactly as wished.

    `accounts` are all that the pools need; at `now` that is quoted which lies between two swaps. The tolerance is cut
    to half of what the wishes' limits leave, so that it does not break them by itself. Raises PoolRefused.
    """
    told = _told(wishes, accounts, now, hop_tolerance_bps)
    return [
        SwapCall(
            pool=wish.pool,
            mode=mode,
            mint_in=wish.mint_in,
            mint_out=wish.mint_out,
            amount=amount,
            limit=limit,
            owner=wallet,
            source=associated(wallet, wish.mint_in),
            destination=associated(wallet, wish.mint_out),
        )
        for wish, (mode, amount, limit) in zip(wishes, told, strict=True)
    ]


def limit_of(wishes: Sequence[Instruction]) -> Atoms:
    """The bound of the whole: the limits at the end that is not fixed, added up."""
    if wishes[0].mode is Mode.EXACT_IN:
        return Atoms(sum(wish.limit for wish in wishes if wish.mint_out == wishes[-1].mint_out))
    return Atoms(sum(wish.limit for wish in wishes if wish.mint_in == wishes[0].mint_in))


def program_of(pool: str, accounts: Accounts) -> Program:
    """The program whose pool this is. Raises PoolRefused."""
    account = accounts.get(pool)
    program = by_id(account.owner) if account is not None else None
    if program is None:
        raise p.refused(f"{pool} is not known as a pool of any program here")
    return program


def _told(
    wishes: Sequence[Instruction], accounts: Accounts, now: ChainTime, tolerance_bps: Bps
) -> list[tuple[Mode, Atoms, Atoms]]:
    """Mode, amount and limit of each swap."""
    ends = {wishes[0].mint_in, wishes[-1].mint_out}
    if all({wish.mint_in, wish.mint_out} == ends for wish in wishes):
        return [(wish.mode, wish.amount, wish.limit) for wish in wishes]
    tight = _Hops(wishes, accounts, now, Bps(0))
    tightly = tight.told()
    loose = _Hops(wishes, accounts, now, Bps(max(0, min(tolerance_bps, tight.slack_bps // 2))))
    loosely = loose.told()
    return loosely if loose.slack_bps >= 0 else tightly  # of few atoms, one is more than the slack


class _Hops:
    """Tokens between two swaps, shared among the swaps that wait for them as they were quoted."""

    def __init__(self, wishes: Sequence[Instruction], accounts: Accounts, now: ChainTime, tolerance_bps: Bps) -> None:
        self._wishes, self._accounts, self._now, self._tolerance_bps = wishes, accounts, now, tolerance_bps
        self._token_in, self._token_out = wishes[0].mint_in, wishes[-1].mint_out
        self._held: dict[Mint, int] = defaultdict(int)
        self._waiting: dict[Mint, int] = defaultdict(int)
        for wish in wishes:
            self._waiting[_near(wish)] += wish.amount
        self.slack_bps = BPS_ONE
        """By how much the quotes keep their limits, once all are told; below 0 where one does not."""

    def told(self) -> list[tuple[Mode, Atoms, Atoms]]:
        if self._wishes[0].mode is Mode.EXACT_IN:
            return [self._forwards(wish) for wish in self._wishes]
        return [self._backwards(wish) for wish in reversed(self._wishes)][::-1]

    def _forwards(self, wish: Instruction) -> tuple[Mode, Atoms, Atoms]:
        amount = wish.amount if wish.mint_in == self._token_in else self._share(wish)
        quoted = self._pool(wish).quote_in(amount, wish.mint_in, self._now).amount_out
        if wish.mint_out == self._token_out:
            self._keep_slack(quoted - wish.limit, quoted)
            return Mode.EXACT_IN, amount, wish.limit
        arrives = Atoms(quoted - self._tolerance(quoted))
        if arrives <= 0:
            raise p.unfillable(f"too little of {wish.mint_out} would arrive to be swapped on")
        self._held[wish.mint_out] += arrives
        return Mode.EXACT_IN, amount, arrives

    def _backwards(self, wish: Instruction) -> tuple[Mode, Atoms, Atoms]:
        amount = wish.amount if wish.mint_out == self._token_out else self._share(wish)
        quoted = self._pool(wish).quote_out(amount, wish.mint_in, self._now).amount_in
        if wish.mint_in == self._token_in:
            self._keep_slack(wish.limit - quoted, quoted)
            return Mode.EXACT_OUT, amount, wish.limit
        needed = Atoms(quoted + self._tolerance(quoted))
        self._held[wish.mint_in] += needed
        return Mode.EXACT_OUT, amount, needed

    def _pool(self, wish: Instruction) -> Pool:
        return program_of(wish.pool, self._accounts).decode(wish.pool, self._accounts)

    def _keep_slack(self, left: int, quoted: int) -> None:
        self.slack_bps = min(self.slack_bps, left * BPS_ONE // quoted)

    def _share(self, wish: Instruction) -> Atoms:
        """This swap's part of what is held; the last one takes the rest."""
        mint = _near(wish)
        part = self._held[mint] * wish.amount // self._waiting[mint]
        self._held[mint] -= part
        self._waiting[mint] -= wish.amount
        return Atoms(part)

    def _tolerance(self, amount: int) -> int:
        return ceil_div(amount * self._tolerance_bps, BPS_ONE)


def _near(wish: Instruction) -> Mint:
    """The token at the end of this swap that comes first."""
    return wish.mint_in if wish.mode is Mode.EXACT_IN else wish.mint_out
