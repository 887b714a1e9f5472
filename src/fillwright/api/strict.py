"""Rules of RFC 6455 for a client's frames that the library does not hold its peers to.

Decides: which frame ends a connection though the library would take it. Must never: change a byte of what keeps the
rules, or hold back more than one header or control frame.

What a client sends with its upgrade request, before it has seen the answer, is the library's alone to judge.
"""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

_UNREADABLE: Final = b"\xf0\x80"
"""A header with reserved bits: instead of a frame that breaks a rule, so that the library closes, with 1002."""
_CONTROL: Final = 0x8
_CLOSE: Final = 0x8
_CONTROL_MAX: Final = 125
"""Bytes of a control frame's payload."""
_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""What a close frame may carry (RFC 6455, section 7.4, and what was registered since)."""


class _Frame(msgspec.Struct, frozen=True):
    ends: bool
    opcode: int
    masked: bool
    shortest: bool
    """Whether the length is told in as few bytes as it can be (section 5.2)."""
    size: int
    """Bytes of the header, its mask included."""
    length: int
    """Bytes of the payload."""


class Strict(asyncio.Protocol):
    """Stands between a WebSocket's transport and the library: every other event goes through as it comes."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._held = b""
        """The beginning of a frame that cannot be judged yet."""
        self._left = 0
        """Bytes to come of a payload."""
        self._in_message = False
        """Whether the next data frame must go on with a message."""
        self._refused = False

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        data, at = self._held + data, 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            frame = _frame(data, at)
            if frame is None:
                break
            is_control = bool(frame.opcode & _CONTROL)
            if is_control and frame.length <= _CONTROL_MAX and len(data) < at + frame.size + frame.length:
                break
            if self._breaks(frame, data[at : at + frame.size + 2]):
                self._refused = True
                self._inner.data_received(data[:at] + _UNREADABLE)
                return
            at += frame.size
            self._left = frame.length
        self._held = data[at:]
        if at:
            self._inner.data_received(data[:at])

    def _breaks(self, frame: _Frame, begun: bytes) -> bool:
        """`begun`: its header and up to two bytes of its payload."""
        if not (frame.masked and frame.shortest):
            return True
        if frame.opcode == _CLOSE:
            return frame.length > _CONTROL_MAX or (frame.length >= 2 and _close_code(begun) not in _CODES)
        if frame.opcode & _CONTROL:
            return frame.length > _CONTROL_MAX
        if self._in_message != (frame.opcode == 0):
            return True
        self._in_message = not frame.ends
        return False

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def hold_to_the_rules(request: web.Request) -> None:
    """From now on, for a connection that is about to be upgraded."""
    if request.transport is not None:
        request.transport.set_protocol(Strict(request.protocol))


def _frame(data: bytes, at: int) -> _Frame | None:
    """The header that begins there; None while it is not all here."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    told = second & 0x7F
    extended = {126: 2, 127: 8}.get(told, 0)
    size = 2 + extended + (4 if second & 0x80 else 0)
    if len(data) < at + size:
        return None
    length = int.from_bytes(data[at + 2 : at + 2 + extended]) if extended else told
    shortest = length >= {0: 0, 2: 126, 8: 65_536}[extended]
    return _Frame(bool(first & 0x80), first & 0x0F, bool(second & 0x80), shortest, size, length)


def _close_code(begun: bytes) -> int:
    """Of the four bytes of a mask and two that are masked, at the end."""
    mask, payload = begun[-6:-4], begun[-2:]
    return int.from_bytes(bytes(byte ^ key for byte, key in zip(payload, mask, strict=True)))
