"""One simulated transaction on the pools: all its swaps, or none. Pure.

Decides: how much each swap of several moves. Must never: let a taker's limit slip by a unit.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from fillwright.adapters.sim.market import SimPool
from fillwright.errors import Code, FillwrightError
from fillwright.order import Mode
from fillwright.pools import ChainTime, Swap
from fillwright.ports import Instruction
from fillwright.units import Atoms, Mint


class Outcome(msgspec.Struct, frozen=True):
    """What the taker paid and got, and the pools it left behind."""

    amount_in: int
    amount_out: int
    touched: dict[str, SimPool]


def execute(instructions: Sequence[Instruction], pool_of: Callable[[str], SimPool], time: ChainTime) -> Outcome:
    """Raises FillwrightError, with nothing moved: CHAIN_SLIPPAGE, POOL_LIQUIDITY, POOL_REFUSED.

    Between the first and the last token nothing is left over (ports.Instruction): exact in runs forwards and hands on
    all that arrived; exact out runs backwards and asks for just what is needed.
    """
    exact_in = instructions[0].mode is Mode.EXACT_IN
    touched: dict[str, SimPool] = {}
    token_in, token_out = instructions[0].mint_in, instructions[-1].mint_out
    carried = _Carried(instructions, exact_in=exact_in)
    paid = bought = 0
    for wish in instructions if exact_in else reversed(instructions):
        pool = touched.get(wish.pool) or pool_of(wish.pool)
        amount = wish.amount if _is_fixed(wish, token_in, token_out) else carried.share(wish)
        swap, touched[wish.pool] = _swapped(pool, wish, Atoms(amount), time)
        carried.pass_on(wish, swap)
        if wish.mint_in == token_in:
            paid += swap.amount_in
        if wish.mint_out == token_out:
            bought += swap.amount_out
    return Outcome(paid, bought, touched)


def limit_of(instructions: Sequence[Instruction]) -> Atoms:
    """The bound of the whole: the limits at the end that is not fixed, added up."""
    token_in, token_out = instructions[0].mint_in, instructions[-1].mint_out
    if instructions[0].mode is Mode.EXACT_IN:
        return Atoms(sum(wish.limit for wish in instructions if wish.mint_out == token_out))
    return Atoms(sum(wish.limit for wish in instructions if wish.mint_in == token_in))


class _Carried:
    """Intermediate tokens on their way, shared among the swaps that wait for them as they were quoted."""

    def __init__(self, instructions: Sequence[Instruction], *, exact_in: bool) -> None:
        self._exact_in = exact_in
        self._held: dict[Mint, int] = defaultdict(int)
        self._quoted: dict[Mint, int] = defaultdict(int)
        for wish in instructions:
            self._quoted[self._near(wish)] += wish.amount

    def share(self, wish: Instruction) -> int:
        """This swap's part of what is carried; the last one takes the rest."""
        mint = self._near(wish)
        part = self._held[mint] * wish.amount // self._quoted[mint]
        self._held[mint] -= part
        self._quoted[mint] -= wish.amount
        return part

    def pass_on(self, wish: Instruction, swap: Swap) -> None:
        if self._exact_in:
            self._held[wish.mint_out] += swap.amount_out
        else:
            self._held[wish.mint_in] += swap.amount_in

    def _near(self, wish: Instruction) -> Mint:
        return wish.mint_in if self._exact_in else wish.mint_out


def _is_fixed(wish: Instruction, token_in: Mint, token_out: Mint) -> bool:
    """Whether the order itself fixes this swap's amount."""
    return wish.mint_in == token_in if wish.mode is Mode.EXACT_IN else wish.mint_out == token_out


def _swapped(pool: SimPool, wish: Instruction, amount: Atoms, time: ChainTime) -> tuple[Swap, SimPool]:
    """The program's swap with the taker's limit enforced, as the programs do."""
    if {wish.mint_in, wish.mint_out} != {pool.mint_0, pool.mint_1}:
        raise FillwrightError(Code.POOL_REFUSED, f"pool {pool.address} does not trade {wish.mint_in}/{wish.mint_out}")
    if wish.mode is Mode.EXACT_IN:
        swap, after = pool.swap_in(amount, wish.mint_in, time)
        if swap.amount_out < wish.limit:
            raise _slipped(f"output {swap.amount_out} is below the minimum {wish.limit}")
    else:
        swap, after = pool.swap_out(amount, wish.mint_in, time)
        if swap.amount_in > wish.limit:
            raise _slipped(f"input {swap.amount_in} is above the maximum {wish.limit}")
    return swap, after


def _slipped(detail: str) -> FillwrightError:
    return FillwrightError(Code.CHAIN_SLIPPAGE, f"slippage tolerance exceeded: {detail}")
