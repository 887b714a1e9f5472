"""Raydium AMM v4: equal to the program on every vector, and refuses what is not known.

Where a vector is not followed to the letter, by tag:
- old_ceil_rule (1, recorded before 2025-08): the fee of a 1-unit swap was rounded to zero; today's rule takes
  the whole unit, so we refuse it.
- old_program_rule (4): status 1. The vectors' program refuses it, newer source accepts it; we refuse.
- threshold (11): the limit is the chain's to check. We quote what the program would have swapped; that must
  lie on the side of the limit that the program's answer says.
"""

from collections import Counter

import msgspec
import pytest

from fillwright.errors import Code
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.pools.amm_v4 import PROGRAM, AmmV4Pool
from fillwright.units import Atoms, Mint
from tests.vectors import swaps
from tests.vectors.swaps import Asked, Outcome, Vector

VECTORS = swaps.load("raydium_amm_v4")
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)

STATE_OFFSETS = {
    "status": (0, 8),
    "fee_numerator": (176, 8),
    "fee_denominator": (184, 8),
    "owed_0": (192, 8),
    "owed_1": (200, 8),
    "open_time": (224, 8),
    "swapped_0_in": (256, 16),
    "swapped_1_out": (272, 16),
    "fees_1": (288, 8),
    "swapped_1_in": (296, 16),
    "swapped_0_out": (312, 16),
    "fees_0": (328, 8),
    "recent_epoch": (736, 8),
}
"""Where the decoded state lies in the pool account: LAYOUTS of AmmInfo."""


def decoded(vector: Vector) -> AmmV4Pool:
    return AmmV4Pool.decode(
        address=vector.address,
        owner=vector.owner,
        pool_account=vector.account("pool"),
        vault_0_account=vector.account("vault_0"),
        vault_1_account=vector.account("vault_1"),
    )


def pool_of(vector: Vector) -> AmmV4Pool:
    if vector.accounts:
        return decoded(vector)
    numerator, denominator = vector.fee_rate
    return AmmV4Pool(
        address=vector.id,
        mint_0=Mint("coin"),
        mint_1=Mint("pc"),
        vault_0_amount=Atoms(vector.reserves[0]),
        vault_1_amount=Atoms(vector.reserves[1]),
        fee_numerator=numerator,
        fee_denominator=denominator,
    )


def encoded(pool: AmmV4Pool, account_before: bytes) -> bytes:
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
    if vector.error.startswith("custom 30 "):
        return "beyond limit"
    if vector.error.startswith("custom 22 "):
        return "not open"
    assert vector.error.startswith("custom 29 ") or "panicked at math.rs" in vector.error, vector.error
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
        case "cannot fill" | "old rule":
            assert ask.refusal() is Code.POOL_LIQUIDITY


def check_swapped(vector: Vector, ask: Asked[AmmV4Pool]) -> None:
    swap, after = ask.swap()
    assert (swap.amount_in, swap.amount_out) == (vector.amount_in, vector.amount_out)
    assert swap.fee_mint == ask.mint_in
    assert swap == ask.quote()
    assert vector.accepts(swap)
    if not vector.accounts:
        return
    assert swap.fee == vector.fee
    assert (after.vault_0_amount, after.vault_1_amount) == vector.post_vaults
    assert encoded(ask.pool, vector.account("pool")) == vector.account("pool")
    assert encoded(after, vector.account("pool")) == vector.pool_after


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_does_what_the_program_did(vector: Vector) -> None:
    check(vector)


def test_every_full_vector_too() -> None:
    full = swaps.load_full_set("raydium_amm_v4")
    if not full:
        pytest.skip("the full vector set does not lie beside this repository")
    assert [swaps.content(vector) for vector in full] == [swaps.content(vector) for vector in VECTORS]
    for vector in full:
        check(vector)


def test_no_vector_is_missing() -> None:
    assert Counter(outcome(vector) for vector in VECTORS) == {
        "swapped": 84 + 7,
        "old rule": 1,
        "beyond limit": 5,
        "not open": 14,
        "cannot fill": 15 + 8,
    }
    tags = Counter(tag for vector in VECTORS for tag in vector.tags)
    expected = {"recorded": 8, "old_ceil_rule": 1, "old_program_rule": 4, "threshold": 11, "status=7": 8}
    assert {tag: tags[tag] for tag in expected} == expected


# ---- what is not known is refused

GOOD = next(vector for vector in VECTORS if vector.accounts and not vector.error)


def altered(role: str, offset: int, new: bytes) -> dict[str, bytes]:
    accounts = {name: GOOD.account(name) for name in ("pool", "vault_0", "vault_1")}
    old = accounts[role]
    accounts[role] = old[:offset] + new + old[offset + len(new) :]
    return accounts


