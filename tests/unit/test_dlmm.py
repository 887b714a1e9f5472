"""Meteora DLMM: equal to the program on every vector, and refuses what is not known.

Where a vector is not followed to the letter, by tag:
- threshold (7): the limit is the chain's to check. We quote what the program would have swapped; that must lie on
  the side of the limit that the program's answer says.
- array_emptied (1): the program takes an array without liquidity out of the pool's bitmap. Our state has no bitmap
  (an array without output is passed over anyhow), so these bytes alone are not compared.
Everything else of the pool account and of every bin array is compared byte by byte.
"""

from collections import Counter

import msgspec
import pytest

from fillwright.errors import Code
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.pools.dlmm import PROGRAM, DlmmPool
from fillwright.pools.dlmm_bins import Bin, bin_price
from fillwright.units import Atoms, Mint
from tests.vectors import dlmm_vectors, swaps
from tests.vectors.dlmm_vectors import DlmmVector
from tests.vectors.swaps import Asked, Outcome

VECTORS = dlmm_vectors.load()
MORE = dlmm_vectors.load(dlmm_vectors.MORE)
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)
BITMAP = slice(584, 712)

STATE_OFFSETS = {
    "volatility": (40, 4),
    "volatility_reference": (44, 4),
    "index_reference": (48, 4),
    "last_update": (56, 8),
    "active_id": (76, 4),
    "bin_step": (80, 2),
    "status": (82, 1),
    "protocol_fees_0": (216, 8),
    "protocol_fees_1": (224, 8),
    "filter_period": (10, 2),
    "decay_period": (12, 2),
    "reduction_factor": (14, 2),
    "variable_fee_control": (16, 4),
    "max_volatility": (20, 4),
    "protocol_share": (32, 2),
    "fee_on_1": (36, 1),
}
"""Where the decoded state lies in the pool account: LAYOUTS of LbPair."""

BIN_OFFSETS = {
    "amount_0": (0, 8),
    "amount_1": (8, 8),
    "price": (16, 16),
    "liquidity": (32, 16),
    "fulfilled_0": (48, 8),
    "fulfilled_1": (56, 8),
    "order_fees_ask": (64, 8),
    "order_fees_bid": (72, 8),
    "fees_per_share_0": (80, 16),
    "fees_per_share_1": (96, 16),
    "open_orders": (112, 8),
    "processing": (120, 8),
    "processed_left": (128, 8),
    "order_age": (136, 4),
    "ask_side": (140, 1),
}
"""Where a bin's state lies in its 144 bytes."""


def decoded(vector: DlmmVector, *, after: bool = False) -> DlmmPool:
    account = vector.after if after else vector.account
    return DlmmPool.decode(
        address=vector.address,
        owner=vector.owner,
        pool_account=account("pool"),
        vault_0_account=account("vault_0"),
        vault_1_account=account("vault_1"),
        bin_array_accounts=[account(role) for role in vector.accounts if role.startswith("bins_")],
    )


def put(account: bytearray, start: int, state: object, offsets: dict[str, tuple[int, int]]) -> None:
    for field, (offset, size) in offsets.items():
        value = int(getattr(state, field))
        account[start + offset : start + offset + size] = value.to_bytes(size, "little", signed=value < 0)


def encoded_pool(pool: DlmmPool, before: bytes) -> bytes:
    account = bytearray(before)
    put(account, 0, pool, STATE_OFFSETS)
    return bytes(account)


def encoded_array(pool: DlmmPool, before: bytes) -> bytes:
    account, index = bytearray(before), int.from_bytes(before[8:16], "little", signed=True)
    for b in pool.bins:
        if b.id // 70 == index:
            put(account, 56 + 144 * (b.id % 70), b, BIN_OFFSETS)
    return bytes(account)


def outcome(vector: DlmmVector) -> Outcome:
    """Why the program did what it did, in the words of the checks below."""
    if not vector.error:
        return "swapped"
    code = int(vector.error.split()[1])
    if code == 6003:
        return "beyond limit"
    if code in (6042, 6018):  # disabled; the volatility overflows
        return "not open"
    # no array left; output rounds to zero; layers round short; a bin costs more than u64; the vault is full
    assert code in (6036, 6039, 6085, 6019, 1), vector.error
    return "cannot fill"


