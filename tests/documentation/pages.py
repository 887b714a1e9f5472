"""What the pages of the repository consist of: fenced blocks, links and headings.

Decides: which files are pages, which blocks run, and what a block's output is. Must never: run anything.

A block of a language in `RUNS` runs. A `text` or `json` block right after it is its output. Any other block tells why
it is neither, on the line above it: `<!-- not run: reason -->`; there `<!-- exits with 1 -->` means that it must.
Anywhere on a page `<!-- engine: NAME=value -->` gives settings to the engine that its blocks find, and
`<!-- engine: none -->` means that they start their own, `<!-- engine: none, PostgreSQL and Redis -->` that they do it
on these servers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
RUNS: Final = ("sh", "python", "javascript", "sql")
_OUTPUTS: Final = ("text", "json")
_DRAWN: Final = ("mermaid", "")
_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[^`\n]*)$")
_REASON: Final = re.compile(r"^ *<!-- not run: (?P<reason>.+) -->$")
_EXITS: Final = re.compile(r"^ *<!-- exits with (?P<code>[1-9][0-9]*) -->$")
_ENGINE: Final = re.compile(r"^<!-- engine: (?P<settings>.+) -->$", re.MULTILINE)
_LINK: Final = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(?P<text>.+?)(?: +#+)?$", re.MULTILINE)
_CODE_SPAN: Final = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True)
class Block:
    """One fenced block. `reason`: why it is not run. `exits`: its exit code. `output`: what the page shows of it."""

    line: int
    language: str
    text: str
    reason: str | None = None
    exits: int = 0
    output: "Block | None" = None


def paths() -> list[Path]:
    """Every page of the repository."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    return sorted(found)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def engine(text: str) -> dict[str, str] | None:
    """Settings of the engine that a page's blocks find; None: they start their own."""
    told = _ENGINE.search(text)
    if told is None:
        return {}
    if told["settings"].startswith("none"):
        return None
    return dict(pair.split("=", 1) for pair in told["settings"].split())


def needs_servers(text: str) -> bool:
    """Whether a page's own engines want PostgreSQL and Redis."""
    told = _ENGINE.search(text)
    return told is not None and told["settings"] == "none, PostgreSQL and Redis"


def blocks(text: str) -> list[Block]:
    """In the order of the page; an output belongs to its block and is not told again."""
    found: list[Block] = []
    for block, follows in _fences(text):
        if follows and block.language in _OUTPUTS and block.reason is None and found[-1].language in RUNS:
            found[-1] = replace(found[-1], output=block)
        elif block.language not in _DRAWN:
            found.append(block)
    return found


def _fences(text: str) -> Iterator[tuple[Block, bool]]:
    """Each fenced block, and whether nothing but blank lines stands between it and the one before."""
    lines = text.splitlines()
    at, ended = 0, -1
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        if opened is None:
            at += 1
            continue
        indent = len(opened["indent"])
        end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == opened["ticks"])
        body = "\n".join(line[indent:] for line in lines[at + 1 : end])
        above = lines[at - 1] if at else ""
        why, exits = _REASON.match(above), _EXITS.match(above)
        follows = ended >= 0 and not "".join(lines[ended + 1 : at]).strip()
        reason, code = why["reason"] if why else None, int(exits["code"]) if exits else 0
        yield Block(at + 1, opened["language"].strip(), body, reason, code), follows
        at, ended = end + 1, end


def links(text: str) -> list[str]:
    """Targets as written."""
    return [found["target"] for found in _LINK.finditer(_CODE_SPAN.sub("", _prose(text)))]


def anchors(text: str) -> set[str]:
    """Of every heading, as GitHub makes them; the site makes the same ones."""
    return {slug(found["text"]) for found in _HEADING.finditer(_prose(text))}


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def lists_without_room(text: str) -> list[str]:
    """First lines of lists right below a paragraph: GitHub shows a list there, the site would not."""
    lines = _prose(text).splitlines()
    return [
        line
        for before, line in pairwise(lines)
        if re.match(r"(?:[-*]|\d+\.) ", line) and re.match(r"[^\s\-*#|<>\d]", before)
    ]


def _prose(text: str) -> str:
    """Without what stands in fenced blocks."""
    return re.sub(r"^( *)(`{3,})[^\n]*\n.*?^ *\2$", "", text, flags=re.MULTILINE | re.DOTALL)
