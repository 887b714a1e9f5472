"""What a canonical order request means.

Decides: which fields exist, their limits and defaults, and that two ways to say one thing agree. Must never: guess
where a request contradicts itself.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Final

import msgspec

from fillwright.errors import Code
from fillwright.order import Intent, Mode, OrderType, Side
from fillwright.tokens import Tokens, quote_of
from fillwright.units import Atoms, Bps, Millis, Token, format_atoms
from fillwright.wire.conditions import read_conditions, shown
from fillwright.wire.reading import Fields, Json, Members
from fillwright.wire.sniper import read_hunt

SLIPPAGE_BPS_DEFAULT: Final = Bps(100)
SLIPPAGE_BPS_MAX: Final = 5_000
"""More than half of the value given up is taken for a mistake; 10,000 would be no protection at all."""
CLIENT_ID_MAX: Final = 64
TAG_MAX: Final = 80
_TAGS_MAX: Final = 16
PAIR_MAX: Final = 130
_NAME_MAX: Final = 64
_DEADLINE_MS_MAX: Final = 24 * 60 * 60 * 1_000
_VENUES_MAX: Final = 16
_LEGS_MAX: Final = 8
"""What may be asked for; the engine's own limit may be lower."""
_HOPS_MAX: Final = 2


class Asked(msgspec.Struct, frozen=True):
    """An order request, understood."""

    intent: Intent
    client_order_id: str | None


class _Swap(msgspec.Struct, frozen=True):
    side: Side
    token_in: Token
    token_out: Token

    @property
    def pair(self) -> tuple[Token, Token, Side]:
        """Base, quote and side."""
        sells = self.side is Side.SELL
        return (self.token_in, self.token_out, self.side) if sells else (self.token_out, self.token_in, self.side)


class _Routing(msgspec.Struct, frozen=True):
    venues: tuple[str, ...] | None = None
    max_legs: int | None = None
    max_hops: int | None = None


def parse_order(members: Members, tokens: Tokens, venues: Collection[str], *, at: str = "") -> Asked:
    """The meaning of a canonical request. `at`: where its object is in the message. Raises Refused."""
    fields = Fields(members, at)
    client_order_id = fields.text("clientOrderId", CLIENT_ID_MAX)
    hunt = read_hunt(fields, tokens, venues) if members.get("type") == OrderType.SNIPER else None
    if members.get("type") == OrderType.SNIPER:
        swap = None if hunt is None else _Swap(Side.BUY, hunt.token_in, hunt.token_out)
    else:
        swap = _swap(fields, tokens)
    base, quote, side = (None, None, None) if swap is None else swap.pair
    conditions = read_conditions(fields, base=base, quote=quote, side=side)
    mode = _mode(fields, swap)
    slippage = fields.whole("slippageBps", least=0, most=SLIPPAGE_BPS_MAX)
    impact = fields.whole("maxPriceImpactBps", least=0, most=SLIPPAGE_BPS_MAX)
    deadline = fields.whole("deadlineMs", least=1, most=_DEADLINE_MS_MAX)
    routing = _routing(fields, venues)
    if hunt is not None and routing.venues is not None:
        fields.blame("routing", "a sniper's venues stand in sniper", Code.VALIDATION_CONTRADICTION)
    tags = fields.texts("tags", most=_TAGS_MAX, longest=TAG_MAX)
    amount = _amount(fields, swap, mode)
    if conditions.schedule is not None:
        _judge_slices(fields, mode, amount, conditions.schedule.slices)
    fields.finish()
    assert swap is not None
    assert mode is not None
    assert amount is not None
    intent = Intent(
        type=conditions.type,
        side=swap.side,
        token_in=swap.token_in,
        token_out=swap.token_out,
        amount=amount,
        mode=mode,
        slippage_bps=SLIPPAGE_BPS_DEFAULT if slippage is None else Bps(slippage),
        max_price_impact_bps=None if impact is None else Bps(impact),
        deadline_ms=None if deadline is None else Millis(deadline),
        venues=routing.venues if hunt is None else hunt.venues,
        max_legs=routing.max_legs,
        max_hops=routing.max_hops,
        tags=tags or (),
        limit=conditions.limit,
        trigger=conditions.trigger,
        trail_bps=conditions.trail_bps,
        time_in_force=conditions.time_in_force,
        expire_at=conditions.expire_at,
        schedule=conditions.schedule,
        snipe=None if hunt is None else hunt.snipe,
    )
    return Asked(intent, client_order_id)