@pytest.mark.parametrize("vector", VECTORS + MORE, ids=lambda vector: vector.id)
def test_does_what_the_program_did(vector: DlmmVector) -> None:
    ask = Asked.of(vector, decoded(vector))
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
            raise AssertionError


def check_swapped(vector: DlmmVector, ask: Asked[DlmmPool]) -> None:
    swap, after = ask.swap()
    assert (swap.amount_in, swap.amount_out, swap.fee) == (vector.amount_in, vector.amount_out, vector.fee)
    assert swap.fee_mint == (ask.pool.mint_1 if ask.pool.fee_on_1 else ask.mint_in)
    assert swap == ask.quote()
    assert vector.accepts(swap)
    assert (after.vault_0_amount, after.vault_1_amount) == vector.post_vaults
    assert encoded_pool(ask.pool, vector.account("pool")) == vector.account("pool")
    emptied = "array_emptied" in vector.tags
    assert (vector.account("pool")[BITMAP] != vector.after("pool")[BITMAP]) == emptied
    expected = bytearray(vector.after("pool"))
    expected[BITMAP] = vector.account("pool")[BITMAP]
    assert encoded_pool(after, vector.account("pool")) == expected
    for role in vector.accounts:
        if role.startswith("bins_"):
            assert encoded_array(ask.pool, vector.account(role)) == vector.account(role)
            assert encoded_array(after, vector.account(role)) == vector.after(role)
    if not emptied:
        assert after == decoded(vector, after=True)
        assert (after._down, after._up) == (decoded(vector, after=True)._down, decoded(vector, after=True)._up)


def test_is_the_full_set() -> None:
    full = dlmm_vectors.load_full_set()
    if not full:
        pytest.skip("the full vector set does not lie beside this repository")
    assert [swaps.content(vector) for vector in full] == [swaps.content(vector) for vector in VECTORS]


def test_no_vector_is_missing() -> None:
    assert Counter(outcome(vector) for vector in VECTORS) == {
        "swapped": 62 + 36,
        "beyond limit": 2,
        "not open": 6,
        "cannot fill": 11 + 8 + 1,
    }
    tags = Counter(tag for vector in VECTORS for tag in vector.tags)
    expected = {"limit_orders": 20, "fee_in_y_only": 22, "rewards": 15, "threshold": 7, "layer_rounding_reject": 1}
    assert {tag: tags[tag] for tag in expected} == expected


def test_no_vector_with_limit_orders_is_missing() -> None:
    """What the full set hardly has, run by the same program: both sides, every layer, and fees on the output."""
    assert Counter(outcome(vector) for vector in MORE) == {"swapped": 77, "not open": 1, "cannot fill": 16}
    tags = Counter(tag for vector in MORE if not vector.error for tag in vector.tags)
    expected = {"processed_part", "processed_used_up", "opened_part", "opened_used_up", "orders_only", "bins"}
    expected |= {"fee_on_output", "surplus", "dust", "orders_paid_for_nothing", "array_emptied", "plain"}
    assert expected <= set(tags)


def test_every_pool_survives_being_stored() -> None:
    for vector in VECTORS:
        pool = decoded(vector)
        assert msgspec.json.decode(msgspec.json.encode(pool), type=DlmmPool) == pool
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(pool), type=DlmmPool) == pool


# ---- what is not known is refused

GOOD = next(vector for vector in VECTORS if not vector.error and len(vector.bin_arrays()) == 2)


def accounts_of(vector: DlmmVector) -> dict[str, bytes]:
    return {role: vector.account(role) for role in vector.accounts}


def altered(role: str, offset: int, new: bytes) -> dict[str, bytes]:
    accounts = accounts_of(GOOD)
    role = role if role in accounts else next(name for name in accounts if name.startswith(role))
    old = accounts[role]
    accounts[role] = old[:offset] + new + old[offset + len(new) :]
    return accounts


def decode(accounts: dict[str, bytes], owner: str = PROGRAM) -> DlmmPool:
    return DlmmPool.decode(
        address=GOOD.address,
        owner=owner,
        pool_account=accounts["pool"],
        vault_0_account=accounts["vault_0"],
        vault_1_account=accounts["vault_1"],
        bin_array_accounts=[account for role, account in accounts.items() if role.startswith("bins_")],
    )


FIRST_BIN = decode(accounts_of(GOOD)).bins[0].id % 70
IN_FIRST_BIN = 56 + 144 * FIRST_BIN

