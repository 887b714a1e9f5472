"""The public JSON of one recorded order, pinned to the letter; and that any recorded order can be shown.

A golden changes only with the contract: clients read these bytes.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.dialects import spoken
from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import (
    Accepted,
    Event,
    Fill,
    Intent,
    Landed,
    Lapsed,
    Leg,
    Mode,
    Quote,
    Recorded,
    Route,
    Routed,
    Side,
    Signed,
    SignedTx,
    SliceLanded,
    Stamped,
    Started,
    replay,
)
from fillwright.tokens import Tokens
from fillwright.units import Atoms, Bps, Millis, Mint, OrderId, Signature
from fillwright.wire import parse_time, rfc3339
from fillwright.wire.frames import frame_of, news_of
from fillwright.wire.reading import Refused, read_object
from fillwright.wire.requests import Asked, fingerprint, parse_order
from fillwright.wire.resources import (
    attempt_views,
    fill_views,
    intent_view,
    last_routed,
    order_view,
    preview_view,
    route_view,
)
from tests.conformance.samples import BONK, SOL, USDC, walks

GOLDENS = Path(__file__).parent / "goldens"
AT = 1_704_900_000_000
TOKENS = Tokens((SOL, USDC, BONK))
VENUES = ("raydium", "meteora")


def story() -> list[Recorded]:
    """A sell that lapses once and then settles at a better price than quoted."""
    intent = Intent(
        side=Side.SELL,
        token_in=SOL,
        token_out=USDC,
        amount=Atoms(1_500_000_000),
        mode=Mode.EXACT_IN,
        slippage_bps=Bps(50),
        deadline_ms=Millis(120_000),
        venues=("meteora", "raydium"),
        tags=("desk",),
    )
    winner = Quote(
        venue="raydium",
        pool="Pool1",
        kind="cpmm",
        slot=250_000_000,
        amount_in=Atoms(1_500_000_000),
        amount_out=Atoms(147_750_000),
        fee=Atoms(3_750_000),
        fee_mint=SOL.mint,
        impact_bps=Bps(4),
        depth=2_000_000_000_000,
        latency_ms=Millis(120),
    )
    second = msgspec.structs.replace(
        winner, venue="meteora", pool="Pool2", amount_out=Atoms(147_293_000), depth=500_000_000_000, impact_bps=Bps(0)
    )
    silent = Quote(
        venue="meteora", latency_ms=Millis(2_000), problem=Problem(Code.VENUE_TIMEOUT, "meteora did not answer in time")
    )

    def routed(at: int, *quotes: Quote) -> Routed:
        leg = Leg(
            venue="raydium",
            pool="Pool1",
            mint_in=SOL.mint,
            mint_out=USDC.mint,
            amount_in=winner.amount_in,
            amount_out=winner.amount_out,
        )
        route = Route(
            legs=(leg,),
            amount_in=winner.amount_in,
            amount_out=winner.amount_out,
            bound=Atoms(147_750_017),
            impact_bps=winner.impact_bps,
            reason="+0.31 % over meteora",
            quotes=quotes,
            found_at=Millis(at),
        )
        return Routed(route=route)

    def signed(signature: str, height: int) -> Signed:
        tx = SignedTx(
            signature=Signature(signature),
            raw=b"\x01\x02",
            last_valid_height=height + 150,
            signed_slot=height + 20_000_000,
            signed_height=height,
            limit=Atoms(147_011_250),
        )
        return Signed(tx=tx)

    lapse = Problem(Code.CHAIN_LAPSED, "the transaction expired before it was included in a block")
    fill = Fill(
        signature=Signature("sig2"), slot=250_000_333, amount_in=winner.amount_in, amount_out=Atoms(147_900_000)
    )
    events: list[tuple[int, Event]] = [
        (0, Accepted(intent=intent, client_order_id="mine-1")),
        (5, Started(worker="w-1")),
        (130, routed(AT + 130, winner, second)),
        (150, signed("sig1", 230_000_000)),
        (61_000, Lapsed(signature=Signature("sig1"), height=230_000_151, problem=lapse, retry_at=Millis(AT + 62_000))),
        (62_001, Started(worker="w-1")),
        (64_002, routed(AT + 64_002, winner, silent)),
        (64_050, signed("sig2", 230_000_160)),
        (64_900, Landed(fill=fill)),
    ]
    history = [Stamped(seq, Millis(AT + at), event) for seq, (at, event) in enumerate(events, 1)]
    return replay(OrderId("018cf3a5-2d00-7000-8000-000000000001"), "default", history)


def shown(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


def dialect_c(history: list[Recorded]) -> list[Any]:
    return [json.loads(frame) for recorded in history for frame in spoken(news_of(recorded).frame)]


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("frames", lambda history: [shown(frame_of(recorded)) for recorded in history]),
        ("frames_dialect_c", dialect_c),
        ("orders", lambda history: [shown(order_view(recorded.order)) for recorded in history]),
        ("attempts", lambda history: shown(attempt_views(history))),
        ("fills", lambda history: shown(fill_views(history))),
        ("route", lambda history: shown(route_view(history[-1].order.intent, history[-1].order.route))),
    ],
)
def test_goldens(name: str, view: Any) -> None:
    told = json.dumps(view(story()), indent=1, ensure_ascii=False) + "\n"
    assert told == (GOLDENS / f"{name}.json").read_text()


@given(walks())
def test_every_order_can_be_shown_at_every_step(history: list[Recorded]) -> None:
    for index, recorded in enumerate(history, 1):
        order = recorded.order
        frame = shown(frame_of(recorded))
        assert (frame["seq"], frame["status"], frame["type"]) == (index, order.status, "event")
        news = news_of(recorded)
        assert json.loads(news.frame) == frame
        assert (news.order_id, news.account, news.seq) == (order.id, order.account, index)
        assert news.ended == order.is_terminal
        assert [json.loads(each).get("seq") for each in spoken(news.frame)][-1] == index
        assert ("executedPrice" in frame) == isinstance(recorded.event, Landed | SliceLanded)
        assert ("minOut" in frame or "maxIn" in frame) == (order.status == "submitted")
        assert shown(order_view(order))["status"] == order.status
    attempts = attempt_views(history)
    last = history[-1].order
    of_slice = [each.attempt for each in attempts if each.slice in (None, last.slice)]
    assert of_slice == list(range(1, last.attempt + 1))
    assert all(attempt.ended_at for attempt in attempts[:-1])
    assert len(fill_views(history)) == sum(isinstance(each.event, Landed | SliceLanded) for each in history)
    routed = last_routed(history)
    if routed is not None:
        assert shown(preview_view(*routed))["route"]["legs"]


def split(bound: int, *, mode: Mode = Mode.EXACT_IN) -> tuple[Intent, Route]:
    """Two ways, one of them over BONK, on two venues."""
    intent = Intent(
        side=Side.SELL, token_in=SOL, token_out=USDC, amount=Atoms(10**9), mode=mode, slippage_bps=Bps(50), max_legs=3
    )

    def leg(venue: str, pool: str, a: Mint, b: Mint, amount_in: int, amount_out: int) -> Leg:
        return Leg(
            venue=venue, pool=pool, mint_in=a, mint_out=b, amount_in=Atoms(amount_in), amount_out=Atoms(amount_out)
        )

    legs = (
        leg("raydium", "P1", SOL.mint, USDC.mint, 6 * 10**8, 90_000_000),
        leg("meteora", "P2", SOL.mint, BONK.mint, 4 * 10**8, 123_456_789),
        leg("raydium", "P3", BONK.mint, USDC.mint, 123_456_789, 60_000_000),
    )
    route = Route(
        legs=legs,
        amount_in=Atoms(10**9),
        amount_out=Atoms(150_000_000),
        bound=Atoms(bound),
        impact_bps=Bps(3),
        reason="3 legs, over 1 intermediate token: +0.12 % over raydium cpmm alone",
        quotes=(),
        found_at=Millis(AT),
    )
    return intent, route


def test_a_split_shows_every_leg_and_how_far_it_is_from_the_best() -> None:
    intent, route = split(150_000_002)
    told = shown(route_view(intent, route))
    assert told["dex"] == "raydium+meteora"
    assert (told["bound"], told["gapBps"]) == ("150.000002", "0.0002"), "0.000133 bps, rounded up"
    direct, first, second = told["legs"]
    assert (direct["amountIn"], direct["amountOut"]) == ("0.6", "90")
    assert (first["amountIn"], first["amountOutAtoms"]) == ("0.4", "123456789")
    assert (second["amountInAtoms"], second["amountOut"]) == ("123456789", "60")
    assert not {"amountOut", "amountInAtoms"} & first.keys()
    known = shown(route_view(intent, route, [BONK]))["legs"]
    assert (known[1]["amountOut"], known[2]["amountIn"]) == ("1234.56789", "1234.56789")


def test_the_gap_of_an_exact_output_is_what_is_paid_above_the_bound() -> None:
    intent, route = split(999_999_900, mode=Mode.EXACT_OUT)
    told = shown(route_view(intent, route))
    assert (told["bound"], told["gapBps"]) == ("0.9999999", "0.0011")
    assert shown(route_view(*split(150_000_000)))["gapBps"] == "0"
    assert "gapBps" not in shown(route_view(*split(0, mode=Mode.EXACT_OUT)))


# --- requests ---------------------------------------------------------------------------------------------


def asked(**members: Any) -> Asked:
    return parse_order(read_object(json.dumps(members).encode()), TOKENS, VENUES)


def test_two_forms_of_one_swap_are_one_request() -> None:
    plain = asked(tokenIn="SOL", tokenOut="USDC", amount="1.5")
    same = [
        asked(tokenIn="sol", tokenOut=USDC.mint, amount=1.5),
        asked(pair="SOL/USDC", side="sell", amount="1.50"),
        asked(pair="SOL-USDC", side="sell", amount="1.5", slippageBps="100", type="market"),
        asked(pair="SOL/USDC", side="sell", tokenIn="SOL", tokenOut="USDC", amount="1.5", amountMode="exactIn"),
        asked(tokenIn="SOL", tokenOut="USDC", amount="1.5", tags=[], routing=None, clientOrderId=None),
    ]
    assert all(fingerprint(each) == fingerprint(plain) for each in same)
    others = [
        asked(tokenIn="SOL", tokenOut="USDC", amount="1.5", amountMode="exactOut"),
        asked(tokenIn="USDC", tokenOut="SOL", amount="1.5"),
        asked(tokenIn="SOL", tokenOut="USDC", amount="1.5", clientOrderId="a"),
        asked(tokenIn="SOL", tokenOut="USDC", amount="1.5", slippageBps=99),
        asked(tokenIn="SOL", tokenOut="USDC", amount="1.5", tags=["x"]),
        asked(tokenIn="SOL", tokenOut="USDC", amount="1.5", routing={"venues": ["raydium"]}),
    ]
    assert len({fingerprint(each) for each in [plain, *others]}) == len(others) + 1


@pytest.mark.parametrize(
    ("members", "side", "mode", "atoms"),
    [
        ({"pair": "SOL/USDC", "side": "sell"}, Side.SELL, Mode.EXACT_IN, 2 * 10**9),
        ({"pair": "SOL/USDC", "side": "buy"}, Side.BUY, Mode.EXACT_OUT, 2 * 10**9),
        ({"pair": "SOL/USDC", "side": "buy", "amountMode": "exactIn"}, Side.BUY, Mode.EXACT_IN, 2 * 10**6),
        ({"pair": "USDC/SOL", "side": "sell"}, Side.SELL, Mode.EXACT_IN, 2 * 10**6),
        ({"tokenIn": "USDC", "tokenOut": "SOL"}, Side.BUY, Mode.EXACT_IN, 2 * 10**6),
        ({"tokenIn": "SOL", "tokenOut": "USDC", "amountMode": "exactOut"}, Side.SELL, Mode.EXACT_OUT, 2 * 10**6),
        ({"tokenIn": "BONK", "tokenOut": "SOL"}, Side.SELL, Mode.EXACT_IN, 2 * 10**5),
    ],
)
def test_side_mode_and_the_amounts_token(members: dict[str, Any], side: Side, mode: Mode, atoms: int) -> None:
    intent = asked(amount=2, **members).intent
    assert (intent.side, intent.mode, intent.amount) == (side, mode, atoms)


def test_a_route_may_be_limited() -> None:
    swap: dict[str, Any] = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": 1}
    free = asked(**swap, routing={}).intent
    assert (free.venues, free.max_legs, free.max_hops) == (None, None, None)
    limited = asked(**swap, routing={"venues": ["raydium", "meteora"], "maxLegs": 3, "maxHops": "2"}).intent
    assert (limited.venues, limited.max_legs, limited.max_hops) == (("meteora", "raydium"), 3, 2)
    assert shown(intent_view(limited))["routing"] == {"venues": ["meteora", "raydium"], "maxLegs": 3, "maxHops": 2}
    assert shown(intent_view(asked(**swap, routing={"maxLegs": 8}).intent))["routing"] == {"maxLegs": 8}
    for name, value in [("maxLegs", 0), ("maxLegs", 9), ("maxHops", 0), ("maxHops", 3), ("maxLegs", 1.5), ("legs", 1)]:
        with pytest.raises(Refused) as refused:
            asked(**swap, routing={name: value})
        assert [problem.pointer for problem in refused.value.problems] == [f"/routing/{name}"]


@given(st.integers(1, 2**63 - 1))
def test_an_amount_survives_as_text_and_as_a_number(atoms: int) -> None:
    text = f"{atoms // 10**9}.{atoms % 10**9:09d}"
    for literal in (f'"{text}"', text):
        body = f'{{"tokenIn":"SOL","tokenOut":"USDC","amount":{literal}}}'.encode()
        assert parse_order(read_object(body), TOKENS, VENUES).intent.amount == atoms


def test_an_answer_lists_a_bounded_number_of_faults() -> None:
    with pytest.raises(Refused) as refused:
        asked(**{f"x{number}": 1 for number in range(100)})
    assert len(refused.value.problems) == 16
    with pytest.raises(Refused) as refused:
        asked(**{"k" * 10_000: 1}, tokenIn="SOL", tokenOut="USDC", amount=1)
    assert len(refused.value.problems[0].pointer or "") < 100


def test_times() -> None:
    assert rfc3339(Millis(AT)) == "2024-01-10T15:20:00.000Z"
    assert rfc3339(Millis(AT + 7)) == "2024-01-10T15:20:00.007Z"
    for text in ("2024-01-10T15:20:00.007Z", "2024-01-10T17:20:00.007+02:00", str(AT + 7)):
        assert parse_time(text, "since") == AT + 7
    for text in ("", "now", "2024-01-10", "2024-01-10T15:20:00", "-5", "1e3", "9" * 16):
        with pytest.raises(FillwrightError):
            parse_time(text, "since")
