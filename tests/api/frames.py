"""About a hundred things that a hostile WebSocket client may send, as the bytes of its frames.

Decides: with which code each ends its socket, by RFC 6455 and API.md. Must never: use a WebSocket library, which would
refuse to send most of them.
"""

import json
from typing import Any, Final

import msgspec

CONTINUE, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_MASK: Final = b"\x37\xfa\x21\x3d"


class Case(msgspec.Struct, frozen=True):
    """`code`: of the close frame that answers; None: the socket stays, and what is said next is answered."""

    name: str
    wire: bytes
    code: int | None


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = _MASK,
    length: int | None = None,
    form: int | None = None,
) -> bytes:
    """One frame. `length`: told instead of the true one; `form`: told in so many bytes (1, 2 or 8)."""
    data = payload.encode() if isinstance(payload, str) else payload
    told = len(data) if length is None else length
    form = form or (1 if told < 126 else 2 if told < 65_536 else 8)
    short = {1: told, 2: 126, 8: 127}[form]
    head = bytes([fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | short])
    head += b"" if form == 1 else told.to_bytes(form)
    if mask is None:
        return head + data
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def said(message: Any, **changed: Any) -> bytes:
    return frame(TEXT, json.dumps(message), **changed)


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


_PING: Final = {"type": "ping", "reqId": 1}
_HALF: Final = json.dumps(_PING)[:10].encode()
_BAD_TEXTS: Final = (
    b"\xff", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\xaf",
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80", b"\xe2\x82", b'{"type":"\xff"}',
)  # fmt: skip
_BAD_CODES: Final = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
_GOOD_CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
_BAD_MESSAGES: Final = (
    "", " ", "nonsense", "{", "[]", "null", "1", '"x"', "[" * 4_000, '{"type":"ping","type":"ping"}', '{"type":NaN}',
    '{"type":"\\ud800"}', '{"type":"ping\\u0000"}', "\ufeff{}", "{}", '{"type":null}', '{"type":["ping"]}',
    '{"type":"PING"}', '{"type":"ping","x":1}', '{"type":"subscribe","orderId":{}}', '{"type":"__proto__"}',
    '{"type":"subscribe","orderId":"../../etc/passwd"}', '{"type":"submit","order":[]}', '{"type":"submit"}',
    '{"type":"submit","order":{"tokenIn":"SOL","tokenOut":"USDC","amount":-1}}', '{"type":"cancel","orderId":"*"}',
    '{"type":"subscribe","fromSeq":1e99}', '{"type":"subscribe","fromSeq":99999999999999999999}',
)  # fmt: skip