_AMENDABLE: Final = ("amount", "slippageBps", "maxPriceImpactBps", "limitPrice", "trigger", "trail", "expireAt")


def parse_amendment(members: Members, intent: Intent) -> Intent:
    """The intent after an amendment: members that are named replace the order's own, null removes what may be absent.

    Raises Refused: for what cannot be amended, and for what the order could not have been asked for with.
    """
    fields = Fields(members)
    for name in _AMENDABLE:
        fields.skip(name)
    if not members:
        fields.blame("", "names nothing to change")
    fields.finish()
    changed = Fields({**_amendable(intent), **members})
    conditions = read_conditions(changed, base=intent.base, quote=intent.quote, side=intent.side)
    slippage = changed.whole("slippageBps", least=0, most=SLIPPAGE_BPS_MAX)
    impact = changed.whole("maxPriceImpactBps", least=0, most=SLIPPAGE_BPS_MAX)
    paid = intent.token_in if intent.mode is Mode.EXACT_IN else intent.token_out
    amount = changed.amount("amount", paid.decimals)
    changed.finish()
    assert amount is not None
    return msgspec.structs.replace(
        intent,
        amount=amount,
        slippage_bps=SLIPPAGE_BPS_DEFAULT if slippage is None else Bps(slippage),
        max_price_impact_bps=None if impact is None else Bps(impact),
        limit=conditions.limit,
        trigger=conditions.trigger,
        trail_bps=conditions.trail_bps,
        time_in_force=conditions.time_in_force,
        expire_at=conditions.expire_at,
    )


