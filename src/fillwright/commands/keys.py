"""`fillwright keys create`, `list` and `revoke`: API keys of the configured store, also while engines work on it.

Decides: what is asked on the command line and how keys are shown. Must never: show a token but once, at its making.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from fillwright.access import Key, KeyId, Limits, Scope, make_key
from fillwright.adapters.local import SystemClock, SystemEntropy
from fillwright.adapters.sim.market import TOKENS
from fillwright.app import open_store
from fillwright.config import Config
from fillwright.errors import Code, FillwrightError
from fillwright.tokens import USDC, Tokens
from fillwright.units import Atoms, Bps, Mint, format_atoms, parse_atoms
from fillwright.wire import rfc3339

ACTIVE_MAX: Final = 1_000
"""Every process holds all keys in force, and reads them each second."""
_SHOWN_MAX: Final = 10_000


class LimitsView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    rate: int | None = None
    burst: int | None = None
    amount_max: dict[str, str] = {}
    slippage_bps_max: int | None = None
    usdc_max: str | None = None


class KeyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A key as people see it. `token` only when it is made."""

    id: str
    account: str
    label: str
    scopes: list[str]
    limits: LimitsView
    created_at: str
    used_at: str | None = None
    revoked_at: str | None = None
    token: str | None = None


async def keys(asked: argparse.Namespace, config: Config) -> int:
    """Do what the command line asks. Raises FillwrightError."""
    tokens = Tokens(TOKENS)
    match asked.action:
        case "create":
            view = await _create(asked, config, tokens)
            _print(asked, view, [_line(view), f"token  {view.token}", "Keep it now: it is not shown again."])
        case "revoke":
            view = await _revoke(KeyId(asked.id), config, tokens)
            _print(asked, view, [_line(view)])
        case _:
            async with open_store(config) as store:
                views = [_view(key, tokens) for key in await store.keys.page(_SHOWN_MAX)]
            _print(asked, views, [_line(view) for view in views] or ["no keys"])
    return 0


async def _create(asked: argparse.Namespace, config: Config, tokens: Tokens) -> KeyView:
    if asked.burst is not None and asked.rate is None:
        raise FillwrightError(Code.VALIDATION_CONTRADICTION, "--burst needs --rate")
    key, token = make_key(
        account=asked.account,
        label=asked.label,
        scopes=_scopes(asked.scopes),
        limits=Limits(
            rate=asked.rate,
            burst=asked.burst,
            amount_max=dict(_cap(text, tokens) for text in asked.max_amount),
            slippage_bps_max=None if asked.max_slippage_bps is None else Bps(asked.max_slippage_bps),
            worth_max=None if asked.max_usdc is None else parse_atoms(asked.max_usdc, decimals=_usdc(tokens)),
        ),
        now=SystemClock().now(),
        entropy=SystemEntropy(),
    )
    async with open_store(config) as store:
        if len(await store.keys.active() or ()) >= ACTIVE_MAX:
            raise FillwrightError(Code.VALIDATION_FAILED, f"there are {ACTIVE_MAX} keys already; revoke some first")
        await store.keys.add(key)
    return msgspec.structs.replace(_view(key, tokens), token=token)


async def _revoke(key_id: KeyId, config: Config, tokens: Tokens) -> KeyView:
    async with open_store(config) as store:
        key = await store.keys.revoke(key_id, SystemClock().now())
    if key is None:
        raise FillwrightError(Code.VALIDATION_FAILED, "there is no key with this id; `fillwright keys list` shows all")
    return _view(key, tokens)


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(name.strip()) for name in text.split(","))
    except ValueError:
        raise FillwrightError(Code.VALIDATION_FAILED, f"--scopes takes {', '.join(Scope)}, with commas") from None


def _cap(text: str, tokens: Tokens) -> tuple[Mint, Atoms]:
    name, _, amount = text.partition("=")
    token = tokens.find(name)
    return token.mint, parse_atoms(amount, decimals=token.decimals)


def _usdc(tokens: Tokens) -> int:
    """Its decimals."""
    return tokens.find(USDC).decimals


# --- shown ------------------------------------------------------------------------------------------------


def _view(key: Key, tokens: Tokens) -> KeyView:
    limits = key.limits
    caps = {
        tokens.of(mint).symbol: format_atoms(cap, tokens.of(mint).decimals) for mint, cap in limits.amount_max.items()
    }
    worth = None if limits.worth_max is None else format_atoms(limits.worth_max, _usdc(tokens))
    return KeyView(
        id=key.id,
        account=key.account,
        label=key.label,
        scopes=sorted(key.scopes),
        limits=LimitsView(limits.rate, limits.burst, caps, limits.slippage_bps_max, worth),
        created_at=rfc3339(key.created_at),
        used_at=None if key.used_at is None else rfc3339(key.used_at),
        revoked_at=None if key.revoked_at is None else rfc3339(key.revoked_at),
    )


def _line(view: KeyView) -> str:
    state = f"revoked {view.revoked_at}" if view.revoked_at else f"used {view.used_at or 'never'}"
    limits = view.limits
    limited = [f"{limits.rate}/s"] * bool(limits.rate) + [
        f"{cap} {symbol}" for symbol, cap in limits.amount_max.items()
    ]
    limited += [f"worth {limits.usdc_max} {USDC}"] * bool(limits.usdc_max)
    limited += [f"{limits.slippage_bps_max} bps"] * bool(limits.slippage_bps_max)
    told = f"  at most {', '.join(limited)}" if limited else ""
    return f"{view.id}  {view.label}  account {view.account}  {','.join(view.scopes)}  {state}{told}"


def _print(asked: argparse.Namespace, shown: object, lines: Sequence[str]) -> None:
    sys.stdout.write((msgspec.json.encode(shown).decode() if asked.json else "\n".join(lines)) + "\n")
