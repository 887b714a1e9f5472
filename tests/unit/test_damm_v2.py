"""Meteora DAMM v2: equal to the program on every vector, every byte of its pool account, and refuses the unknown.

Where a vector is not followed to the letter:
- threshold (10): the limit is the chain's to check. We quote what the program would have swapped; that must lie on
  the side of the limit that the program's answer says.
- 10 exact inputs buy nothing (amount_out 0): the program takes them, a pool refuses them. The books underneath still
  agree with the program's.
- 2 exact outputs where a rate limiter looks at the amount: unproven, refused.
"""

from collections import Counter
from typing import Literal, TypeAlias

import msgspec
import pytest

from fillwright.errors import Code
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.pools.damm_v2 import COMPOUNDING, ONLY_TOKEN_1, PROGRAM, DammV2Pool
from fillwright.pools.damm_v2_fees import DynamicFee, PriceFee, RateLimiter, TimeFee, Wide
from fillwright.units import Atoms, Mint
from tests.vectors import swaps
from tests.vectors.damm_v2_vectors import NAME
from tests.vectors.swaps import Asked, Vector

VECTORS = swaps.load(NAME)
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)
A, B = Mint("a"), Mint("b")

Outcome: TypeAlias = Literal["swapped", "bought nothing", "unproven", "beyond limit", "not open", "cannot fill"]

STATE_OFFSETS = {
    "reserve_0": (680, 8),
    "reserve_1": (688, 8),
    "liquidity": (360, 16),
    "sqrt_price": (456, 16),
    "sqrt_price_min": (424, 16),
    "sqrt_price_max": (440, 16),
    "collect_fee_mode": (484, 1),
    "protocol_percent": (48, 1),
    "compounding_bps": (54, 2),
    "status": (481, 1),
    "activation_point": (472, 8),
    "by_time": (480, 1),
    "protocol_fees_0": (392, 8),
    "protocol_fees_1": (400, 8),
    "fee_growth_0": (488, 32),
    "fee_growth_1": (520, 32),
    "lp_total_0": (568, 16),
    "lp_total_1": (584, 16),
    "protocol_total_0": (600, 8),
    "protocol_total_1": (608, 8),
}
DYNAMIC_OFFSETS = {
    "volatility_max": (64, 4),
    "control": (68, 4),
    "filter_seconds": (74, 2),
    "decay_seconds": (76, 2),
    "kept_bps": (78, 2),
    "last_update": (80, 8),
    "sqrt_reference": (104, 16),
    "volatility": (120, 16),
    "volatility_reference": (136, 16),
}
"""Where the decoded state lies in the pool account: LAYOUTS of Pool and DynamicFeeStruct."""
LAYOUT_VERSION = 696


def decoded(vector: Vector) -> DammV2Pool:
    return decode({role: vector.account(role) for role in ("pool", "vault_0", "vault_1")}, vector.owner)


def decode(accounts: dict[str, bytes], owner: str = PROGRAM) -> DammV2Pool:
    return DammV2Pool.decode(
        address="pool", owner=owner, **{f"{role}_account": account for role, account in accounts.items()}
    )


def encoded(pool: DammV2Pool, account_before: bytes) -> bytes:
    """The account as layout version 1, which every swap makes of it."""
    account = bytearray(account_before)
    account[LAYOUT_VERSION] = 1
    parts: list[tuple[object, dict[str, tuple[int, int]]]] = [(pool, STATE_OFFSETS)]
    if pool.dynamic_fee:
        parts.append((pool.dynamic_fee, DYNAMIC_OFFSETS))
    for part, offsets in parts:
        for field, (offset, size) in offsets.items():
            account[offset : offset + size] = int(getattr(part, field)).to_bytes(size, "little")
    return bytes(account)


def outcome(vector: Vector) -> Outcome:
    """Why the program did what it did, in the words of the checks below."""
    pool, now = decoded(vector), ChainTime(slot=vector.slot, unix_seconds=vector.unix_seconds)
    if vector.mode == "exact_out" and pool.status == 0 and pool.is_limited(Mint(vector.input_mint), now):
        return "unproven"
    if not vector.error:
        return "swapped" if vector.amount_out else "bought nothing"
    if vector.error.startswith("custom 6002 "):
        return "beyond limit"
    if vector.error.startswith("custom 6003 "):
        return "not open"
    assert vector.error.startswith(("custom 6000 ", "custom 6015 ")), vector.error
    return "cannot fill"


