"""What a request for orders that are tied to each other means.

Decides: which fields an exit may have, and what it takes from its entry. Must never: accept an exit that
would not wait.
"""

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from fillwright.errors import Code, Problem
from fillwright.order import Intent, Mode, Side
from fillwright.tokens import Tokens
from fillwright.wire.reading import Fields, Members, Refused, point
from fillwright.wire.requests import Asked, parse_order

EXITS_MAX: Final = 2
_TAKEN: Final = ("tokenIn", "tokenOut", "pair", "side", "amount", "amountMode")
"""Of an exit: it swaps back what its entry gave."""


class BracketWish(msgspec.Struct, frozen=True):
    """A bracket request, understood."""

    entry: Intent | None
    exits: tuple[Intent, ...]
    client_order_id: str | None


def parse_bracket(members: Members, tokens: Tokens, venues: Collection[str]) -> BracketWish:
    """With an entry: it and one or two exits. Without: two orders that exclude each other. Raises Refused."""
    fields = Fields(members)
    has_entry = fields.has("entry")
    entry_members = fields.members("entry") if has_entry else {}
    fields.skip("entry")
    exits_members = fields.objects("exits", least=1 if has_entry else EXITS_MAX, most=EXITS_MAX)
    fields.finish()
    if not has_entry:
        return _pair([parse_order(each, tokens, venues, at=f"/exits/{n}") for n, each in enumerate(exits_members)])
    entry = parse_order(entry_members, tokens, venues, at="/entry")
    if entry.intent.snipe is not None:
        why = "a sniper's token is not known before it has chosen a pool: its exits cannot be told yet"
        raise Refused([Problem(Code.VALIDATION_CONTRADICTION, why, "/entry/type")])
    exits = [_exit(each, entry.intent, tokens, venues, f"/exits/{n}") for n, each in enumerate(exits_members)]
    _check_exits(exits, named_from=0)
    return BracketWish(entry.intent, tuple(each.intent for each in exits), entry.client_order_id)


def _exit(members: Members, entry: Intent, tokens: Tokens, venues: Collection[str], at: str) -> Asked:
    """The swap back, under the exit's own conditions; its amount is known once the entry is filled."""
    told = [name for name in _TAKEN if members.get(name) is not None]
    if told:
        why = "follows from the entry"
        raise Refused(Problem(Code.VALIDATION_CONTRADICTION, why, point(at, name)) for name in told)
    side = Side.BUY if entry.side is Side.SELL else Side.SELL
    taken = {
        "pair": f"{entry.base.mint}/{entry.quote.mint}",
        "side": str(side),
        "amount": "1",
        "amountMode": str(Mode.EXACT_IN),
    }
    return parse_order({**members, **taken}, tokens, venues, at=at)


def _pair(exits: Sequence[Asked]) -> BracketWish:
    first, second = exits
    _check_exits(exits, named_from=1)
    for name in ("token_in", "token_out", "amount", "mode"):
        if getattr(first.intent, name) != getattr(second.intent, name):
            why = "both must be of one direction and amount"
            raise Refused([Problem(Code.VALIDATION_CONTRADICTION, why, point("/exits/1", _SAME[name]))])
    return BracketWish(None, (first.intent, second.intent), first.client_order_id)


_SAME: Final = {"token_in": "tokenIn", "token_out": "tokenOut", "amount": "amount", "mode": "amountMode"}


def _check_exits(exits: Sequence[Asked], *, named_from: int) -> None:
    """Each waits for the market, and from this one on none has a name: the first order's names them all."""
    problems = []
    for nth, asked in enumerate(exits):
        if not asked.intent.rests or asked.intent.snipe is not None:
            why = "must wait for the market: a limit, stop, take_profit or trailing_stop order, gtc or gtd"
            problems.append(Problem(Code.VALIDATION_CONTRADICTION, why, f"/exits/{nth}/type"))
        if nth >= named_from and asked.client_order_id is not None:
            why = "the first order's names the whole"
            problems.append(Problem(Code.VALIDATION_CONTRADICTION, why, f"/exits/{nth}/clientOrderId"))
    if problems:
        raise Refused(problems)


def fingerprint(wish: BracketWish) -> bytes:
    """Equal for two requests exactly when they mean the same, and never that of a single order."""
    return blake2b(msgspec.json.encode(wish), digest_size=16, person=b"bracket").digest()
