"""What nodes tell without being asked: changed accounts, logs and slots, over a WebSocket.

Decides: when a socket is given up and which node is next, and when a reader is told that something may be missing.
Must never: wait for a reader, keep more than the inbox holds, or let a silent socket pass for a quiet chain.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

import aiohttp
import msgspec

from fillwright.adapters.solana.protocol import Filter, Keyed, RawAccount, Told
from fillwright.programs.program import Account

INBOX_MAX: Final = 4_096
SILENCE_S: Final = 10.0
"""Slots pass all the time, and each feed follows them: a socket that says nothing for so long is dead."""
_CONNECT_S: Final = 5.0
_SEND_S: Final = 5.0
_AGAIN_S: Final = 0.25
"""Before the next connection, doubled with each failure in a row."""
_AGAIN_S_MAX: Final = 10.0
_MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024


class Topic(msgspec.Struct, frozen=True):
    """What can be followed, at `confirmed`. `key`: an account, a program, or an address named in logs."""

    kind: Literal["account", "program", "logs", "slot"]
    key: str = ""
    filters: tuple[Filter, ...] = ()
    is_brief: bool = False
    """Of accounts: only that they have changed is told, and their data left out."""

    def asked(self) -> list[object]:
        """The parameters of its subscription."""
        match self.kind:
            case "account":
                return [self.key, self._setting()]
            case "program":
                return [self.key, self._setting() | {"filters": [each.asked() for each in self.filters]}]
            case "logs":
                return [{"mentions": [self.key]}, {"commitment": "confirmed"}]
            case "slot":
                return []

    def _setting(self) -> dict[str, object]:
        setting: dict[str, object] = {"commitment": "confirmed", "encoding": "base64"}
        return setting | {"dataSlice": {"offset": 0, "length": 0}} if self.is_brief else setting


SLOTS: Final = Topic("slot")


class Followed(msgspec.Struct, frozen=True):
    """From here on changes of the topic are told, for the first time or again: what was before has to be read."""

    topic: Topic


class AccountChanged(msgspec.Struct, frozen=True):
    topic: Topic
    slot: int
    address: str
    account: Account | None
    """None: it was closed."""


class Logged(msgspec.Struct, frozen=True):
    topic: Topic
    slot: int
    signature: str
    failed: bool
    lines: tuple[str, ...]


class SlotBegun(msgspec.Struct, frozen=True):
    """`root`: the latest slot that is finalized."""

    slot: int
    root: int


Notice: TypeAlias = Followed | AccountChanged | Logged | SlotBegun


class Heard(msgspec.Struct, frozen=True):
    notices: tuple[Notice, ...]
    lossy: bool
    """Whether some may be missing since the last time: the reader was too slow, or the socket was lost."""


class _Logs(msgspec.Struct, frozen=True):
    signature: str
    err: Any = None
    logs: tuple[str, ...] = ()


class _Slot(msgspec.Struct, frozen=True):
    slot: int
    root: int


class _Told(msgspec.Struct, frozen=True):
    subscription: int
    result: msgspec.Raw


class _Message(msgspec.Struct, frozen=True):
    """An answer, or a notification."""

    id: int | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: _Told | msgspec.UnsetType = msgspec.UNSET


_encode: Final = msgspec.json.Encoder().encode
_message_of: Final = msgspec.json.Decoder(_Message).decode
_number_of: Final = msgspec.json.Decoder(int).decode
_account_of: Final = msgspec.json.Decoder(Told[RawAccount]).decode
_keyed_of: Final = msgspec.json.Decoder(Told[Keyed]).decode
_logs_of: Final = msgspec.json.Decoder(Told[_Logs]).decode
_slot_of: Final = msgspec.json.Decoder(_Slot).decode


class Feed:
    """One socket and one inbox, for one reader. What is followed may change at any time."""

    def __init__(self, urls: Callable[[], Sequence[str]], inbox_max: int, *, silence_s: float = SILENCE_S) -> None:
        """`urls`: where to connect, the best first, asked for anew each time."""
        self._urls = urls
        self._inbox_max = inbox_max
        self._silence_s = silence_s
        self._wanted: set[Topic] = {SLOTS}
        self._changed = asyncio.Event()
        self._inbox: list[Notice] = []
        self._arrived = asyncio.Event()
        self._lossy = False
        self._line: _Line | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def follow(self, topics: Iterable[Topic]) -> None:
        """From now on these as well. Each is told to be followed (Followed) once it is, and anew after each loss."""
        self._wanted |= set(topics)
        self._changed.set()

    def unfollow(self, topics: Iterable[Topic]) -> None:
        """What of them is on its way may still arrive."""
        self._wanted -= set(topics) - {SLOTS}
        self._changed.set()

    def live_since(self, topic: Topic) -> float | None:
        """The loop's time from which on all its changes have been told, if this connection tells them; else None."""
        return self._line.live_since(topic) if self._line is not None else None

    async def take(self, within_s: float) -> Heard:
        """All that has arrived, or nothing after so many seconds of silence."""
        if not self._inbox and not self._lossy:
            self._arrived.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._arrived.wait()
            except TimeoutError:
                return Heard((), lossy=False)
        heard = Heard(tuple(self._inbox), self._lossy)
        self._inbox, self._lossy = [], False
        return heard

    # --- the socket ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session:
            while True:
                urls = self._urls()
                if urls:
                    served = await self._serve(session, urls[failures % len(urls)])
                    failures = 0 if served else failures + 1
                    self._lose()
                await asyncio.sleep(min(_AGAIN_S * 2 ** min(failures, 16), _AGAIN_S_MAX))

    async def _serve(self, session: aiohttp.ClientSession, url: str) -> bool:
        """Until the socket is lost. Returns whether it ever told anything."""
        line: _Line | None = None
        try:
            async with asyncio.timeout(_CONNECT_S):
                socket = await session.ws_connect(url, max_msg_size=_MESSAGE_BYTES_MAX)
            line = self._line = _Line(socket, self._deliver)
            async with socket:
                writing = asyncio.create_task(self._write(line))
                try:
                    await line.read(self._silence_s)
                finally:
                    writing.cancel()
                    await asyncio.gather(writing, return_exceptions=True)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError, TimeoutError):
            pass  # its words may tell the address: that the socket is lost is all there is to know
        finally:
            self._line = None
        return line is not None and line.spoke

    async def _write(self, line: "_Line") -> None:
        """Keep what the node is asked to tell equal to what is wanted."""
        try:
            while True:
                self._changed.clear()
                await line.want(frozenset(self._wanted))
                await self._changed.wait()
        except (aiohttp.ClientError, OSError, TimeoutError):
            await line.end()

    def _deliver(self, notice: Notice) -> None:
        if len(self._inbox) < self._inbox_max:
            self._inbox.append(notice)
            self._arrived.set()
        else:
            self._lose()

    def _lose(self) -> None:
        self._lossy = True
        self._arrived.set()


