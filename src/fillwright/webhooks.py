"""Webhooks: what is sent to whom, how it is signed, where it may go, and when it is tried again.

Decides: the rules of one message, by the Standard Webhooks specification (standardwebhooks.com). Must never: show a
secret, or take an address for one of the open internet that leads back into a private network. Pure.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NewType

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.units import Millis, OrderId

WebhookId = NewType("WebhookId", str)
MessageId = NewType("MessageId", str)
"""The same for every try, replays included: receivers know a repetition by it."""

WEBHOOKS_MAX: Final = 20
"""Of one account."""
URL_MAX: Final = 2_048
DESCRIPTION_MAX: Final = 128
RETIRED_S: Final = 24 * 60 * 60
"""How long a secret signs on after it was replaced."""
SECRETS_MAX: Final = 5
"""Of one webhook, all retired ones but the latest included."""
FAILING_S_MAX: Final = 5 * 24 * 60 * 60
"""A receiver that took nothing for so long is sent nothing more."""
PAUSES_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Between one try and the next; after the last one the message has failed."""
PING: Final = "ping"
"""The type of a message that only tests the way."""
_SPREAD: Final = 0.2
_GONE: Final = 410
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 12


class Off(StrEnum):
    """Why a webhook is sent nothing."""

    ASKED = "asked"
    GONE = "gone"
    """Its receiver answered 410."""
    FAILING = "failing"


class Secret(msgspec.Struct, frozen=True, omit_defaults=True):
    """What signs. Only `text` shows it."""

    key: bytes
    until: Millis | None = None
    """When a retired one stops to sign."""

    def __repr__(self) -> str:
        return "Secret(...)"

    @property
    def text(self) -> str:
        return f"whsec_{b64encode(self.key).decode()}"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account wants to be told of its orders."""

    id: WebhookId
    account: str
    url: str
    events: frozenset[str]
    """Statuses, and names of events; empty: all."""
    description: str
    secrets: tuple[Secret, ...]
    """The one in force first."""
    off: Off | None
    failing_since: Millis | None
    created_at: Millis
    idempotency_key: str | None
    fingerprint: bytes
    """Hash of what was asked when it was made."""
    revision: int = 0
    """Counts its changes: the fence for who changes it."""

    def wants(self, status: str, event: str) -> bool:
        return not self.events or status in self.events or event in self.events


class Message(msgspec.Struct, frozen=True):
    """One message to one webhook. `order_id` and `seq` name the event that it tells; None: a ping."""

    id: MessageId
    webhook_id: WebhookId
    type: str
    order_id: OrderId | None = None
    seq: int | None = None


class State(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message and what has become of it."""

    message: Message
    number: int
    """Its place in the list of deliveries; only the order has a meaning."""
    claim: int
    """How often it was taken to be sent: the fence for who settles it."""
    state: State
    tries: int
    """Since it was made, or was last replayed."""
    status: int | None
    """HTTP status of the last answer."""
    error: str | None
    """Why there was none."""
    created_at: Millis
    tried_at: Millis | None
    due_at: Millis | None
    """None: nothing is left to do."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from one try. `again_after_s` is None where it was the last."""

    delivered: bool
    gone: bool
    status: int | None
    error: str | None
    again_after_s: float | None


# --- messages ---------------------------------------------------------------------------------------------


def message_of(webhook: Webhook, order_id: OrderId, seq: int, status: str) -> Message:
    """The message that tells this event. Its id follows from what it tells, so making it again repeats it."""
    name = sha256(f"{webhook.id}:{order_id}:{seq}".encode()).hexdigest()[:32]
    return Message(MessageId(f"msg_{name}"), webhook.id, f"order.{status}", order_id, seq)


def ping_of(webhook: Webhook, entropy: Callable[[int], bytes]) -> Message:
    return Message(MessageId(f"msg_{entropy(16).hex()}"), webhook.id, PING)


def body_of(kind: str, timestamp: str, data: bytes) -> bytes:
    """`data` is JSON; `timestamp` is when it happened, not when it is sent."""
    return b'{"type":"%s","timestamp":"%s","data":%s}' % (kind.encode(), timestamp.encode(), data)


def headers_of(message_id: MessageId, secrets: Sequence[Secret], now: Millis, body: bytes) -> dict[str, str]:
    """What goes with a body that is sent now: its name, the time, and one signature a secret in force."""
    seconds = now // 1_000
    signed = f"{message_id}.{seconds}.".encode() + body
    keys = [secret.key for secret in secrets if secret.until is None or secret.until > now]
    digests = [hmac.new(key, signed, sha256).digest() for key in keys]
    return {
        "content-type": "application/json",
        "user-agent": "fillwright-webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{b64encode(digest).decode()}" for digest in digests),
    }


