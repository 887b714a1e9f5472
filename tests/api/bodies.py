"""Requests that no server may accept: each is a good one, for orders or a webhook, with one thing broken.

Decides: what is broken, and how. Must never: make a request that could mean an order, or one that its number and the
seed do not tell again.
"""

import gzip
import json
import random
import zlib
from collections.abc import Callable
from typing import Any, Final

import msgspec


class Target(msgspec.Struct, frozen=True):
    """An address that takes a body, and a good one for it. `needed`: members that it cannot do without.

    `around`: what stands before and after it, where what is broken is only a part of the body.
    """

    name: str
    path: str
    good: dict[str, Any]
    needed: tuple[str, ...]
    around: tuple[str, str] = ("", "")

    @property
    def body(self) -> bytes:
        return self.with_part(json.dumps(self.good).encode())

    def with_part(self, part: bytes) -> bytes:
        before, after = self.around
        return before.encode() + part + after.encode()


class Hostile(msgspec.Struct, frozen=True):
    """One request as bytes. `torn`: the transport itself is broken, so that there may be no answer at all."""

    kind: str
    target: str
    wire: bytes
    torn: bool = False


_CANONICAL: Final = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "slippageBps": 100, "tags": ["a"]}
_SWAP: Final = ("tokenIn", "tokenOut", "amount")
_EXIT: Final = {"type": "stop", "trigger": {"price": "1"}, "slippageBps": 100}
_HOOK: Final = {"url": "https://hooks.example.com/in", "events": ["confirmed"], "description": "mine"}
TARGETS: Final = (
    Target("canonical", "/v1/orders", _CANONICAL, _SWAP),
    Target("preview", "/v1/orders/preview", _CANONICAL, _SWAP),
    Target("quote", "/v1/quotes", _CANONICAL, _SWAP),
    Target("switch", "/v1/cancel-after", {"timeoutSeconds": 5}, ("timeoutSeconds",)),
    Target("bracket", "/v1/brackets", {"entry": _CANONICAL, "exits": [_EXIT]}, ("entry", "exits")),
    Target("entry", "/v1/brackets", _CANONICAL, _SWAP, ('{"entry":', f',"exits":[{json.dumps(_EXIT)}]}}')),
    Target("exit", "/v1/brackets", _EXIT, ("type", "trigger"), (f'{{"entry":{json.dumps(_CANONICAL)},"exits":[', "]}")),
    Target("webhook", "/v1/webhooks", _HOOK, ("url",)),
    Target(
        "A",
        "/api/orders/execute",
        {"pair": "SOL/USDC", "side": "buy", "amount": 2, "slippageTolerance": 0.01},
        ("pair", "side", "amount"),
    ),
    Target(
        "B",
        "/api/orders/execute",
        {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippageBps": 50},
        _SWAP,
    ),
    Target(
        "C",
        "/api/orders/execute",
        {"clientId": "desk-7", "side": "sell", "baseAsset": "SOL", "quoteAsset": "USDC", "amount": 1.5},
        ("side", "baseAsset", "quoteAsset", "amount"),
    ),
    Target(
        "D",
        "/api/orders/execute",
        {"orderType": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippage": 0.05},
        _SWAP,
    ),
    Target(
        "E",
        "/api/orders/execute",
        {"inputToken": "SOL", "outputToken": "USDC", "amount": "1.5"},
        ("inputToken", "outputToken", "amount"),
    ),
)
BODY_MAX: Final = 64 * 1024
_JSON: Final = "application/json"


def hostile(number: int, seed: int) -> Hostile:
    """The request of this number: the same for ever."""
    chance = random.Random(f"{seed}:{number}")
    target = chance.choice(TARGETS)
    kind, break_ = chance.choice(_ALL)
    return Hostile(kind, target.name, break_(target, chance), torn=kind in _TORN)


def good(target: Target) -> bytes:
    """The request with nothing broken: what a search for rows must find."""
    return request(target.path, target.body)


def request(path: str, body: bytes, *headers: str, kind: str | None = _JSON, length: int | str | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
    lines += [f"Content-Type: {kind}"] * (kind is not None)
    lines += [f"Content-Length: {len(body) if length is None else length}"] * (length != "")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


# --- broken JSON ------------------------------------------------------------------------------------------

Chance = random.Random
Text = Callable[[Target, Chance], bytes]
Break = Callable[[Target, Chance], bytes]


def _text(target: Target) -> str:
    return json.dumps(target.good)


def _truncated(target: Target, chance: Chance) -> bytes:
    text = _text(target)
    return text[: chance.randrange(len(text))].encode()


def _trailing(target: Target, chance: Chance) -> bytes:
    return (_text(target) + chance.choice(["}", "x", ",", "{}", "[]", '""', "\x00", "//", "1", _text(target)])).encode()


def _mark_lost(target: Target, chance: Chance) -> bytes:
    """One structural character turned into a letter."""
    text = _text(target)
    at = chance.choice([at for at, character in enumerate(text) if character in '{}":,'])
    return (text[:at] + chance.choice("xqwz") + text[at + 1 :]).encode()


def _no_object(target: Target, chance: Chance) -> bytes:
    text = _text(target)
    wrong = [f"[{text}]", json.dumps(text), "null", "true", "0", "-0", "1e9", '"x"', "[]", "", " ", "\n", "[[]]", "-"]
    return chance.choice(wrong).encode()


def _not_json(target: Target, chance: Chance) -> bytes:
    text = _text(target)
    return chance.choice(
        [
            text.replace('"', "'"),
            text[:-1] + ",}",
            "/**/" + text,
            text.replace(":", "=", 1),
            text.replace("{", "{,", 1),
            "\ufeff" + text,
            text.replace('"', '"\t', 1),
            text.replace('"', '"\x1f', 1),
            text.replace('"', '"\\x', 1),
            text.replace('"', '"\\u12', 1),
            text[:-1] + ', "x": 01}',
            text[:-1] + ', "x": .5}',
            text[:-1] + ', "x": 0x1}',
            text[:-1] + ', "x": True}',
            text[:-1] + ', "x": undefined}',
            text[:-1] + ", x: 1}",
            "<?xml version='1.0'?><order/>",
            "a=1&b=2",
        ]
    ).encode()


def _noise(_: Target, chance: Chance) -> bytes:
    """Never the beginning of an object."""
    return bytes([chance.choice(b"\x00\x01\x7f\xff<%")]) + chance.randbytes(chance.randrange(400))


def _other_encoding(target: Target, chance: Chance) -> bytes:
    return _text(target).encode(chance.choice(["utf-16", "utf-16-be", "utf-32", "utf-32-le", "cp037"]))


def _bad_utf8(target: Target, chance: Chance) -> bytes:
    body = _text(target).encode()
    at = chance.randrange(len(body) + 1)
    return (
        body[:at] + chance.choice([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"]) + body[at:]
    )


def _surrogate(target: Target, chance: Chance) -> bytes:
    half = f"\\u{chance.choice('dD')}{chance.choice('89abcdef')}{chance.randrange(256):02x}"
    text = _text(target)
    return chance.choice(
        [text.replace('"', f'"{half}', 1), text[:-1] + f', "x": "{half}"}}', text[:-1] + f', "x": ["a{half}"]}}']
    ).encode()


def _nul(target: Target, chance: Chance) -> bytes:
    text = _text(target)
    return chance.choice([text.replace('"', '"\\u0000', 1), text[:-1] + ', "\\u0000": 1}', "\x00" + text]).encode()


def _deep(target: Target, chance: Chance) -> bytes:
    deep = chance.randrange(2, 30_000)
    return chance.choice(
        [
            "[" * deep,
            '{"a":' * (deep // 5),
            "[" * deep + "]" * deep,
            _text(target)[:-1] + ', "x": ' + "[" * deep + "]" * deep + "}",
            _text(target)[:-1] + ', "x": ' + '{"a":' * (deep // 5) + "1" + "}" * (deep // 5) + "}",
        ]
    ).encode()


# --- wrong meaning ----------------------------------------------------------------------------------------


def _with(target: Target, name: str, literal: str) -> bytes:
    """The good request with this member's value put in literally."""
    members = {key: json.dumps(value) for key, value in target.good.items()} | {name: literal}
    return ("{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members.items()) + "}").encode()


def _not_a_number(target: Target, chance: Chance) -> bytes:
    literal = chance.choice(["NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', '"-inf"', '"1e5"', "nan", "inf"])
    return _with(target, target.needed[-1], literal)


def _huge_number(target: Target, chance: Chance) -> bytes:
    digits = "".join(chance.choices("123456789", k=chance.choice([20, 21, 40, 309, 4_301, 20_000])))
    literal = chance.choice([digits, "-" + digits, f'"{digits}"', digits + ".5", f"1e{chance.randrange(400, 10**9)}"])
    return _with(target, target.needed[-1], literal)


def _small_number(target: Target, chance: Chance) -> bytes:
    wrong = [
        "-1",
        "-0",
        '"-1"',
        "1E-400",
        "0.0000000000000000001",
        '"+1"',
        '"1_0"',
        '"\uff11"',
        '"0x1"',
        '"1,5"',
        '" 1"',
    ]
    return _with(target, target.needed[-1], chance.choice(wrong))


def _wrong_type(target: Target, chance: Chance) -> bytes:
    wrong = [
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "[1]",
        '{"a":1}',
        '""',
        '["SOL"]',
        '{"$gt":0}',
        '"\\"; DROP TABLE"',
        "-7",
    ]
    return _with(target, chance.choice(target.needed), chance.choice(wrong))


def _missing(target: Target, chance: Chance) -> bytes:
    gone = chance.choice(target.needed)
    return json.dumps({key: value for key, value in target.good.items() if key != gone}).encode()


def _unknown_key(target: Target, chance: Chance) -> bytes:
    names = ["x", "__proto__", "constructor", "account", "status", "a/b~c", "", "Amount", "amount ", "ünï", "k" * 9_000]
    return json.dumps(target.good | {chance.choice(names): chance.choice([1, "1", True, [], {}])}).encode()


def _key_twice(target: Target, chance: Chance) -> bytes:
    key = json.dumps(chance.choice(target.needed))
    value = chance.choice(["1", '"SOL"', "null", "{}"])
    text = _text(target)
    return chance.choice(
        [f"{{{key}:{value},{text[1:]}", f"{text[:-1]},{key}:{value}}}", text[:-1] + ',"x":1,"x":1}']
    ).encode()


def _giant(target: Target, chance: Chance) -> bytes:
    size = chance.choice([200, 5_000, 60_000, BODY_MAX, 300_000])
    giant = chance.choice(
        ['"' + "a" * size + '"', '"' + "\\u0041" * (size // 6 + 30) + '"', "[" + "1," * (size // 2) + "1]"]
    )
    return _with(target, chance.choice(target.needed), giant)


# --- broken HTTP ------------------------------------------------------------------------------------------


def _media(target: Target, chance: Chance) -> bytes:
    kinds = [
        None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json",
        "application/jsonp", "application/problem+json", "application/json; charset=latin-1", "*/*", "application/*",
        "application/json, text/plain", "application/msgpack", "a" * 4_000, "application/json; charset=utf-16",
    ]  # fmt: skip
    return request(target.path, target.body, kind=chance.choice(kinds))


_PRESSED: Final = {
    "gzip": gzip.compress(json.dumps(_CANONICAL).encode(), mtime=0),
    "deflate": zlib.compress(json.dumps(_CANONICAL).encode()),
    "x-gzip": gzip.compress(b" " * 5_000_000, mtime=0),
}
_BOMBS: Final = (gzip.compress(b" " * 20_000_000, mtime=0), gzip.compress(b"[" * 20_000_000, mtime=0))


def _encoded(target: Target, chance: Chance) -> bytes:
    """A good body under a content coding, which no request may have; whether it is true or not."""
    coding = chance.choice(
        ["gzip", "deflate", "x-gzip", "br", "zstd", "identity", "compress", "gzip, gzip", "nonsense", ""]
    )
    body = chance.choice([_PRESSED.get(coding, target.body), target.body])
    return request(target.path, body, f"Content-Encoding: {coding}")


def _bomb(target: Target, chance: Chance) -> bytes:
    return request(
        target.path, chance.choice(_BOMBS), f"Content-Encoding: {chance.choice(['gzip', 'x-gzip', 'deflate'])}"
    )


def _refused_header(target: Target, chance: Chance) -> bytes:
    """A good body that a header forbids."""
    header = chance.choice(
        [
            *(f"Idempotency-Key: {key}" for key in ("k" * 256, "a b", "\xff", "", "ü", "k" * 7_000)),
            *(f"Origin: {origin}" for origin in ("https://evil.example", "null", "http://localhost:1", "file://")),
            *(f"{name}: 203.0.113.9" for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via")),
            *("Authorization: Bearer x", "X-API-Key: fw_000000000000_" + "0" * 64, "X-API-Key: ' OR 1=1"),
            *(f"{name}: {'a' * 9_000}" for name in ("X-Long", "Cookie", "A" * 9_000)),
            *("X-Bad: a\x00b", "X-Bad\x00: a", "X Bad: a", "X-Bad: a\rb", ": a", "nothing", "\x01: a", " folded: a"),
        ]
    )
    if "Idempotency-Key" in header and target.path not in ("/v1/orders", "/v1/brackets", "/api/orders/execute"):
        header = "Content-Encoding: gzip"
    return request(target.path, target.body, header)


def _refused_host(target: Target, chance: Chance) -> bytes:
    host = chance.choice(["evil.example", "localhost.evil.example", "10.0.0.1:3000", "[::1", "a" * 3_000, "\xff", "*"])
    return request(target.path, target.body).replace(b"Host: localhost", b"Host: " + host.encode("latin-1"))


def _length(target: Target, chance: Chance) -> bytes:
    """A body that is not what its head announces."""
    body = target.body
    wrong: list[int | str] = [len(body) + 7, len(body) - 1, -5, "abc", "1e2", "+5", 2**63, "0x10", "5, 6", BODY_MAX + 1]
    return request(target.path, body, length=chance.choice(wrong))


def _chunks(target: Target, chance: Chance) -> bytes:
    body = target.body
    size = f"{len(body):x}".encode()
    wrong = chance.choice(
        [
            b"zz\r\n" + body,
            size + b"\r\n" + body[:-3],
            b"ffffffffffffffff\r\n" + body,
            b"-1\r\n" + body,
            size + b";" + b"x" * 20_000 + b"\r\n" + body,
            size + body,
            b"1\r\n" * 50,
            size + b"\r\n" + body + b"junk\r\n0\r\n\r\n",
        ]
    )
    lengths: list[int | str] = ["", "", len(wrong)]
    coding = chance.choice(["chunked", "chunked", "gzip", "chunked, chunked", "identity", "xchunked"])
    return request(target.path, wrong, f"Transfer-Encoding: {coding}", length=chance.choice(lengths))


def _head(target: Target, chance: Chance) -> bytes:
    """A broken request line, or a head that does not end well; nothing of it may count as the good body's."""
    line = chance.choice(
        [
            b"NONSENSE", b"", b"\x16\x03\x01\x02\x00", b"POST", f"POST {target.path}".encode(), b"PRI * HTTP/2.0",
            f"POST {target.path} HTTP/9.9".encode(), f"POST {target.path} HTTP/1.1 x".encode(),
            b"POST /" + b"a" * 20_000 + b" HTTP/1.1", b"POST /\x00 HTTP/1.1", b"POST \xff\xfe HTTP/1.1",
            b"GET ../../etc/passwd HTTP/1.1", f"PO\x00ST {target.path} HTTP/1.1".encode(),
        ]
    )  # fmt: skip
    _, rest = request(target.path, target.body).split(b"\r\n", 1)
    return line + b"\r\n" + chance.choice([rest, rest[: chance.randrange(20)], b"\r\n"])


def _other_method(target: Target, chance: Chance) -> bytes:
    method = chance.choice(["PUT", "PATCH", "TRACE", "PROPFIND", "CONNECT", "post", "X"]).encode()
    return request(target.path, target.body).replace(b"POST", method, 1)


def _as_body(text: Text) -> Break:
    return lambda target, chance: request(target.path, target.with_part(text(target, chance)))


_TEXTS: Final[tuple[tuple[str, Text], ...]] = (
    ("truncated", _truncated),
    ("trailing", _trailing),
    ("mark lost", _mark_lost),
    ("no object", _no_object),
    ("not JSON", _not_json),
    ("noise", _noise),
    ("other encoding", _other_encoding),
    ("bad UTF-8", _bad_utf8),
    ("half surrogate", _surrogate),
    ("NUL", _nul),
    ("deep", _deep),
    ("not a number", _not_a_number),
    ("huge number", _huge_number),
    ("small number", _small_number),
    ("wrong type", _wrong_type),
    ("missing", _missing),
    ("unknown key", _unknown_key),
    ("key twice", _key_twice),
    ("giant", _giant),
)
_HEADS: Final[tuple[tuple[str, Break], ...]] = (
    ("media type", _media),
    ("content coding", _encoded),
    ("bomb", _bomb),
    ("refused header", _refused_header),
    ("refused host", _refused_host),
    ("length", _length),
    ("chunks", _chunks),
    ("head", _head),
    ("method", _other_method),
)
_ALL: Final[tuple[tuple[str, Break], ...]] = (*((name, _as_body(text)) for name, text in _TEXTS), *_HEADS)
KINDS: Final = tuple(name for name, _ in _ALL)
_TORN: Final = frozenset({"length", "chunks", "head", "bomb", "refused header", "refused host", "method"})
