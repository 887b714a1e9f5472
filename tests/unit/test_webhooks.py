"""The rules of a message: its name, its signatures, when again, and where it may go."""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Official

from fillwright.adapters.local import SystemClock
from fillwright.errors import Code, FillwrightError
from fillwright.units import Millis, OrderId
from fillwright.webhooks import (
    PAUSES_S,
    SECRETS_MAX,
    Delivery,
    MessageId,
    Secret,
    State,
    Webhook,
    WebhookId,
    check_url,
    headers_of,
    is_open,
    message_of,
    new_secret,
    outcome_of,
    ping_of,
    rotated,
)

NOW = Millis(1_700_000_000_000)
HOOK = Webhook(
    id=WebhookId("wh_1"),
    account="alice",
    url="https://example.com/",
    events=frozenset({"confirmed", "lapsed"}),
    description="",
    secrets=(Secret(b"k" * 32),),
    off=None,
    failing_since=None,
    created_at=NOW,
    idempotency_key=None,
    fingerprint=b"",
)


def calm(size: int) -> bytes:
    return bytes(size)


def delivery(tries: int, **changed: Any) -> Delivery:
    told = Delivery(
        message=message_of(HOOK, OrderId("o-1"), 1, "pending"),
        number=1,
        claim=tries,
        state=State.WAITING,
        tries=tries,
        status=None,
        error=None,
        created_at=NOW,
        tried_at=NOW,
        due_at=NOW,
    )
    return msgspec.structs.replace(told, **changed)


# --- messages and signatures ------------------------------------------------------------------------------


def test_the_specification_s_own_example_is_signed_as_it_says() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = headers_of(
        MessageId("msg_p5jXN8AQM9LWM0D4loKWxJek"), [Secret(key)], Millis(1_614_265_330_000), b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_a_message_has_one_name_however_often_it_is_made_and_no_other_has_it() -> None:
    other = msgspec.structs.replace(HOOK, id=WebhookId("wh_2"))
    told = [(hook, order, seq) for hook in (HOOK, other) for order in ("o-1", "o-2") for seq in (1, 2, 12)]
    names = [message_of(hook, OrderId(order), seq, "pending").id for hook, order, seq in told]
    assert len(set(names)) == len(names)
    assert names == [message_of(hook, OrderId(order), seq, "failed").id for hook, order, seq in told]
    assert ping_of(HOOK, os.urandom).id != ping_of(HOOK, os.urandom).id


def test_a_webhook_wants_statuses_and_events_by_name_or_all() -> None:
    wanted = [("confirmed", "landed"), ("pending", "lapsed"), ("pending", "accepted")]
    assert [HOOK.wants(*each) for each in wanted] == [True, True, False]
    assert msgspec.structs.replace(HOOK, events=frozenset()).wants("pending", "accepted")


def test_a_replaced_secret_signs_on_for_a_day_and_then_no_more() -> None:
    first, second = new_secret(os.urandom), new_secret(os.urandom)
    secrets = rotated((first,), second, NOW)
    day = 24 * 60 * 60 * 1_000
    for at, signed_by in ((NOW, [second, first]), (NOW + day - 1, [second, first]), (NOW + day, [second])):
        told = headers_of(MessageId("m"), secrets, Millis(at), b"{}")["webhook-signature"].split(" ")
        alone = [headers_of(MessageId("m"), [each], Millis(at), b"{}")["webhook-signature"] for each in (second, first)]
        assert told == alone[: len(signed_by)]
    assert rotated(secrets, first, Millis(NOW + day)) == (first, Secret(second.key, Millis(NOW + 2 * day)))


def test_rotating_without_end_keeps_a_few() -> None:
    secrets: tuple[Secret, ...] = (new_secret(os.urandom),)
    for n in range(20):
        secrets = rotated(secrets, new_secret(os.urandom), Millis(NOW + n))
    assert len(secrets) == SECRETS_MAX
    assert [secret.until is None for secret in secrets] == [True] + [False] * (SECRETS_MAX - 1)


def test_a_secret_is_shown_by_its_text_only() -> None:
    secret = new_secret(os.urandom)
    assert secret.text not in repr(secret) + str(msgspec.structs.replace(HOOK, secrets=(secret,)))
    assert repr(secret.key) not in repr(secret) + repr(msgspec.structs.replace(HOOK, secrets=(secret,)))
    Official(secret.text)


# --- when again -------------------------------------------------------------------------------------------


def test_pauses_grow_as_the_specification_proposes_and_end() -> None:
    for tries, pause_s in enumerate(PAUSES_S, 1):
        assert outcome_of(500, None, delivery(tries), calm).again_after_s == pause_s
        latest = outcome_of(500, None, delivery(tries), lambda size: b"\xff" * size).again_after_s
        assert latest == pytest.approx(pause_s * 1.2)
    assert outcome_of(500, None, delivery(len(PAUSES_S) + 1), calm).again_after_s is None


@pytest.mark.parametrize(
    ("status", "delivered", "gone", "again"),
    [
        (200, True, False, False),
        (299, True, False, False),
        (301, False, False, True),
        (400, False, False, True),
        (410, False, True, False),
        (503, False, False, True),
        (None, False, False, True),
    ],
)
def test_what_an_answer_means(status: int | None, delivered: bool, gone: bool, again: bool) -> None:
    outcome = outcome_of(status, None if status else "no answer in time", delivery(1), calm)
    assert (outcome.delivered, outcome.gone, outcome.again_after_s is not None) == (delivered, gone, again)


def test_a_ping_is_tried_once() -> None:
    assert outcome_of(500, None, delivery(1, message=ping_of(HOOK, os.urandom)), calm).again_after_s is None


# --- where it may go --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_open(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.1.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1", "3fff::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1"),
        *("5f00::1", "4000::1"),
    ],
)
def test_addresses_that_lead_inside_whatever_they_are_wrapped_in(address: str) -> None:
    assert not is_open(address)


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_address_is_judged_as_the_plain_one(number: int) -> None:
    plain = ".".join(str(part) for part in number.to_bytes(4))
    groups = f"{number >> 16:x}:{number & 0xFFFF:x}"
    for wrapped in (f"::ffff:{plain}", f"64:ff9b::{plain}", f"2002:{groups}::1"):
        assert is_open(wrapped) == is_open(plain)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/a/b?c=d&e=%20",
        "https://EXAMPLE.com:8443/",
        "https://example.com?x=1",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]:443/x",
        "https://xn--bcher-kva.example/",
    ],
)
def test_urls_that_are_accepted(url: str) -> None:
    check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "ftp://example.com/", "//example.com/", "https://", "https:///x", "http://example.com/"),
        *("https://user@example.com/", "https://user:secret@example.com/", "https://a@b@example.com/"),
        *(
            "https://example.com\\@127.0.0.1/",
            "https://example.com/\\..",
            "https://example.com/#a",
            "https://exa mple.com",
        ),
        *("https://example.com:22/", "https://example.com:25/", "https://example.com:0/", "https://example.com:65536/"),
        *("https://127.0.0.1/", "https://10.0.0.1:8443/", "https://[::1]/", "https://[::ffff:127.0.0.1]/"),
        *("https://2130706433/", "https://0x7f000001/", "https://127.1/", "https://0177.0.0.1/", "https://127.0.0.1./"),
        *(
            "https://0x7f.0.0.1/",
            "https://1.2.3.4.5/",
            "https://example.1/",
            "https://[fe80::1%25eth0]/",
            "https://[::1/",
        ),
        *("https://169.254.169.254/latest/", "https://[64:ff9b::7f00:1]/", "https://bücher.example/", "https://①.com/"),
        *("https://example.com/\n", "https://example.com/\r\nHost:x", f"https://example.com/{'x' * 2_048}"),
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(FillwrightError) as refused:
        check_url(url, allow_private=False)
    assert refused.value.code is Code.WEBHOOK_URL_REFUSED
    assert refused.value.problem.pointer == "/url"
    assert len(url) < 10 or url not in str(refused.value), "the refusal does not repeat what may be secret"


