"""The documents: OpenAPI 3.1 and AsyncAPI 3.0, made from the table of operations and the structs themselves.

Decides: how the table is told in their terms. Must never: say what the code does not do, or load from elsewhere.
"""

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web

from fillwright import __version__
from fillwright.api.access import rule_of
from fillwright.api.edge import json_response
from fillwright.api.operations import ANY, CHANNELS, GUARDED, JSON, OPERATIONS, Answer, Channel, Form, Operation, Param
from fillwright.api.pages import as_file
from fillwright.api.problems import KINDS, PROBLEM_JSON, ProblemView
from fillwright.api.webhooks import OrderMessage, PingMessage
from fillwright.errors import RETRYABLE, Code

Document: TypeAlias = dict[str, Any]
_ASSETS: Final = {"docs.js": "text/javascript", "docs.css": "text/css"}
_SCHEMA_REF: Final = "#/components/schemas/{name}"
_INFO: Final = {
    "title": "Fillwright",
    "version": __version__,
    "summary": "A self-hosted order execution engine.",
    "license": {"name": "MIT", "identifier": "MIT"},
}
_HEADERS: Final[Document] = {
    "X-Request-Id": {"description": "Yours, or one that was made.", "schema": {"type": "string"}},
    "Location": {"description": "The address of the result.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {"description": "`true`: nothing new was made.", "schema": {"type": "string"}},
    "ETag": {"description": "The order's seq, in quotes: for `If-Match`.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds until trying again makes sense.", "schema": {"type": "string"}},
}
_SECURITY: Final[Document] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_MESSAGES: Final = {"order": OrderMessage, "ping": PingMessage}
_encode: Final = msgspec.json.Encoder().encode


class Documents:
    """Made once, when the server starts."""

    def __init__(self) -> None:
        folder = resources.files("fillwright") / "web"
        self._openapi, self._asyncapi = _encode(openapi()), _encode(asyncapi())
        self._page = (folder / "docs.html").read_bytes()
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/openapi.json", self.openapi),
            web.get("/asyncapi.json", self.asyncapi),
            web.get("/docs", self.page),
            *(web.get(f"/{name}", self.asset) for name in _ASSETS),
        ]

    async def openapi(self, request: web.Request) -> web.Response:
        return json_response(self._openapi)

    async def asyncapi(self, request: web.Request) -> web.Response:
        return json_response(self._asyncapi)

    async def page(self, request: web.Request) -> web.Response:
        return as_file(self._page, "text/html")

    async def asset(self, request: web.Request) -> web.Response:
        name = request.path.removeprefix("/")
        return as_file(self._assets[name], _ASSETS[name])


# --- OpenAPI ----------------------------------------------------------------------------------------------


def openapi() -> Document:
    forms = [form for operation in OPERATIONS for form in _forms(operation)]
    schemas, components = _schemas([ProblemView, OrderMessage, PingMessage, *forms])
    paths: Document = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.group for operation in OPERATIONS)],
        "paths": paths,
        "webhooks": {name: _webhook(name, schemas[_name(kind)]) for name, kind in _MESSAGES.items()},
        "components": {"schemas": components, "headers": _HEADERS, "securitySchemes": _SECURITY},
    }


def _webhook(name: str, schema: Document) -> Document:
    """What a receiver is sent (standardwebhooks.com)."""
    return {
        "post": {
            "operationId": f"{name}Message",
            "tags": ["webhooks"],
            "summary": "Signed, at least once; webhook-id stays the same when it is sent again",
            "parameters": [
                {"name": each, "in": "header", "required": True, "schema": {"type": "string"}}
                for each in ("webhook-id", "webhook-timestamp", "webhook-signature")
            ],
            "requestBody": {"required": True, "content": {JSON: {"schema": schema}}},
            "responses": {"2XX": {"description": "Taken."}, "410": {"description": "Send no more."}},
        }
    }


def _forms(operation: Operation) -> list[Any]:
    told = [form for answer in operation.answers for form in answer.forms if not _is_media(form)]
    return told if operation.takes is None else [operation.takes, *told]


def _is_media(form: Form) -> bool:
    return form is None or isinstance(form, str)


