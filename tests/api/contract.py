"""Every answer that a test gets over HTTP is held to the document: status, type, body and problem code.

Decides: whether an answer is one of those that openapi.json announces. Must never: look at what a test expects.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from fillwright.api.documents import openapi

DOCUMENT: Final = openapi()
_VERBS: Final = {"GET", "POST", "PUT", "PATCH", "DELETE"}
_ADDRESSES: Final = [
    (re.compile(re.sub(r"{\w+}", "[^/]+", path)), path)
    for path in sorted(DOCUMENT["paths"], key=lambda path: path.count("{"))
]
_ELSEWHERE: Final = {404: "REQUEST_NOT_FOUND", 405: "REQUEST_METHOD_NOT_ALLOWED"}


def hold(method: str, address: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raises AssertionError for an answer that is not announced."""
    operation = announced(method, address)
    kind = headers.get("Content-Type", "").partition(";")[0]
    where = f"{method} {address} -> {status} {kind}"
    if method not in _VERBS or status == 101:
        return
    if operation is None:
        if not re.search(r"\.\w+$", address.partition("?")[0]):
            assert status in (400, 401, 403, 421, 429, *_ELSEWHERE), f"{where}: the address is not in the document"
        return
    path, verb = operation
    told = DOCUMENT["paths"][path][verb]["responses"].get(str(status))
    assert told is not None, f"{where}: the status is not in the document: {body[:300]!r}"
    content = told.get("content", {})
    assert kind in content or (not body and not content), f"{where}: the type is not in the document"
    if kind.endswith("json"):
        error = next(_validator(path, verb, str(status), kind).iter_errors(json.loads(body)), None)
        assert error is None, f"{where}: {error.message} at {list(error.absolute_path)}"


def announced(method: str, address: str) -> tuple[str, str] | None:
    """The path and verb in the document."""
    plain = address.partition("?")[0]
    for pattern, path in _ADDRESSES:
        if pattern.fullmatch(plain) and method.lower() in DOCUMENT["paths"][path]:
            return path, method.lower()
    return None


@cache
def _validator(path: str, verb: str, status: str, kind: str) -> Validator:
    schema: dict[str, Any] = DOCUMENT["paths"][path][verb]["responses"][status]["content"][kind]["schema"]
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})