def check(vector: Vector) -> None:
    ask = Asked.of(vector, decoded(vector))
    match outcome(vector):
        case "swapped":
            check_swapped(vector, ask)
        case "bought nothing":
            check_books(vector, ask)
            assert ask.refusal() is Code.POOL_LIQUIDITY
        case "beyond limit":
            assert not vector.accepts(ask.quote())
        case "not open" | "unproven":
            assert ask.refusal() is Code.POOL_REFUSED
        case "cannot fill":
            assert ask.refusal() is Code.POOL_LIQUIDITY


def check_swapped(vector: Vector, ask: Asked[DammV2Pool]) -> None:
    swap, after = ask.swap()
    assert (swap.amount_in, swap.amount_out, swap.fee) == (vector.amount_in, vector.amount_out, vector.fee)
    on_input = vector.input_index == 1 and ask.pool.collect_fee_mode != 0
    assert (swap.fee_mint == ask.mint_in) is on_input
    assert swap == ask.quote()
    assert vector.accepts(swap)
    check_after(vector, ask.pool, after)


def check_books(vector: Vector, ask: Asked[DammV2Pool]) -> None:
    """Of a swap that buys nothing, which is refused one step later."""
    assert ask.exact_in
    fill = ask.pool._fill_in(ask.amount, ask.mint_in, ask.now)
    assert (fill.amount_in, fill.amount_out, fill.fee) == (vector.amount_in, 0, vector.fee)
    check_after(vector, ask.pool, ask.pool._after(fill, ask.mint_in, ask.now))


def check_after(vector: Vector, before: DammV2Pool, after: DammV2Pool) -> None:
    assert (after.vault_0_amount, after.vault_1_amount) == vector.post_vaults
    account = vector.account("pool")
    if account[LAYOUT_VERSION]:
        assert encoded(before, account) == account
    assert encoded(after, account) == vector.pool_after


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_does_what_the_program_did(vector: Vector) -> None:
    check(vector)


def test_every_full_vector_too() -> None:
    full = swaps.load_full_set(NAME)
    if not full:
        pytest.skip("the full vector set does not lie beside this repository")
    assert [swaps.content(vector) for vector in full] == [swaps.content(vector) for vector in VECTORS]
    for vector in full:
        check(vector)


def test_no_vector_is_missing() -> None:
    assert Counter(outcome(vector) for vector in VECTORS) == {
        "swapped": 85,
        "bought nothing": 10,
        "unproven": 2,
        "beyond limit": 7,
        "not open": 10,
        "cannot fill": 12,
    }
    tags = Counter(tag for vector in VECTORS for tag in vector.tags)
    expected = {
        "threshold": 10,
        "base_fee=flat": 34,
        "base_fee=linear": 25,
        "base_fee=exponential": 15,
        "base_fee=rate_limiter": 15,
        "base_fee=mcap_linear": 17,
        "base_fee=mcap_exp": 20,
        "collect=0": 42,
        "collect=1": 60,
        "collect=2": 24,
        "dynamic_fee": 90,
    }
    assert {tag: tags[tag] for tag in expected} == expected


# ---- what is not known is refused

GOOD = next(vector for vector in VECTORS if outcome(vector) == "swapped" and decoded(vector).dynamic_fee)
LIMITED = next(vector for vector in VECTORS if isinstance(decoded(vector).base_fee, RateLimiter))


def altered(role: str, offset: int, new: bytes, of: Vector = GOOD) -> dict[str, bytes]:
    accounts = {name: of.account(name) for name in ("pool", "vault_0", "vault_1")}
    old = accounts[role]
    accounts[role] = old[:offset] + new + old[offset + len(new) :]
    return accounts


def refuses(accounts: dict[str, bytes], owner: str = PROGRAM) -> bool:
    with pytest.raises(PoolRefused) as refusal:
        decode(accounts, owner)
    return refusal.value.code is Code.POOL_REFUSED


