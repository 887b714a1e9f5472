"""Several swaps as one transaction: nothing left over between them, limits to the unit, all or nothing.

Expected amounts are worked out here pool by pool, with the pools' own `swap_in` and `swap_out`.
"""

from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.adapters.sim.listing import SimPool
from fillwright.adapters.sim.market import BONK, SOL, USDC, USDT, default_market
from fillwright.adapters.sim.swaps import Outcome, execute, limit_of
from fillwright.errors import Code, FillwrightError
from fillwright.order import Mode
from fillwright.pools import ChainTime
from fillwright.ports import Instruction
from fillwright.units import Atoms, Token

NOW = ChainTime(slot=415_822_000, unix_seconds=1_790_000_000)
POOLS = {pool.address: pool for pool in default_market(1).pools}
AMM = "sim-raydium-amm_v4-SOL-USDC"
CLMM = "sim-raydium-clmm-SOL-USDC"
DLMM = "sim-meteora-dlmm-SOL-USDC"
DAMM = "sim-meteora-damm_v2-SOL-USDC"
AMM_USDT = "sim-raydium-amm_v4-SOL-USDT"
STABLE = "sim-raydium-cpmm-USDC-USDT"
OTHER_STABLE = "sim-meteora-damm_v2-USDC-USDT"
MEME = "sim-raydium-amm_v4-BONK-SOL"
EVERY_KIND = (AMM, "sim-raydium-cpmm-SOL-USDC", CLMM, DLMM, DAMM)
SIZE = 40 * 10**9

amounts = st.integers(10**6, 10**12)


def leg(
    pool: str,
    token_in: Token,
    token_out: Token,
    amount: int,
    *,
    mode: Mode = Mode.EXACT_IN,
    limit: int | None = None,
) -> Instruction:
    """Without a limit it takes anything."""
    anything = 1 if mode is Mode.EXACT_IN else 2**63
    return Instruction(
        venue=POOLS[pool].venue,
        pool=pool,
        mint_in=token_in.mint,
        mint_out=token_out.mint,
        mode=mode,
        amount=Atoms(amount),
        limit=Atoms(anything if limit is None else limit),
    )


def run(*instructions: Instruction) -> Outcome:
    return execute(instructions, POOLS.__getitem__, NOW)


def sold(pool: str, amount: int, token_in: Token) -> tuple[int, SimPool]:
    swap, after = POOLS[pool].swap_in(Atoms(amount), token_in.mint, NOW)
    return swap.amount_out, after


def bought(pool: str, amount: int, token_in: Token) -> tuple[int, SimPool]:
    swap, after = POOLS[pool].swap_out(Atoms(amount), token_in.mint, NOW)
    return swap.amount_in, after


def moved(outcome: Outcome) -> dict[str, int]:
    """What each token's vaults have gained, over all pools touched."""
    gained: dict[str, int] = defaultdict(int)
    for address, after in outcome.touched.items():
        before = POOLS[address]
        gained[before.mint_0] += after.vault_0_amount - before.vault_0_amount
        gained[before.mint_1] += after.vault_1_amount - before.vault_1_amount
    return {mint: amount for mint, amount in gained.items() if amount}


# ---- one hop


@pytest.mark.parametrize("pool", EVERY_KIND)
def test_one_swap_is_the_pool_s_own(pool: str) -> None:
    out, after = sold(pool, SIZE, SOL)
    assert run(leg(pool, SOL, USDC, SIZE)) == Outcome(SIZE, out, {pool: after})
    paid, after = bought(pool, SIZE, USDC)
    assert run(leg(pool, USDC, SOL, SIZE, mode=Mode.EXACT_OUT)) == Outcome(paid, SIZE, {pool: after})


@given(amounts, amounts, amounts)
def test_parallel_swaps_add_up(first: int, second: int, third: int) -> None:
    parts = {AMM: first, CLMM: second, DLMM: third}
    outcome = run(*(leg(pool, SOL, USDC, amount) for pool, amount in parts.items()))
    each = {pool: sold(pool, amount, SOL) for pool, amount in parts.items()}
    assert outcome.amount_in == sum(parts.values())
    assert outcome.amount_out == sum(out for out, _ in each.values())
    assert outcome.touched == {pool: after for pool, (_, after) in each.items()}


