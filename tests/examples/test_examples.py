"""Every example runs as its first lines say, and the Postman collection's own checks hold."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.processes.server import Server
from tests.servers.fleet import INHERITED

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
COLLECTION: Final = EXAMPLES / "fillwright.postman_collection.json"
NEWMAN: Final = "newman@6"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("engine"), {"FILLWRIGHT_SIM": "instant"})
    running.start()
    try:
        yield running
    finally:
        running.stop()


def output(server: Server, command: Sequence[str]) -> str:
    env = {**INHERITED, "FILLWRIGHT_URL": server.url}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_curl(server: Server) -> None:
    told = output(server, ["sh", str(EXAMPLES / "curl" / "orders.sh")])
    ids = re.findall(r"^(?:first|again) +(\S{36})$", told, re.MULTILINE)
    assert len(ids) == 2
    assert ids[0] == ids[1]
    assert '"limitPrice":"90000"' in told
    assert '"code":"VALIDATION_AMOUNT"' in told
    assert len(json.loads(told.splitlines()[-1])["data"]) == 2


def test_python(server: Server) -> None:
    told = output(server, [sys.executable, str(EXAMPLES / "python" / "place_and_watch.py")])
    assert told.count("confirmed") == 3
    assert "refused: VALIDATION_AMOUNT" in told


def test_python_without_asyncio(server: Server) -> None:
    told = output(server, [sys.executable, str(EXAMPLES / "python" / "notebook.py")])
    assert re.search(r"^swapped at [\d.]+$", told, re.MULTILINE)


def test_python_with_an_order_that_waits(server: Server) -> None:
    told = output(server, [sys.executable, str(EXAMPLES / "python" / "limit_and_amend.py")])
    assert "bps to go." in told
    assert re.search(r"^\d+ open amended", told, re.MULTILINE)
    assert re.search(r"^swapped at [\d.]+$", told, re.MULTILINE)


def test_javascript(server: Server) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    version = int(output(server, [node, "--version"]).lstrip("v").split(".")[0])
    if version < 20:
        pytest.skip("node is older than its WebSocket")
    flags = ["--experimental-websocket"] if version < 22 else []
    told = output(server, [node, *flags, str(EXAMPLES / "javascript" / "place_and_watch.mjs")])
    steps = [line.split()[:2] for line in told.splitlines() if line[0].isdigit()]
    assert ["1", "pending"] in steps
    assert any(status == "confirmed" for _, status in steps)
    assert "refused: VALIDATION_AMOUNT /amount" in told


@pytest.mark.timeout(360)
def test_the_postman_collection(server: Server, tmp_path: Path) -> None:
    newman, report = str(_newman(tmp_path)), tmp_path / "report.json"
    command = [newman, "run", str(COLLECTION), "--env-var", f"baseUrl={server.url}"]
    command += ["--reporters", "json,cli", "--reporter-json-export", str(report)]
    done = subprocess.run(command, env=INHERITED, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    stats = json.loads(report.read_text())["run"]["stats"]
    assert stats["requests"]["total"] == _requests(json.loads(COLLECTION.read_text()))
    assert stats["assertions"]["total"] >= stats["requests"]["total"]


def _newman(folder: Path) -> Path:
    """Postman's own runner, in a folder that goes with the test."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    install = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--loglevel", "error", NEWMAN]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not bring newman in time")
    if done.returncode != 0:
        pytest.skip("npm cannot bring newman here")
    return folder / "node_modules" / ".bin" / "newman"


def _requests(item: dict[str, object]) -> int:
    inner = item.get("item")
    return sum(_requests(each) for each in inner) if isinstance(inner, list) else 1


def test_the_page_names_every_example() -> None:
    page = (EXAMPLES / "README.md").read_text()
    files = [path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*") if path.is_file() and path.name != "README.md"]
    assert len(files) >= 5
    assert all(f"({path})" in page for path in files)