def decode_refused(accounts: dict[str, bytes], owner: str = PROGRAM) -> bool:
    with pytest.raises(PoolRefused) as refusal:
        AmmV4Pool.decode(
            address="pool",
            owner=owner,
            pool_account=accounts["pool"],
            vault_0_account=accounts["vault_0"],
            vault_1_account=accounts["vault_1"],
        )
    return refusal.value.code is Code.POOL_REFUSED


@pytest.mark.parametrize(
    ("role", "offset", "new"),
    [
        ("pool", 752, b"\0"),
        ("vault_0", 165, b"\2"),
        ("vault_0", 0, bytes(32)),
        ("vault_1", 108, b"\2"),
        ("pool", 184, bytes(8)),
        ("pool", 176, (10_000).to_bytes(8, "little")),
        ("pool", 192, b"\xff" * 8),
    ],
    ids=["long", "long vault", "other mint", "frozen", "fee n/0", "fee above 1", "owes more than it has"],
)
def test_refuses_unknown_accounts(role: str, offset: int, new: bytes) -> None:
    assert decode_refused(altered(role, offset, new))


def test_refuses_other_owners_and_a_pool_of_one_mint() -> None:
    assert decode_refused(altered("pool", 0, b""), owner="TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
    one_mint = altered("pool", 432, GOOD.account("pool")[400:432])
    assert decode_refused(one_mint | {"vault_1": one_mint["vault_0"]})


def test_links_its_vaults() -> None:
    vaults = AmmV4Pool.linked(GOOD.account("pool"))
    assert [len(address) in (43, 44) for address in vaults] == [True, True]
    assert vaults[0] != vaults[1]
    with pytest.raises(PoolRefused):
        AmmV4Pool.linked(b"")


def small(**changes: object) -> AmmV4Pool:
    pool = AmmV4Pool(
        address="pool",
        mint_0=Mint("a"),
        mint_1=Mint("b"),
        vault_0_amount=Atoms(1_000_000),
        vault_1_amount=Atoms(2_000_000),
        fee_numerator=25,
        fee_denominator=10_000,
    )
    return msgspec.structs.replace(pool, **changes)


def test_is_a_pool() -> None:
    pool: Pool = small(owed_0=1_000)
    assert (pool.kind, pool.venue, pool.address) == ("amm_v4", "raydium", "pool")
    assert pool.reserves() == (999_000, 2_000_000)
    assert pool.spot(pool.mint_0) == (2_000_000, 999_000)
    assert pool.spot(pool.mint_1) == (999_000, 2_000_000)
    stored = msgspec.json.encode(pool)
    assert msgspec.json.decode(stored, type=AmmV4Pool) == pool


@pytest.mark.parametrize(
    ("pool", "amount", "mint_in", "code"),
    [
        (small(), 10, "c", Code.POOL_REFUSED),
        (small(status=8), 10, "a", Code.POOL_REFUSED),
        (small(status=7, open_time=NOW.unix_seconds + 1), 10, "a", Code.POOL_REFUSED),
        (small(), 0, "a", Code.POOL_LIQUIDITY),
        (small(), -5, "a", Code.POOL_LIQUIDITY),
        (small(), 2**64, "a", Code.POOL_LIQUIDITY),
        (small(), 2**64 - 1_000_000, "a", Code.POOL_LIQUIDITY),
        (small(vault_0_amount=0), 10, "a", Code.POOL_LIQUIDITY),
        (small(owed_1=2_000_000), 10, "a", Code.POOL_LIQUIDITY),
    ],
)
def test_refuses_both_ways(pool: AmmV4Pool, amount: int, mint_in: str, code: Code) -> None:
    for exact_in in (True, False):
        assert Asked(pool, Atoms(amount), Mint(mint_in), NOW, exact_in).refusal() is code


@pytest.mark.parametrize("exact_in", [True, False])
def test_fills_a_vault_to_its_last_unit_and_no_further(exact_in: bool) -> None:
    """The same reserves, in a vault that can take exactly what the swap pays, and in one that lacks a unit."""
    swap = small().quote_out(Atoms(1_999_999), Mint("a"), NOW)
    amount = swap.amount_in if exact_in else swap.amount_out
    full = 2**64 - 1 - swap.amount_in
    fits = Asked(small(vault_0_amount=full, owed_0=full - 10**6), amount, Mint("a"), NOW, exact_in)
    assert fits.swap()[1].vault_0_amount == 2**64 - 1
    over = Asked(small(vault_0_amount=full + 1, owed_0=full + 1 - 10**6), amount, Mint("a"), NOW, exact_in)
    assert over.refusal() is Code.POOL_LIQUIDITY


def test_opens_on_the_second_and_stays_open() -> None:
    _, after = small(status=7, open_time=NOW.unix_seconds).swap_in(Atoms(1_000), Mint("a"), NOW)
    assert after.status == 6


def test_all_of_the_reserve_cannot_be_bought() -> None:
    assert small().quote_out(Atoms(1_999_999), Mint("a"), NOW).amount_out == 1_999_999
    with pytest.raises(PoolRefused):
        small().quote_out(Atoms(2_000_000), Mint("a"), NOW)