UNKNOWN = {
    "long": ("pool", 1112, b"\0"),
    "other discriminator": ("pool", 0, bytes(8)),
    "long vault": ("vault_0", 165, b"\2"),
    "vault of another mint": ("vault_1", 0, bytes(32)),
    "frozen vault": ("vault_1", 108, b"\2"),
    "base fee mode": ("pool", 16, b"\5"),
    "dynamic fee neither on nor off": ("pool", 56, b"\2"),
    "bin step": ("pool", 72, b"\2"),
    "bin step in Q64": ("pool", 88, b"\0"),
    "activation type": ("pool", 480, b"\2"),
    "status": ("pool", 481, b"\2"),
    "Token-2022, first": ("pool", 482, b"\1"),
    "Token-2022, second": ("pool", 483, b"\1"),
    "collect fee mode": ("pool", 484, b"\3"),
    "pool type": ("pool", 485, b"\2"),
    "fee version": ("pool", 486, b"\2"),
    "layout version": ("pool", 696, b"\2"),
    "padding of the base fee": ("pool", 21, b"\1"),
    "padding behind the base fee": ("pool", 47, b"\1"),
    "padding of the dynamic fee": ("pool", 63, b"\1"),
    "padding behind the fee version": ("pool", 487, b"\1"),
    "padding behind the layout version": ("pool", 719, b"\1"),
    "price below its range": ("pool", 456, bytes(16)),
    "range beyond the program's": ("pool", 440, (2**97).to_bytes(16, "little")),
    "compounding without the mode": ("pool", 54, b"\1"),
    "no fee": ("pool", 8, bytes(8)),
    "fee of 1": ("pool", 8, (10**9).to_bytes(8, "little")),
    "protocol takes more than all": ("pool", 48, b"\145"),
    "volatility above its limit": ("pool", 120, b"\xff" * 4),
    "volatility of nothing": ("pool", 104, bytes(16)),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_refuses_unknown_accounts(why: str) -> None:
    assert refuses(altered(*UNKNOWN[why]))


def test_refuses_other_owners() -> None:
    """DAMM v1 pools carry the same discriminator."""
    assert refuses(altered("pool", 0, b""), owner="Eo7WjKq67rjJQSZxS6z3YkapzY3eMj6Xy8X5EQVn5UaB")


@pytest.mark.parametrize(
    ("offset", "new"), [(484, b"\0"), (22, bytes(2)), (24, bytes(4)), (28, b"\1\0\0\0"), (28, b"\x10\x27\0\0")]
)
def test_refuses_impossible_rate_limiters(offset: int, new: bytes) -> None:
    """No fee on the input; one setting of four is zero; a highest fee below the cliff; one of 1."""
    assert refuses(altered("pool", offset, new, of=LIMITED))


def tagged(tag: str) -> Vector:
    return next(vector for vector in VECTORS if tag in vector.tags)


@pytest.mark.parametrize(
    ("tag", "offset", "new"),
    [
        ("base_fee=linear", 32, 2**40),
        ("base_fee=exponential", 32, 10_001),
        ("base_fee=exponential", 32, 15_000),
        ("base_fee=mcap_linear", 32, 2**40),
        ("base_fee=mcap_exp", 32, 15_000),
        ("base_fee=mcap_exp", 24, 0),
        ("base_fee=mcap_exp", 152, 0),
    ],
)
def test_refuses_impossible_schedules(tag: str, offset: int, new: int) -> None:
    """A rate below zero, or reduced by more than all of it; no price step, no price to start from."""
    size = {24: 4, 32: 8, 152: 16}[offset]
    assert refuses(altered("pool", offset, new.to_bytes(size, "little"), of=tagged(tag)))


def test_refuses_layout_0_without_a_range() -> None:
    """Its reserves are not written down, and without a range nothing tells them."""
    assert refuses(altered("pool", 696, b"\0", of=tagged("compounding")))
    assert refuses(altered("pool", 424, bytes(16), of=VECTORS[0]))
    assert refuses(altered("pool", 360, b"\xff" * 16, of=VECTORS[0]))


def test_ignores_what_older_programs_left() -> None:
    for start, end in ((328, 360), (376, 392), (408, 424)):
        assert decode(altered("pool", start, b"\1" * (end - start))) == decoded(GOOD)


def test_links_its_vaults() -> None:
    linked = DammV2Pool.linked(GOOD.account("pool"))
    assert len(set(linked)) == len(linked) == 2
    with pytest.raises(PoolRefused):
        DammV2Pool.linked(b"")


# ---- by hand: 1,000,000 of each at price 1 (liquidity 2^64 * 1e6), range 1/4 to 4, fee 1 %


def small(**changes: object) -> DammV2Pool:
    pool = DammV2Pool(
        address="pool",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(2_000_000),
        vault_1_amount=Atoms(2_000_000),
        reserve_0=Atoms(500_000),
        reserve_1=Atoms(500_000),
        liquidity=Wide(str(10**6 << 64)),
        sqrt_price=Wide(str(1 << 64)),
        sqrt_price_min=Wide(str(1 << 63)),
        sqrt_price_max=Wide(str(1 << 65)),
        base_fee=TimeFee(cliff=10_000_000),
    )
    return msgspec.structs.replace(pool, **changes)


def compounding(**changes: object) -> DammV2Pool:
    settings = {"collect_fee_mode": COMPOUNDING, "compounding_bps": 5_000} | changes
    return small(sqrt_price_min="0", sqrt_price_max=str(2**128 - 1), **settings)


def test_is_a_pool() -> None:
    pool: Pool = small(venue="simulated")
    assert (pool.kind, pool.venue, pool.address) == ("damm_v2", "simulated", "pool")
    assert pool.reserves() == (500_000, 500_000)
    four = small(sqrt_price=str(1 << 65))
    assert four.spot(A)[0] == 4 * four.spot(A)[1]
    assert four.spot(B)[1] == 4 * four.spot(B)[0]
    assert compounding(reserve_1=Atoms(7)).spot(A) == (7, 500_000)
    assert compounding(reserve_1=Atoms(7)).spot(B) == (500_000, 7)


def test_fee_on_the_output() -> None:
    """100,000 buy 1e6 * 0.1 / 1.1 = 90,909.09; fee ceil(909.09), of which 20 % are the protocol's."""
    for mint, there in ((A, 1), (B, 0)):
        swap, after = small().swap_in(Atoms(100_000), mint, NOW)
        assert (swap.amount_out, swap.fee) == (90_909 - 910, 910)
        assert swap.fee_mint == (A if there == 0 else B)
        assert after.reserves()[there] == 500_000 - 90_909
        assert after.reserves()[1 - there] == 600_000
        assert (after.protocol_fees_0, after.protocol_fees_1) == ((182, 0) if there == 0 else (0, 182))
        assert (after.protocol_total_0, after.protocol_total_1) == (after.protocol_fees_0, after.protocol_fees_1)
        growth = int(after.fee_growth_0 if there == 0 else after.fee_growth_1)
        assert growth == (728 << 128) // (10**6 << 64)


def test_fee_on_the_input() -> None:
    """Only token 1 pays: 100,000 - 1,000 buy 1e6 * 0.099 / 1.099 = 90,081.9."""
    swap, after = small(collect_fee_mode=ONLY_TOKEN_1).swap_in(Atoms(100_000), B, NOW)
    assert (swap.amount_out, swap.fee, swap.fee_mint) == (90_081, 1_000, B)
    assert after.reserves() == (500_000 - 90_081, 500_000 + 99_000)
    assert after.vault_1_amount == 2_100_000
    assert (after.protocol_fees_1, after.lp_total_1, after.fee_growth_0) == (200, "800", "0")
    swap, _ = small(collect_fee_mode=ONLY_TOKEN_1).swap_in(Atoms(100_000), A, NOW)
    assert (swap.amount_out, swap.fee, swap.fee_mint) == (90_909 - 910, 910, B)


def test_compounding_adds_to_the_reserve() -> None:
    """100,000 - 1,000 buy 500,000 * 99 / 599 = 82,637.7; of 800 for the providers 400 join the reserve."""
    swap, after = compounding().swap_in(Atoms(100_000), B, NOW)
    assert (swap.amount_out, swap.fee) == (82_637, 1_000)
    assert after.reserves() == (500_000 - 82_637, 500_000 + 99_000 + 400)
    assert int(after.sqrt_price) ** 2 <= (599_400 << 128) // 417_363 < (int(after.sqrt_price) + 1) ** 2
    assert (after.lp_total_1, int(after.fee_growth_1)) == ("800", (400 << 128) // (10**6 << 64))
    swap, after = compounding().swap_in(Atoms(100_000), A, NOW)
    assert (swap.amount_out, swap.fee, swap.fee_mint) == (83_333 - 834, 834, B)
    assert after.reserves() == (600_000, 500_000 - 83_333 + 334)


def test_exact_out_asks_a_price_that_buys_it() -> None:
    """Output: gross = ceil(9,900 / 0.99) = 10,000, for 1e6 * 1 / 99 = 10,101.01. Input: 9,900 for ceil(9,998.99)."""
    swap, _ = small().swap_out(Atoms(9_900), A, NOW)
    assert (swap.amount_in, swap.fee) == (10_102, 100)
    swap, _ = small(collect_fee_mode=ONLY_TOKEN_1).swap_out(Atoms(9_900), B, NOW)
    assert (swap.amount_in, swap.fee) == (10_099 + 1, 101)
    swap, _ = compounding().swap_out(Atoms(9_900), B, NOW)
    assert (swap.amount_in, swap.fee) == (10_100 + 103, 103)


@pytest.mark.parametrize(("mint", "ends"), [(A, 1 << 63), (B, 1 << 65)])
def test_goes_to_the_end_of_its_range_and_no_further(mint: Mint, ends: int) -> None:
    """Either way 1,000,000 in, 500,000 out, both with the fee; one more atom moves the price beyond the end."""
    swap, after = small().swap_in(Atoms(1_000_000), mint, NOW)
    assert (swap.amount_out, after.sqrt_price) == (495_000, str(ends))
    assert small().swap_out(Atoms(495_000), mint, NOW)[1].sqrt_price == str(ends)
    assert Asked(small(), Atoms(1_000_001), mint, NOW, exact_in=True).refusal() is Code.POOL_LIQUIDITY
    assert Asked(small(), Atoms(495_001), mint, NOW, exact_in=False).refusal() is Code.POOL_LIQUIDITY
    assert after.segments(mint, NOW) == ()


def test_never_sells_more_than_it_has() -> None:
    """The books hold gross, the vault what leaves."""
    for short in (small(reserve_1=Atoms(90_908)), small(vault_1_amount=Atoms(89_998))):
        assert Asked(short, Atoms(100_000), A, NOW, exact_in=True).refusal() is Code.POOL_LIQUIDITY
    enough = small(reserve_1=Atoms(90_909), vault_1_amount=Atoms(89_999))
    assert enough.swap_in(Atoms(100_000), A, NOW)[1].vault_1_amount == 0
    for pool in (small(sqrt_price_max=str(10**28)), compounding()):
        assert Asked(pool, Atoms(500_000), B, NOW, exact_in=False).refusal() is Code.POOL_LIQUIDITY
    far = small(sqrt_price_max=str(10**28), reserve_0=Atoms(10**7))
    assert Asked(far, Atoms(990_000), B, NOW, exact_in=False).refusal() is Code.POOL_LIQUIDITY


@pytest.mark.parametrize(
    ("pool", "amount", "mint_in", "code"),
    [
        (small(), 10, "c", Code.POOL_REFUSED),
        (small(status=1), 10, "a", Code.POOL_REFUSED),
        (small(activation_point=NOW.unix_seconds + 1), 10, "a", Code.POOL_REFUSED),
        (small(activation_point=NOW.slot + 1, by_time=False), 10, "a", Code.POOL_REFUSED),
        (small(), 0, "a", Code.POOL_LIQUIDITY),
        (small(), -5, "a", Code.POOL_LIQUIDITY),
        (small(), 2**64, "a", Code.POOL_LIQUIDITY),
        (small(), 2**64 - 2_000_000, "a", Code.POOL_LIQUIDITY),
        (small(liquidity="0"), 10, "a", Code.POOL_LIQUIDITY),
        (compounding(reserve_0=Atoms(0)), 10, "a", Code.POOL_LIQUIDITY),
        (compounding(reserve_1=Atoms(0)), 10, "b", Code.POOL_LIQUIDITY),
        (small(protocol_total_1=2**64 - 1), 1_000, "a", Code.POOL_LIQUIDITY),
        (small(protocol_total_0=2**64 - 1), 1_000, "b", Code.POOL_LIQUIDITY),
    ],
)
def test_refuses_both_ways(pool: DammV2Pool, amount: int, mint_in: str, code: Code) -> None:
    for exact_in in (True, False):
        assert Asked(pool, Atoms(amount), Mint(mint_in), NOW, exact_in).refusal() is code


@pytest.mark.parametrize("pool", [small(), compounding()])
@pytest.mark.parametrize("exact_in", [True, False])
def test_fills_a_vault_to_its_last_unit_and_no_further(pool: DammV2Pool, exact_in: bool) -> None:
    swap = pool.quote_out(Atoms(100_000), B, NOW)
    amount = swap.amount_in if exact_in else swap.amount_out
    full = 2**64 - 1 - swap.amount_in
    fits = Asked(msgspec.structs.replace(pool, vault_1_amount=full), amount, B, NOW, exact_in)
    assert fits.swap()[1].vault_1_amount == 2**64 - 1
    over = Asked(msgspec.structs.replace(pool, vault_1_amount=full + 1), amount, B, NOW, exact_in)
    assert over.refusal() is Code.POOL_LIQUIDITY


def test_opens_on_the_second_or_in_the_slot() -> None:
    small(activation_point=NOW.unix_seconds).quote_in(Atoms(1_000), A, NOW)
    by_slot = small(activation_point=NOW.slot, by_time=False)
    by_slot.quote_in(Atoms(1_000), A, NOW)
    by_slot.open_at(0)
    early = ChainTime(slot=NOW.slot - 1, unix_seconds=NOW.unix_seconds)
    with pytest.raises(PoolRefused):
        by_slot.open_now(early)
    assert by_slot.segments(A, early) == ()


# ---- the fee's rate, by hand from base_fee/*.rs and state/fee.rs

LINEAR = TimeFee(cliff=500_000_000, periods=10, frequency=60, reduction=40_000_000)
EXPONENTIAL = TimeFee(cliff=500_000_000, exponential=True, periods=10, frequency=60, reduction=5_000)
LIMITER = RateLimiter(cliff=10_000_000, increment_bps=100, lasts=60, max_bps=350, reference=1_000)


def rate(pool: DammV2Pool, *, elapsed: int, mint_in: Mint = A, amount: int = 0) -> int:
    now = ChainTime(slot=pool.activation_point + elapsed, unix_seconds=pool.activation_point + elapsed)
    return pool._rate(mint_in == B, now, amount)


@pytest.mark.parametrize("by_time", [True, False])
@pytest.mark.parametrize(
    ("elapsed", "linear", "halved"),
    [
        (0, 500_000_000, 500_000_000),
        (59, 500_000_000, 500_000_000),
        (60, 460_000_000, 250_000_000),
        (599, 140_000_000, 976_562),
        (600, 100_000_000, 488_281),
        (10**9, 100_000_000, 488_281),
    ],
)
def test_falls_with_time(elapsed: int, linear: int, halved: int, by_time: bool) -> None:
    for fee, expected in ((LINEAR, linear), (EXPONENTIAL, halved)):
        pool = small(base_fee=fee, activation_point=1_000, by_time=by_time)
        assert rate(pool, elapsed=elapsed) == expected


@pytest.mark.parametrize(
    ("percent", "elapsed", "linear", "halved"),
    [
        (90, 0, 500_000_000, 500_000_000),
        (100, 0, 500_000_000, 500_000_000),
        (109, 0, 500_000_000, 500_000_000),
        (110, 0, 460_000_000, 250_000_000),
        (125, 60, 420_000_000, 125_000_000),
        (1_000, 60, 380_000_000, 62_500_000),
        (90, 61, 380_000_000, 62_500_000),
    ],
)
def test_falls_with_the_price_until_it_expires(percent: int, elapsed: int, linear: int, halved: int) -> None:
    for exponential, reduction, expected in ((False, 40_000_000, linear), (True, 5_000, halved)):
        fee = PriceFee(
            cliff=500_000_000,
            exponential=exponential,
            periods=3,
            step_bps=1_000,
            expires_after=60,
            reduction=reduction,
            sqrt_start=Wide("1000000"),
        )
        pool = small(base_fee=fee, sqrt_price=str(10_000 * percent))
        assert rate(pool, elapsed=elapsed) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (1, 10_000_000),
        (1_000, 10_000_000),
        (1_500, 13_333_334),  # 10 + 10 of 1,500
        (2_000, 15_000_000),  # 10 + 20 of 2,000
        (2_001, 15_492_254),  # ceil(10 + 20 + 0.03) = 31 of 2,001
        (3_000, 20_000_000),  # 10 + 20 + 30 of 3,000
        (3_500, 22_285_715),  # ceil(10 + 20 + 30 + 17.5) = 78 of 3,500
        (4_000, 23_750_000),  # 10 + 20 + 30 + 35 of 4,000: two rises, then the highest rate
        (10**9, 34_999_955),  # 60 of the first 3,000, 35 per mille of the others
    ],
)
def test_larger_amounts_pay_more(amount: int, expected: int) -> None:
    pool = small(base_fee=LIMITER, collect_fee_mode=ONLY_TOKEN_1)
    assert rate(pool, elapsed=60, mint_in=B, amount=amount) == expected
    assert rate(pool, elapsed=61, mint_in=B, amount=amount) == 10_000_000
    assert rate(pool, elapsed=0, mint_in=A, amount=amount) == 10_000_000


