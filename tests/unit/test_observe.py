"""What an operator sees of recorded events: counts, and one line each, without what must stay inside."""

import json
import logging
import re
from collections.abc import Iterator

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fillwright.errors import Code, FillwrightError
from fillwright.observe import REQUEST, JsonLines, Observer, TextLines
from fillwright.order import (
    Aborted,
    Canceled,
    CancelRequested,
    Event,
    Failed,
    Landed,
    Lapsed,
    Reclaimed,
    Recorded,
    Reverted,
    Routed,
    Signed,
    Started,
)
from fillwright.units import Millis, OrderId
from fillwright.worker import Failure
from tests.conformance.samples import accepted, walked

LIFE = walked(accepted(), [Started, Routed, Signed, Landed])


class Lines(logging.Handler):
    """Keeps the records, as a program that reads the log would get them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, handler = logging.getLogger("fillwright"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def observer(registry: CollectorRegistry) -> Observer:
    return Observer(registry)


def count(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


def line_of(record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = json.loads(JsonLines().format(record))
    return line


def test_every_event_is_counted_by_its_public_name(registry: CollectorRegistry, observer: Observer) -> None:
    for each in LIFE:
        observer.recorded(each)
    for name in ("accepted", "started", "routed", "signed", "landed"):
        assert count(registry, "fillwright_events_total", event=name) == 1
    assert count(registry, "fillwright_route_wins_total", venue="raydium") == 1
    assert count(registry, "fillwright_orders_ended_total", status="confirmed") == 1
    assert count(registry, "fillwright_order_seconds_count", status="confirmed") == 1
    assert count(registry, "fillwright_order_seconds_sum", status="confirmed") == pytest.approx(0.004)


def test_an_order_that_goes_on_is_not_counted_as_ended(registry: CollectorRegistry, observer: Observer) -> None:
    for each in walked(accepted(), [Started, Routed, Signed, Reverted]):
        observer.recorded(each)
    assert b"fillwright_orders_ended_total{" not in generate_latest(registry)
    for each in walked(accepted(), [Started, Aborted, Failed])[-1:]:
        observer.recorded(each)
    assert count(registry, "fillwright_orders_ended_total", status="failed") == 1


def test_one_line_an_event(observer: Observer, lines: Lines) -> None:
    for each in LIFE:
        observer.recorded(each)
    assert [line_of(record)["message"] for record in lines.records] == [
        "accepted",
        "started",
        "routed",
        "signed",
        "landed",
    ]
    assert [line_of(record)["seq"] for record in lines.records] == [1, 2, 3, 4, 5]
    assert {line_of(record)["orderId"] for record in lines.records} == {"o-1"}
    assert {line_of(record)["pair"] for record in lines.records} == {"SOL>USDC"}


def test_the_routing_line_shows_every_quote_and_why_one_won(observer: Observer, lines: Lines) -> None:
    observer.recorded(LIFE[2])
    line = line_of(lines.records[0])
    assert (line["chosen"], line["reason"]) == ("raydium", "the only quote")
    quotes = line["quotes"]
    assert isinstance(quotes, list)
    assert quotes[0].startswith("raydium cpmm: 1500000000 -> ")
    assert quotes[1] == "meteora: VENUE_TIMEOUT"


@pytest.mark.parametrize("kinds", [(Aborted,), (Routed, Signed, Reverted), (Routed, Signed, Lapsed)])
def test_a_failed_attempt_s_line_tells_the_problem(observer: Observer, lines: Lines, kinds: tuple[type, ...]) -> None:
    observer.recorded(walked(accepted(), [Started, *kinds])[-1])
    line = line_of(lines.records[0])
    assert line["code"] == "VENUE_TIMEOUT"
    assert line["problem"] == "meteora did not answer in time"


def test_signed_and_landed_lines_carry_the_signature_to_look_up(observer: Observer, lines: Lines) -> None:
    for each in LIFE[3:]:
        observer.recorded(each)
    signed, landed = map(line_of, lines.records)
    assert signed["signature"] == landed["signature"]
    assert (landed["amountIn"], landed["amountOut"]) == (1_500_000_000, 99)


ALL_EVENTS: list[Recorded] = [
    *LIFE,
    *walked(accepted(), [Started, Reclaimed, Aborted, Failed])[1:],
    *walked(accepted(), [Started, Routed, Signed, CancelRequested, Lapsed, Canceled])[4:],
]


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()], ids=["json", "text"])
def test_signed_bytes_and_names_of_accounts_stay_out_of_the_log(
    observer: Observer, lines: Lines, formatter: logging.Formatter
) -> None:
    for each in ALL_EVENTS:
        observer.recorded(each)
    text = "\n".join(formatter.format(record) for record in lines.records)
    assert len(lines.records) == len(ALL_EVENTS)
    assert "raw" not in text
    assert "AHJhdy" not in text, "base64 of the signed bytes"
    assert "alice" not in text


def test_a_line_is_one_line(observer: Observer, lines: Lines) -> None:
    for each in ALL_EVENTS:
        observer.recorded(each)
    for record in lines.records:
        assert "\n" not in JsonLines().format(record)
        assert "\n" not in TextLines().format(record)


def test_on_a_terminal_what_is_wrong_stands_out(lines: Lines) -> None:
    logger = logging.getLogger("fillwright")
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(level, "said")
    plain = [TextLines().format(record) for record in lines.records]
    coloured = [TextLines(colours=True).format(record) for record in lines.records]
    assert "\x1b" not in "".join(plain)
    assert [line.count("\x1b[0m") for line in coloured] == [0, 1, 1]
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == plain
    assert coloured[1].split("WARNING")[0].endswith("\x1b[33m")
    assert coloured[2].split("ERROR")[0].endswith("\x1b[31m")


def test_a_quiet_log_level_still_counts(registry: CollectorRegistry, observer: Observer, lines: Lines) -> None:
    logging.getLogger("fillwright").setLevel(logging.ERROR)
    observer.recorded(LIFE[0])
    assert lines.records == []
    assert count(registry, "fillwright_events_total", event="accepted") == 1


def test_an_expected_failure_is_one_line_that_names_its_cause(
    registry: CollectorRegistry, observer: Observer, lines: Lines
) -> None:
    """A database that is away fails every order in hand: forty lines each would bury the rest of the log."""
    try:
        raise FillwrightError(Code.STORE_UNAVAILABLE, "the store did not answer") from ConnectionResetError("by peer")
    except FillwrightError as error:
        observer.failed(Failure("drive", OrderId("o-7"), error))
    assert count(registry, "fillwright_failures_total", where="drive") == 1
    line = line_of(lines.records[0])
    assert (line["level"], line["orderId"], line["code"]) == ("WARNING", "o-7", "STORE_UNAVAILABLE")
    assert line["cause"] == "ConnectionResetError('by peer')"
    assert "\n" not in TextLines().format(lines.records[0])


def test_a_defect_that_was_survived_is_logged_with_its_trace(
    registry: CollectorRegistry, observer: Observer, lines: Lines
) -> None:
    try:
        raise ZeroDivisionError("a defect")
    except ZeroDivisionError as error:
        observer.failed(Failure("drive", OrderId("o-7"), error))
    assert count(registry, "fillwright_failures_total", where="drive") == 1
    line = line_of(lines.records[0])
    assert (line["level"], line["orderId"], line["where"]) == ("ERROR", "o-7", "drive")
    assert "Traceback" in str(line["error"])
    assert "Traceback" in TextLines().format(lines.records[0])


def test_the_load_is_what_it_was_last_told(registry: CollectorRegistry, observer: Observer) -> None:
    observer.load(driving=7, hints=2, waiting=5, oldest_s=1.5, workers=4)
    observer.load(driving=3, hints=0, waiting=4, oldest_s=0.5, workers=None)
    assert count(registry, "fillwright_orders_driving") == 3
    assert count(registry, "fillwright_queue_depth") == 0
    assert count(registry, "fillwright_orders_waiting") == 4
    assert count(registry, "fillwright_oldest_seconds") == 0.5
    observer.trouble(resting={"raydium": True}, dropped={"hints": 0})
    observer.trouble(resting={"raydium": False}, dropped={"hints": 3})
    assert count(registry, "fillwright_venue_resting", venue="raydium") == 0
    assert count(registry, "fillwright_dropped", what="hints") == 3


def test_every_event_has_a_name_of_its_own() -> None:
    names = [kind.__struct_config__.tag for kind in Event.__args__]
    assert len(set(names)) == len(names) == 25


def test_each_stage_is_timed_from_the_event_before(registry: CollectorRegistry, observer: Observer) -> None:
    """Also where another process drove the order until now: then from its acceptance."""
    history = walked(accepted("o-1"), [Started, Routed, Signed, Landed])
    for late, recorded in enumerate(history):
        moved = msgspec.structs.replace(recorded.order, updated_at=Millis(recorded.order.created_at + 1_000 * late))
        observer.recorded(Recorded(moved, recorded.event))
    for name in ("started", "routed", "signed", "landed"):
        assert count(registry, "fillwright_stage_seconds_count", event=name) == 1
        assert count(registry, "fillwright_stage_seconds_sum", event=name) == 1.0
    taken_over = msgspec.structs.replace(history[3].order, id=OrderId("o-2"), updated_at=history[3].order.created_at)
    observer.recorded(Recorded(taken_over, history[3].event))
    assert count(registry, "fillwright_stage_seconds_count", event="signed") == 2
    assert count(registry, "fillwright_stage_seconds_sum", event="signed") == 1.0


def test_what_a_request_did_carries_its_id(observer: Observer, lines: Lines) -> None:
    observer.recorded(LIFE[0])
    token = REQUEST.set("req-7")
    observer.recorded(LIFE[0])
    REQUEST.reset(token)
    assert [line_of(record).get("requestId") for record in lines.records] == [None, "req-7"]