def test_two_swaps_of_one_pool_happen_one_after_the_other() -> None:
    first, after = POOLS[DLMM].swap_in(Atoms(SIZE), SOL.mint, NOW)
    second, end = after.swap_in(Atoms(SIZE), SOL.mint, NOW)
    outcome = run(leg(DLMM, SOL, USDC, SIZE), leg(DLMM, SOL, USDC, SIZE))
    assert outcome == Outcome(2 * SIZE, first.amount_out + second.amount_out, {DLMM: end})


def test_a_round_trip_counts_each_end_once() -> None:
    out, _ = sold(AMM, SIZE, SOL)
    back, _ = sold(DAMM, out, USDC)
    outcome = run(leg(AMM, SOL, USDC, SIZE), leg(DAMM, USDC, SOL, 1))
    assert (outcome.amount_in, outcome.amount_out) == (SIZE, back)


# ---- hops: nothing is left over


@pytest.mark.parametrize("quoted", [1, 10**6, 10**15])
def test_exact_in_swaps_all_that_arrived_whatever_was_quoted(quoted: int) -> None:
    arrived, _ = sold(AMM, SIZE, SOL)
    out, _ = sold(STABLE, arrived, USDC)
    outcome = run(leg(AMM, SOL, USDC, SIZE), leg(STABLE, USDC, USDT, quoted))
    assert (outcome.amount_in, outcome.amount_out) == (SIZE, out)
    assert moved(outcome) == {SOL.mint: SIZE, USDT.mint: -out}


@pytest.mark.parametrize("quoted", [1, 10**6, 10**15])
def test_exact_out_asks_for_just_what_is_needed(quoted: int) -> None:
    needed, _ = bought(STABLE, 10**9, USDC)
    paid, _ = bought(AMM, needed, SOL)
    outcome = run(leg(AMM, SOL, USDC, quoted, mode=Mode.EXACT_OUT), leg(STABLE, USDC, USDT, 10**9, mode=Mode.EXACT_OUT))
    assert (outcome.amount_in, outcome.amount_out) == (paid, 10**9)
    assert moved(outcome) == {SOL.mint: paid, USDT.mint: -(10**9)}


def test_an_intermediate_is_shared_as_it_was_quoted_and_the_last_takes_the_rest() -> None:
    arrived = sold(AMM, SIZE, SOL)[0] + sold(DLMM, SIZE, SOL)[0]
    mine = arrived // 3
    out = sold(STABLE, mine, USDC)[0] + sold(OTHER_STABLE, arrived - mine, USDC)[0]
    outcome = run(
        leg(AMM, SOL, USDC, SIZE),
        leg(DLMM, SOL, USDC, SIZE),
        leg(STABLE, USDC, USDT, 1_000),
        leg(OTHER_STABLE, USDC, USDT, 2_000),
    )
    assert (outcome.amount_in, outcome.amount_out) == (2 * SIZE, out)
    assert moved(outcome) == {SOL.mint: 2 * SIZE, USDT.mint: -out}


@given(amounts, amounts, amounts, st.integers(1, 10**3), st.integers(1, 10**3))
def test_exact_in_of_a_split_with_hops_leaves_nothing_between(a: int, b: int, c: int, share: int, other: int) -> None:
    """SOL -> USDC twice, on over two pools to USDT, and straight to USDT beside it."""
    outcome = run(
        leg(CLMM, SOL, USDC, a),
        leg(DLMM, SOL, USDC, b),
        leg(STABLE, USDC, USDT, share),
        leg(OTHER_STABLE, USDC, USDT, other),
        leg(AMM_USDT, SOL, USDT, c),
    )
    assert outcome.amount_in == a + b + c
    assert moved(outcome) == {SOL.mint: a + b + c, USDT.mint: -outcome.amount_out}


@given(st.integers(10**6, 10**10), st.integers(10**6, 10**10), st.integers(1, 10**6), st.integers(1, 10**6))
def test_exact_out_of_a_split_with_hops_leaves_nothing_between(a: int, b: int, share: int, other: int) -> None:
    out = Mode.EXACT_OUT
    outcome = run(
        leg(AMM, SOL, USDC, share, mode=out),
        leg(DAMM, SOL, USDC, other, mode=out),
        leg(STABLE, USDC, USDT, a, mode=out),
        leg(AMM_USDT, SOL, USDT, b, mode=out),
    )
    assert outcome.amount_out == a + b
    assert moved(outcome) == {SOL.mint: outcome.amount_in, USDT.mint: -(a + b)}