def test_exact_out_under_a_limiter_is_refused() -> None:
    pool = small(base_fee=LIMITER, collect_fee_mode=ONLY_TOKEN_1, activation_point=NOW.unix_seconds - 60)
    assert Asked(pool, Atoms(10), B, NOW, exact_in=False).refusal() is Code.POOL_REFUSED
    pool.quote_out(Atoms(10), A, NOW)
    later = ChainTime(slot=NOW.slot, unix_seconds=NOW.unix_seconds + 1)
    assert pool.quote_out(Atoms(10), B, later).amount_out == 10
    assert [pool.is_limited(B, NOW), pool.is_limited(A, NOW), pool.is_limited(B, later)] == [True, False, False]
    before = ChainTime(slot=0, unix_seconds=0)
    assert not pool.is_limited(B, before)


def moving(**changes: object) -> DynamicFee:
    fee = DynamicFee(
        control=50_000,
        volatility_max=2_000_000,
        filter_seconds=10,
        decay_seconds=120,
        kept_bps=5_000,
        last_update=NOW.unix_seconds - 9,
        sqrt_reference=Wide(str(1 << 64)),
        volatility=1_000_000,
        volatility_reference=600_000,
    )
    return msgspec.structs.replace(fee, **changes)


@pytest.mark.parametrize(
    ("version_max", "base", "expected"),
    [
        (500_000_000, 10_000_000, 500_000_000),
        (990_000_000, 10_000_000, 510_000_000),
        (990_000_000, 600_000_000, 990_000_000),
    ],
)
def test_volatility_adds_to_the_fee_up_to_the_versions_cap(version_max: int, base: int, expected: int) -> None:
    """(1e7)^2 * 500,000 / 1e11 = 0.5 of 1e9."""
    shaken = moving(control=500_000, volatility=10**7)
    pool = small(base_fee=TimeFee(cliff=base), dynamic_fee=shaken, rate_max=version_max)
    assert rate(pool, elapsed=0) == expected
    assert moving(volatility=1).rate() == 1