def _operation(operation: Operation, schemas: Document) -> Document:
    told: Document = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
        "responses": {str(answer.status): _answer(answer, schemas) for answer in operation.answers}
        | _problems(operation, schemas),
    }
    if _needs_key(operation):  # or none at all, on one's own machine as long as no key was made
        told["security"] = [{"bearer": []}, {"header": []}, {}]
    if operation.params:
        told["parameters"] = [_param(param) for param in operation.params]
    if operation.takes is not None:
        content = {JSON: {"schema": schemas[_name(operation.takes)]}}
        told["requestBody"] = {"required": operation.body_required, "content": content}
    return told


def _needs_key(operation: Operation) -> bool:
    return rule_of(operation.method.upper(), operation.path).scope is not None


def _param(param: Param) -> Document:
    return {
        "name": param.name,
        "in": param.place,
        "description": param.what,
        "required": param.required,
        "schema": param.schema,
    }


def _answer(answer: Answer, schemas: Document) -> Document:
    content = {}
    for form in answer.forms:
        if isinstance(form, str):
            content[form] = {"schema": {"type": "object" if form == JSON else "string"}}
        elif form is not None:
            content[JSON] = {"schema": schemas[_name(form)]}
    told: Document = {"description": answer.what, "headers": _headers("X-Request-Id", *answer.headers)}
    if answer.leads_to:
        told["links"] = {
            name: {"operationId": name, "parameters": {"id": "$response.body#/id"}} for name in answer.leads_to
        }
    return told | ({"content": content} if content else {})


def _problems(operation: Operation, schemas: Document) -> Document:
    """By status. One that the operation itself answers with is left out: it has another body."""
    answered = {answer.status for answer in operation.answers}
    by_status: dict[int, list[Code]] = {}
    lost = (Code.REQUEST_NOT_FOUND,) if "{" in operation.path else ()  # an id that no address can have
    guarded = GUARDED if _needs_key(operation) else ()
    for code in dict.fromkeys((*operation.problems, *lost, *guarded, *ANY)):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {
        str(status): _problem(codes, schemas) for status, codes in sorted(by_status.items()) if status not in answered
    }


def _problem(codes: Sequence[Code], schemas: Document) -> Document:
    among = {"type": "object", "properties": {"code": {"enum": [code.value for code in codes]}}}
    later = ("Retry-After",) if any(code in RETRYABLE for code in codes) else ()
    return {
        "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes),
        "headers": _headers("X-Request-Id", *later),
        "content": {PROBLEM_JSON: {"schema": {"allOf": [schemas[_name(ProblemView)], among]}}},
    }


def _headers(*names: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


# --- AsyncAPI ---------------------------------------------------------------------------------------------


def asyncapi() -> Document:
    kinds = list(dict.fromkeys(kind for channel in CHANNELS for kind in (*channel.tells, *channel.hears)))
    schemas, components = _schemas(kinds)
    operations: Document = {}
    for channel in CHANNELS:
        operations |= _exchanges(channel)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": _INFO["title"], "version": __version__, "description": _INFO["summary"]},
        "channels": {channel.id: _channel(channel) for channel in CHANNELS},
        "operations": operations,
        "components": {
            "messages": {
                _name(kind): {"name": _name(kind), "contentType": JSON, "payload": schemas[_name(kind)]}
                for kind in kinds
            },
            "schemas": components,
        },
    }


def _channel(channel: Channel) -> Document:
    names = [_name(kind) for kind in (*channel.tells, *channel.hears)]
    told: Document = {
        "address": channel.path,
        "description": channel.what,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"ws": {"method": "GET"}},
    }
    parameters = {name: {"description": "The order's id."} for name in re.findall(r"{(\w+)}", channel.path)}
    return told | ({"parameters": parameters} if parameters else {})


def _exchanges(channel: Channel) -> Document:
    """What the server sends and receives there."""
    return {
        f"{channel.id}{verb}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel.id}"},
            "messages": [{"$ref": f"#/channels/{channel.id}/messages/{_name(kind)}"} for kind in kinds],
        }
        for verb, action, kinds in (("Tells", "send", channel.tells), ("Hears", "receive", channel.hears))
        if kinds
    }


# --- schemas ----------------------------------------------------------------------------------------------


def _schemas(kinds: Iterable[Any]) -> tuple[Document, Document]:
    """The schema of each type by its name, and the components that they refer to."""
    wanted = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(wanted, ref_template=_SCHEMA_REF)
    return dict(zip((_name(kind) for kind in wanted), schemas, strict=True)), components


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
