"""API keys: who may do what, how often, and up to which size.

Decides: what a key's token looks like, when a token is genuine, what its holder may ask for, and how fast. Must never:
keep a secret: a key is known by its hash only, and its token is shown once, when it is made.

The hash is a plain SHA-256. Passwords need a slow, salted hash because people choose guessable ones; a secret here is
256 random bits, so there is nothing to guess, and a slow hash would only make every request slow.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Final, NewType

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.order import Intent, Mode
from fillwright.units import Atoms, Bps, Millis, Mint, Token, format_atoms

KeyId = NewType("KeyId", str)
ACCOUNT_DEFAULT: Final = "default"
LABEL_MAX: Final = 64
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TOKEN: Final = re.compile(r"fw_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)
TOKEN_FORM: Final = "must be fw_, 12 hex digits, _ and 64 hex digits, all of them random"
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32


class Scope(StrEnum):
    """What a key may do. None implies another."""

    READ = "read"
    """Look: orders, quotes, streams."""
    TRADE = "trade"
    """Submit and cancel orders."""
    ADMIN = "admin"
    """Run the engine: metrics and operations."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key may not exceed; None or empty: no limit of its own."""

    rate: int | None = None
    """Requests a second; cancels are counted apart, at the same rate."""
    burst: int | None = None
    """Requests at once after a quiet time; None: as many as `rate`."""
    amount_max: Mapping[Mint, Atoms] = {}
    """The most that one order may be told to take or give, by mint. Where there is any, an order whose amount is
    told in another token is refused: it could otherwise be told around the cap."""
    slippage_bps_max: Bps | None = None
    worth_max: Atoms | None = None
    """The most that one order may be worth when it is accepted, in atoms of USDC."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as the store knows it."""

    id: KeyId
    account: str
    label: str
    scopes: frozenset[Scope]
    digest: bytes
    """SHA-256 of the secret."""
    limits: Limits
    created_at: Millis
    used_at: Millis | None = None
    """To the minute or so."""
    revoked_at: Millis | None = None


class Ticket(msgspec.Struct, frozen=True):
    """Lets its bearer open one stream, once, in the name of a key: browsers cannot send a header with a WebSocket."""

    digest: bytes
    """SHA-256 of the ticket's text."""
    key_id: KeyId | None
    """None: asked for where no key is needed."""
    expires_at: Millis


def make_key(
    *,
    account: str,
    label: str,
    scopes: frozenset[Scope],
    limits: Limits,
    now: Millis,
    entropy: Callable[[int], bytes],
) -> tuple[Key, str]:
    """A new key, and its token `fw_<id>_<secret>`: the only moment at which it exists in the clear.

    Raises FillwrightError(VALIDATION_FAILED) for an account or a label that cannot be one, or no scope.
    """
    token = f"fw_{entropy(_ID_BYTES).hex()}_{entropy(_SECRET_BYTES).hex()}"
    return key_of(token, account=account, label=label, scopes=scopes, limits=limits, now=now), token


def key_of(token: str, *, account: str, label: str, scopes: frozenset[Scope], limits: Limits, now: Millis) -> Key:
    """The key that this token is to prove. Raises FillwrightError(VALIDATION_FAILED) as `make_key`."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise FillwrightError(Code.VALIDATION_FAILED, TOKEN_FORM)
    if not _ACCOUNT.fullmatch(account):
        raise FillwrightError(Code.VALIDATION_FAILED, "an account is 1 to 64 of A-Z a-z 0-9 . _ -")
    if not (label.isprintable() and 1 <= len(label) <= LABEL_MAX):
        raise FillwrightError(Code.VALIDATION_FAILED, f"a label is 1 to {LABEL_MAX} printable characters")
    if not scopes:
        raise FillwrightError(Code.VALIDATION_FAILED, "a key needs at least one scope")
    return Key(
        id=KeyId(parts[1]),
        account=account,
        label=label,
        scopes=scopes,
        digest=digest_of(parts[2]),
        limits=limits,
        created_at=now,
    )


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def genuine(token: str, keys: Mapping[KeyId, Key]) -> Key | None:
    """The key that this token proves to hold. The comparison takes the same time wherever the secrets differ."""
    parts = _TOKEN.fullmatch(token)
    key = keys.get(KeyId(parts[1])) if parts else None
    if parts is None or key is None or not hmac.compare_digest(digest_of(parts[2]), key.digest):
        return None
    return key


def make_ticket(key_id: KeyId | None, *, expires_at: Millis, entropy: Callable[[int], bytes]) -> tuple[Ticket, str]:
    """A new ticket, and its text."""
    text = f"fwt_{entropy(_SECRET_BYTES).hex()}"
    return Ticket(digest_of(text), key_id, expires_at), text


def digest_of(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def check_order(limits: Limits, intent: Intent) -> None:
    """Raises FillwrightError(ACCESS_LIMIT) for an order beyond what the key may ask for."""
    most = limits.slippage_bps_max
    if most is not None and intent.slippage_bps > most:
        raise FillwrightError(Code.ACCESS_LIMIT, f"this key allows at most {most}", pointer="/slippageBps")
    if not limits.amount_max:
        return
    token = intent.token_out if intent.mode is Mode.EXACT_OUT else intent.token_in
    cap = limits.amount_max.get(token.mint)
    if cap is None:
        why = f"this key allows only amounts of tokens that it has a cap for, not of {token.symbol}"
        raise FillwrightError(Code.ACCESS_LIMIT, why, pointer="/amount")
    if intent.amount > cap:
        why = f"this key allows at most {format_atoms(cap, token.decimals)} {token.symbol} an order"
        raise FillwrightError(Code.ACCESS_LIMIT, why, pointer="/amount")


def check_worth(limits: Limits, worth: Atoms, usdc: Token) -> None:
    """`worth`: the order's, in atoms of USDC. Raises FillwrightError(ACCESS_LIMIT) beyond what the key may ask for."""
    cap = limits.worth_max
    if cap is not None and worth > cap:
        cap_text, worth_text = (format_atoms(atoms, usdc.decimals) for atoms in (cap, worth))
        why = f"this key allows at most {cap_text} {usdc.symbol} an order, this one is worth {worth_text}"
        raise FillwrightError(Code.ACCESS_LIMIT, why, pointer="/amount")


class RateLimited(FillwrightError):
    """Too soon: the same request may be repeated after so long."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(Code.REQUEST_RATE_LIMITED, "this key has used up its requests for now")
        self.retry_after_ms = retry_after_ms


class Bucket:
    """A token bucket: `burst` requests at once, then `rate` a second. Times are seconds of a monotonic clock."""

    def __init__(self, *, rate: int, burst: int, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._left = float(burst)
        self._at = now

    def spend(self, now: float) -> None:
        """Raises RateLimited, having spent nothing."""
        self._left, self._at = self._filled(now), now
        if self._left < 1:
            raise RateLimited(int((1 - self._left) / self.rate * 1_000) + 1)
        self._left -= 1

    def left(self, now: float) -> int:
        return int(self._filled(now))

    def full_in_s(self, now: float) -> float:
        return (self.burst - self._filled(now)) / self.rate

    def _filled(self, now: float) -> float:
        return min(float(self.burst), self._left + (now - self._at) * self.rate)
