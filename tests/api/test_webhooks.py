"""Webhooks from end to end: the real engine, real receivers that check every signature, and no secret to be seen."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from standardwebhooks import Webhook as Official

from fillwright.access import Limits, Scope, make_key
from fillwright.adapters.local import SystemClock
from tests.api.contract import DOCUMENT
from tests.api.receiver import Got, Receiver, receiving, thanks, verified
from tests.api.running import NOBODY, SELL, Answer, Server, run, serving

HOOK = {"url": "https://receiver.invalid/hook"}
NO_HOOK = "wh_" + "0" * 24
Script = Callable[[Server, Receiver], Awaitable[None]]


def told(folder: Path, script: Script, **settings: Any) -> None:
    """Run with one server that may call this machine, and one receiver on it."""

    async def whole() -> None:
        async with receiving() as receiver, serving(folder, webhooks_allow_private=True, **settings) as server:
            await script(server, receiver)

    run(whole())


async def made(server: Server, url: str, **members: Any) -> Any:
    answer = await server.post("/v1/webhooks", {"url": url, **members})
    assert answer.status == 201
    return answer.json


async def order(server: Server, **options: Any) -> Any:
    """An order that has ended."""
    return await server.ended((await server.post("/v1/orders", SELL, **options)).json["id"])


async def frames(server: Server, order_id: str) -> Any:
    return (await server.get(f"/v1/orders/{order_id}/events")).json["data"]


async def delivery(server: Server, webhook_id: str, state: str) -> Any:
    """The newest delivery, once it has come to this state."""
    async with asyncio.timeout(20):
        while True:
            page = (await server.get(f"/v1/webhooks/{webhook_id}/deliveries")).json["data"]
            if page and page[0]["state"] == state:
                return page[0]
            await asyncio.sleep(0.02)


def hold_message(name: str, message: Any) -> None:
    """The document announces it."""
    sent = DOCUMENT["webhooks"][name]["post"]["requestBody"]["content"]["application/json"]["schema"]
    Draft202012Validator({**sent, "components": DOCUMENT["components"]}).validate(message)


# --- messages ---------------------------------------------------------------------------------------------


def test_every_event_of_an_order_arrives_signed_as_the_streams_tell_it(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        hook = await made(server, receiver.url)
        ended = await order(server)
        expected = await frames(server, ended["id"])
        await receiver.until(lambda: len(receiver.got) == len(expected))
        assert len({got.id for got in receiver.got}) == len(expected)
        for got in receiver.got:
            assert verified(hook["secret"], got.headers, got.body)
            assert Official(hook["secret"]).verify(got.body, dict(got.headers)) == got.json
            assert not verified(hook["secret"], got.headers, got.body + b" ")
            frame = next(frame for frame in expected if frame["seq"] == got.json["data"]["seq"])
            assert got.json["data"] == frame
            assert got.json["type"] == f"order.{frame['status']}"
            assert got.json["timestamp"].endswith("Z")
            hold_message("order", got.json)
        assert {got.json["data"]["seq"] for got in receiver.got} == {frame["seq"] for frame in expected}

    told(tmp_path, script)


def test_only_what_was_asked_for_arrives(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        await made(server, receiver.url, events=["confirmed", "failed", "accepted"])
        ended = await order(server)
        await receiver.until(lambda: len(receiver.got) == 2)
        await asyncio.sleep(0.5)
        assert sorted(got.json["type"] for got in receiver.got) == sorted(["order.pending", f"order.{ended['status']}"])

    told(tmp_path, script)


def test_what_failed_is_tried_again_under_its_name_until_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fillwright.webhooks.PAUSES_S", (0.2, 0.2, 0.2))

    async def script(server: Server, receiver: Receiver) -> None:
        async def third_time(got: Got) -> int:
            return 204 if sum(each.id == got.id for each in receiver.got) == 3 else 503

        receiver.answer = third_time
        hook = await made(server, receiver.url, events=["confirmed", "failed"])
        ended = await order(server)
        await receiver.until(lambda: len(receiver.taken) == 1)
        assert len(receiver.got) == 3
        assert len({(got.id, got.body) for got in receiver.got}) == 1
        assert all(verified(hook["secret"], got.headers, got.body) for got in receiver.got)
        entry = await delivery(server, hook["id"], "delivered")
        assert (entry["tries"], entry["answer"], entry["orderId"]) == (3, 204, ended["id"])
        assert (await server.get(f"/v1/webhooks/{hook['id']}")).json.get("failingSince") is None
        metrics = (await server.get("/metrics")).body.decode()
        assert 'fillwright_webhook_tries_total{outcome="again"} 2.0' in metrics
        assert 'fillwright_webhook_tries_total{outcome="delivered"} 1.0' in metrics

    told(tmp_path, script)


def test_what_was_never_taken_has_failed_in_the_end_and_may_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fillwright.webhooks.PAUSES_S", (0.1,))

    async def script(server: Server, receiver: Receiver) -> None:
        async def no(_: Got) -> int:
            return 500

        receiver.answer = no
        hook = await made(server, receiver.url, events=["confirmed", "failed"])
        await order(server)
        entry = await delivery(server, hook["id"], "failed")
        assert (entry["tries"], entry["answer"]) == (2, 500)
        assert (await server.get(f"/v1/webhooks/{hook['id']}")).json["failingSince"].endswith("Z")
        receiver.answer = thanks
        answer = await server.post(f"/v1/webhooks/{hook['id']}/replay", {"onlyFailed": True})
        assert (answer.status, answer.json["messages"]) == (202, 1)
        await receiver.until(lambda: len(receiver.taken) == 1)
        assert len({got.id for got in receiver.got}) == 1

    told(tmp_path, script)


def test_a_receiver_that_is_gone_is_sent_nothing_more_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        async def gone(_: Got) -> int:
            return 410

        receiver.answer = gone
        hook = await made(server, receiver.url, events=["pending"])
        await order(server)
        await delivery(server, hook["id"], "failed")
        shown = (await server.get(f"/v1/webhooks/{hook['id']}")).json
        assert (shown["enabled"], shown["disabledReason"]) == (False, "gone")
        for path, body in (("test", None), ("replay", {"onlyFailed": True}), ("replay", {"since": "0"})):
            refused = await server.post(f"/v1/webhooks/{hook['id']}/{path}", body)
            assert (refused.status, refused.json["code"]) == (409, "WEBHOOK_DISABLED")
        await order(server)
        await asyncio.sleep(0.5)
        assert len(receiver.got) == 1

    told(tmp_path, script)
    assert "webhook disabled: gone" in caplog.text


def test_one_that_is_enabled_again_is_told_what_is_new_and_by_a_replay_what_it_missed(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        hook = await made(server, receiver.url)
        path = f"/v1/webhooks/{hook['id']}"
        off = await server.send("PATCH", path, json={"enabled": False})
        assert (off.json["enabled"], off.json["disabledReason"]) == (False, "asked")
        missed = await order(server)
        on = await server.send("PATCH", path, json={"enabled": True})
        assert (on.json["enabled"], "disabledReason" in on.json) == (True, False)
        fresh = await order(server)
        count = len(await frames(server, fresh["id"]))
        await receiver.until(lambda: len(receiver.got) == count)
        assert {got.event[0] for got in receiver.got} == {fresh["id"]}
        replayed = await server.post(f"{path}/replay", {"since": missed["createdAt"]})
        assert (replayed.status, replayed.json["messages"]) == (202, None)
        both = [(each["id"], frame["seq"]) for each in (missed, fresh) for frame in await frames(server, each["id"])]
        await receiver.until(lambda: sorted(got.event for got in receiver.got[count:]) == sorted(both))
        first = {got.event: got.id for got in receiver.got[:count]}
        assert all(first.get(got.event, got.id) == got.id for got in receiver.got), "a repetition has the first's name"

    told(tmp_path, script)


def test_a_replay_of_one_order_tells_all_of_it_again_under_the_same_names(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        early = await order(server)
        hook = await made(server, receiver.url)
        count = len(await frames(server, early["id"]))
        for nth in (1, 2):
            answer = await server.post(f"/v1/webhooks/{hook['id']}/replay", {"orderId": early["id"]})
            assert (answer.status, answer.json["messages"]) == (202, count)
            await receiver.until(partial(lambda nth: len(receiver.got) == nth * count, nth))
        assert {got.id for got in receiver.got[:count]} == {got.id for got in receiver.got[count:]}
        assert {got.event for got in receiver.got} == {(early["id"], seq) for seq in range(1, count + 1)}

    told(tmp_path, script)


def test_a_ping_tells_whether_the_way_is_open(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        hook = await made(server, receiver.url)
        answer = await server.post(f"/v1/webhooks/{hook['id']}/test")
        assert answer.status == 202
        entry = await delivery(server, hook["id"], "delivered")
        assert (entry["messageId"], entry["type"]) == (answer.json["messageId"], "ping")
        (got,) = receiver.got
        assert verified(hook["secret"], got.headers, got.body)
        hold_message("ping", got.json)
        assert (
            await server.send("PATCH", f"/v1/webhooks/{hook['id']}", json={"url": receiver.url + "s"})
        ).status == 200
        await server.post(f"/v1/webhooks/{hook['id']}/test")
        entry = await delivery(server, hook["id"], "failed")
        assert (entry["answer"], entry["tries"]) == (404, 1)

    told(tmp_path, script)


def test_after_a_rotation_both_secrets_sign_and_the_new_one_is_shown_once(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        hook = await made(server, receiver.url, events=["confirmed", "failed"])
        rotated = (await server.post(f"/v1/webhooks/{hook['id']}/secret")).json
        assert rotated["secret"] != hook["secret"]
        assert len(rotated["previousSecretsUntil"]) == 1
        await order(server)
        await receiver.until(lambda: len(receiver.got) == 1)
        (got,) = receiver.got
        for secret in (hook["secret"], rotated["secret"]):
            assert verified(secret, got.headers, got.body)
            Official(secret).verify(got.body, dict(got.headers))
        assert len(got.headers["webhook-signature"].split(" ")) == 2

    told(tmp_path, script)


# --- nobody waits for a slow one --------------------------------------------------------------------------


def test_receivers_that_never_answer_keep_nobody_else_waiting(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        stuck = asyncio.Event()

        async def never(_: Got) -> int:
            await stuck.wait()
            return 200

        async with receiving() as slow:
            slow.answer = never
            for _ in range(19):  # all that an account may have, but one
                await made(server, slow.url)
            await made(server, receiver.url, events=["confirmed", "failed"])
            orders = await asyncio.gather(*(order(server) for _ in range(10)))
            await receiver.until(lambda: len(receiver.got) == len(orders), within_s=8)
            under_way = len(slow.got)
            assert under_way <= 19 * 4, "only so many at once to each"
            stuck.set()

    told(tmp_path, script)


def test_a_queue_has_an_end_and_the_log_keeps_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fillwright.courier.WAITING_MAX", 4)
    monkeypatch.setattr("fillwright.courier.PAGE", 2)

    async def script(server: Server, receiver: Receiver) -> None:
        async def no(_: Got) -> int:
            return 503

        receiver.answer = no
        hook = await made(server, receiver.url)
        orders = [await order(server) for _ in range(4)]
        await asyncio.sleep(1)
        path = f"/v1/webhooks/{hook['id']}"
        waiting = (await server.get(f"{path}/deliveries")).json["data"]
        assert 4 <= len(waiting) <= 5
        receiver.answer = thanks
        await server.post(f"{path}/replay", {"onlyFailed": True})
        expected = {(each["id"], frame["seq"]) for each in orders for frame in await frames(server, each["id"])}
        await receiver.until(lambda: {got.event for got in receiver.taken} == expected)

    told(tmp_path, script)


# --- managing ---------------------------------------------------------------------------------------------


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


def test_a_webhook_is_made_listed_changed_and_removed(tmp_path: Path) -> None:
    async def script(server: Server, _: Receiver) -> None:
        answer = await server.post("/v1/webhooks", {**HOOK, "events": ["failed"], "description": "mine"})
        hook = answer.json
        path = answer.headers["Location"]
        assert path == f"/v1/webhooks/{hook['id']}"
        assert hook.pop("secret").startswith("whsec_")
        assert (await server.get(path)).json == hook
        assert (await server.get("/v1/webhooks")).json == {"data": [hook]}
        wish = {"url": "https://other.invalid/", "events": [], "description": "ours"}
        changed = await server.send("PATCH", path, json=wish)
        assert changed.json == {**hook, **wish}
        assert (await server.send("DELETE", path)).status == 204
        assert problem(await server.get(path)) == (404, "WEBHOOK_NOT_FOUND")
        assert problem(await server.send("DELETE", path)) == (404, "WEBHOOK_NOT_FOUND")
        assert (await server.get("/v1/webhooks")).json == {"data": []}

    told(tmp_path, script)


def test_a_request_that_is_repeated_under_its_key_makes_one_webhook(tmp_path: Path) -> None:
    async def script(server: Server, _: Receiver) -> None:
        key = {"Idempotency-Key": "k-1"}
        first = await server.post("/v1/webhooks", HOOK, headers=key)
        again = await server.post("/v1/webhooks", HOOK, headers=key)
        assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (201, 200, "true")
        assert again.json == first.json, "the first answer may never have arrived"
        other = await server.post("/v1/webhooks", {"url": "https://other.invalid/"}, headers=key)
        assert problem(other) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert len((await server.get("/v1/webhooks")).json["data"]) == 1

    told(tmp_path, script)


def test_an_account_has_at_most_twenty(tmp_path: Path) -> None:
    async def script(server: Server, _: Receiver) -> None:
        answers = await asyncio.gather(*(server.post("/v1/webhooks", HOOK) for _ in range(22)))
        assert sorted(answer.status for answer in answers) == [201] * 20 + [409] * 2
        assert {problem(answer) for answer in answers if answer.status == 409} == {(409, "WEBHOOK_LIMIT")}

    told(tmp_path, script)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "VALIDATION_FAILED"),
        ({"url": 1}, "VALIDATION_FAILED"),
        ({**HOOK, "events": ["order.confirmed"]}, "VALIDATION_FAILED"),
        ({**HOOK, "events": ["failed", "failed"]}, "VALIDATION_FAILED"),
        ({**HOOK, "secret": "whsec_AAAA"}, "VALIDATION_UNKNOWN_FIELD"),
        ({"url": "https://127.0.0.1/"}, "WEBHOOK_URL_REFUSED"),
        ({"url": "https://2130706433/"}, "WEBHOOK_URL_REFUSED"),
        ({"url": "http://receiver.invalid/"}, "WEBHOOK_URL_REFUSED"),
        ({"url": "https://user:pass@receiver.invalid/"}, "WEBHOOK_URL_REFUSED"),
        ({"url": "https://receiver.invalid:22/"}, "WEBHOOK_URL_REFUSED"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused(tmp_path: Path, body: Any, code: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            assert problem(await server.post("/v1/webhooks", body)) == (422, code)
            if "url" in body and code == "WEBHOOK_URL_REFUSED":
                hook = (await server.post("/v1/webhooks", HOOK)).json
                assert problem(await server.send("PATCH", f"/v1/webhooks/{hook['id']}", json=body)) == (422, code)

    run(script())


def test_a_replay_is_of_one_thing(tmp_path: Path) -> None:
    async def script(server: Server, _: Receiver) -> None:
        path = f"/v1/webhooks/{(await made(server, HOOK['url']))['id']}/replay"
        for body in ({}, {"onlyFailed": False}, {"since": "0", "onlyFailed": True}, {"since": "yesterday"}):
            assert problem(await server.post(path, body)) == (422, "VALIDATION_FAILED"), body
        assert problem(await server.post(path, {"orderId": NOBODY})) == (404, "ORDER_NOT_FOUND")
        assert problem(await server.post(f"/v1/webhooks/{NO_HOOK}/replay", {"since": "0"})) == (
            404,
            "WEBHOOK_NOT_FOUND",
        )

    told(tmp_path, script)


def test_deliveries_come_page_by_page(tmp_path: Path) -> None:
    async def script(server: Server, receiver: Receiver) -> None:
        hook = await made(server, receiver.url)
        await order(server)
        await receiver.until(lambda: len(receiver.got) >= 5)
        path, seen, cursor = f"/v1/webhooks/{hook['id']}/deliveries", [], ""
        while True:
            page = (await server.get(f"{path}?limit=2{cursor}")).json
            seen += [entry["seq"] for entry in page["data"]]
            if not page["hasMore"]:
                break
            cursor = f"&cursor={page['nextCursor']}"
        assert seen == sorted(seen, reverse=True)
        assert len(seen) == len(receiver.got)
        assert problem(await server.get(f"{path}?cursor=x")) == (422, "VALIDATION_FAILED")
        assert problem(await server.get(f"{path}?order=x")) == (422, "VALIDATION_UNKNOWN_FIELD")

    told(tmp_path, script)


# --- accounts and secrets ---------------------------------------------------------------------------------


@asynccontextmanager
async def holders(server: Server, *accounts: str) -> AsyncIterator[list[dict[str, str]]]:
    """The headers of a key with every scope, for each account."""
    headers = []
    for account in accounts:
        key, token = make_key(
            account=account,
            label=account,
            scopes=frozenset(Scope),
            limits=Limits(),
            now=SystemClock().now(),
            entropy=os.urandom,
        )
        await server.keys.add(key)
        headers.append({"X-API-Key": token})
    await server.access.refresh()
    yield headers


def test_an_account_is_told_its_own_orders_and_no_other_s(tmp_path: Path) -> None:
    async def script(server: Server, mine: Receiver) -> None:
        async with receiving() as theirs, holders(server, "mine", "theirs") as (me, them):
            await server.post("/v1/webhooks", {"url": mine.url}, headers=me)
            hook = (await server.post("/v1/webhooks", {"url": theirs.url}, headers=them)).json
            stored = [await server.post("/v1/orders", SELL, headers=each) for each in (me, them, me)]
            ids = [answer.json["id"] for answer in stored]
            for receiver, wanted in ((mine, {ids[0], ids[2]}), (theirs, {ids[1]})):
                await receiver.until(partial(_told_ends_of, receiver, wanted))
                assert {got.event[0] for got in receiver.got} == wanted
            replay = await server.post(f"/v1/webhooks/{hook['id']}/replay", {"orderId": ids[0]}, headers=them)
            assert problem(replay) == (404, "ORDER_NOT_FOUND"), "another account's order"
            before = len(theirs.got)
            await server.post(f"/v1/webhooks/{hook['id']}/replay", {"since": "0"}, headers=them)
            await theirs.until(lambda: len(theirs.got) >= 2 * before)
            assert {got.event[0] for got in theirs.got} == {ids[1]}
            kept = (await server.get(f"/v1/webhooks/{hook['id']}/deliveries", headers=them)).json["data"]
            assert {entry["orderId"] for entry in kept} == {ids[1]}

    told(tmp_path, script)


def _told_ends_of(receiver: Receiver, wanted: set[str]) -> bool:
    return {got.event[0] for got in receiver.got if got.json["type"] in ("order.confirmed", "order.failed")} == wanted


def test_a_secret_and_a_url_are_in_no_log_no_metric_no_error_and_no_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("fillwright.webhooks.PAUSES_S", (0.1,))

    async def script(server: Server, receiver: Receiver) -> None:
        async def no(_: Got) -> int:
            return 500

        receiver.answer = no
        hooks = [
            await made(server, f"{receiver.url}?token=geheim", description="one"),
            await made(server, "http://geheim.invalid/"),
        ]
        secrets = [hook["secret"] for hook in hooks]
        paths = [f"/v1/webhooks/{hook['id']}" for hook in hooks]
        secrets += [(await server.post(f"{path}/secret")).json["secret"] for path in paths]
        await order(server)
        for hook in hooks:
            await delivery(server, hook["id"], "failed")
        shown = [await server.get(path) for path in (*paths, "/v1/webhooks", "/metrics")]
        pages = [await server.get(f"{path}/deliveries") for path in paths]
        shown.append(await server.send("PATCH", paths[0], json={"description": "two"}))
        for text in (*(answer.body.decode() for answer in (*shown, *pages)), caplog.text):
            for secret in secrets:
                assert secret not in text
                assert secret.removeprefix("whsec_") not in text
        for text in (*(page.body.decode() for page in pages), caplog.text):
            assert "geheim" not in text.replace("GET /v1", "")

    told(tmp_path, script)