CASES: Final = (
    # reserved bits and opcodes
    *(Case(f"reserved bits {rsv:03b}", said(_PING, rsv=rsv), 1002) for rsv in range(1, 8)),
    *(Case(f"reserved opcode {opcode:#x}", frame(opcode, b"x"), 1002) for opcode in (3, 4, 5, 6, 7, *range(11, 16))),
    Case("reserved bit on a ping", frame(PING, rsv=4), 1002),
    Case("deflate that was never agreed upon", frame(TEXT, b"\xaa\x56\x4a\x04\x00", rsv=4), 1002),
    # masks and lengths
    Case("a text that is not masked", said(_PING, mask=None), 1002),
    Case("a ping that is not masked", frame(PING, b"x", mask=None), 1002),
    Case("a close that is not masked", frame(CLOSE, b"\x03\xe8", mask=None), 1002),
    Case("an empty text that is not masked", frame(TEXT, mask=None), 1002),
    Case("a mask of zeros", said(_PING, mask=bytes(4)), None),
    Case("a length of 2 bytes where 1 is enough", said(_PING, form=2), 1002),
    Case("a length of 8 bytes where 1 is enough", said(_PING, form=8), 1002),
    Case("a length of 8 bytes where 2 are enough", frame(TEXT, " " * 200, form=8), 1002),
    Case("a length with its highest bit set", frame(TEXT, length=2**63), 1009),
    Case("a length of all ones", frame(TEXT, length=2**64 - 1), 1009),
    # control frames
    *(
        Case(f"{name} in fragments", frame(code, b"x", fin=False) + frame(CONTINUE, b"y"), 1002)
        for name, code in (("a close", CLOSE), ("a ping", PING), ("a pong", PONG))
    ),
    *(
        Case(f"{name} of 126 bytes", frame(code, b"\x03\xe8" + b"x" * 124), 1002)
        for name, code in (("a close", CLOSE), ("a ping", PING), ("a pong", PONG))
    ),
    Case("a ping of 70,000 bytes", frame(PING, b"x" * 70_000), 1002),
    Case("a ping of 125 bytes", frame(PING, b"x" * 125), None),
    Case("an unsolicited pong", frame(PONG, b"x"), None),
    Case("a ping within a message", frame(TEXT, _HALF, fin=False) + frame(PING) + frame(CONTINUE, "x"), None),
    # messages in fragments
    Case("a continuation of nothing", frame(CONTINUE, b"x"), 1002),
    Case("an unfinished continuation of nothing", frame(CONTINUE, b"x", fin=False), 1002),
    Case("a continuation after the end", said(_PING) + frame(CONTINUE, b"x"), 1002),
    Case("a text within a text", frame(TEXT, _HALF, fin=False) + said(_PING), 1002),
    Case("a text within an empty fragment", frame(TEXT, fin=False) + said(_PING), 1002),
    Case("a binary message within a text", frame(TEXT, _HALF, fin=False) + frame(BINARY, b"x"), 1002),
    Case("a second beginning", frame(TEXT, _HALF, fin=False) + frame(TEXT, _HALF, fin=False), 1002),
    Case("a second beginning of empty fragments", frame(TEXT, fin=False) + frame(TEXT, fin=False), 1002),
    Case("a message in 40 fragments of a byte", b"".join(
        frame(CONTINUE if at else TEXT, b"x", fin=at == 39) for at in range(40)), None),
    # text
    *(Case(f"a text that is no UTF-8: {text!r}", frame(TEXT, text), 1007) for text in _BAD_TEXTS),
    Case("half a character at the end of fragments", frame(TEXT, b"{\xe2", fin=False) + frame(CONTINUE, b"x}"), 1007),
    Case("a character across two fragments", frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUE, b"\xac"), None),
    Case("a binary message", frame(BINARY, b"\x00\x01"), 1003),
    Case("JSON as a binary message", frame(BINARY, json.dumps(_PING)), 1003),
    Case("an empty binary message", frame(BINARY), 1003),
    Case("a binary message in fragments", frame(BINARY, b"{", fin=False) + frame(CONTINUE, b"}"), 1003),
    # too big
    Case("a message of 4,097 bytes", frame(TEXT, b" " * 4_097), 1009),
    Case("a message of 4,096 bytes", frame(TEXT, b" " * 4_096), None),
    Case("a message of 1 MB", frame(TEXT, b" " * 1_000_000), 1009),
    Case("4,097 bytes in two fragments", frame(TEXT, b" " * 4_000, fin=False) + frame(CONTINUE, b" " * 97), 1009),
    Case("the head alone of 5 GB", frame(TEXT, length=5 * 10**9), 1009),
    Case("a binary message that is too big", frame(BINARY, b"x" * 5_000), 1009),
    Case("endless fragments", frame(TEXT, b" " * 100, fin=False) + frame(CONTINUE, b" " * 100, fin=False) * 60, 1009),
    # too fast
    Case("21 messages at once", said(_PING) * 21, 4029),
    Case("500 empty messages at once", frame(TEXT) * 500, 4029),
    Case("2,000 pings at once, which are no messages", frame(PING) * 2_000, None),
    # the end
    *(Case(f"a close with the code {code}", closing(code), 1002) for code in _BAD_CODES),
    *(Case(f"a close with the code {code} in order", closing(code), 1000) for code in _GOOD_CODES),
    Case("a close without a code", frame(CLOSE), 1000),
    Case("a close of one byte", frame(CLOSE, b"\x03"), 1002),
    Case("a close whose reason is no UTF-8", closing(1000, b"\xff"), 1007),
    Case("a close with a reason of 123 bytes", closing(1000, b"x" * 123), 1000),
    Case("words after a close", closing(1000) + said(_PING), 1000),
    # what can be read and means nothing
    *(Case(f"a message that means nothing: {text[:40]!r}", frame(TEXT, text), None) for text in _BAD_MESSAGES),
)  # fmt: skip
