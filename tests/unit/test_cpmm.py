"""Raydium CPMM: equal to the program on every vector, and refuses what is not known.

Where a vector is not followed to the letter, by tag:
- old_ceil_rule (5): the vectors' program rounds a dust input to zero and refuses it; today's source asks for
  2 units (one for the curve, one for the fee), and so do we.
- threshold (16): the limit is the chain's to check. We quote what the program would have swapped; that must
  lie on the side of the limit that the program's answer says.
The creator fee is in no vector; its cases below are worked out by hand from the published source.
"""

from collections import Counter

import msgspec
import pytest

from fillwright.errors import Code
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.pools.cpmm import PROGRAM, CpmmPool
from fillwright.units import Atoms, Mint
from tests.vectors import swaps
from tests.vectors.swaps import Asked, Outcome, Vector

VECTORS = swaps.load("raydium_cpmm")
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)

STATE_OFFSETS = {
    "status": (329, 1),
    "protocol_fees_0": (341, 8),
    "protocol_fees_1": (349, 8),
    "fund_fees_0": (357, 8),
    "fund_fees_1": (365, 8),
    "open_time": (373, 8),
    "recent_epoch": (381, 8),
    "creator_fee_on": (389, 1),
    "creator_fees_0": (397, 8),
    "creator_fees_1": (405, 8),
}
"""Where the decoded state lies in the pool account: LAYOUTS of PoolState."""


def decoded(vector: Vector) -> CpmmPool:
    return CpmmPool.decode(
        address=vector.address,
        owner=vector.owner,
        pool_account=vector.account("pool"),
        config_account=vector.account("config"),
        vault_0_account=vector.account("vault_0"),
        vault_1_account=vector.account("vault_1"),
    )


def pool_of(vector: Vector) -> CpmmPool:
    if vector.accounts:
        return decoded(vector)
    return CpmmPool(
        address=vector.id,
        mint_0=Mint("0"),
        mint_1=Mint("1"),
        vault_0_amount=Atoms(vector.reserves[0]),
        vault_1_amount=Atoms(vector.reserves[1]),
        trade_fee_rate=vector.fee_rate[0],
    )


def encoded(pool: CpmmPool, account_before: bytes) -> bytes:
    account = bytearray(account_before)
    for field, (offset, size) in STATE_OFFSETS.items():
        account[offset : offset + size] = getattr(pool, field).to_bytes(size, "little")
    return bytes(account)


def outcome(vector: Vector) -> Outcome:
    """Why the program did what it did, in the words of the checks below."""
    if "old_ceil_rule" in vector.tags:
        return "old rule"
    if not vector.error:
        return "swapped"
    if vector.error.startswith("custom 6005 "):
        return "beyond limit"
    if vector.error.startswith("custom 6000 "):
        return "not open"
    assert vector.error.startswith("custom 2505 ") or "panicked at 'called `" in vector.error, vector.error
    return "cannot fill"


def check(vector: Vector) -> None:
    ask = Asked.of(vector, pool_of(vector))
    match outcome(vector):
        case "swapped":
            check_swapped(vector, ask)
        case "beyond limit":
            assert not vector.accepts(ask.quote())
        case "not open":
            assert ask.refusal() is Code.POOL_REFUSED
        case "cannot fill":
            assert ask.refusal() is Code.POOL_LIQUIDITY
        case "old rule":
            assert vector.error.startswith("custom 2505 ")
            assert (ask.quote().amount_in, ask.quote().fee) == (2, 1)


def check_swapped(vector: Vector, ask: Asked[CpmmPool]) -> None:
    swap, after = ask.swap()
    assert (swap.amount_in, swap.amount_out) == (vector.amount_in, vector.amount_out)
    assert swap.fee_mint == ask.mint_in
    assert swap == ask.quote()
    assert vector.accepts(swap)
    assert vector.fee in (None, swap.fee)
    if not vector.accounts:
        return
    assert (after.vault_0_amount, after.vault_1_amount) == vector.post_vaults
    assert encoded(ask.pool, vector.account("pool")) == vector.account("pool")
    assert encoded(after, vector.account("pool")) == vector.pool_after


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_does_what_the_program_did(vector: Vector) -> None:
    check(vector)


def test_every_full_vector_too() -> None:
    full = swaps.load_full_set("raydium_cpmm")
    if not full:
        pytest.skip("the full vector set does not lie beside this repository")
    assert [swaps.content(vector) for vector in full] == [swaps.content(vector) for vector in VECTORS]
    for vector in full:
        check(vector)


def test_no_vector_is_missing() -> None:
    assert Counter(outcome(vector) for vector in VECTORS) == {
        "swapped": 79 + 1,
        "old rule": 5,
        "beyond limit": 9,
        "not open": 15,
        "cannot fill": 11 + 7,
    }
    tags = Counter(tag for vector in VECTORS for tag in vector.tags)
    expected = {"recorded": 1, "old_ceil_rule": 5, "threshold": 16, "status=3": 8}
    assert {tag: tags[tag] for tag in expected} == expected


