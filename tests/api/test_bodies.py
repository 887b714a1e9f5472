"""A slice of `make fuzz-bodies`, and that it can fail."""

import asyncio
import json
from pathlib import Path

from tests.api.attack import attack, campaign
from tests.api.bodies import KINDS, TARGETS, Hostile, good, hostile
from tests.api.running import run

BROKEN = Hostile("control", "canonical", b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")


def test_no_hostile_request_breaks_the_server_or_leaves_a_trace(tmp_path: Path) -> None:
    verdict = campaign(tmp_path, ((number, hostile(number, 7)) for number in range(2_000)))
    assert verdict.tally.findings == []
    assert verdict.rows == {}
    assert verdict.log == ""
    assert verdict.alive
    assert set(verdict.tally.kinds) == set(KINDS)
    assert {"400", "401", "403", "405", "413", "415", "421", "422"} <= set(verdict.tally.statuses)


def test_a_request_is_told_again_by_its_number() -> None:
    assert [hostile(number, 3) for number in range(50)] == [hostile(number, 3) for number in range(50)]
    assert hostile(1, 3) != hostile(1, 4)


def test_good_requests_among_them_are_found_by_their_answers_and_their_rows(tmp_path: Path) -> None:
    """One of each shape: what the others are broken from is whole, so it is the break that is refused."""
    controls = [(number, Hostile("control", target.name, good(target))) for number, target in enumerate(TARGETS)]
    verdict = campaign(tmp_path, [*controls, *((number, hostile(number, 7)) for number in range(100, 130))])
    assert not verdict.well
    assert {int(finding.split()[1]) for finding in verdict.tally.findings} == {number for number, _ in controls}
    stored = len({"canonical", *"ABCDE"}) + 2 * len({"bracket", "entry", "exit"})
    assert verdict.rows == {"orders": stored, "order_events": stored, "switches": 1, "webhooks": 1}


def test_a_server_that_breaks_or_says_nothing_is_found() -> None:
    async def answered_by(answer: bytes) -> list[str]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return (await attack(server.sockets[0].getsockname()[1], [(0, BROKEN)])).findings

    assert len(run(answered_by(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"))) == 1
    assert len(run(answered_by(b""))) == 1
    assert run(answered_by(b"HTTP/1.1 400 no\r\nContent-Length: 0\r\n\r\n")) == []


def test_every_shape_is_attacked() -> None:
    assert {hostile(number, 7).target for number in range(500)} == {target.name for target in TARGETS}
    parts = {target.name: json.loads(good(target).split(b"\r\n\r\n")[1]) for target in TARGETS}
    parts["entry"], parts["exit"] = parts["entry"]["entry"], parts["exit"]["exits"][0]
    assert parts == {target.name: target.good for target in TARGETS}
