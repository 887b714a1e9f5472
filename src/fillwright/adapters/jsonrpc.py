"""JSON-RPC 2.0 as a node answers it: bytes in, bytes out, single calls and batches. A part of adapters, not one.

Decides: what is a call, and how a failure is told. Must never: raise for what a caller sent, or know what any method
does.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

P = TypeVar("P")
Method: TypeAlias = Callable[[msgspec.Raw], object]

BATCH_MAX: Final = 256
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

_log: Final = logging.getLogger(__name__)
encode: Final = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One call; without an `id` a notification, which nobody answers."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: int | float | str | msgspec.UnsetType | None = msgspec.UNSET
    method: str
    params: msgspec.Raw = msgspec.Raw(b"[]")


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    code: int
    message: str
    data: Any = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`result` or `error`, never both."""

    jsonrpc: Literal["2.0"] = "2.0"
    result: Any = msgspec.UNSET
    error: Failure | msgspec.UnsetType = msgspec.UNSET
    id: int | float | str | None


class Failed(Exception):
    """Raised by a method: what its caller is told."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.failure = Failure(code, message, data)


def with_params(params: type[P], method: Callable[[P], object]) -> Method:
    """The method, of parameters as JSON. Those that do not fit cost an INVALID_PARAMS.

    Clients send an option that they have no wish for as null: it counts as absent.
    """
    decode = msgspec.json.Decoder(params).decode

    def run(raw: msgspec.Raw) -> object:
        try:
            try:
                known = decode(raw)
            except msgspec.ValidationError:
                known = msgspec.convert(_without_nulls(msgspec.json.decode(raw)), params)
        except (ValueError, RecursionError) as error:
            raise Failed(INVALID_PARAMS, f"Invalid params: {error}") from error
        return method(known)

    return run


def _without_nulls(told: Any) -> Any:
    match told:
        case dict():
            return {name: _without_nulls(value) for name, value in told.items() if value is not None}
        case list():
            return [_without_nulls(value) for value in told]
        case _:
            return told


class Dispatcher:
    """Answers with what these methods say. `settle` is called once the calls of a body are through: where it raises
    Failed, none of them counts, and each is answered with that."""

    def __init__(self, methods: Mapping[str, Method], *, settle: Callable[[], None] = lambda: None) -> None:
        self._methods = methods
        self._settle = settle

    def answer(self, body: bytes) -> bytes:
        """To one call an object, to a batch an array; nothing at all where nobody wants an answer. Never raises."""
        try:
            asked = _read(body)
        except (ValueError, RecursionError):
            return encode(_refusal(PARSE_ERROR, "Parse error"))
        if not isinstance(asked, list):
            answers = self._answers([asked])
            return encode(answers[0]) if answers else b""
        if not 0 < len(asked) <= BATCH_MAX:
            return encode(_refusal(INVALID_REQUEST, f"A batch has 1 to {BATCH_MAX} calls"))
        answers = self._answers(asked)
        return encode(answers) if answers else b""

    def _answers(self, asked: Sequence[Request | None]) -> list[Answer]:
        answers = [answer for answer in map(self._answer, asked) if answer is not None]
        try:
            self._settle()
        except Failed as failed:
            return [Answer(error=failed.failure, id=answer.id) for answer in answers]
        return answers

    def _answer(self, request: Request | None) -> Answer | None:
        if request is None:
            return _refusal(INVALID_REQUEST, "Invalid request")
        answer_id = None if request.id is msgspec.UNSET else request.id
        answer = self._result(request, answer_id)
        return None if request.id is msgspec.UNSET else answer

    def _result(self, request: Request, answer_id: int | float | str | None) -> Answer:
        method = self._methods.get(request.method)
        if method is None:
            return _refusal(METHOD_NOT_FOUND, "Method not found", answer_id)
        try:
            return Answer(result=method(request.params), id=answer_id)
        except Failed as failed:
            return Answer(error=failed.failure, id=answer_id)
        except Exception:
            _log.exception("%s failed", request.method)
            return _refusal(INTERNAL_ERROR, "Internal error", answer_id)


_requests_of: Final = msgspec.json.Decoder(list[Request] | Request).decode
_request_of: Final = msgspec.json.Decoder(Request).decode
_pieces_of: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_piece_of: Final = msgspec.json.Decoder(msgspec.Raw).decode


def _read(body: bytes) -> list[Request | None] | Request | None:
    """The calls, and None for each that is none. Raises ValueError or RecursionError for what is not JSON."""
    try:
        calls: list[Request | None] | Request = _requests_of(body)
        return calls
    except msgspec.ValidationError:
        if body.lstrip()[:1] == b"[":
            return [_call(piece) for piece in _pieces_of(body)]
        return _call(_piece_of(body))


def _call(piece: msgspec.Raw) -> Request | None:
    try:
        return _request_of(piece)
    except ValueError:
        return None


def _refusal(code: int, message: str, answer_id: int | float | str | None = None) -> Answer:
    return Answer(error=Failure(code, message), id=answer_id)