def _amendable(intent: Intent) -> dict[str, Json]:
    """The order's own members, as a request would have them."""
    paid = intent.token_in if intent.mode is Mode.EXACT_IN else intent.token_out
    told: dict[str, Json] = {
        "type": str(intent.type),
        "amount": format_atoms(intent.amount, paid.decimals),
        "slippageBps": str(intent.slippage_bps),
    }
    if intent.max_price_impact_bps is not None:
        told["maxPriceImpactBps"] = str(intent.max_price_impact_bps)
    if intent.limit is not None:
        told["limitPrice"] = shown(intent, intent.limit)
    if intent.trigger is not None:
        told["trigger"] = {"price": shown(intent, intent.trigger)}
    if intent.snipe is not None:
        told["sniper"] = {}  # it stays as it is
    if intent.trail_bps is not None:
        told["trail"] = {"bps": str(intent.trail_bps)}
    if intent.schedule is not None:
        schedule = intent.schedule
        told["schedule"] = {"slices": str(schedule.slices), "intervalSeconds": str(schedule.interval_ms // 1_000)}
    if intent.expire_at is not None:
        told["expireAt"] = str(intent.expire_at)
    return told


def fingerprint(asked: Asked) -> bytes:
    """Equal for two requests exactly when they mean the same, however they were spelled."""
    return blake2b(msgspec.json.encode((asked.intent, asked.client_order_id)), digest_size=16).digest()


def _swap(fields: Fields, tokens: Tokens) -> _Swap | None:
    """By tokens, by pair and side, or by both if they agree."""
    by_tokens = _swap_by_tokens(fields, tokens)
    by_pair = _swap_by_pair(fields, tokens)
    told_tokens = fields.has("tokenIn") or fields.has("tokenOut")
    told_pair = fields.has("pair") or fields.has("side")
    if not told_tokens and not told_pair:
        fields.blame("tokenIn", "tokenIn and tokenOut, or pair and side, are required")
        return None
    if by_tokens and by_pair:
        if (by_tokens.token_in, by_tokens.token_out) != (by_pair.token_in, by_pair.token_out):
            why = "pair and side say another swap than tokenIn and tokenOut"
            fields.blame("pair", why, Code.VALIDATION_CONTRADICTION)
        return by_pair
    return by_pair if told_pair else by_tokens


def _swap_by_tokens(fields: Fields, tokens: Tokens) -> _Swap | None:
    token_in, token_out = fields.token("tokenIn", tokens), fields.token("tokenOut", tokens)
    for name, other in (("tokenIn", "tokenOut"), ("tokenOut", "tokenIn")):
        if fields.has(other) and not fields.has(name):
            fields.blame(name, f"is required with {other}")
    if token_in is None or token_out is None:
        return None
    if token_in == token_out:
        fields.blame("tokenOut", "is the same token as tokenIn", Code.TOKEN_SAME)
        return None
    side = Side.BUY if quote_of(token_in, token_out) == token_in else Side.SELL
    return _Swap(side, token_in, token_out)


def _swap_by_pair(fields: Fields, tokens: Tokens) -> _Swap | None:
    pair, side = fields.text("pair", PAIR_MAX), fields.text("side", _NAME_MAX)
    for name, other in (("pair", "side"), ("side", "pair")):
        if fields.has(other) and not fields.has(name):
            fields.blame(name, f"is required with {other}")
    if side is not None and side not in tuple(Side):
        fields.blame("side", "must be buy or sell")
    both = pair_tokens(fields, pair, tokens) if pair is not None else None
    if both is None or side not in tuple(Side):
        return None
    base, quote = both
    return _Swap(Side.SELL, base, quote) if side == Side.SELL else _Swap(Side.BUY, quote, base)


def pair_tokens(fields: Fields, pair: str, tokens: Tokens) -> tuple[Token, Token] | None:
    """Base and quote of `BASE/QUOTE` (or with a hyphen, as older clients write it) in the member `pair`."""
    names = pair.replace("-", "/").split("/")
    if len(names) != 2:
        fields.blame("pair", "must be BASE/QUOTE, such as SOL/USDC")
        return None
    base, quote = (fields.find("pair", name, tokens) for name in names)
    if base is None or quote is None:
        return None
    if base == quote:
        fields.blame("pair", "has the same token twice", Code.TOKEN_SAME)
        return None
    return base, quote


def _mode(fields: Fields, swap: _Swap | None) -> Mode | None:
    """As told; else exact in, but exact out for a buy by pair: `amount` is then of the base either way."""
    told = fields.text("amountMode", _NAME_MAX)
    if told is not None:
        if told in tuple(Mode):
            return Mode(told)
        fields.blame("amountMode", "must be exactIn or exactOut")
        return None
    if swap is None or swap.side is Side.SELL or not fields.has("pair"):
        return Mode.EXACT_IN
    if fields.has("tokenIn"):
        why = "is required here: a buy by pair fixes the output, tokenIn and tokenOut fix the input"
        fields.blame("amountMode", why, Code.VALIDATION_CONTRADICTION)
    return Mode.EXACT_OUT


def _amount(fields: Fields, swap: _Swap | None, mode: Mode | None) -> Atoms | None:
    if swap is None or mode is None:
        fields.skip("amount")  # its token is not known, which is blamed already
        return None
    paid = swap.token_in if mode is Mode.EXACT_IN else swap.token_out
    return fields.amount("amount", paid.decimals)


def _judge_slices(fields: Fields, mode: Mode | None, amount: Atoms | None, slices: int) -> None:
    """What is left of an amount over time can be counted only where it is paid in."""
    if mode is Mode.EXACT_OUT:
        why = "an order with a schedule fixes what goes in: exactIn, and for a buy the amount is of the quote token"
        fields.blame("amountMode", why, Code.VALIDATION_CONTRADICTION)
    if amount is not None and amount < slices:
        fields.blame("amount", "is too little for so many slices", Code.VALIDATION_AMOUNT)


def _routing(fields: Fields, venues: Collection[str]) -> _Routing:
    """How the order's route is limited; its venues in one order however they were listed."""
    routing = fields.inner("routing")
    if routing is None:
        return _Routing()
    named = routing.texts("venues", most=_VENUES_MAX, longest=_NAME_MAX)
    if named is not None and not (named and set(named) <= set(venues)):
        routing.blame("venues", f"must name some of: {', '.join(sorted(venues))}")
    max_legs = routing.whole("maxLegs", least=1, most=_LEGS_MAX)
    max_hops = routing.whole("maxHops", least=1, most=_HOPS_MAX)
    fields.absorb(routing)
    return _Routing(None if named is None else tuple(sorted(named)), max_legs, max_hops)