@pytest.mark.parametrize(
    ("seconds_ago", "reference", "kept"),
    [
        (-1_000, 1 << 64, 600_000),
        (9, 1 << 64, 600_000),
        (10, 2 << 64, 500_000),
        (119, 2 << 64, 500_000),
        (120, 2 << 64, 0),
    ],
)
def test_volatility_decays(seconds_ago: int, reference: int, kept: int) -> None:
    """Root price 2 -> 2.0003: 1.5 basis points, of which 1 counts, twice. From the reference 1: 10,003 points."""
    fee = moving(last_update=NOW.unix_seconds - seconds_ago, volatility_max=10**9)
    after = fee.after(2 << 64, (20_003 << 64) // 10_000, NOW.unix_seconds)
    assert (int(after.sqrt_reference), after.volatility_reference) == (reference, kept)
    assert after.volatility == kept + (20_000 if reference == 2 << 64 else 2 * 10_003 * 10_000)
    assert after.last_update == NOW.unix_seconds
    still = fee.after(2 << 64, 2 << 64, NOW.unix_seconds)
    assert still.last_update == fee.last_update
    assert moving().after(2 << 64, 1 << 65, NOW.unix_seconds).volatility == 2_000_000


# ---- a stored pool is the same pool


@pytest.mark.parametrize("vector", VECTORS[::9], ids=lambda vector: vector.id)
def test_survives_storage(vector: Vector) -> None:
    pool = decoded(vector)
    assert msgspec.json.decode(msgspec.json.encode(pool), type=DammV2Pool) == pool
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(pool), type=DammV2Pool) == pool