def test_three_tokens_with_odd_decimals_in_a_row() -> None:
    sol, _ = sold(MEME, 10**12, BONK)
    usdc, _ = sold(CLMM, sol, SOL)
    outcome = run(leg(MEME, BONK, SOL, 10**12), leg(CLMM, SOL, USDC, 7))
    assert (outcome.amount_in, outcome.amount_out) == (10**12, usdc)


# ---- limits


@pytest.mark.parametrize("pool", EVERY_KIND)
def test_a_limit_holds_to_the_unit(pool: str) -> None:
    out, _ = sold(pool, SIZE, SOL)
    assert run(leg(pool, SOL, USDC, SIZE, limit=out)).amount_out == out
    paid, _ = bought(pool, SIZE, USDC)
    assert run(leg(pool, USDC, SOL, SIZE, mode=Mode.EXACT_OUT, limit=paid)).amount_in == paid
    for too_tight in (
        leg(pool, SOL, USDC, SIZE, limit=out + 1),
        leg(pool, USDC, SOL, SIZE, mode=Mode.EXACT_OUT, limit=paid - 1),
    ):
        with pytest.raises(FillwrightError) as slipped:
            run(too_tight)
        assert slipped.value.code is Code.CHAIN_SLIPPAGE
        assert slipped.value.problem.retryable


def test_each_leg_s_limit_counts_not_their_sum() -> None:
    """A surplus of one leg does not make up for another."""
    rich, poor = sold(AMM, SIZE, SOL)[0], sold(DAMM, SIZE, SOL)[0]
    with pytest.raises(FillwrightError) as slipped:
        run(leg(AMM, SOL, USDC, SIZE, limit=rich - 100), leg(DAMM, SOL, USDC, SIZE, limit=poor + 1))
    assert slipped.value.code is Code.CHAIN_SLIPPAGE


def test_the_limit_of_the_whole_is_that_of_the_end_that_is_not_fixed() -> None:
    hops = [
        leg(AMM, SOL, USDC, SIZE, limit=5),
        leg(STABLE, USDC, USDT, 1, limit=70),
        leg(AMM_USDT, SOL, USDT, SIZE, limit=11),
    ]
    assert limit_of(hops) == 81
    out = Mode.EXACT_OUT
    hops = [
        leg(AMM, SOL, USDC, 1, mode=out, limit=5),
        leg(STABLE, USDC, USDT, SIZE, mode=out, limit=70),
        leg(AMM_USDT, SOL, USDT, SIZE, mode=out, limit=11),
    ]
    assert limit_of(hops) == 16


# ---- all or nothing


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (leg(STABLE, USDC, USDT, 1, limit=10**18), Code.CHAIN_SLIPPAGE),
        (leg(OTHER_STABLE, USDT, USDC, 1), Code.POOL_LIQUIDITY),
        (leg(AMM, SOL, USDT, SIZE), Code.POOL_REFUSED),
        (leg(AMM, BONK, USDC, SIZE), Code.POOL_REFUSED),
    ],
    ids=["limit", "nothing arrived", "another token out", "another token in"],
)
def test_a_failing_last_leg_moves_nothing(last: Instruction, code: Code) -> None:
    """`execute` hands the pools over only when all is done; those it was given are values."""
    before = dict(POOLS)
    asked = list[str]()
    with pytest.raises(FillwrightError) as failed:
        execute([leg(AMM, SOL, USDC, SIZE), leg(DLMM, SOL, USDC, SIZE), last], noting(asked), NOW)
    assert failed.value.code is code
    assert asked[:2] == [AMM, DLMM], "it came to the last one"
    assert before == POOLS


def noting(asked: list[str]) -> Callable[[str], SimPool]:
    def pool_of(address: str) -> SimPool:
        asked.append(address)
        return POOLS[address]

    return pool_of


def test_more_than_there_is_cannot_be_bought() -> None:
    for pool in EVERY_KIND:
        with pytest.raises(FillwrightError) as failed:
            run(leg(pool, SOL, USDC, 10**15, mode=Mode.EXACT_OUT))
        assert failed.value.code is Code.POOL_LIQUIDITY
