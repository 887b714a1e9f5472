"""The pages of docs/reference/, written from what they tell about: the documents, the commands, the client.

`python -m tests.reference` writes them; a test fails while a page differs from what it is written from.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from fillwright import client
from fillwright.api.documents import asyncapi, openapi
from fillwright.api.problems import PROBLEM_JSON
from fillwright.cli import make_parser

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
_REF: Final = "#/components/schemas/"


# --- HTTP and streams -------------------------------------------------------------------------------------


def http() -> str:
    document = openapi()
    lines = [
        "# HTTP interface",
        "",
        "For whoever writes a client. Written from the engine's own OpenAPI document, which it serves at",
        "`/openapi.json`, and as a page at `/docs`. Amounts, prices and large integers are decimal text. Refusals are",
        "[problems](../ERRORS.md). The [how-tos](../how-to/orders.md) show the calls in use.",
    ]
    for tag in document["tags"]:
        lines += ["", f"## {tag['name'].capitalize()}"]
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["tags"] == [tag["name"]]:
                    lines += _operation(f"{method.upper()} {path}", operation)
    return _page([*lines, "", "## Shapes", *_shapes(document["components"]["schemas"])])


def _operation(title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"### {title}", "", f"{operation['summary']}.{_key_needed(operation)}")
    if operation.get("parameters"):
        yield from ("", "| parameter | in | | meaning |", "|---|---|---|---|")
        for each in operation["parameters"]:
            yield _row(f"`{each['name']}`", each["in"], _kind(each["schema"]), each.get("description", ""))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        yield from ("", f"Body: {_kind(body['schema'])}.")
    yield from ("", "| answer | | |", "|---|---|---|")
    codes: list[str] = []
    for status, answer in operation["responses"].items():
        contents: dict[str, Any] = answer.get("content", {})
        if PROBLEM_JSON in contents:
            codes += re.findall(r"`([A-Z_]+)`", answer["description"])
        else:
            kinds = {_kind(each.get("schema", {})) for each in contents.values()}
            yield _row(status, answer["description"], " or ".join(sorted(kinds)))
    if codes:
        yield from ("", f"Problems: {', '.join(f'`{code}`' for code in codes)}.")


def _key_needed(operation: dict[str, Any]) -> str:
    return " Open to everybody." if operation.get("security") == [] else ""


def streams() -> str:
    document = asyncapi()
    lines = [
        "# Streams",
        "",
        "For whoever follows orders by WebSocket. Written from the engine's own AsyncAPI document (`/asyncapi.json`).",
        "Server-sent events carry the same frames: see `GET /v1/events` in the [HTTP interface](http.md#get-v1events).",
        "How to resume without a gap: [follow events](../how-to/streams.md).",
        "",
        "| closed with | because |",
        "|---|---|",
        "| 1009 | a message is larger than 4 KiB |",
        "| 1012 | the process is stopping; come back, to another one |",
        "| 4001 | no valid key or ticket, or it was revoked |",
        "| 4003 | the page's origin or the key's scope does not allow it |",
        "| 4008 | the reader is too slow: 256 frames were waiting; come back and resume |",
        "| 4029 | more than 20 messages a second |",
    ]
    operations = document["operations"].values()
    for name, channel in document["channels"].items():
        lines += ["", f"## {channel['address']}", "", channel["description"], ""]
        for action, who in (("receive", "You send"), ("send", "The engine sends")):
            said = [
                each for each in operations if each["channel"]["$ref"].endswith(f"/{name}") and each["action"] == action
            ]
            kinds = [_link(message["$ref"].rsplit("/", 1)[1]) for each in said for message in each["messages"]]
            lines += [f"- {who}: {', '.join(kinds) or 'nothing'}"]
    return _page([*lines, "", "## Shapes", *_shapes(document["components"]["schemas"])])


def _shapes(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        yield from ("", f"### {name}")
        if schema.get("description"):
            yield from ("", schema["description"])
        if "properties" not in schema:
            yield from ("", f"{_kind(schema)}.")
            continue
        yield from ("", "| member | | meaning |", "|---|---|---|")
        for member, kind in schema["properties"].items():
            needed = "" if member in schema.get("required", ()) else ", optional"
            yield _row(f"`{member}`", f"{_kind(kind)}{needed}", _said(kind))


def _said(schema: dict[str, Any]) -> str:
    parts = [schema, *schema.get("anyOf", ())]
    words = next((part["description"] for part in parts if part.get("description")), "")
    limits = [f"{sign} {part[key]}" for part in parts for key, sign in _LIMITS.items() if key in part]
    return ". ".join(each for each in (words.rstrip("."), ", ".join(limits)) if each)


_LIMITS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "maxLength": "length at most",
    "maxItems": "elements at most",
}


def _kind(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": str(ref)}:
            return _link(ref.removeprefix(_REF))
        case {"anyOf": list(kinds)} | {"oneOf": list(kinds)}:
            return " or ".join(_kind(each) for each in kinds if each != {"type": "null"})
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_kind(items)}"
        case {"type": list(names)}:
            return " or ".join(_WORDS.get(str(each), str(each)) for each in names)
        case {"type": str(name)}:
            return _WORDS.get(name, name)
        case _:
            return "any"


_WORDS: Final = {"string": "text"}


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


# --- the command line -------------------------------------------------------------------------------------


def cli() -> str:
    parser = make_parser()
    lines = [
        "# Command line",
        "",
        "For whoever works in a terminal. Written from the commands: `fillwright COMMAND --help` tells the same.",
        "Commands in use, and what their exit codes mean: [command line and Python client](../CLIENT.md).",
    ]
    for name, command in _commands(parser, "fillwright"):
        lines += ["", f"## {name}", "", f"{_sentence(command.description or '')}"]
        rows = [_argument(each) for each in command._actions if not isinstance(each, argparse._HelpAction)]
        if rows:
            lines += ["", "| | |", "|---|---|", *rows]
    return _page(lines)


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    inner = next((each for each in parser._actions if isinstance(each, argparse._SubParsersAction)), None)
    if inner is None:
        yield name, parser
        return
    for word, command in inner.choices.items():
        yield from _commands(command, f"{name} {word}")


def _argument(action: argparse.Action) -> str:
    if action.option_strings:
        takes = "" if action.nargs == 0 else f" {_takes(action)}"
        must = ", needed" if action.required else ""
        return _row(f"`{', '.join(action.option_strings)}{takes}`{must}", action.help or "")
    must = "" if action.nargs != "?" else ", optional"
    return _row(f"`{_takes(action)}`{must}", action.help or "")


def _takes(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(str(each) for each in action.choices) + "}"
    named = action.metavar if isinstance(action.metavar, str) else action.dest
    return named.upper() if action.option_strings else named


# --- the Python client ------------------------------------------------------------------------------------


def python() -> str:
    failures = [each for name in client.__all__ if _is_failure(each := getattr(client, name))]
    lines = [
        "# Python client",
        "",
        "For whoever calls the engine from Python. Written from the docstrings of `fillwright.client`. How to use it:",
        "[command line and Python client](../CLIENT.md#python). `SyncClient` has the same calls without `await`.",
        "The views that calls answer have the members of the [HTTP interface's shapes](http.md#shapes), in snake case.",
        "",
        "## Client",
        "",
        _signature("Client", client.Client),
        "",
        _doc(client.Client),
    ]
    for name, method in vars(client.Client).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            lines += ["", f"### {name}", "", _signature(name, method), "", _doc(method)]
    lines += ["", "## Failures", "", "| | is a | |", "|---|---|---|"]
    lines += [_row(f"`{each.__name__}`", f"`{each.__mro__[1].__name__}`", _doc(each)) for each in failures]
    return _page(lines)


def _is_failure(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Exception)


def _signature(name: str, called: Callable[..., Any]) -> str:
    signature = inspect.signature(called)
    shown = [each for each in signature.parameters.values() if each.name != "self"]
    answer = "" if inspect.isclass(called) else f" -> {_name(signature.return_annotation)}"
    return f"`{'await ' if inspect.iscoroutinefunction(called) else ''}{name}({', '.join(_parameters(shown))}){answer}`"


def _parameters(shown: Iterable[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for each in shown:
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        default = "" if each.default is inspect.Parameter.empty else f" = {each.default!r}"
        yield f"{each.name}: {_name(each.annotation)}{default}"


def _name(annotation: Any) -> str:
    if annotation is None:
        return "None"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def _doc(told: Any) -> str:
    return " ".join((inspect.getdoc(told) or "").split())


# --- pages ------------------------------------------------------------------------------------------------

PAGES: Final[dict[str, Callable[[], str]]] = {
    "http.md": http,
    "streams.md": streams,
    "cli.md": cli,
    "python.md": python,
}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _page(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for file, written in PAGES.items():
        (FOLDER / file).write_text(written())
