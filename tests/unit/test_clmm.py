"""Raydium CLMM: equal to the program on every vector, and refuses what is not known.

Where a vector is not followed to the letter, by tag:
- threshold (8): the limit is the chain's to check. We quote what the program would have swapped; that must lie on
  the side of the limit that the program's answer says.
- recorded (11): the state after the swap, protocol and fund rates and vaults are not known; amounts are compared.
Rewards are not part of our state; no vector with a state after it has any.
"""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Literal, TypeAlias

import msgspec
import pytest

from fillwright.errors import Code
from fillwright.pools import ChainTime, Pool, PoolRefused, Swap
from fillwright.pools import clmm_math as m
from fillwright.pools.clmm import PROGRAM, SEGMENTS_MAX, ClmmPool
from fillwright.pools.clmm_ticks import Tick
from fillwright.units import Atoms, Mint
from tests.vectors import clmm_vectors
from tests.vectors.clmm_vectors import Case

CASES = clmm_vectors.load()
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)
ONE = 1 << 64

Outcome: TypeAlias = Literal["swapped", "beyond limit", "not open", "cannot fill"]

POOL_OFFSETS = {
    "tick_spacing": (235, 2),
    "liquidity": (237, 16),
    "sqrt_price": (253, 16),
    "tick_current": (269, 4),
    "fee_growth_0": (277, 16),
    "fee_growth_1": (293, 16),
    "protocol_fees_0": (309, 8),
    "protocol_fees_1": (317, 8),
    "swapped_0_in": (325, 16),
    "swapped_1_out": (341, 16),
    "swapped_1_in": (357, 16),
    "swapped_0_out": (373, 16),
    "status": (389, 1),
    "lp_fees_0": (1032, 8),
    "lp_fees_1": (1048, 8),
    "fund_fees_0": (1064, 8),
    "fund_fees_1": (1072, 8),
    "open_time": (1080, 8),
    "recent_epoch": (1088, 8),
}
"""Where the decoded state lies in the pool account: LAYOUTS of PoolState."""


def accounts_of(case: Case) -> dict[str, bytes]:
    """By role; for recorded swaps with a config and vaults made from what is known of them."""
    pool = case.before["pool"]
    made = {
        "config": config_account(case.facts.recorded_fee_rate, pool[235:237]),
        "vault_0": vault_account(pool[73:105]),
        "vault_1": vault_account(pool[105:137]),
    }
    return made | case.before


def config_account(fee_rate: int, spacing: bytes) -> bytes:
    rates = bytes(4) + fee_rate.to_bytes(4, "little") + spacing
    return (bytes.fromhex("daf42168cbcb2b6f") + bytes(35) + rates).ljust(117, b"\0")


def vault_account(mint: bytes) -> bytes:
    return mint + bytes(32) + (2**62).to_bytes(8, "little") + bytes(36) + b"\1" + bytes(56)


def decode(accounts: dict[str, bytes], address: str, owner: str = PROGRAM) -> ClmmPool:
    return ClmmPool.decode(
        address=address,
        owner=owner,
        pool_account=accounts["pool"],
        config_account=accounts["config"],
        vault_0_account=accounts["vault_0"],
        vault_1_account=accounts["vault_1"],
        tick_array_accounts=[account for role, account in accounts.items() if role.startswith("ticks ")],
        extension_account=accounts.get("bitmap_extension"),
    )


def decoded(case: Case) -> ClmmPool:
    return decode(accounts_of(case), case.facts.address, case.facts.owner)


def quote(case: Case, pool: ClmmPool) -> Swap:
    ask = pool.quote_in if case.facts.mode == "exact_in" else pool.quote_out
    return ask(Atoms(case.facts.amount), Mint(case.facts.input_mint), now_of(case), case.facts.limit)


def swap(case: Case, pool: ClmmPool) -> tuple[Swap, ClmmPool]:
    act = pool.swap_in if case.facts.mode == "exact_in" else pool.swap_out
    return act(Atoms(case.facts.amount), Mint(case.facts.input_mint), now_of(case), case.facts.limit)


def now_of(case: Case) -> ChainTime:
    return ChainTime(slot=case.facts.slot, unix_seconds=case.facts.unix_seconds)


def refusal(*asks: Callable[[], object]) -> Code:
    """All must refuse, and alike."""
    problems = []
    for ask in asks:
        with pytest.raises(PoolRefused) as refused:
            ask()
        problems.append(refused.value.problem)
    assert all(problem == problems[0] for problem in problems)
    return problems[0].code