UNKNOWN = {
    "long": ("pool", 904, b"\0"),
    "other discriminator": ("pool", 0, bytes(8)),
    "long array": ("bins_", 10_136, b"\0"),
    "other array discriminator": ("bins_", 0, bytes(8)),
    "array of another pool": ("bins_", 24, bytes(32)),
    "long vault": ("vault_0", 165, b"\2"),
    "vault of another mint": ("vault_1", 0, bytes(32)),
    "frozen vault": ("vault_1", 108, b"\2"),
    "unknown pair type": ("pool", 75, b"\4"),
    "unknown activation": ("pool", 86, b"\2"),
    "unknown function": ("pool", 35, b"\3"),
    "unknown fee mode": ("pool", 36, b"\2"),
    "unknown fee power": ("pool", 34, b"\12"),
    "used padding": ("pool", 37, b"\1"),
    "used padding at the end": ("pool", 903, b"\1"),
    "Token-2022 mint 0": ("pool", 880, b"\1"),
    "Token-2022 mint 1": ("pool", 881, b"\1"),
    "no bin step": ("pool", 80, bytes(2)),
    "outside the bitmap": ("pool", 76, (512 * 70).to_bytes(4, "little")),
    "owes more than it has": ("pool", 216, b"\xff" * 8),
    "another price": ("bins_", IN_FIRST_BIN + 16, b"\1"),
    "unknown side of orders": ("bins_", IN_FIRST_BIN + 140, b"\2"),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_refuses_unknown_accounts(why: str) -> None:
    with pytest.raises(PoolRefused) as refusal:
        decode(altered(*UNKNOWN[why]))
    assert refusal.value.code is Code.POOL_REFUSED


def test_refuses_other_owners() -> None:
    with pytest.raises(PoolRefused):
        decode(accounts_of(GOOD), owner="cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG")


def test_bytes_of_orders_count_only_where_the_pool_has_orders() -> None:
    """Function 1 is liquidity mining: there these bytes may be anything."""
    accounts = altered("bins_", IN_FIRST_BIN + 140, b"\2")
    accounts["pool"] = altered("pool", 35, b"\1")["pool"]
    assert not decode(accounts).limit_orders


def test_a_reward_rules_orders_out_unless_the_pool_names_them() -> None:
    assert decode(accounts_of(GOOD)).limit_orders
    assert not decode(altered("pool", 264, b"\1")).limit_orders
    assert not decode(altered("pool", 408, b"\1")).limit_orders
    rewarded = altered("pool", 408, b"\1")
    rewarded["pool"] = rewarded["pool"][:35] + b"\2" + rewarded["pool"][36:]
    assert decode(rewarded).limit_orders


def test_links_its_vaults_and_arrays() -> None:
    vaults = DlmmPool.linked(GOOD.account("pool"))
    assert len(set(vaults)) == 2
    assert all(len(address) in (43, 44) for address in vaults)
    for refused in (DlmmPool.linked, lambda account: DlmmPool.array_indices(account, each_way=1)):
        with pytest.raises(PoolRefused):
            refused(b"")


def flagged(*indices: int, active_id: int = 0) -> bytes:
    account = bytearray(GOOD.account("pool"))
    account[BITMAP] = sum(1 << index + 512 for index in indices).to_bytes(128, "little")
    account[76:80] = active_id.to_bytes(4, "little", signed=True)
    return bytes(account)


def test_names_the_nearest_arrays_with_liquidity() -> None:
    account = flagged(-512, -9, -2, 0, 3, 4, 511, active_id=69)
    assert DlmmPool.array_indices(account, each_way=0) == (0,)
    assert DlmmPool.array_indices(account, each_way=2) == (-9, -2, 0, 3, 4)
    assert DlmmPool.array_indices(account, each_way=99) == (-512, -9, -2, 0, 3, 4, 511)
    assert DlmmPool.array_indices(flagged(-2, 0, 3, active_id=70), each_way=1) == (0, 3)
    assert DlmmPool.array_indices(flagged(-2, 0, 3, active_id=-1), each_way=1) == (-2, 0)


def array(index: int, bins: dict[int, tuple[int, int]]) -> bytes:
    account = bytearray(10_136)
    account[:8], account[8:16] = GOOD.bin_arrays()[0][:8], index.to_bytes(8, "little", signed=True)
    account[24:56] = GOOD.bin_arrays()[0][24:56]
    step = int.from_bytes(GOOD.account("pool")[80:82], "little")
    for bin_id, (amount_0, amount_1) in bins.items():
        put(
            account,
            56 + 144 * (bin_id % 70),
            Bin(bin_id, amount_0, amount_1, str(bin_price(bin_id, step))),
            BIN_OFFSETS,
        )
    return bytes(account)


ARRAYS = {-2: {-71: (0, 500)}, 0: {0: (1_000, 1_000)}, 1: {75: (500, 0)}, 3: {210: (500, 0)}}


def with_arrays(*given: int) -> DlmmPool:
    accounts = {"pool": flagged(*ARRAYS), "vault_0": GOOD.account("vault_0"), "vault_1": GOOD.account("vault_1")}
    return decode(accounts | {f"bins_{index}": array(index, ARRAYS[index]) for index in given})


def test_a_missing_array_is_met_before_it_is_guessed() -> None:
    pool = with_arrays(0, 1)
    assert (pool.missing_below, pool.missing_above) == (-2, 3)
    assert with_arrays(*ARRAYS).missing_below is None
    for mint_in, loaded, beyond in ((pool.mint_0, 1_000, 1_500), (pool.mint_1, 1_500, 2_000)):
        assert pool.quote_out(Atoms(loaded), mint_in, NOW).amount_out == loaded
        assert with_arrays(*ARRAYS).quote_out(Atoms(beyond), mint_in, NOW).amount_out == beyond
        assert Asked(pool, Atoms(loaded + 1), mint_in, NOW, exact_in=False).refusal() is Code.POOL_REFUSED
        assert Asked(pool, Atoms(10**9), mint_in, NOW, exact_in=True).refusal() is Code.POOL_REFUSED
        for exact_in in (True, False):
            assert Asked(with_arrays(*ARRAYS), Atoms(10**9), mint_in, NOW, exact_in).refusal() is Code.POOL_LIQUIDITY


def test_an_array_that_is_missing_behind_does_not_matter() -> None:
    pool = with_arrays(-2, 0)
    assert pool.quote_out(Atoms(1_500), pool.mint_0, NOW).amount_out == 1_500
    assert Asked(pool, Atoms(1_501), pool.mint_0, NOW, exact_in=False).refusal() is Code.POOL_LIQUIDITY
    assert Asked(pool, Atoms(1_001), pool.mint_1, NOW, exact_in=False).refusal() is Code.POOL_REFUSED


@pytest.mark.parametrize("given", [(-2, 1), (0, 3), (3,), ()], ids=str)
def test_refuses_gaps_between_arrays(given: tuple[int, ...]) -> None:
    with pytest.raises(PoolRefused) as refusal:
        with_arrays(*given)
    assert refusal.value.code is Code.POOL_REFUSED


def test_looks_past_arrays_that_are_not_flagged() -> None:
    accounts = {"pool": flagged(0), "vault_0": GOOD.account("vault_0"), "vault_1": GOOD.account("vault_1")}
    pool = decode(accounts | {f"bins_{index}": array(index, bins) for index, bins in ARRAYS.items()})
    assert [b.id for b in pool.bins] == [0]


# ---- by hand: step 100, price 1 in bin 0, fee 1 %


def small(**changes: object) -> DlmmPool:
    pool = DlmmPool(
        address="pool",
        mint_0=Mint("a"),
        mint_1=Mint("b"),
        vault_0_amount=Atoms(10**6),
        vault_1_amount=Atoms(10**6),
        bin_step=100,
        active_id=0,
        bins=(level(-2, 0, 4_000), level(0, 1_000, 1_000), level(1, 2_000, 0)),
        base_fee_rate=10_000_000,
        protocol_share=1_000,
    )
    return msgspec.structs.replace(pool, **changes)


def level(bin_id: int, amount_0: int, amount_1: int, **orders: object) -> Bin:
    b = Bin(bin_id, amount_0, amount_1, str(bin_price(bin_id, 100)), str(10**6 << 64))
    return msgspec.structs.replace(b, **orders)


def test_is_a_pool() -> None:
    pool: Pool = small(venue="simulated")
    assert (pool.kind, pool.venue, pool.address) == ("dlmm", "simulated", "pool")
    assert pool.reserves() == (3_000, 5_000)
    assert pool.spot(pool.mint_0) == pool.spot(pool.mint_1) == (2**64, 2**64)
    assert small(active_id=-1).spot(Mint("a")) == (bin_price(-2, 100), 2**64)
    assert small().venue == "meteora"


def test_prices_are_powers() -> None:
    """Of an inverse that is cut at 128 bits: below 0 a bit too little, above a bit too much."""
    assert [bin_price(number, 10_000) for number in (-2, -1, 0)] == [2**62 - 1, 2**63 - 1, 2**64]
    assert [bin_price(number, 10_000) for number in (1, 2)] == [2**65 + 4, 2**66 + 16]
    assert bin_price(1, 100) - (2**64 * 101 // 100) in range(-3, 4)
    with pytest.raises(PoolRefused):
        bin_price(-2_000, 10_000)


def test_a_swap_inside_one_bin() -> None:
    """505: fee ceil(5.05) = 6, 499 net buy 499; of the fee floor(0.6) = 0 is the protocol's."""
    swap, after = small().swap_in(Atoms(505), Mint("a"), NOW)
    assert (swap.amount_out, swap.fee, swap.fee_mint) == (499, 6, "a")
    assert (after.bins[1].amount_0, after.bins[1].amount_1) == (1_499, 501)
    assert int(after.bins[1].fees_per_share_0) == (6 << 64) // 10**6
    assert (after.protocol_fees_0, after.active_id, after.last_update) == (0, 0, 0)


def test_a_swap_through_bins() -> None:
    """The first bin takes 1,000 and ceil(1,000 / 99) = 11; 989 are left: fee 10, 979 net at 1.01**-2 buy 959."""
    swap, after = small().swap_in(Atoms(2_000), Mint("a"), NOW)
    assert (swap.amount_out, swap.fee) == (1_000 + 979 * 10_000 // 10_201, 11 + 10)
    assert (after.active_id, after.last_update) == (-2, NOW.unix_seconds)
    assert after.protocol_fees_0 == 1 + 1
    assert [(b.amount_0, b.amount_1) for b in after.bins] == [(979, 4_000 - 959), (2_000, 0), (2_000, 0)]


def test_a_bin_that_is_exactly_used_up_stays_active() -> None:
    swap, after = small().swap_in(Atoms(1_011), Mint("a"), NOW)
    assert (swap.amount_out, after.active_id) == (1_000, 0)
    _, after = small().swap_in(Atoms(1_012), Mint("a"), NOW)
    assert after.active_id == -2


def test_a_bin_never_gives_more_than_it_has() -> None:
    """At a price of 1.01**400, about 53.5, 13 atoms pay for 695 at the most; only 690 are there."""
    pool = small(active_id=400, bins=(level(400, 0, 690),), base_fee_rate=0, fee_on_1=True)
    assert pool.quote_in(Atoms(13), Mint("a"), NOW).amount_out == 690
    swap, after = pool.swap_out(Atoms(689), Mint("a"), NOW)
    assert (swap.amount_in, swap.fee, after.protocol_fees_1) == (13, 1, 1)
    assert (after.bins[0].amount_0, after.bins[0].amount_1) == (13, 0)


def test_ends_before_a_bin_that_costs_more_than_u64() -> None:
    """The program computes what all of a bin costs before it uses any of it."""
    whole = small(vault_0_amount=0, vault_1_amount=2**64 - 1, bins=(level(0, 0, 2**64 - 1),))
    assert whole.quote_in(Atoms(1_000), Mint("a"), NOW).amount_out == 990
    dearer = msgspec.structs.replace(whole, bins=(level(-1, 0, 2**64 - 1),))
    for exact_in in (True, False):
        assert Asked(dearer, Atoms(1_000), Mint("a"), NOW, exact_in).refusal() is Code.POOL_LIQUIDITY
    assert dearer.segments(Mint("a"), NOW) == ()


def test_a_fee_on_the_output() -> None:
    """0 -> 1: 505 net buy 505, of which ceil(5.05) = 6 are fee; 1 -> 0 pays on its input, also in token 1."""
    swap, after = small(fee_on_1=True).swap_in(Atoms(505), Mint("a"), NOW)
    assert (swap.amount_out, swap.fee, swap.fee_mint) == (499, 6, "b")
    assert int(after.bins[1].fees_per_share_1) == (6 << 64) // 10**6
    assert (after.bins[1].amount_0, after.bins[1].amount_1) == (1_505, 495)
    swap, after = small(fee_on_1=True).swap_in(Atoms(505), Mint("b"), NOW)
    assert (swap.amount_out, swap.fee, swap.fee_mint) == (499, 6, "b")


@pytest.mark.parametrize(
    ("control", "volatility", "rate"),
    [
        (0, 20_000, 10_000_000),
        (1_000_000, 0, 10_000_000),
        (1_000_000, 1, 10_000_001),
        (1_000_000, 10_000, 20_000_000),
        (1_000_000, 20_000, 50_000_000),
        (1_000_000, 25_000, 72_500_000),
        (1_000_000, 25_001, 72_500_000),
        (2_000_000, 25_000, 100_000_000),
    ],
)
def test_the_fee_follows_the_volatility(control: int, volatility: int, rate: int) -> None:
    """1 % + ceil(control * (volatility * 100)**2 / 10**11), where volatility is at most 25,000; at most 10 %."""
    pool = small(
        variable_fee_control=control,
        max_volatility=25_000,
        filter_period=10,
        last_update=NOW.unix_seconds,
        volatility_reference=volatility,
    )
    swap = msgspec.structs.replace(pool, bins=(level(0, 0, 10**12),)).quote_in(Atoms(10**5), Mint("a"), NOW)
    assert swap.fee == -(-rate * 10**5 // 10**9)


@pytest.mark.parametrize(
    ("elapsed", "references"),
    [(-5, (7, 3_000)), (9, (7, 3_000)), (10, (0, 2_000)), (19, (0, 2_000)), (20, (0, 0)), (10**6, (0, 0))],
)
def test_references_decay(elapsed: int, references: tuple[int, int]) -> None:
    pool = small(
        filter_period=10,
        decay_period=20,
        reduction_factor=5_000,
        volatility=4_001,
        volatility_reference=3_000,
        index_reference=7,
        max_volatility=10**6,
        last_update=NOW.unix_seconds - elapsed,
    )
    _, after = pool.swap_in(Atoms(505), Mint("a"), NOW)
    assert (after.index_reference, after.volatility_reference) == references
    assert after.volatility == references[1] + references[0] * 10_000
    assert after.last_update == pool.last_update


ORDERS = {"open_orders": 300, "processing": 250, "processed_left": 200, "order_age": 4}


def with_orders(**changes: object) -> DlmmPool:
    return small(**{"limit_orders": True, "bins": (level(0, 100, 100, **ORDERS),)} | changes)


def test_limit_orders_are_a_bins_last_layers() -> None:
    """450 net: 100 from liquidity, 200 of the batch, 150 of the open ones, which become the next batch.

    Fee 5 on 455: providers ceil(5 * 100 / 450) = 2, orders 3, of which they keep 1.
    """
    swap, after = with_orders().swap_in(Atoms(455), Mint("a"), NOW)
    found = after.bins[0]
    assert (swap.amount_out, swap.fee) == (450, 5)
    assert (found.amount_0, found.amount_1, found.fulfilled_1, found.order_fees_bid) == (200, 0, 350, 1)
    assert (found.open_orders, found.processing, found.processed_left, found.order_age) == (0, 300, 150, 5)
    assert after.protocol_fees_0 == 2
    assert (after.reserves(), with_orders().reserves()) == ((200, 150), (100, 600))


def test_limit_orders_trade_one_way_and_only_where_supported() -> None:
    for pool in (with_orders(), with_orders(limit_orders=False)):
        with pytest.raises(PoolRefused):
            pool.quote_out(Atoms(101), Mint("b"), NOW)
    with pytest.raises(PoolRefused):
        with_orders(limit_orders=False).quote_out(Atoms(101), Mint("a"), NOW)
    asks = with_orders(bins=(level(0, 100, 100, ask_side=1, **ORDERS),))
    assert asks.quote_out(Atoms(600), Mint("b"), NOW).amount_out == 600
    assert asks.reserves() == (600, 100)


@pytest.mark.parametrize(
    ("pool", "amount", "mint_in", "code"),
    [
        (small(), 10, "c", Code.POOL_REFUSED),
        (small(status=1), 10, "a", Code.POOL_REFUSED),
        (small(active_from_seconds=NOW.unix_seconds + 1), 10, "a", Code.POOL_REFUSED),
        (small(active_from_slot=NOW.slot + 1), 10, "a", Code.POOL_REFUSED),
        (small(), 0, "a", Code.POOL_LIQUIDITY),
        (small(), -5, "a", Code.POOL_LIQUIDITY),
        (small(), 2**64, "a", Code.POOL_LIQUIDITY),
        (small(), 10_000, "a", Code.POOL_LIQUIDITY),
        (small(bins=()), 10, "a", Code.POOL_LIQUIDITY),
        (small(vault_0_amount=2**64 - 1), 10, "a", Code.POOL_LIQUIDITY),
    ],
)
def test_refuses_both_ways(pool: DlmmPool, amount: int, mint_in: str, code: Code) -> None:
    for exact_in in (True, False):
        assert Asked(pool, Atoms(amount), Mint(mint_in), NOW, exact_in).refusal() is code


def test_an_output_of_nothing_is_refused() -> None:
    assert Asked(small(), Atoms(1), Mint("a"), NOW, exact_in=True).refusal() is Code.POOL_LIQUIDITY
    with pytest.raises(PoolRefused):
        small(bins=()).spot(Mint("a"))


@pytest.mark.parametrize("exact_in", [True, False])
def test_fills_a_vault_to_its_last_unit_and_no_further(exact_in: bool) -> None:
    amount = Atoms(505 if exact_in else 499)
    fits = Asked(small(vault_0_amount=2**64 - 1 - 505), amount, Mint("a"), NOW, exact_in)
    assert fits.swap()[1].vault_0_amount == 2**64 - 1
    over = Asked(small(vault_0_amount=2**64 - 505), amount, Mint("a"), NOW, exact_in)
    assert over.refusal() is Code.POOL_LIQUIDITY


def test_opens_on_the_slot_and_on_the_second() -> None:
    small(active_from_slot=NOW.slot, active_from_seconds=NOW.unix_seconds).quote_in(Atoms(505), Mint("a"), NOW)
    small(active_from_slot=NOW.slot + 1).open_at(NOW.unix_seconds)
    for closed in (small(status=1), small(active_from_seconds=NOW.unix_seconds + 1)):
        with pytest.raises(PoolRefused):
            closed.open_at(NOW.unix_seconds)


@pytest.mark.parametrize(("kind", "activation"), [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 1)])
def test_only_some_pairs_wait(kind: int, activation: int) -> None:
    accounts = altered("pool", 816, (77).to_bytes(8, "little"))
    pool_account = bytearray(accounts["pool"])
    pool_account[75], pool_account[86] = kind, activation
    pool = decode(accounts | {"pool": bytes(pool_account)})
    waits = 77 if kind in (1, 2) else 0
    assert (pool.active_from_slot, pool.active_from_seconds) == ((0, waits) if activation else (waits, 0))


def test_segments_are_the_bins() -> None:
    one, two = small().segments(Mint("a"), NOW)
    assert one.rate == pytest.approx(0.99, rel=1e-11)
    assert one.capacity == pytest.approx(1_000 / 0.99)
    assert two.rate == pytest.approx(0.99 / 1.01**2, rel=1e-11)
    assert two.capacity == pytest.approx(4_000 * 1.01**2 / 0.99)
    assert one.depth == two.depth == float("inf")
    assert small(fee_on_1=True).segments(Mint("a"), NOW)[0].capacity == pytest.approx(1_000)
    assert small(status=1).segments(Mint("a"), NOW) == ()
    assert small(bins=()).segments(Mint("a"), NOW) == ()
    with pytest.raises(PoolRefused):
        small().segments(Mint("c"), NOW)


def test_segments_merge_where_the_fee_falls_faster_than_the_price() -> None:
    """The way leads back to the reference, two bins below: there the fee is 1 %, at the start 10 %."""
    back = small(variable_fee_control=20_000_000, max_volatility=10**6, index_reference=-2, filter_period=10)
    back = msgspec.structs.replace(back, last_update=NOW.unix_seconds)
    (merged,) = back.segments(Mint("a"), NOW)
    everything = back.quote_out(Atoms(5_000), Mint("a"), NOW)
    assert merged.capacity == pytest.approx(everything.amount_in, rel=1e-3)
    assert merged.rate * merged.capacity == pytest.approx(5_000)