# ---- creator fee: by hand from curve/calculator.rs; trade 1 %, creator 0.5 %, reserves 1e6 and 2e6


def with_creator_fee(*, paid_in: int, **changes: object) -> CpmmPool:
    pool = CpmmPool(
        address="pool",
        mint_0=Mint("a"),
        mint_1=Mint("b"),
        vault_0_amount=Atoms(1_000_000),
        vault_1_amount=Atoms(2_000_000),
        trade_fee_rate=10_000,
        protocol_fee_rate=120_000,
        fund_fee_rate=40_000,
        creator_fee_rate=5_000,
        creator_fee_on=paid_in,
    )
    return msgspec.structs.replace(pool, **changes)


@pytest.mark.parametrize("paid_in", [0, 1])
def test_creator_fee_on_the_input(paid_in: int) -> None:
    """10,001: one ceil of 1.5 % = 151, of which floor(151 / 3) = 50 is the creator's, 101 the trade fee."""
    swap, after = with_creator_fee(paid_in=paid_in).swap_in(Atoms(10_001), Mint("a"), NOW)
    assert (swap.fee, swap.fee_mint) == (151, "a")
    assert swap.amount_out == 2_000_000 * 9_850 // 1_009_850 == 19_507
    assert (after.creator_fees_0, after.creator_fees_1) == (50, 0)
    assert (after.protocol_fees_0, after.fund_fees_0) == (12, 4)
    assert after.reserves() == (1_010_001 - 50 - 12 - 4, 2_000_000 - 19_507)


def test_creator_fee_on_the_output() -> None:
    """10,001: trade fee ceil(1 %) = 101; 2e6 * 9,900 // 1,009,900 = 19,605; creator ceil(0.5 %) = 99."""
    swap, after = with_creator_fee(paid_in=2).swap_in(Atoms(10_001), Mint("a"), NOW)
    assert (swap.fee, swap.fee_mint, swap.amount_out) == (101, "a", 19_605 - 99)
    assert (after.creator_fees_0, after.creator_fees_1) == (0, 99)
    assert (after.protocol_fees_0, after.fund_fees_0) == (12, 4)
    assert after.reserves() == (1_010_001 - 12 - 4, 2_000_000 - 19_605)


def test_creator_fee_of_an_exact_output() -> None:
    """Output pays: gross = ceil(19,506 / 0.995) = 19,605, for 9,900, trade fee on top 100.

    Input pays: 19,507 for 9,850, both fees on top 150.
    """
    swap, after = with_creator_fee(paid_in=2).swap_out(Atoms(19_506), Mint("a"), NOW)
    assert (swap.amount_in, swap.fee, after.creator_fees_1) == (10_000, 100, 99)
    swap, after = with_creator_fee(paid_in=1).swap_out(Atoms(19_507), Mint("a"), NOW)
    assert (swap.amount_in, swap.fee, after.creator_fees_0) == (10_000, 150, 50)


def test_the_other_direction_pays_in_the_same_token() -> None:
    """Paid in token 0, swapping 1 -> 0: the output pays."""
    _, after = with_creator_fee(paid_in=1).swap_in(Atoms(20_000), Mint("b"), NOW)
    assert after.creator_fees_1 == 0 < after.creator_fees_0
    _, after = with_creator_fee(paid_in=0).swap_in(Atoms(20_000), Mint("b"), NOW)
    assert after.creator_fees_0 == 0 < after.creator_fees_1


def test_creator_fee_counts_only_where_the_pool_enables_it() -> None:
    config = altered("config", 108, (5_000).to_bytes(8, "little"))
    assert decode(config).creator_fee_rate == 0
    assert decode(config | {"pool": altered("pool", 390, b"\1")["pool"]}).creator_fee_rate == 5_000


# ---- what is not known is refused

GOOD = next(vector for vector in VECTORS if vector.accounts and not vector.error)


def altered(role: str, offset: int, new: bytes) -> dict[str, bytes]:
    accounts = {name: GOOD.account(name) for name in ("pool", "config", "vault_0", "vault_1")}
    old = accounts[role]
    accounts[role] = old[:offset] + new + old[offset + len(new) :]
    return accounts


def decode(accounts: dict[str, bytes], owner: str = PROGRAM) -> CpmmPool:
    return CpmmPool.decode(address="pool", owner=owner, **{f"{role}_account": data for role, data in accounts.items()})