def outcome(case: Case) -> Outcome:
    """Why the program did what it did, in the words of the checks below."""
    if not case.facts.error:
        return "swapped"
    if case.facts.error.startswith(("custom 6022 ", "custom 6023 ")):
        return "beyond limit"
    if case.facts.error.startswith("custom 2505 "):
        assert int.from_bytes(case.before["pool"][1080:1088], "little") >= case.facts.unix_seconds
        return "not open"
    if case.facts.error.startswith("custom 6001 "):
        return "not open"
    assert case.facts.error.startswith(("custom 6019 ", "custom 6026 ")), case.facts.error
    return "cannot fill"


def check(case: Case) -> None:
    pool = decoded(case)
    match outcome(case):
        case "swapped":
            check_swapped(case, pool)
        case "beyond limit":
            expected = quote(case, pool)
            assert not case.accepts(amount_in=expected.amount_in, amount_out=expected.amount_out)
        case "not open":
            assert refusal(lambda: quote(case, pool), lambda: swap(case, pool)) is Code.POOL_REFUSED
            assert pool.segments(Mint(case.facts.input_mint), now_of(case)) == ()
        case "cannot fill":
            assert refusal(lambda: quote(case, pool), lambda: swap(case, pool)) is Code.POOL_LIQUIDITY


def check_swapped(case: Case, pool: ClmmPool) -> None:
    facts = case.facts
    done, after = swap(case, pool)
    assert (done.amount_in, done.amount_out) == (facts.amount_in, facts.amount_out)
    assert done == quote(case, pool)
    assert case.accepts(amount_in=done.amount_in, amount_out=done.amount_out)
    assert done.fee_mint == facts.input_mint == (pool.mint_0, pool.mint_1)[facts.input_index]
    assert facts.fee in (None, done.fee)
    if "recorded" in facts.tags:
        assert facts.fee is None
        return
    assert (after.vault_0_amount, after.vault_1_amount) == facts.post_vaults
    assert encoded(pool, pool, case) == case.before
    assert encoded(after, pool, case) == case.after
    assert after == decode(accounts_of(case) | case.after, facts.address)


def encoded(pool: ClmmPool, start: ClmmPool, case: Case) -> dict[str, bytes]:
    """The accounts before, with all that the pool knows written over them."""
    accounts = dict(case.before)
    account = bytearray(accounts["pool"])
    for field, (offset, size) in POOL_OFFSETS.items():
        value = int(getattr(pool, field))
        account[offset : offset + size] = value.to_bytes(size, "little", signed=value < 0)
    accounts["pool"] = bytes(account)
    for side, amount in enumerate((pool.vault_0_amount, pool.vault_1_amount)):
        vault = accounts[f"vault_{side}"]
        accounts[f"vault_{side}"] = vault[:64] + amount.to_bytes(8, "little") + vault[72:]
    changed = {tick.index for tick, old in zip(pool.ticks, start.ticks, strict=True) if tick != old}
    for role in [role for role in accounts if role.startswith("ticks ")]:
        accounts[role] = encoded_array(accounts[role], pool, changed, now_of(case).epoch)
    return accounts


def encoded_array(before: bytes, pool: ClmmPool, changed: set[int], epoch: int) -> bytes:
    account = bytearray(before)
    first = int.from_bytes(account[40:44], "little", signed=True)
    for tick in pool.ticks:
        number = (tick.index - first) // pool.tick_spacing
        if not 0 <= number < 60:
            continue
        row = tick.index.to_bytes(4, "little", signed=True) + int(tick.net).to_bytes(16, "little", signed=True)
        account[44 + 168 * number : 64 + 168 * number] = row
        growth = int(tick.outside_0).to_bytes(16, "little") + int(tick.outside_1).to_bytes(16, "little")
        account[80 + 168 * number : 112 + 168 * number] = growth
        if tick.index in changed:
            account[10125:10133] = epoch.to_bytes(8, "little")
    return bytes(account)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.facts.id)
def test_does_what_the_program_did(case: Case) -> None:
    check(case)


def test_every_full_vector_too() -> None:
    full = clmm_vectors.load_full_set()
    if not full:
        pytest.skip("the full vector set does not lie beside this repository")
    assert full == CASES


def test_no_vector_is_missing() -> None:
    assert Counter(outcome(case) for case in CASES) == {
        "swapped": 93 + 11,
        "beyond limit": 5,
        "not open": 8,
        "cannot fill": 17 + 3,
    }
    tags = Counter(tag for case in CASES for tag in case.facts.tags)
    expected = {
        "recorded": 11,
        "threshold": 8,
        "bitmap_extension": 32,
        "price_on_tick_at": 20,
        "price_on_tick_below": 5,
    }
    assert {tag: tags[tag] for tag in expected} == expected
    crossing = [case for case in CASES if any(case.before[role] != case.after[role] for role in ticks_roles(case))]
    assert len(crossing) == 48
    assert sum(bool(case.facts.limit) for case in CASES) == 6


