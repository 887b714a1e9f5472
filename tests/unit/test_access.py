"""Keys, tokens, limits and buckets."""

import os
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.access import Bucket, Key, Limits, RateLimited, Scope, check_order, check_worth, genuine, make_key
from fillwright.errors import Code, FillwrightError
from fillwright.order import Intent, Mode, Side
from fillwright.units import Atoms, Bps, Millis, Token
from tests.conformance.samples import SOL, USDC


def made(**changed: Any) -> tuple[Key, str]:
    told: dict[str, Any] = {"account": "alice", "label": "bot", "scopes": frozenset({Scope.READ}), "limits": Limits()}
    return make_key(now=Millis(0), entropy=os.urandom, **{**told, **changed})


def test_a_token_is_known_by_its_hash_only() -> None:
    key, token = made()
    found = re.fullmatch(r"fw_([0-9a-f]{12})_([0-9a-f]{64})", token)
    assert found
    assert found[1] == key.id
    assert len(bytes.fromhex(found[2])) * 8 >= 160
    assert found[2].encode() not in msgspec.json.encode(key)
    assert bytes.fromhex(found[2]) not in msgspec.msgpack.encode(key)


def test_only_the_whole_token_is_genuine() -> None:
    (key, token), (other, others) = made(), made()
    keys = {key.id: key, other.id: other}
    assert genuine(token, keys) == key
    assert genuine(token, {}) is None
    for at in range(len(token)):
        wrong = token[:at] + ("0" if token[at] != "0" else "1") + token[at + 1 :]
        assert genuine(wrong, keys) is None
    mixed = f"fw_{key.id}_{others.rpartition('_')[2]}"
    for wrong in ("", "fw__", token[:-1], token + "0", token.upper(), f" {token}", token + "\n", mixed, "ü"):
        assert genuine(wrong, keys) is None


@pytest.mark.parametrize(
    "changed",
    [{"account": ""}, {"account": "a b"}, {"account": "ü"}, {"label": ""}, {"label": "a\nb"}, {"scopes": frozenset()}],
)
def test_a_key_that_cannot_be_one_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(FillwrightError) as refused:
        made(**changed)
    assert refused.value.code is Code.VALIDATION_FAILED


# --- limits -----------------------------------------------------------------------------------------------


def intent(
    *, amount: int = 10, mode: Mode = Mode.EXACT_IN, token_in: Token = SOL, token_out: Token = USDC, slippage: int = 100
) -> Intent:
    return Intent(
        side=Side.SELL,
        token_in=token_in,
        token_out=token_out,
        amount=Atoms(amount),
        mode=mode,
        slippage_bps=Bps(slippage),
    )


CAPPED = Limits(amount_max={SOL.mint: Atoms(10)}, slippage_bps_max=Bps(100))


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        (intent(), None),
        (intent(amount=11), "/amount"),
        (intent(slippage=101), "/slippageBps"),
        (intent(mode=Mode.EXACT_OUT), "/amount"),  # told in USDC, which has no cap
        (intent(mode=Mode.EXACT_OUT, token_in=USDC, token_out=SOL), None),
        (intent(mode=Mode.EXACT_OUT, token_in=USDC, token_out=SOL, amount=11), "/amount"),
        (intent(token_in=USDC, token_out=SOL), "/amount"),
    ],
)
def test_an_order_stays_within_its_keys_caps_however_it_is_told(asked: Intent, pointer: str | None) -> None:
    check_order(Limits(), asked)
    if pointer is None:
        check_order(CAPPED, asked)
        return
    with pytest.raises(FillwrightError) as refused:
        check_order(CAPPED, asked)
    assert (refused.value.code, refused.value.problem.pointer) == (Code.ACCESS_LIMIT, pointer)


def test_an_order_may_be_worth_its_keys_cap_and_not_an_atom_more() -> None:
    capped = Limits(worth_max=Atoms(1_000_000))
    check_worth(capped, Atoms(1_000_000), USDC)
    with pytest.raises(FillwrightError, match=r"at most 1 USDC an order, this one is worth 1\.000001") as refused:
        check_worth(capped, Atoms(1_000_001), USDC)
    assert (refused.value.code, refused.value.problem.pointer) == (Code.ACCESS_LIMIT, "/amount")
    check_worth(Limits(), Atoms(2**63 - 1), USDC)


# --- buckets ----------------------------------------------------------------------------------------------


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 2, allow_nan=False), max_size=200),
)
def test_no_stretch_of_time_lets_more_through_than_burst_and_rate(rate: int, burst: int, pauses: list[float]) -> None:
    now, let = 0.0, []
    bucket = Bucket(rate=rate, burst=burst, now=now)
    for pause in pauses:
        now += pause
        try:
            bucket.spend(now)
        except RateLimited:
            continue
        let.append(now)
    for first, begin in enumerate(let):
        for last in range(first, len(let)):
            assert last - first + 1 <= burst + rate * (let[last] - begin) + 1e-6


def test_who_waits_as_long_as_told_is_let_through() -> None:
    bucket = Bucket(rate=3, burst=2, now=0.0)
    now = 0.0
    for _ in range(50):
        try:
            bucket.spend(now)
        except RateLimited as refused:
            now += refused.retry_after_ms / 1_000
            bucket.spend(now)
    assert bucket.full_in_s(now + 10) == 0
