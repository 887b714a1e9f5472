"""Transactions of the wallet: what is handed from swap to swap, what stands around the swaps, and what fits.

That the programs themselves execute them is what `make test-programs` shows.
"""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import CompiledInstruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.adapters.solana.building import (
    BYTES_MAX,
    Budget,
    Terms,
    TooLarge,
    build,
    looked_up,
    memo_of,
    size_of,
)
from fillwright.adapters.solana.legs import calls_of, limit_of
from fillwright.errors import Code
from fillwright.order import Mode
from fillwright.policy import max_in, min_out
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.ports import Instruction
from fillwright.programs import PROGRAMS, Account, Accounts, SwapCall, by_id, token
from fillwright.programs.token import associated
from fillwright.units import ATOMS_MAX, NATIVE_MINT, Atoms, Bps, Mint, OrderId, ceil_div
from tests.vectors.accounts import Scene, scenes

WALLET = str(Keypair.from_seed(bytes(32)).pubkey())
FRIEND = str(Keypair.from_seed(b"\x01" * 32).pubkey())
NOW = ChainTime(slot=500_000_000, unix_seconds=1_900_000_000)
USDC = Mint("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
USDT = Mint("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB")
MINTS = (NATIVE_MINT, USDC, USDT)
BUDGET = Budget(units=600_000, micro_lamports=1_000)
MEMO = memo_of(OrderId("0" * 26), 1, b"\xab\xcd\xef\x01")


def pools_of(kind: str, *mints: Mint) -> list[Scene]:
    """Golden pools of these two that swap at NOW as much as is asked here, one scene a pool."""
    found: dict[str, Scene] = {}
    for scene in scenes(kind):
        if {scene.mint_in, scene.mint_out} == set(mints):
            try:
                pool = PROGRAMS[kind].decode(scene.pool, scene.known)
                for mint in mints:
                    pool.quote_out(pool.quote_in(Atoms(1_000_000), mint, NOW).amount_out, mint, NOW)
            except PoolRefused:
                continue
            found.setdefault(scene.pool, scene)
    return list(found.values())


SOL_USDC = [scene for kind in ("amm_v4", "cpmm", "clmm", "damm_v2") for scene in pools_of(kind, NATIVE_MINT, USDC)]
USDC_USDT = [scene for kind in ("amm_v4", "cpmm", "clmm") for scene in pools_of(kind, USDC, USDT)]
KNOWN: Accounts = {at: each for scene in (*SOL_USDC, *USDC_USDT) for at, each in scene.known.items()}


def wish(scene: Scene, mint_in: Mint, mint_out: Mint, mode: Mode, amount: int, limit: int) -> Instruction:
    return Instruction(
        venue=PROGRAMS[scene.kind].venue,
        pool=scene.pool,
        mint_in=mint_in,
        mint_out=mint_out,
        mode=mode,
        amount=Atoms(amount),
        limit=Atoms(limit),
    )


def pool_of(address: str) -> Pool:
    program = by_id(KNOWN[address].owner)
    assert program is not None
    return program.decode(address, KNOWN)


def built(wishes: Sequence[Instruction], terms: Terms | None = None, known: Accounts = KNOWN) -> MessageV0:
    terms = terms or Terms(wallet=WALLET)
    return build(wishes, terms, accounts=known, now=NOW, memo=MEMO, blockhash=str(Hash.default()), budget=BUDGET)


def kinds(message: MessageV0, out_of_tables: Sequence[Pubkey] = ()) -> list[str]:
    """Its instructions by name, in order."""
    keys = [*message.account_keys, *out_of_tables]
    names = {token.BUDGET: "budget", token.ASSOCIATED: "create", token.SYSTEM: "pay", token.MEMO: "memo"}
    tokens = {b"\x11": "sync", b"\x09": "close"}
    shown = []
    for each in message.instructions:
        program = keys[each.program_id_index]
        name = tokens[bytes(each.data)] if program == token.TOKEN_PROGRAM else names.get(program, "swap")
        shown.append(name)
    return shown


def lamports_of(paid: CompiledInstruction) -> int:
    """What an instruction of the system program moves."""
    assert bytes(paid.data)[:4] == b"\x02\0\0\0"
    return int.from_bytes(bytes(paid.data)[4:], "little")


def run(wishes: Sequence[Instruction], tolerance_bps: int = 10) -> dict[Mint, int]:
    """What the wallet has more and less of, where every swap does what the pool values say; none may be overdrawn."""
    moved: dict[Mint, int] = defaultdict(int)
    calls = calls_of(wishes, wallet=WALLET, accounts=KNOWN, now=NOW, hop_tolerance_bps=Bps(tolerance_bps))
    for call in calls:
        pool = pool_of(call.pool)
        if call.mode is Mode.EXACT_IN:
            swap = pool.quote_in(call.amount, call.mint_in, NOW)
            assert swap.amount_out >= call.limit
        else:
            swap = pool.quote_out(call.amount, call.mint_in, NOW)
            assert swap.amount_in <= call.limit
        moved[call.mint_in] -= swap.amount_in
        moved[call.mint_out] += swap.amount_out
        assert moved[call.mint_in] >= 0 or call.mint_in == wishes[0].mint_in
    return moved


# ---- what is handed on

some_sol_usdc = st.lists(st.sampled_from(SOL_USDC), min_size=1, max_size=2, unique_by=lambda scene: scene.pool)
some_usdc_usdt = st.lists(st.sampled_from(USDC_USDT), min_size=1, max_size=2, unique_by=lambda scene: scene.pool)
some_amount = st.integers(10_000, 1_000_000)


def planned(
    firsts: Sequence[Scene], seconds: Sequence[Scene], amount: int, mode: Mode
) -> tuple[list[Instruction], int, int]:
    """A route SOL > USDC > USDT over all these pools, as the router quotes it; what it takes and gives."""
    between = paid = got = 0
    ins, outs = list[Instruction](), list[Instruction]()
    for scene in firsts:
        arrives = pool_of(scene.pool).quote_in(Atoms(amount), NATIVE_MINT, NOW).amount_out
        between, paid = between + arrives, paid + amount
        share = amount if mode is Mode.EXACT_IN else arrives
        ins.append(wish(scene, NATIVE_MINT, USDC, mode, share, 0 if mode is Mode.EXACT_IN else ATOMS_MAX))
    for number, scene in enumerate(seconds):
        share = between // len(seconds) if number else between - between // len(seconds) * (len(seconds) - 1)
        arrives = pool_of(scene.pool).quote_in(Atoms(share), USDC, NOW).amount_out
        got += arrives
        share = share if mode is Mode.EXACT_IN else arrives
        outs.append(wish(scene, USDC, USDT, mode, share, 0 if mode is Mode.EXACT_IN else ATOMS_MAX))
    return [*ins, *outs], paid, got


@given(some_sol_usdc, some_usdc_usdt, some_amount, st.integers(0, 100))
def test_exact_in_spends_just_what_was_asked_and_keeps_no_more_than_the_tolerance(
    firsts: list[Scene], seconds: list[Scene], amount: int, tolerance_bps: int
) -> None:
    try:
        wishes, paid, _ = planned(firsts, seconds, amount, Mode.EXACT_IN)
        moved = run(wishes, tolerance_bps)
    except PoolRefused:
        return  # too small an amount for one of the pools
    assert -moved[NATIVE_MINT] == paid
    assert moved[USDT] > 0
    arrived = sum(
        pool_of(each.pool).quote_in(each.amount, NATIVE_MINT, NOW).amount_out for each in wishes[: len(firsts)]
    )
    assert 0 <= moved[USDC] <= ceil_div(arrived * tolerance_bps, 10_000) + len(firsts)


@given(some_sol_usdc, some_usdc_usdt, some_amount, st.integers(0, 100))
def test_exact_out_gets_just_what_was_asked_and_keeps_no_more_than_the_tolerance(
    firsts: list[Scene], seconds: list[Scene], amount: int, tolerance_bps: int
) -> None:
    try:
        wishes, _, got = planned(firsts, seconds, amount, Mode.EXACT_OUT)
        moved = run(wishes, tolerance_bps)
    except PoolRefused:
        return
    assert moved[USDT] == got
    passed_on = sum(pool_of(each.pool).quote_out(each.amount, USDC, NOW).amount_in for each in wishes[len(firsts) :])
    assert 0 <= moved[USDC] <= ceil_div(passed_on * tolerance_bps, 10_000) + len(seconds)


@given(some_sol_usdc, some_usdc_usdt, some_amount, st.sampled_from(Mode), st.integers(0, 100))
def test_the_tolerance_between_swaps_never_breaks_a_limit(
    firsts: list[Scene], seconds: list[Scene], amount: int, mode: Mode, slippage_bps: int
) -> None:
    """However little the taker lets slip: while nothing moves, the swaps keep the limits of their quotes."""
    try:
        wishes, _, _ = planned(firsts, seconds, amount, mode)
        calls = calls_of(wishes, wallet=WALLET, accounts=KNOWN, now=NOW, hop_tolerance_bps=Bps(0))
        limited = list[Instruction]()
        for asked, call in zip(wishes, calls, strict=True):
            pool, limit = pool_of(call.pool), asked.limit
            if mode is Mode.EXACT_IN and asked.mint_out == USDT:
                limit = min_out(pool.quote_in(call.amount, call.mint_in, NOW).amount_out, Bps(slippage_bps))
            if mode is Mode.EXACT_OUT and asked.mint_in == NATIVE_MINT:
                limit = max_in(pool.quote_out(call.amount, call.mint_in, NOW).amount_in, Bps(slippage_bps))
            limited.append(msgspec.structs.replace(asked, limit=limit))
        run(limited, 50)  # looks at every limit
    except PoolRefused:
        return


@pytest.mark.parametrize("mode", Mode)
def test_single_and_parallel_swaps_are_just_as_wished(mode: Mode) -> None:
    wishes = [wish(scene, USDC, NATIVE_MINT, mode, 1_000 + n, 77 + n) for n, scene in enumerate(SOL_USDC[:3])]
    for some in (wishes[:1], wishes):
        calls = calls_of(some, wallet=WALLET, accounts={}, now=NOW, hop_tolerance_bps=Bps(10))
        assert [(call.mode, call.amount, call.limit) for call in calls] == [
            (mode, each.amount, each.limit) for each in some
        ]
        assert {call.source for call in calls} == {associated(WALLET, USDC)}
        assert {call.destination for call in calls} == {associated(WALLET, NATIVE_MINT)}


def test_the_limit_of_the_whole_is_that_of_its_free_end() -> None:
    a, b, c = SOL_USDC[0], SOL_USDC[1], USDC_USDT[0]
    hops = [wish(a, NATIVE_MINT, USDC, Mode.EXACT_IN, 10, 0), wish(c, USDC, USDT, Mode.EXACT_IN, 10, 7)]
    assert limit_of(hops) == 7
    hops = [wish(a, NATIVE_MINT, USDC, Mode.EXACT_OUT, 10, 5), wish(c, USDC, USDT, Mode.EXACT_OUT, 10, ATOMS_MAX)]
    assert limit_of(hops) == 5
    assert limit_of([wish(each, USDC, NATIVE_MINT, Mode.EXACT_IN, 10, 3) for each in (a, b)]) == 6


def test_too_little_to_be_swapped_on_is_refused() -> None:
    with pytest.raises(PoolRefused) as refusal:
        run(
            [
                wish(SOL_USDC[0], NATIVE_MINT, USDC, Mode.EXACT_IN, 10, 0),
                wish(USDC_USDT[0], USDC, USDT, Mode.EXACT_IN, 1, 0),
            ]
        )
    assert refusal.value.code is Code.POOL_LIQUIDITY


# ---- what stands around the swaps


@pytest.mark.parametrize(
    ("mint_in", "mint_out", "expected"),
    [
        (USDC, NATIVE_MINT, "budget budget create swap close memo"),
        (NATIVE_MINT, USDC, "budget budget create create pay sync swap close memo"),
        (USDC, USDT, "budget budget create swap memo"),
    ],
)
def test_sol_is_wrapped_before_and_unwrapped_after(mint_in: Mint, mint_out: Mint, expected: str) -> None:
    scene = (USDC_USDT if mint_out == USDT else SOL_USDC)[0]
    message = built([wish(scene, mint_in, mint_out, Mode.EXACT_IN, 1_000_000, 1)])
    assert kinds(message) == expected.split()


@pytest.mark.parametrize(("mode", "wrapped"), [(Mode.EXACT_IN, 1_000_000 + 1_000_001), (Mode.EXACT_OUT, 40 + 41)])
def test_as_much_sol_is_wrapped_as_the_swaps_may_take(mode: Mode, wrapped: int) -> None:
    wishes = [wish(scene, NATIVE_MINT, USDC, mode, 1_000_000 + n, 40 + n) for n, scene in enumerate(SOL_USDC[:2])]
    message = built(wishes)
    [paid] = [each for each in message.instructions if message.account_keys[each.program_id_index] == token.SYSTEM]
    assert [str(message.account_keys[index]) for index in paid.accounts] == [WALLET, associated(WALLET, NATIVE_MINT)]
    assert lamports_of(paid) == wrapped


def test_the_budget_stands_first() -> None:
    message = built([wish(SOL_USDC[0], USDC, NATIVE_MINT, Mode.EXACT_IN, 1_000, 1)])
    units, price = (bytes(each.data) for each in message.instructions[:2])
    assert units == b"\x02" + BUDGET.units.to_bytes(4, "little")
    assert price == b"\x03" + BUDGET.micro_lamports.to_bytes(8, "little")


def test_a_token_account_that_is_known_is_not_created_again() -> None:
    there = {**KNOWN, associated(WALLET, USDT): Account(str(token.TOKEN_PROGRAM), bytes(165))}
    asked = [wish(USDC_USDT[0], USDC, USDT, Mode.EXACT_IN, 1_000, 1)]
    assert kinds(built(asked, known=there)) == ["budget", "budget", "swap", "memo"]
    assert size_of(built(asked, known=there)) < size_of(built(asked))


def test_the_size_is_that_of_the_signed_transaction() -> None:
    message = built([wish(SOL_USDC[0], USDC, NATIVE_MINT, Mode.EXACT_IN, 1_000, 1)])
    signed = VersionedTransaction(message, [Keypair.from_seed(bytes(32))])
    assert len(bytes(signed)) == size_of(message)


def test_another_memo_makes_another_message() -> None:
    asked = [wish(SOL_USDC[0], USDC, NATIVE_MINT, Mode.EXACT_IN, 1_000, 1)]
    memos = [memo_of(OrderId("0" * 26), attempt, bytes([chance] * 4)) for attempt in (1, 2) for chance in (0, 1)]
    messages = {
        bytes(
            build(
                asked,
                Terms(wallet=WALLET),
                accounts=KNOWN,
                now=NOW,
                memo=each,
                blockhash=str(Hash.default()),
                budget=BUDGET,
            )
        )
        for each in memos
    }
    assert len(messages) == 4
    assert memos[0] == f"fw {'0' * 26} 1 00000000"


# ---- the whole of it


def calls_in(message: MessageV0, out_of_tables: Sequence[Pubkey]) -> list[SwapCall]:
    keys, holds = [*message.account_keys, *out_of_tables], {associated(WALLET, mint): mint for mint in MINTS}
    found = list[SwapCall]()
    for written in message.instructions:
        program = by_id(str(keys[written.program_id_index]))
        if program is not None:
            call = program.read([keys[index] for index in written.accounts], bytes(written.data), holds)
            assert call is not None
            found.append(call)
    return found


@given(some_sol_usdc, some_usdc_usdt, some_amount, st.sampled_from(Mode), st.integers(1, 10**9))
def test_a_message_says_the_calls_the_tip_and_the_memo(
    firsts: list[Scene], seconds: list[Scene], amount: int, mode: Mode, tip: int
) -> None:
    table = table_of(KNOWN)
    try:
        wishes, _, _ = planned(firsts, seconds, amount, mode)
        message = built(wishes, Terms(wallet=WALLET, tip=Atoms(tip), tip_to=FRIEND, tables=(table,)))
        calls = calls_of(wishes, wallet=WALLET, accounts=KNOWN, now=NOW, hop_tolerance_bps=Bps(10))
    except PoolRefused:
        return
    assert str(message.account_keys[0]) == WALLET
    assert message.header.num_required_signatures == 1
    assert calls_in(message, looked_up(message, [table])) == calls
    tipped, memo = message.instructions[-2:]
    assert lamports_of(tipped) == tip
    assert str([*message.account_keys, *looked_up(message, [table])][tipped.accounts[1]]) == FRIEND
    assert bytes(memo.data).decode() == MEMO


# ---- what fits


def table_of(known: Accounts) -> AddressLookupTableAccount:
    """One that holds whatever the pools may name."""
    listed = [Pubkey.from_string(address) for address in sorted(known)][:256]
    return AddressLookupTableAccount(Pubkey.from_bytes(b"\x07" * 32), listed)


def test_a_table_is_used_only_where_it_does_not_fit_without() -> None:
    wishes = [
        wish(scene, USDC, NATIVE_MINT, Mode.EXACT_IN, 1_000_000, 1) for scene in pools_of("cpmm", NATIVE_MINT, USDC)
    ]
    table = table_of({at: each for at, each in KNOWN.items() if any(at in SOL.known for SOL in SOL_USDC)})
    terms = Terms(wallet=WALLET, tables=(table,))
    assert not built(wishes[:1], terms).address_table_lookups
    with pytest.raises(TooLarge) as refusal:
        built(wishes[:4])
    assert refusal.value.problem.retryable
    assert "4 swaps" in refusal.value.problem.detail
    by_table = built(wishes[:4], terms)
    assert by_table.address_table_lookups
    assert size_of(by_table) <= BYTES_MAX
    assert kinds(by_table, looked_up(by_table, [table])).count("swap") == 4


def test_arrays_to_spare_are_left_out_before_a_route_is_refused() -> None:
    seen = set[int | None]()
    for first in pools_of("clmm", NATIVE_MINT, USDC):
        for second in pools_of("clmm", USDC, USDT):
            wishes, _, _ = planned([first], [second], 1_000_000, Mode.EXACT_IN)
            calls = calls_of(wishes, wallet=WALLET, accounts=KNOWN, now=NOW, hop_tolerance_bps=Bps(10))
            named = [
                sum(len(PROGRAMS["clmm"].swap(call, KNOWN, spare=spare).accounts) for call in calls)
                for spare in range(3)
            ]
            try:
                message = built(wishes)
            except TooLarge:
                seen.add(None)
                continue
            keys = message.account_keys
            written = [each for each in message.instructions if str(keys[each.program_id_index]) == PROGRAMS["clmm"].id]
            seen.add(named.index(sum(len(each.accounts) for each in written)))
    assert seen >= {0, 1}, seen