# ---- what is not given, or not known, is refused


def ticks_roles(case: Case) -> list[str]:
    return [role for role in case.before if role.startswith("ticks ")]


def without(case: Case, role: str) -> ClmmPool:
    return decode({name: account for name, account in accounts_of(case).items() if name != role}, case.facts.address)


def test_a_missing_tick_array_is_refused_where_the_swap_needs_it() -> None:
    """Any array left out: the same amounts, or POOL_REFUSED; always the latter if the program changed it."""
    results: Counter[str] = Counter()
    for case in CASES:
        if "recorded" in case.facts.tags or outcome(case) not in ("swapped", "cannot fill"):
            continue
        for role in (*ticks_roles(case), "bitmap_extension"):
            try:
                expected = quote(case, without(case, role))
                assert (expected.amount_in, expected.amount_out) == (case.facts.amount_in, case.facts.amount_out)
                assert case.before[role] == case.after[role]
                results["same"] += 1
            except PoolRefused as refused:
                results[f"{refused.code} {outcome(case)}"] += 1
    assert set(results) == {
        "same",
        "POOL_REFUSED swapped",
        "POOL_REFUSED cannot fill",
        "POOL_LIQUIDITY cannot fill",
    }
    assert min(results.values()) > 5


def test_without_the_array_or_the_bitmap_of_the_current_price_there_is_no_pool() -> None:
    blind, outside = 0, 0
    for case in CASES:
        if "recorded" in case.facts.tags:
            assert (decoded(case).cut_below, decoded(case).cut_above) == (True, True)
            continue
        pool = decoded(case)
        assert (pool.cut_below, pool.cut_above) == (False, False)
        span = 60 * pool.tick_spacing
        here = pool.tick_current // span * span
        for role in ticks_roles(case):
            if int.from_bytes(case.before[role][40:44], "little", signed=True) == here:
                with pytest.raises(PoolRefused, match="current price"):
                    without(case, role)
        if pool.tick_spacing > 14:  # 60 * 512 * 15 is beyond the last tick
            assert without(case, "bitmap_extension") == pool
        elif -30_720 * pool.tick_spacing <= pool.tick_current < 30_720 * pool.tick_spacing:
            blind += 1
            seen = without(case, "bitmap_extension")
            assert (seen.cut_below, seen.cut_above) == (True, True)
        else:
            outside += 1
            with pytest.raises(PoolRefused, match="current price"):
                without(case, "bitmap_extension")
    assert min(blind, outside) > 10


def test_the_arrays_to_fetch_lie_on_both_sides() -> None:
    pool = bytearray(GOOD.before["pool"])
    pool[235:237], pool[269:273], pool[904:1032] = b"\1\0", bytes(4), bytes(128)
    pool[904 + 63], pool[904 + 64] = 0b11000000, 0b1111
    assert ClmmPool.tick_arrays(bytes(pool), None, each_way=1) == (-60, 0, 60)
    assert ClmmPool.tick_arrays(bytes(pool), None, each_way=2) == (-120, -60, 0, 60, 120)
    assert ClmmPool.tick_arrays(bytes(pool), None, each_way=9) == (-120, -60, 0, 60, 120, 180)
    pool[904 + 64] = 0b1110
    assert ClmmPool.tick_arrays(bytes(pool), None, each_way=1) == (-60, 60)
    assert ClmmPool.tick_arrays(bytes(pool), None, each_way=0) == ()


def test_the_arrays_to_fetch_are_those_in_use() -> None:
    for case in CASES:
        if "recorded" in case.facts.tags:
            continue
        starts = sorted(int.from_bytes(case.before[role][40:44], "little", signed=True) for role in ticks_roles(case))
        pool, extension = case.before["pool"], case.before["bitmap_extension"]
        assert ClmmPool.tick_arrays(pool, extension, each_way=99) == tuple(starts)
        near = ClmmPool.tick_arrays(pool, extension, each_way=1)
        assert 1 <= len(near) <= 3
        assert set(near) <= set(starts)