# --- secrets ----------------------------------------------------------------------------------------------


def new_id(entropy: Callable[[int], bytes]) -> WebhookId:
    return WebhookId(f"wh_{entropy(_ID_BYTES).hex()}")


def new_secret(entropy: Callable[[int], bytes]) -> Secret:
    return Secret(entropy(_SECRET_BYTES))


def rotated(secrets: Sequence[Secret], fresh: Secret, now: Millis) -> tuple[Secret, ...]:
    """`fresh` is in force; the one before it signs on for RETIRED_S, and so do those that are still within theirs."""
    until = Millis(now + RETIRED_S * 1_000)
    retired = [secret if secret.until is not None else Secret(secret.key, until) for secret in secrets]
    kept = [secret for secret in retired if secret.until is not None and secret.until > now]
    return (fresh, *kept[: SECRETS_MAX - 1])


# --- what follows from a try ------------------------------------------------------------------------------


def outcome_of(status: int | None, error: str | None, delivery: Delivery, entropy: Callable[[int], bytes]) -> Outcome:
    """What a try of this delivery came to. Any 2xx is delivered, 410 asks for no more, all else may pass; a ping is
    tried once."""
    delivered = status is not None and 200 <= status < 300
    gone = status == _GONE
    settled = delivered or gone or delivery.message.type == PING or delivery.tries > len(PAUSES_S)
    pause_s = None if settled else _jittered(PAUSES_S[delivery.tries - 1], entropy)
    return Outcome(delivered=delivered, gone=gone, status=status, error=error, again_after_s=pause_s)


def _jittered(pause_s: int, entropy: Callable[[int], bytes]) -> float:
    """Up to a fifth longer: what failed together is not tried again together."""
    return pause_s * (1 + _SPREAD * int.from_bytes(entropy(2)) / 0xFFFF)


# --- where a message may go -------------------------------------------------------------------------------

# One plain form instead of all that RFC 3986 allows: nothing that two readers of the URL could read differently.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?][!-\[\]^_`a-~]*)?",
    re.ASCII,
)
_NUMERIC: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?$|:", re.ASCII)
"""The end of a host that somebody takes for an address: to some, 127.1, 0x7f000001 and 017700000001 are 127.0.0.1."""
_PORTS: Final = frozenset({80, 443})
_PORT_FREE: Final = 1_024
"""Below it only the ports of the web: what else listens there is not a receiver of webhooks."""
_GLOBAL_6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_CONFUSING: Final = (IPv6Network("2001::/23"), IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))
"""Tunnels, whose far end is somebody else's choice (Teredo); benchmarks; examples."""


def check_url(url: str, *, allow_private: bool) -> None:
    """Whether a message may be sent there, as far as the text tells; a name's addresses are judged when it is sent.

    Raises FillwrightError(WEBHOOK_URL_REFUSED).
    """
    match = _URL.fullmatch(url) if len(url) <= URL_MAX else None
    if match is None or "#" in url:
        raise _refused(f"must be https://host/path of at most {URL_MAX} visible ASCII characters, without a user")
    if match["scheme"] != "https" and not allow_private:
        raise _refused("must be https")
    port = int(match["port"] or 443)
    if not (port in _PORTS or _PORT_FREE <= port <= 65_535) and not allow_private:
        raise _refused("must have port 443, 80, or one from 1024 on")
    if not 1 <= port <= 65_535:
        raise _refused("must have a port from 1 to 65535")
    host = match["host"].strip("[]")
    if _NUMERIC.search(host) and not _is_address(host):
        raise _refused("must have a host name, or an address in its usual form")
    if not allow_private and _is_address(host) and not is_open(host):
        raise _refused("must not lead to a private address")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_open(address: str) -> bool:
    """Whether this IP address belongs to the open internet, whatever it is wrapped in."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv4Address):
        return _is_open_4(found)
    inner = _wrapped(found)
    if inner is not None:
        return _is_open_4(inner)
    return found in _GLOBAL_6 and found.is_global and not any(found in network for network in _CONFUSING)


def _is_open_4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that this one stands for: mapped, translated (NAT64) or tunneled (6to4)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _refused(why: str) -> FillwrightError:
    return FillwrightError(Code.WEBHOOK_URL_REFUSED, why, pointer="/url")
