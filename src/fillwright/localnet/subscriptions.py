"""What a WebSocket is told: accounts, programs, logs, signatures and slots, at the firmness that it asked for.

Decides: who hears of which block, and when. Must never: queue without bound (who does not read loses the socket),
tell a block twice, or tell of a state that the chain has not been in.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey

from fillwright.adapters.jsonrpc import INVALID_PARAMS, Dispatcher, Failed, Method, encode, with_params
from fillwright.localnet import parameters as asked
from fillwright.localnet.bank import Bank, Commitment, View
from fillwright.localnet.reads import filters_of, key_of, told
from fillwright.localnet.shapes import TooLong, account_json

SUBSCRIPTIONS_MAX: Final = 1_000
"""Of one socket."""
OUTBOX_MAX: Final = 10_000
"""Messages that may wait for one socket."""
_COMMITMENTS: Final[tuple[Commitment, ...]] = ("processed", "confirmed", "finalized")
_CLOSED: Final = Account(0, b"", Pubkey.default())

Told: TypeAlias = Callable[[View], Iterator[Any]]
"""What a subscription tells of a block that has just become as firm as it wants."""


class Wanted(msgspec.Struct, frozen=True):
    """One subscription."""

    kind: Literal["account", "program", "logs", "signature", "slot"]
    commitment: Commitment
    of: Told


class Session:
    """One socket's subscriptions. What it is to be sent stands in `outbox`."""

    def __init__(self, bank: Bank, lag: Callable[[], int]) -> None:
        self._bank = bank
        self._lag = lag
        self._wanted: dict[int, Wanted] = {}
        self._fresh: list[int] = []
        """Subscriptions whose matter may have been over before they were made."""
        self._numbers = 0
        self._told: dict[Commitment, deque[object]] = {
            each: deque([bank.view(each, lag=lag()).block.hash], maxlen=256) for each in _COMMITMENTS
        }
        self._dispatcher = Dispatcher(self._methods())
        self.outbox: deque[bytes] = deque()

    @property
    def is_overrun(self) -> bool:
        return len(self.outbox) > OUTBOX_MAX

    def receive(self, body: bytes) -> None:
        answer = self._dispatcher.answer(body)
        if answer:
            self.outbox.append(answer)
        for number in self._fresh:
            wanted = self._wanted.get(number)
            if wanted is not None:
                self._tell(number, wanted, self._bank.view(wanted.commitment, lag=self._lag()))
        self._fresh.clear()

    def on_block(self) -> None:
        """A block was made: tell whom it concerns, and whom the older blocks concern that have become firmer by it."""
        lag = self._lag()
        for commitment in _COMMITMENTS:
            view = self._bank.view(commitment, lag=lag)
            if view.block.hash in self._told[commitment]:
                continue
            self._told[commitment].append(view.block.hash)
            for number, wanted in list(self._wanted.items()):
                if wanted.commitment == commitment:
                    self._tell(number, wanted, view)

    def _tell(self, number: int, wanted: Wanted, view: View) -> None:
        for result in wanted.of(view):
            if self.is_overrun:
                return
            params = {"result": result, "subscription": number}
            self.outbox.append(encode({"jsonrpc": "2.0", "method": f"{wanted.kind}Notification", "params": params}))
            if wanted.kind == "signature":
                self._wanted.pop(number, None)

    # --- what can be asked --------------------------------------------------------------------------------

    def _methods(self) -> dict[str, Method]:
        drop = with_params(asked.Unsubscribing, self._drop)
        return {
            "accountSubscribe": with_params(asked.OfAccount, self._account),
            "programSubscribe": with_params(asked.OfProgram, self._program),
            "logsSubscribe": with_params(asked.OfLogs, self._logs),
            "signatureSubscribe": with_params(asked.OfEnd, self._signature),
            "slotSubscribe": with_params(asked.Plain, lambda _: self._add("slot", "processed", self._slot)),
            **{f"{kind}Unsubscribe": drop for kind in ("account", "program", "logs", "signature", "slot")},
        }

    def _add(
        self, kind: Literal["account", "program", "logs", "signature", "slot"], commitment: Commitment, of: Told
    ) -> int:
        if len(self._wanted) >= SUBSCRIPTIONS_MAX:
            raise Failed(INVALID_PARAMS, f"a socket may have {SUBSCRIPTIONS_MAX} subscriptions")
        self._numbers += 1
        self._wanted[self._numbers] = Wanted(kind, commitment, of)
        return self._numbers

    def _drop(self, of: asked.Unsubscribing) -> bool:
        if self._wanted.pop(of.subscription, None) is None:
            raise Failed(INVALID_PARAMS, "Invalid subscription id.")
        return True

    def _account(self, of: asked.OfAccount) -> int:
        key, options = key_of(of.address), of.options or asked.Reading()

        def tell(view: View) -> Iterator[Any]:
            if key in view.block.before:
                yield told(view, _shown(view.account(key) or _CLOSED, options, view))

        return self._add("account", options.commitment, tell)

    def _program(self, of: asked.OfProgram) -> int:
        program, options = key_of(of.program), of.options or asked.Searching()
        fits = filters_of(options.filters or ())

        def tell(view: View) -> Iterator[Any]:
            for key in view.block.before:
                account = view.account(key)
                if account is not None and account.owner == program and fits(account):
                    yield told(view, {"pubkey": str(key), "account": _shown(account, options, view)})

        return self._add("program", options.commitment, tell)

    def _logs(self, of: asked.OfLogs) -> int:
        mentioned = key_of(of.which.mentions[0]) if isinstance(of.which, asked.Mentions) else None

        def tell(view: View) -> Iterator[Any]:
            for landed in view.block.transactions:
                if mentioned is None or mentioned in landed.named.keys:
                    executed = landed.executed
                    line = {"signature": landed.signature, "err": executed.err, "logs": executed.logs}
                    yield told(view, line)

        return self._add("logs", (of.options or asked.Asked()).commitment, tell)

    def _signature(self, of: asked.OfEnd) -> int:
        def tell(view: View) -> Iterator[Any]:
            landed = view.landed(of.signature)
            if landed is not None:
                yield told(view, {"err": landed.executed.err})

        number = self._add("signature", (of.options or asked.Asked()).commitment, tell)
        self._fresh.append(number)
        return number

    def _slot(self, view: View) -> Iterator[Any]:
        root = self._bank.view("finalized", lag=self._lag()).block.slot
        yield {"parent": view.block.parent_slot, "root": root, "slot": view.block.slot}


def _shown(account: Account, options: asked.Reading, view: View) -> Any:
    try:
        return account_json(account, options.encoding, view.account)
    except TooLong:
        return account_json(account, "base64", view.account)
