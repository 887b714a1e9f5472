"""A page's blocks, run in order in one shell, as a reader would.

Decides: how each language is run, and whether an output is what the page shows. Must never: leave a process behind.
"""

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.documentation.pages import ROOT, Block
from tests.servers.fleet import INHERITED
from tests.servers.machine import free_pair

LIMIT_S: Final = 120.0
"""For all blocks of one page."""
_WHERE: Final = re.compile(r"(localhost:|127\.0\.0\.1:|PORT=)(3000|8899)\b")
"""How pages name the engine's port, and the port of a chain of its own."""
_COMMANDS: Final = {
    "sh": ". {file}",
    "python": "python -m tests.documentation.running {file}",
    "sql": "python -m tests.documentation.running {file}",
    "javascript": "node --experimental-websocket --no-warnings {file}",
}
_SUFFIXES: Final = {"sh": "sh", "python": "py", "sql": "sql", "javascript": "mjs"}


def missing(blocks: Sequence[Block]) -> str | None:
    """A program that these blocks need and this machine does not have."""
    needed = {name for name in ("jq", "sqlite3") for block in blocks if f"{name} " in block.text}
    needed |= {"node" for block in blocks if block.language == "javascript"}
    return next((name for name in sorted(needed) if shutil.which(name) is None), None)


def run(blocks: Sequence[Block], folder: Path, *, port: int, settings: dict[str, str]) -> list[str]:
    """What each block printed, as if the engine were at port 3000.

    AssertionError: a block that failed, by its line. What it started has ended when this returns.
    """
    ports = {"3000": port, "8899": free_pair()}
    script = ["set -e"]
    for number, block in enumerate(blocks):
        file = folder / f"{number}.{_SUFFIXES[block.language]}"
        file.write_text(_WHERE.sub(lambda named: f"{named[1]}{ports[named[2]]}", block.text) + "\n")
        script.append(_line(block, file, folder / f"{number}.out"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{INHERITED['PATH']}"
    imports = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    engine = {"FILLWRIGHT_URL": f"http://127.0.0.1:{port}", "HOME": str(folder)}
    env = {**INHERITED, "PATH": path, "PYTHONPATH": imports, **engine, **settings}
    shell = subprocess.Popen(
        ["bash", "-c", "\n".join(script)], cwd=_made(folder / "work"), env=env, start_new_session=True
    )
    try:
        code = shell.wait(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        code = -1
    finally:
        _end(shell)
    told = [_told(folder / f"{number}.out", port) for number in range(len(blocks))]
    ran = sum(text is not None for text in told)
    assert code == 0, f"the block at line {blocks[ran - 1].line} ended with {code}:\n{told[ran - 1]}"
    return [text or "" for text in told]


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _line(block: Block, file: Path, told: Path) -> str:
    command = f"{{ {_COMMANDS[block.language].format(file=file)}; }} > {told} 2>&1 < /dev/null"
    return command if block.exits == 0 else f"set +e\n{command}\n[ $? = {block.exits} ] || exit 99\nset -e"


def _end(shell: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(shell.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        shell.wait(timeout=10)


def _told(file: Path, port: int) -> str | None:
    if not file.exists():
        return None
    return re.sub(rf"(localhost|127\.0\.0\.1):{port}\b", r"\1:3000", file.read_text())


def differs(shown: Block, told: str) -> str | None:
    """None, or how what was told differs from what the page shows.

    `…` stands for any text; in JSON also for any value, for further members (as a name) and elements.
    """
    if shown.language == "text":
        return None if _same_text(shown.text.strip(), told.strip()) else f"told:\n{told}"
    return _unlike(json.loads(shown.text), json.loads(told), "")


def _same_text(shown: str, told: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
    return re.fullmatch(pattern, told, re.DOTALL) is not None


def _unlike(shown: Any, told: Any, where: str) -> str | None:
    match shown, told:
        case "…", _:
            return None
        case str(), str():
            return None if _same_text(shown, told) else f"{where}: {told!r}"
        case dict(), dict():
            wrong = set(shown) - {"…"} - set(told) if "…" in shown else set(shown) ^ set(told)
            if wrong:
                return f"{where}: members {sorted(wrong)}"
            unlike = (_unlike(value, told[key], f"{where}/{key}") for key, value in shown.items() if key != "…")
            return next((each for each in unlike if each), None)
        case list(), list():
            more = shown[-1:] == ["…"]
            kept = shown[:-1] if more else shown
            if len(told) < len(kept) or (len(told) > len(kept) and not more):
                return f"{where}: {len(told)} elements"
            pairs = enumerate(zip(kept, told, strict=False))
            return next((each for i, (a, b) in pairs if (each := _unlike(a, b, f"{where}/{i}"))), None)
        case _:
            return None if shown == told else f"{where}: {told!r}"


def _run_python(file: Path) -> None:
    """With `await` at the top, as notebooks have it."""
    code = compile(file.read_text(), str(file), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    awaited = eval(code, {"__name__": "__main__"})
    if inspect.iscoroutine(awaited):
        asyncio.run(awaited)


def _run_sql(file: Path) -> None:
    """On the embedded store, which nothing here may change."""
    store = Path(os.environ["FILLWRIGHT_DATA"]) / "orders.db"
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        for statement in file.read_text().split(";"):
            for row in connection.execute(statement):
                print(*row, sep="|")


if __name__ == "__main__":
    named = Path(sys.argv[1])
    (_run_sql if named.suffix == ".sql" else _run_python)(named)
