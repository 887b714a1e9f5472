"""Five older clients as programs of their own, written from their engines' descriptions, against the real server."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.fleet import INHERITED, Process
from tests.servers.machine import free_port

HERE = Path(__file__).parent
STEPS = ["pending True", "routing True", "building True", "submitted True", "confirmed True"]
QUOTES = "quote True True True True True"
SAID = {
    "a": ["accepted pending", *STEPS, "now confirmed"],
    "b": ["accepted pending", *STEPS],
    "c": ["pending True", "routing True", QUOTES, "routing:quotes True", QUOTES, *STEPS[2:]],
    "d": ["accepted pending", *STEPS, "now confirmed", "health 200"],
    "e": ["accepted pending", *STEPS, "told True True", "listed True"],
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("legacy")
    env = {"FILLWRIGHT_DATA": str(folder / "data"), "FILLWRIGHT_SIM": "instant"}
    server = Process("server", ["serve"], port=free_port(), env=env, log=folder / "log")
    server.start()
    yield server.url
    server.stop()


@pytest.mark.parametrize("dialect", SAID)
def test_an_older_client_works_unchanged(url: str, dialect: str) -> None:
    command = [sys.executable, str(HERE / f"dialect_{dialect}.py"), url]
    done = subprocess.run(
        command, env={"PATH": INHERITED["PATH"]}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert [line for at, line in enumerate(said) if line != QUOTES or said[at - 1] != QUOTES] == SAID[dialect]


@pytest.mark.parametrize("dialect", SAID)
def test_an_older_client_is_told_why_it_is_refused(url: str, dialect: str, tmp_path: Path) -> None:
    text = (HERE / f"dialect_{dialect}.py").read_text()
    script = tmp_path / "client.py"
    script.write_text(text.replace('"amount": ', '"amount": -', 1).replace('-"1.5"', '"-1.5"'))
    assert script.read_text() != text
    command = [sys.executable, str(script), url]
    done = subprocess.run(
        command, env={"PATH": INHERITED["PATH"]}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("not accepted: /amount: amount must be")


@pytest.mark.parametrize("dialect", SAID)
def test_an_older_client_knows_nothing_of_this_engine(dialect: str) -> None:
    text = (HERE / f"dialect_{dialect}.py").read_text()
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names | {"aiohttp"}
    assert "/v1/" not in text
