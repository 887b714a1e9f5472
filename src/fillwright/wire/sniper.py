"""A sniper's order: what a request says of the pool it waits for, and how that and the pools it has met are shown.

Decides: what may be asked for, and the words. Must never: take a safety condition for given up that was not named.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from fillwright.errors import Code, Problem
from fillwright.order import Intent
from fillwright.scout import Candidate
from fillwright.sniping import MAX_AGE_S_DEFAULT, UNCHOSEN, Facts, Lock, Require, Snipe
from fillwright.tokens import Tokens
from fillwright.units import Atoms, Millis, Mint, Token, format_atoms
from fillwright.wire import rfc3339
from fillwright.wire.reading import Fields

MAX_AGE_S_MAX: Final = 3_600
_ADDRESS: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}", re.ASCII)
_WORD_MAX: Final = 64
_VENUES_MAX: Final = 16
_FOLLOW: Final = ("tokenOut", "pair", "side", "amountMode")
"""What the chosen pool decides, and a request therefore does not."""


class Hunt(msgspec.Struct, frozen=True):
    """What a request for a sniper says instead of a pair."""

    token_in: Token
    token_out: Token
    snipe: Snipe
    venues: tuple[str, ...] | None


def read_hunt(fields: Fields, tokens: Tokens, venues: Collection[str]) -> Hunt | None:
    """None where a member was blamed."""
    for name in _FOLLOW:
        if fields.has(name):
            fields.blame(name, "follows from the pool that the sniper chooses", Code.VALIDATION_CONTRADICTION)
        fields.skip(name)
    token_in = fields.token("tokenIn", tokens)
    if not fields.has("tokenIn"):
        fields.blame("tokenIn", "is required: what the sniper pays with")
    inner = fields.inner("sniper")
    if inner is None:
        return None
    mint, creator = _address(inner, "mint"), _address(inner, "creator")
    if mint is not None and token_in is not None and mint == token_in.mint:
        inner.blame("mint", "is the token that is paid", Code.TOKEN_SAME)
    named = inner.texts("venues", most=_VENUES_MAX, longest=_WORD_MAX)
    if named is not None and not (named and set(named) <= set(venues)):
        inner.blame("venues", f"must name some of: {', '.join(sorted(venues))}")
    age = inner.whole("maxAgeSeconds", least=1, most=MAX_AGE_S_MAX)
    least = _liquidity(inner, token_in)
    require = _require(inner)
    fields.absorb(inner)
    if token_in is None:
        return None
    snipe = Snipe(
        mint=mint,
        creator=creator,
        min_liquidity=least,
        max_age_s=MAX_AGE_S_DEFAULT if age is None else age,
        require=require,
    )
    return Hunt(token_in, _token_out(mint, tokens), snipe, None if named is None else tuple(sorted(named)))


def _token_out(mint: Mint | None, tokens: Tokens) -> Token:
    """How many decimals an unknown mint has is for the chain to tell."""
    if mint is None:
        return UNCHOSEN
    return next((token for token in tokens.all if token.mint == mint), Token(mint, mint, 0))


def _address(inner: Fields, name: str) -> Mint | None:
    text = inner.text(name, _WORD_MAX)
    if text is not None and not _ADDRESS.fullmatch(text):
        inner.blame(name, "must be an address: 32 to 44 characters of base58")
        return None
    return None if text is None else Mint(text)


def _liquidity(inner: Fields, token_in: Token | None) -> Atoms:
    if token_in is None or not inner.has("minLiquidity"):
        inner.skip("minLiquidity")
        return Atoms(0)
    return inner.amount("minLiquidity", token_in.decimals) or Atoms(0)


def _require(fields: Fields) -> Require:
    inner = fields.inner("require")
    if inner is None:
        return Require()
    require = Require(
        mint_authority_revoked=_choice(inner, "mintAuthority", ("revoked", "any")) == "revoked",
        freeze_authority_none=_choice(inner, "freezeAuthority", ("none", "any")) == "none",
        liquidity=Lock(_choice(inner, "liquidity", tuple(Lock))),
        extensions_none=_choice(inner, "extensions", ("none", "any")) == "none",
        sellable=inner.flag("sellable") is not False,
    )
    fields.absorb(inner)
    return require


def _choice(inner: Fields, name: str, words: tuple[str, ...]) -> str:
    """The first word unless another one is told."""
    told = inner.text(name, _WORD_MAX)
    if told is None or told in words:
        return told or words[0]
    inner.blame(name, f"must be one of: {', '.join(words)}")
    return words[0]


# --- shown ------------------------------------------------------------------------------------------------


class RequireView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    mint_authority: str
    freeze_authority: str
    liquidity: str
    extensions: str
    sellable: bool


class SniperView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    mint: str | None = None
    creator: str | None = None
    venues: tuple[str, ...] | None = None
    min_liquidity: str
    max_age_seconds: int
    require: RequireView


class RefusalView(msgspec.Struct, frozen=True):
    code: str
    detail: str


class CandidateView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A new pool that a sniper waits for. No refusals: it would be taken, if it has a route for the order."""

    venue: str
    pool: str
    mint: str
    creator: str
    listed_at: str
    age_seconds: int | None = None
    liquidity: str | None = None
    """Of the token that is paid."""
    refusals: Sequence[RefusalView]


def sniper_view(intent: Intent) -> SniperView | None:
    snipe = intent.snipe
    if snipe is None:
        return None
    require = snipe.require
    return SniperView(
        mint=snipe.mint,
        creator=snipe.creator,
        venues=intent.venues,
        min_liquidity=format_atoms(snipe.min_liquidity, intent.token_in.decimals),
        max_age_seconds=snipe.max_age_s,
        require=RequireView(
            mint_authority="revoked" if require.mint_authority_revoked else "any",
            freeze_authority="none" if require.freeze_authority_none else "any",
            liquidity=require.liquidity,
            extensions="none" if require.extensions_none else "any",
            sellable=require.sellable,
        ),
    )


def refusal_views(problems: Sequence[Problem]) -> list[RefusalView]:
    return [RefusalView(problem.code, problem.detail) for problem in problems]


def candidate_view(intent: Intent, candidate: Candidate) -> CandidateView:
    pool, facts = candidate.pool, candidate.facts
    return CandidateView(
        venue=pool.venue,
        pool=pool.address,
        mint=pool.mint,
        creator=pool.creator,
        listed_at=rfc3339(Millis(pool.unix_seconds * 1_000)),
        age_seconds=None if facts is None else facts.unix_seconds - pool.unix_seconds,
        liquidity=_shown(intent, facts),
        refusals=refusal_views(candidate.problems),
    )


def _shown(intent: Intent, facts: Facts | None) -> str | None:
    return None if facts is None else format_atoms(facts.liquidity, intent.token_in.decimals)