class _Line:
    """One connection: which subscription is which topic."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, deliver: Callable[[Notice], None]) -> None:
        self.spoke = False
        self._socket = socket
        self._deliver = deliver
        self._asked: dict[int, Topic] = {}
        self._following: dict[int, Topic] = {}
        self._live: dict[Topic, float] = {}
        self._wanted: frozenset[Topic] = frozenset()
        self._requests = 0

    def live_since(self, topic: Topic) -> float | None:
        return self._live.get(topic)

    async def want(self, topics: frozenset[Topic]) -> None:
        before, self._wanted = self._wanted, topics
        for number, topic in list(self._following.items()):
            if topic not in topics:
                del self._following[number], self._live[topic]
                await self._ask(f"{topic.kind}Unsubscribe", [number])
        for topic in topics - before - set(self._asked.values()):
            self._asked[self._requests] = topic
            await self._ask(f"{topic.kind}Subscribe", topic.asked())

    async def read(self, silence_s: float) -> None:
        """Returns when the socket is closed. Raises TimeoutError, and ValueError for what cannot be read."""
        while True:
            frame = await self._socket.receive(timeout=silence_s)
            if frame.type is not aiohttp.WSMsgType.TEXT:
                return
            message = _message_of(frame.data)
            if isinstance(message.params, _Told):
                self._told(message.params)
            elif message.id is not None:
                await self._answered(message.id, message)

    async def end(self) -> None:
        await self._socket.close()

    async def _ask(self, method: str, params: list[object]) -> None:
        request = {"jsonrpc": "2.0", "id": self._requests, "method": method, "params": params}
        self._requests += 1
        async with asyncio.timeout(_SEND_S):
            await self._socket.send_str(_encode(request).decode())

    async def _answered(self, request: int, message: _Message) -> None:
        topic = self._asked.pop(request, None)
        if topic is None or isinstance(message.result, msgspec.UnsetType):
            return  # an answer to an unsubscription, or a topic that this node does not tell: polling stands behind it
        number = _number_of(message.result)
        if topic in self._wanted:
            self._following[number] = topic
            self._live[topic] = asyncio.get_running_loop().time()
            self._deliver(Followed(topic))
        else:
            await self._ask(f"{topic.kind}Unsubscribe", [number])

    def _told(self, told: _Told) -> None:
        topic = self._following.get(told.subscription)
        if topic is not None:
            self.spoke = True
            self._deliver(_notice(topic, told.result))


def _notice(topic: Topic, told: msgspec.Raw) -> Notice:
    """Raises ValueError."""
    match topic.kind:
        case "account":
            held = _account_of(told)
            return AccountChanged(topic, held.context.slot, topic.key, _standing(held.value))
        case "program":
            keyed = _keyed_of(told)
            return AccountChanged(topic, keyed.context.slot, keyed.value.pubkey, _standing(keyed.value.account))
        case "logs":
            logs = _logs_of(told)
            return Logged(topic, logs.context.slot, logs.value.signature, logs.value.err is not None, logs.value.logs)
        case "slot":
            slot = _slot_of(told)
            return SlotBegun(slot.slot, slot.root)


def _standing(account: RawAccount) -> Account | None:
    return account.read() if account.lamports else None
