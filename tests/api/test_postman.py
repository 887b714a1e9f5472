"""The Postman collection is made from the document: complete, and nothing in it leads elsewhere."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fillwright.api.documents import openapi
from fillwright.api.postman import collection
from tests.api.contract import announced

FILE = Path(__file__).parents[2] / "examples" / "fillwright.postman_collection.json"
ITEMS = [item for folder in collection()["item"] for item in folder["item"]]


def operations() -> set[tuple[str, str]]:
    """All but streams, which do not end."""
    return {
        (path, verb)
        for path, verbs in openapi()["paths"].items()
        for verb, told in verbs.items()
        if "text/event-stream" not in told["responses"].get("200", {}).get("content", {})
    }


def test_the_example_is_what_the_command_prints() -> None:
    told = json.dumps(collection(), indent=1, ensure_ascii=False) + "\n"
    assert FILE.read_text() == told, "run `fillwright postman > examples/fillwright.postman_collection.json`"


def test_every_operation_is_called_and_nothing_else() -> None:
    called = [announced(item["request"]["method"], _address(item)) for item in ITEMS]
    assert None not in called
    assert set(called) == operations()


def test_a_call_expects_only_what_is_documented() -> None:
    for item in ITEMS:
        path, verb = announced(item["request"]["method"], _address(item)) or ("", "")
        told = openapi()["paths"][path][verb]["responses"]
        (test,) = (event["script"]["exec"] for event in item["event"] if event["listen"] == "test")
        expected = re.search(r"oneOf\(\[(.*?)\]\)", test[0])
        assert expected is not None
        assert set(expected[1].split(", ")) <= told.keys(), item["name"]


def test_every_variable_is_declared_and_set_before_it_is_used() -> None:
    declared = {each["key"] for each in collection()["variable"]}
    known = {"baseUrl", "apiKey"}
    for item in ITEMS:
        for event in item["event"]:
            if event["listen"] == "prerequest":
                known |= _set(event)
        used = set(re.findall(r"{{(\w+)}}", json.dumps(item["request"])))
        assert used <= known <= declared, item["name"]
        for event in item["event"]:
            known |= _set(event)


def _set(event: dict[str, Any]) -> set[str]:
    return set(_matches(r'collectionVariables\.set\("(\w+)"', event["script"]["exec"]))


def _matches(pattern: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield from re.findall(pattern, line)


def _address(item: dict[str, Any]) -> str:
    address: str = item["request"]["url"]["raw"].removeprefix("{{baseUrl}}")
    return address
