"""Every fenced block runs against a real engine and prints what its page shows, or says why it does not."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation.pages import RUNS, Block, blocks, engine, name, needs_servers, paths
from tests.documentation.running import LIMIT_S, differs, missing, run
from tests.processes.server import Server
from tests.servers.machine import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer


def _runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page.read_text()) if block.language in RUNS and block.reason is None]


@contextlib.contextmanager
def _serving(folder: Path, page: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The port of the engine that a page's blocks find, or are to start, and settings that they find."""
    settings = engine(page)
    if needs_servers(page):
        with PostgresServer() as postgres, RedisServer() as redis, postgres.database() as url:
            yield free_port(), {"DATABASE_URL": url, "REDIS_URL": redis.url}
        return
    if settings is None:
        yield free_port(), {}
        return
    server = Server(folder / "work" / "data", {"FILLWRIGHT_SIM": "instant", **settings})
    server.folder.parent.mkdir()
    server.start()
    try:
        yield server.port, {"FILLWRIGHT_DATA": str(server.folder)}
    finally:
        server.stop()


@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.parametrize("page", [page for page in paths() if _runnable(page)], ids=name)
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    runnable = _runnable(page)
    if (program := missing(runnable)) is not None:
        pytest.skip(f"{program} is not installed")
    with _serving(tmp_path, page.read_text()) as (port, settings):
        told = run(runnable, tmp_path, port=port, settings=settings)
    for block, text in zip(runnable, told, strict=True):
        wrong = differs(block.output, text) if block.output else None
        assert wrong is None, f"{name(page)}:{block.line}: {wrong}"


def test_what_does_not_run_says_why() -> None:
    silent = []
    for page in paths():
        for block in blocks(page.read_text()):
            where = f"{name(page)}:{block.line}"
            if block.reason is not None:
                print(f"{where} is not run: {block.reason}")
            elif block.language not in RUNS:
                silent.append(where)
    assert not silent, "neither run, nor an output, nor marked with `<!-- not run: reason -->`"


def test_an_output_that_differs_is_noticed() -> None:
    text = Block(1, "text", "1 pending\n…\n4 confirmed")
    assert differs(text, "1 pending\n2 routing\n4 confirmed\n") is None
    assert differs(text, "1 pending\n2 routing\n4 failed\n") is not None
    shown = Block(1, "json", '{"id": "…", "legs": [{"venue": "raydium", "…": "…"}, "…"], "status": "pending"}')
    assert differs(shown, '{"id":"7","legs":[{"venue":"raydium","pool":"p"},{}],"status":"pending"}') is None
    assert differs(shown, '{"id":"7","legs":[{"venue":"meteora"}],"status":"pending"}') == "/legs/0/venue: 'meteora'"
    assert differs(shown, '{"id":"7","legs":[],"status":"pending"}') == "/legs: 0 elements"
    assert differs(shown, '{"id":"7","legs":[],"status":"pending","more":1}') == ": members ['more']"


def test_a_block_that_fails_is_named_by_its_line(tmp_path: Path) -> None:
    failing = [Block(3, "sh", "A=1"), Block(7, "sh", 'test "$A" = 1'), Block(11, "python", "raise SystemExit(5)")]
    with pytest.raises(AssertionError, match="line 11 ended with 5"):
        run(failing, tmp_path, port=free_port(), settings={})