def test_on_one_s_own_machine_plain_http_and_loopback_may_be_allowed_but_no_riddles() -> None:
    for url in ("http://127.0.0.1:3001/hook", "http://localhost/", "https://10.0.0.1:22/"):
        check_url(url, allow_private=True)
    for url in ("ftp://localhost/", "http://user@localhost/", "http://127.1/", "http://localhost:0/"):
        with pytest.raises(FillwrightError):
            check_url(url, allow_private=True)


# --- the page ---------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "WEBHOOKS.md").read_text()
Verify = Callable[[str, dict[str, str], bytes], bool]


def _block(language: str) -> str:
    """The code that the page shows for it."""
    return (
        PAGE.partition(f"<!-- verify in {language} -->")[2].partition("```")[2].partition("\n")[2].partition("```")[0]
    )


def in_python(secret: str, headers: dict[str, str], body: bytes) -> bool:
    names: dict[str, Any] = {}
    exec(_block("Python"), names)
    return bool(names["verified"](secret, headers, body))


def in_javascript(secret: str, headers: dict[str, str], body: bytes) -> bool:
    call = f"verified({json.dumps(secret)}, {json.dumps(headers)}, Buffer.from({json.dumps(body.hex())}, 'hex'))"
    script = f"{_block('JavaScript')}\nconsole.log({call});"
    told = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, timeout=30, check=True
    )
    return {"true": True, "false": False}[told.stdout.strip()]


@pytest.mark.parametrize(
    "verify",
    [
        in_python,
        pytest.param(in_javascript, marks=pytest.mark.skipif(not shutil.which("node"), reason="node is not here")),
    ],
)
def test_the_page_s_code_tells_our_messages_from_others(verify: Verify) -> None:
    now = SystemClock().now()
    old, new, other = (new_secret(os.urandom) for _ in range(3))
    body = '{"type":"ping","name":"Zoë"}'.encode()
    headers = headers_of(MessageId("msg_1"), rotated((old,), new, now), now, body)
    assert verify(new.text, headers, body)
    assert verify(old.text, headers, body)
    assert not verify(other.text, headers, body)
    assert not verify(new.text, headers, body + b" ")
    assert not verify(new.text, {**headers, "webhook-id": "msg_2"}, body)
    for seconds in (-310, 330):
        late = headers_of(MessageId("msg_1"), [new], Millis(now + seconds * 1_000), body)
        assert not verify(new.text, late, body)


def test_the_page_tells_the_pauses() -> None:
    told = re.search(r"after about (.*?), each up to", PAGE.replace("\n", " "))
    assert told is not None
    units = {"s": 1, "min": 60, "h": 3_600}
    shown = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", told[1])]
    assert tuple(shown) == PAUSES_S