@pytest.mark.parametrize(
    "start", [0, -60, 30_660, -30_720, 30_720, -30_780, 61_380, 61_440, -61_440, -61_500, 443_580, -443_640]
)
def test_bitmap_of_every_kind_of_array(start: int) -> None:
    """The bit that LAYOUTS names, and no other, stands for the array."""
    pool, extension = bytearray(GOOD.before["pool"]), bytearray(GOOD.before["bitmap_extension"])
    pool[235:237], pool[904:1032], extension[40:] = b"\1\0", bytes(128), bytes(1792)
    width, reach = 60, 60 * 512
    offset, rest = abs(start) // reach - 1, abs(start) % reach
    if -reach <= start < reach:
        target, bit = pool, 904 * 8 + start // width + 512
    elif start > 0:
        target, bit = extension, (40 + 64 * offset) * 8 + rest // width
    elif rest:
        target, bit = extension, (936 + 64 * offset) * 8 + 512 - rest // width
    else:
        target, bit = extension, (936 + 64 * (offset - 1)) * 8
    target[bit // 8] |= 1 << bit % 8
    assert ClmmPool.tick_arrays(bytes(pool), bytes(extension), each_way=1) == (start,)


GOOD = next(case for case in CASES if not case.facts.error and len(case.before) > 6 and case.before != case.after)
ARRAY = ticks_roles(GOOD)[0]
USED_ROW = next(at for at in range(44, 10124, 168) if any(GOOD.before[ARRAY][at + 20 : at + 36]))
FREE_ROW = next(at for at in range(44, 10124, 168) if not any(GOOD.before[ARRAY][at + 20 : at + 36]))


def altered(role: str, offset: int, new: bytes) -> dict[str, bytes]:
    accounts = dict(GOOD.before)
    old = accounts[role]
    accounts[role] = old[:offset] + new + old[offset + len(new) :]
    return accounts


UNKNOWN = {
    "long": ("pool", 1544, b"\0"),
    "other discriminator": ("pool", 0, bytes(8)),
    "long config": ("config", 117, b"\0"),
    "other config discriminator": ("config", 0, bytes(8)),
    "long vault": ("vault_0", 165, b"\2"),
    "vault of another mint": ("vault_1", 0, bytes(32)),
    "frozen vault": ("vault_1", 108, b"\2"),
    "long tick array": (ARRAY, 10240, b"\0"),
    "other tick array discriminator": (ARRAY, 0, bytes(8)),
    "tick array of another pool": (ARRAY, 8, bytes(32)),
    "tick array off the grid": (ARRAY, 40, b"\1"),
    "tick in another's place": (ARRAY, USED_ROW, b"\xff"),
    "liquidity that ticks do not give": (ARRAY, USED_ROW + 4, b"\xff\xff"),
    "liquidity that no tick ends": ("pool", 237, (int(decoded(GOOD).liquidity) + 1).to_bytes(16, "little")),
    "long extension": ("bitmap_extension", 1832, b"\0"),
    "other extension discriminator": ("bitmap_extension", 0, bytes(8)),
    "extension of another pool": ("bitmap_extension", 8, bytes(32)),
    "array in use but not in the bitmap": ("pool", 904, bytes(128)),
    "unknown status bit": ("pool", 389, b"\x40"),
    "fee on one token": ("pool", 390, b"\1"),
    "dynamic fee": ("pool", 1100, b"\1"),
    "used padding": ("pool", 391, b"\1"),
    "used padding at the tick": ("pool", 273, b"\1"),
    "used padding at the end": ("pool", 1543, b"\1"),
    "used padding of the config": ("config", 57, b"\1"),
    "used padding at the config's end": ("config", 116, b"\1"),
    "other tick spacing": ("config", 51, b"\2"),
    "trade fee of 1": ("config", 47, (1_000_000).to_bytes(4, "little")),
    "protocol and fund above 1": ("config", 43, (999_999).to_bytes(4, "little")),
    "price off its tick": ("pool", 269, b"\0\0\0\0"),
    "one mint": ("pool", 105, GOOD.before["pool"][73:105]),
}


def test_liquidity_that_turns_negative_is_refused_even_where_knowledge_ends() -> None:
    case = CASES[-1]
    lowest = decoded(case).ticks[0].index
    assert lowest < decoded(case).tick_current
    place = lowest.to_bytes(4, "little", signed=True) + int(decoded(case).ticks[0].net).to_bytes(
        16, "little", signed=True
    )
    accounts = {
        role: account.replace(place, place[:4] + (2**120).to_bytes(16, "little"))
        for role, account in accounts_of(case).items()
    }
    assert refusal(partial(decode, accounts, case.facts.address)) is Code.POOL_REFUSED


def test_the_good_one_is_good() -> None:
    assert decode(altered("pool", 0, b""), GOOD.facts.address).ticks == decoded(GOOD).ticks


@pytest.mark.parametrize("why", UNKNOWN)
def test_refuses_unknown_accounts(why: str) -> None:
    accounts = altered(*UNKNOWN[why])
    if why == "one mint":
        accounts["vault_1"] = accounts["vault_0"]
    assert refusal(lambda: decode(accounts, GOOD.facts.address)) is Code.POOL_REFUSED


def test_refuses_other_owners_and_pools_without_spacing() -> None:
    """CPMM pools carry the same discriminator."""
    owner = "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C"
    assert refusal(lambda: decode(altered("pool", 0, b""), GOOD.facts.address, owner)) is Code.POOL_REFUSED
    accounts = altered("pool", 235, bytes(2)) | {"config": altered("config", 51, bytes(2))["config"]}
    assert refusal(lambda: decode(accounts, GOOD.facts.address)) is Code.POOL_REFUSED


@pytest.mark.parametrize("field", [124, 132])
def test_ticks_with_limit_orders_are_seen(field: int) -> None:
    """With liquidity or without: a tick on which orders rest is initialised."""
    for row in (USED_ROW, FREE_ROW):
        start = int.from_bytes(GOOD.before[ARRAY][40:44], "little", signed=True)
        index = start + (row - 44) // 168 * decoded(GOOD).tick_spacing
        accounts = altered(ARRAY, row, index.to_bytes(4, "little", signed=True))
        accounts[ARRAY] = accounts[ARRAY][: row + field] + b"\1" + accounts[ARRAY][row + field + 1 :]
        ticks = decode(accounts, GOOD.facts.address).ticks
        assert [tick.index for tick in ticks if tick.has_orders] == [index]


def test_links_its_vaults_and_config() -> None:
    linked = ClmmPool.linked(GOOD.before["pool"])
    assert len(set(linked)) == len(linked) == 3
    good, flat = GOOD.before["pool"], altered("pool", 235, bytes(2))["pool"]
    assert refusal(partial(ClmmPool.linked, b"")) is Code.POOL_REFUSED
    for pool, extension in ((b"", None), (flat, None), (good, b"")):
        assert refusal(partial(ClmmPool.tick_arrays, pool, extension, each_way=1)) is Code.POOL_REFUSED


# ---- by hand: 10**12 of liquidity between ticks -100 and 100, fee 0.25 %

RANGE = (-100, 100, 10**12)


def small(*positions: tuple[int, int, int], price: int = ONE, **changes: object) -> ClmmPool:
    """A pool with these positions (lower tick, upper tick, liquidity), at `price`."""
    tick = int(changes.get("tick_current", m.tick_at(price)))  # type: ignore[call-overload]
    nets: Counter[int] = Counter()
    for lower, upper, liquidity in positions:
        nets[lower] += liquidity
        nets[upper] -= liquidity
    pool = ClmmPool(
        address="pool",
        mint_0=Mint("a"),
        mint_1=Mint("b"),
        vault_0_amount=Atoms(2**60),
        vault_1_amount=Atoms(2**60),
        trade_fee_rate=2_500,
        protocol_fee_rate=120_000,
        fund_fee_rate=40_000,
        tick_spacing=1,
        tick_current=tick,
        sqrt_price=str(price),
        liquidity=str(sum(liquidity for lower, upper, liquidity in positions if lower <= tick < upper)),
        ticks=tuple(Tick(index, str(net)) for index, net in sorted(nets.items())),
    )
    return msgspec.structs.replace(pool, **changes)


def test_within_one_range() -> None:
    """1,000,000 in: net 997,500; out = floor(10**12 * 997,500 / (10**12 + 997,500)) = 997,499, both ways at price 1.

    Up, the price moves 997,500 / 10**12 and out = floor(10**12 * (1 - 1 / (1 + that))), the same.
    """
    for mint, tick in ((Mint("a"), -1), (Mint("b"), 0)):
        done, after = small(RANGE).swap_in(Atoms(1_000_000), mint, NOW)
        assert (done.amount_in, done.amount_out, done.fee, done.fee_mint) == (1_000_000, 997_499, 2_500, mint)
        assert after.tick_current == tick
        fees = (after.protocol_fees_0, after.fund_fees_0, after.lp_fees_0)
        other = (after.protocol_fees_1, after.fund_fees_1, after.lp_fees_1)
        assert {fees, other} == {(300, 100, 2_100), (0, 0, 0)}
        assert (fees == (0, 0, 0)) == (mint == "b")
        growth = after.fee_growth_0 if mint == "a" else after.fee_growth_1
        assert growth == str(2_100 * ONE // 10**12)


def test_ends_on_a_tick_and_comes_back() -> None:
    """Down onto a tick: it is crossed, the current tick is below it, the price on it. Up: the other way round."""
    pool = small(RANGE, (-300, -100, 7))
    whole = m.bought_between(ONE, m.sqrt_price_at(-100), 10**12)
    _, down = pool.swap_out(Atoms(whole), pool.mint_0, NOW)
    assert (down.tick_current, down.liquidity, int(down.sqrt_price)) == (-101, "7", m.sqrt_price_at(-100))
    assert [tick.outside_0 for tick in down.ticks] == ["0", down.fee_growth_0, "0"]
    done, up = down.swap_in(Atoms(1_000), pool.mint_1, NOW)
    assert (up.tick_current, up.liquidity, done.amount_out) == (-100, str(10**12), 1_007)
    assert [tick.outside_0 for tick in up.ticks] == ["0", "0", "0"]
    assert up.ticks[1].outside_1 == "0"
    whole = m.bought_between(ONE, m.sqrt_price_at(100), 10**12)
    _, top = pool.swap_out(Atoms(whole), pool.mint_1, NOW)
    assert (top.tick_current, top.liquidity, int(top.sqrt_price)) == (100, "0", m.sqrt_price_at(100))
    assert refusal(lambda: top.quote_in(Atoms(5), pool.mint_1, NOW)) is Code.POOL_LIQUIDITY
    assert top.quote_in(Atoms(1_000), pool.mint_0, NOW).amount_out == 1_007


def test_the_last_unit_of_a_range_is_its_end() -> None:
    """A little less than the whole range may round onto its end, where the tick is crossed all the same.

    With liquidity of 2**66 the last bit of the price is worth four atoms.
    """
    pool = small((-10, 100, 2**66), (-300, -10, 5))
    whole = m.bought_between(ONE, m.sqrt_price_at(-10), 2**66)
    done, after = pool.swap_out(Atoms(whole - 3), pool.mint_0, NOW)
    assert done.amount_out == whole - 3
    assert (after.tick_current, after.liquidity) == (-11, "5")
    _, before = pool.swap_out(Atoms(whole - 4), pool.mint_0, NOW)
    assert (before.tick_current, before.liquidity) == (-10, str(2**66))


def test_a_gap_is_crossed_for_nothing() -> None:
    """Liquidity only 1,000 ticks away: the price jumps there. 997,500 * p / (1 + 997,500 * sqrt(p) / 10**12)."""
    pool = small((-1_200, -1_000, 10**12), (1_000, 1_200, 10**12))
    for mint, tick in ((Mint("a"), -1_001), (Mint("b"), 1_000)):
        assert len(pool.segments(mint, NOW)) == 1
        done, after = pool.swap_in(Atoms(1_000_000), mint, NOW)
        assert (done.amount_out, done.fee, after.tick_current) == (902_578, 2_500, tick)


def test_stops_at_the_price_limit() -> None:
    pool = small(RANGE)
    for mint, limit, crossed in (
        ("a", m.sqrt_price_at(-50), -50),
        ("b", m.sqrt_price_at(50), 50),
        ("a", m.sqrt_price_at(-50) + 1, -50),
        ("b", m.sqrt_price_at(50) - 1, 49),
        ("a", m.sqrt_price_at(-100), -101),
        ("b", m.sqrt_price_at(100), 100),
    ):
        for act in (pool.swap_in, pool.swap_out):
            done, after = act(Atoms(10**15), Mint(mint), NOW, limit)
            assert (int(after.sqrt_price), after.tick_current) == (limit, crossed)
            assert 0 < done.amount_out < done.amount_in < 10**15
            left = abs(limit - ONE) >= abs(m.sqrt_price_at(100 if limit > ONE else -100) - ONE)
            assert int(after.liquidity) == (0 if left else 10**12)
            assert (after.ticks != pool.ticks) == left
        assert pool.quote_in(Atoms(1_000), Mint(mint), NOW, limit) == pool.quote_in(Atoms(1_000), Mint(mint), NOW)


@pytest.mark.parametrize("limit", [ONE, 1, m.SQRT_PRICE_MIN, m.SQRT_PRICE_MAX, 2**127])
def test_a_limit_that_does_not_lie_ahead_is_refused(limit: int) -> None:
    pool = small(RANGE)
    for mint in (pool.mint_0, pool.mint_1):
        asks = [partial(ask, Atoms(1_000), mint, NOW, limit) for ask in (pool.quote_in, pool.swap_out)]
        assert refusal(*asks) is Code.POOL_LIQUIDITY


def test_ends_of_the_world() -> None:
    """The limit without a limit is one short of the last price; what is left over is no swap."""
    ends = (-m.TICK_MAX, m.TICK_MAX, 10**6)
    for mint in (Mint("a"), Mint("b")):
        pool = small(ends)
        assert refusal(partial(pool.quote_in, Atoms(2**60), mint, NOW)) is Code.POOL_LIQUIDITY
        limit = m.SQRT_PRICE_MIN + 1 if mint == "a" else m.SQRT_PRICE_MAX - 1
        done, after = pool.swap_in(Atoms(2**60), mint, NOW, limit)
        assert int(after.sqrt_price) == limit
        assert done.amount_out == pool.reserves()[mint == "a"] == 10**6 - 1
        assert after.tick_current == (-m.TICK_MAX if mint == "a" else m.TICK_MAX - 1)


def test_the_last_price_without_a_limit_is_one_above_the_lowest() -> None:
    """Liquidity of 2**60 and 16 bits of price: one atom of token 1, for nearly all of u64 of token 0."""
    ends = (-m.TICK_MAX, 10 - m.TICK_MAX, 2**60)
    pool = small(ends, price=m.SQRT_PRICE_MIN + 17, vault_0_amount=0, trade_fee_rate=0)
    assert pool.reserves()[1] == 1
    _, after = pool.swap_out(Atoms(1), pool.mint_0, NOW)
    assert int(after.sqrt_price) == m.SQRT_PRICE_MIN + 1
    assert after == pool.swap_out(Atoms(1), pool.mint_0, NOW, m.SQRT_PRICE_MIN + 1)[1]
    assert refusal(lambda: pool.quote_out(Atoms(2), pool.mint_0, NOW)) is Code.POOL_LIQUIDITY


def test_orders_are_not_reached() -> None:
    """One unit less than what leads to the tick is fine."""
    pool = small(RANGE, ticks=(Tick(-100, str(10**12)), Tick(-50, "0", has_orders=True), Tick(100, str(-(10**12)))))
    whole = m.bought_between(ONE, m.sqrt_price_at(-50), 10**12)
    assert refusal(lambda: pool.quote_out(Atoms(whole), pool.mint_0, NOW)) is Code.POOL_REFUSED
    assert pool.quote_out(Atoms(whole - 1), pool.mint_0, NOW).amount_out == whole - 1
    assert pool.reserves()[1] == whole
    assert len(pool.segments(pool.mint_0, NOW)) == 1


def test_where_knowledge_ends() -> None:
    pool = small(RANGE, cut_below=True)
    assert refusal(lambda: pool.quote_in(Atoms(10**15), pool.mint_0, NOW)) is Code.POOL_REFUSED
    assert refusal(lambda: pool.quote_in(Atoms(10**15), pool.mint_1, NOW)) is Code.POOL_LIQUIDITY
    pool = small(RANGE, cut_above=True)
    assert refusal(lambda: pool.quote_in(Atoms(10**15), pool.mint_0, NOW)) is Code.POOL_LIQUIDITY
    assert refusal(lambda: pool.quote_in(Atoms(10**15), pool.mint_1, NOW)) is Code.POOL_REFUSED


@pytest.mark.parametrize(
    ("pool", "amount", "mint", "code"),
    [
        (small(RANGE), 1_000, "c", Code.POOL_REFUSED),
        (small(RANGE, status=16), 1_000, "a", Code.POOL_REFUSED),
        (small(RANGE, open_time=NOW.unix_seconds), 1_000, "a", Code.POOL_REFUSED),
        (small(RANGE), 0, "a", Code.POOL_LIQUIDITY),
        (small(RANGE), -5, "b", Code.POOL_LIQUIDITY),
        (small(RANGE), 2**64, "a", Code.POOL_LIQUIDITY),
        (small(RANGE, vault_1_amount=900, vault_0_amount=900), 1_000, "a", Code.POOL_LIQUIDITY),
        (small(RANGE, vault_0_amount=2**64 - 900), 1_000, "a", Code.POOL_LIQUIDITY),
        (small(), 1_000, "a", Code.POOL_LIQUIDITY),
    ],
)
def test_refuses_both_ways(pool: ClmmPool, amount: int, mint: str, code: Code) -> None:
    for quoted, swapped in ((pool.quote_in, pool.swap_in), (pool.quote_out, pool.swap_out)):
        args = Atoms(amount), Mint(mint), NOW
        assert refusal(partial(quoted, *args), partial(swapped, *args)) is code


def test_fills_a_vault_to_its_last_unit_and_leaves_one_in_the_other() -> None:
    """997,499 for 1,000,000, see above."""
    for ask, amount in ((ClmmPool.quote_in, 1_000_000), (ClmmPool.quote_out, 997_499)):
        paid = ask(small(RANGE), Atoms(amount), Mint("a"), NOW).amount_in
        full = small(RANGE, vault_0_amount=2**64 - 1 - paid, vault_1_amount=997_500)
        assert ask(full, Atoms(amount), Mint("a"), NOW).amount_out == 997_499
        for vaults in ({"vault_0_amount": 2**64 - paid}, {"vault_1_amount": 997_499}):
            over = small(RANGE, **vaults)
            assert refusal(partial(ask, over, Atoms(amount), Mint("a"), NOW)) is Code.POOL_LIQUIDITY


def test_dust_buys_nothing() -> None:
    assert refusal(lambda: small(RANGE).quote_in(Atoms(1), Mint("a"), NOW)) is Code.POOL_LIQUIDITY


def test_opens_after_the_second_and_whatever_else_is_off() -> None:
    small(RANGE, open_time=NOW.unix_seconds - 1, status=63 - 16).quote_in(Atoms(1_000), Mint("a"), NOW)


def test_growth_wraps() -> None:
    last = 2**128 - 1
    pool = small(RANGE, fee_growth_0=str(last), ticks=(Tick(-100, str(10**12), "5", "7"), Tick(100, str(-(10**12)))))
    _, after = pool.swap_out(Atoms(m.bought_between(ONE, m.sqrt_price_at(-100), 10**12)), pool.mint_0, NOW)
    growth = int(after.fee_growth_0)
    assert growth < last
    assert (int(after.ticks[0].outside_0), int(after.ticks[0].outside_1)) == ((growth - 5) % 2**128, 2**128 - 7)


def test_is_a_pool() -> None:
    pool: Pool = small(RANGE, venue="simulated")
    assert (pool.kind, pool.venue, pool.address) == ("clmm", "simulated", "pool")
    assert pool.reserves() == (4_987_272_070, 4_987_272_070)
    double = small((13_000, 15_000, 10**9), price=2 * ONE)
    assert double.spot(double.mint_0) == (4 * ONE**2, ONE**2)
    assert double.spot(double.mint_1) == (ONE**2, 4 * ONE**2)


@pytest.mark.parametrize("form", [msgspec.json, msgspec.msgpack])
def test_is_stored_and_comes_back(form: object) -> None:
    """With numbers of 128 bits, and before and after anything was worked out from them."""
    encode, parse = form.encode, form.decode  # type: ignore[attr-defined]
    for case in CASES[::9]:
        pool = decoded(case)
        back = parse(encode(pool), type=ClmmPool)
        assert back == pool
        assert encode(back) == encode(pool)
        assert hash(back) == hash(pool)
        if outcome(case) == "swapped":
            done, after = swap(case, pool)
            assert quote(case, back) == done
            assert parse(encode(after), type=ClmmPool) == after == swap(case, back)[1]
    huge = small(RANGE, liquidity=str(2**128 - 1), fee_growth_0=str(2**128 - 1))
    assert parse(encode(huge), type=ClmmPool) == huge


def test_segments_promise_a_little_more_than_the_price() -> None:
    for tick in range(-90, 90, 7):
        pool = small(RANGE, price=m.sqrt_price_at(tick))
        for mint in (pool.mint_0, pool.mint_1):
            (segment,) = pool.segments(mint, NOW)
            price = Fraction(*pool.spot(mint)) * Fraction(9_975, 10_000)
            assert price < Fraction(segment.rate) < price * Fraction(10**11 + 1, 10**11)


def test_segments_are_few() -> None:
    many = small(*[(-index, index, 10**9) for index in range(1, 2 * SEGMENTS_MAX)])
    assert len(many.segments(many.mint_0, NOW)) == SEGMENTS_MAX
    assert refusal(lambda: many.segments(Mint("c"), NOW)) is Code.POOL_REFUSED


# ---- ticks and prices


def test_prices_of_ticks() -> None:
    assert m.sqrt_price_at(0) == ONE
    assert m.sqrt_price_at(-m.TICK_MAX) == m.SQRT_PRICE_MIN
    assert m.sqrt_price_at(m.TICK_MAX) == m.SQRT_PRICE_MAX
    for tick in (1, -1, 2, 60, 12_345, -98_765):
        assert m.sqrt_price_at(tick) / ONE == pytest.approx(1.0001 ** (tick / 2), rel=1e-9)


def test_ticks_of_prices() -> None:
    for tick in {*range(-m.TICK_MAX + 1, m.TICK_MAX, 997), *range(-40, 40), m.TICK_MAX - 1, 1 - m.TICK_MAX}:
        price = m.sqrt_price_at(tick)
        assert [m.tick_at(price - 1), m.tick_at(price), m.tick_at(price + 1)] == [tick - 1, tick, tick]
    assert m.tick_at(m.SQRT_PRICE_MIN) == -m.TICK_MAX
    assert m.tick_at(m.SQRT_PRICE_MAX - 1) == m.TICK_MAX - 1