UNKNOWN = {
    "long": ("pool", 637, b"\0"),
    "other discriminator": ("pool", 0, bytes(8)),
    "long config": ("config", 236, b"\0"),
    "other config discriminator": ("config", 0, bytes(8)),
    "long vault": ("vault_0", 165, b"\2"),
    "vault of another mint": ("vault_1", 0, bytes(32)),
    "frozen vault": ("vault_1", 108, b"\2"),
    "unknown status bit": ("pool", 329, b"\10"),
    "unknown creator fee token": ("pool", 389, b"\3"),
    "creator fee neither on nor off": ("pool", 390, b"\2"),
    "used padding": ("pool", 391, b"\1"),
    "used padding at the end": ("pool", 636, b"\1"),
    "used padding of the config": ("config", 116, b"\1"),
    "Token-2022": ("pool", 264, bytes(32)),
    "no trade fee": ("config", 12, bytes(8)),
    "trade fee of 1": ("config", 12, (1_000_000).to_bytes(8, "little")),
    "protocol and fund above 1": ("config", 20, (960_001).to_bytes(8, "little")),
    "owes more than it has": ("pool", 341, b"\xff" * 8),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_refuses_unknown_accounts(why: str) -> None:
    with pytest.raises(PoolRefused) as refusal:
        decode(altered(*UNKNOWN[why]))
    assert refusal.value.code is Code.POOL_REFUSED


def test_refuses_other_owners() -> None:
    """CLMM pools carry the same discriminator."""
    with pytest.raises(PoolRefused):
        decode(altered("pool", 0, b""), owner="CAMMCzo5YL8w4VFF8KVHrK22GGUsp5VTaW7grrKgrWqK")


def test_links_its_vaults_and_config() -> None:
    linked = CpmmPool.linked(GOOD.account("pool"))
    assert len(set(linked)) == len(linked) == 3
    with pytest.raises(PoolRefused):
        CpmmPool.linked(b"")


def small(**changes: object) -> CpmmPool:
    return with_creator_fee(paid_in=0, creator_fee_rate=0, **changes)


def test_is_a_pool() -> None:
    pool: Pool = small(protocol_fees_0=600, fund_fees_0=300, creator_fees_0=100, venue="simulated")
    assert (pool.kind, pool.venue, pool.address) == ("cpmm", "simulated", "pool")
    assert pool.reserves() == (999_000, 2_000_000)
    assert pool.spot(pool.mint_0) == (2_000_000, 999_000)
    assert pool.spot(pool.mint_1) == (999_000, 2_000_000)
    stored = msgspec.json.encode(pool)
    assert msgspec.json.decode(stored, type=CpmmPool) == pool


@pytest.mark.parametrize(
    ("pool", "amount", "mint_in", "code"),
    [
        (small(), 10, "c", Code.POOL_REFUSED),
        (small(status=4), 10, "a", Code.POOL_REFUSED),
        (small(open_time=NOW.unix_seconds + 1), 10, "a", Code.POOL_REFUSED),
        (small(), 0, "a", Code.POOL_LIQUIDITY),
        (small(), -5, "a", Code.POOL_LIQUIDITY),
        (small(), 2**64, "a", Code.POOL_LIQUIDITY),
        (small(), 2**64 - 1_000_000, "a", Code.POOL_LIQUIDITY),
        (small(vault_0_amount=0), 10, "a", Code.POOL_LIQUIDITY),
        (small(creator_fees_1=2_000_000), 10, "a", Code.POOL_LIQUIDITY),
    ],
)
def test_refuses_both_ways(pool: CpmmPool, amount: int, mint_in: str, code: Code) -> None:
    for exact_in in (True, False):
        assert Asked(pool, Atoms(amount), Mint(mint_in), NOW, exact_in).refusal() is code


def test_a_creator_cut_of_everything_buys_nothing() -> None:
    """The curve gives 1, the creator's cut rounds up to 1."""
    ask = Asked(with_creator_fee(paid_in=1), Atoms(4), Mint("b"), NOW, exact_in=True)
    assert ask.refusal() is Code.POOL_LIQUIDITY


@pytest.mark.parametrize("exact_in", [True, False])
def test_fills_a_vault_to_its_last_unit_and_no_further(exact_in: bool) -> None:
    """The same reserves, in a vault that can take exactly what the swap pays, and in one that lacks a unit."""
    swap = small().quote_out(Atoms(1_999_999), Mint("a"), NOW)
    amount = swap.amount_in if exact_in else swap.amount_out
    full = 2**64 - 1 - swap.amount_in
    fits = Asked(small(vault_0_amount=full, fund_fees_0=full - 10**6), amount, Mint("a"), NOW, exact_in)
    assert fits.swap()[1].vault_0_amount == 2**64 - 1
    full += 1
    over = Asked(small(vault_0_amount=full, fund_fees_0=full - 10**6), amount, Mint("a"), NOW, exact_in)
    assert over.refusal() is Code.POOL_LIQUIDITY


def test_opens_on_the_second() -> None:
    small(open_time=NOW.unix_seconds, status=3).quote_in(Atoms(1_000), Mint("a"), NOW)
