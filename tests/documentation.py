"""Reading README and docs: pages, blocks of code, commands, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md", "envs/README.md")),
    *(ROOT / "docs").rglob("*.md"),
])  # fmt: skip
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)
#: Programs whose calls in running text are commands too.
PROGRAMS = "neurostrata|snakemake|make|python|apptainer|conda"
#: What is meant when a program is only named.
NAMED = re.compile(rf"({PROGRAMS})|make demo check-demo")


@dataclass(frozen=True)
class Block:
    """A block of code: page, language, and text."""

    page: str
    language: str
    text: str


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of code of all pages, in these languages or in any."""
    found = [
        Block(name_of(page), match[2], match[3])
        for page in PAGES
        for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]
    return [block for block in found if not languages or block.language in languages]


def inline_code() -> Iterator[tuple[str, str]]:
    """Yield page and text of every piece of code in running text and tables."""
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
            yield name_of(page), " ".join(code.split())


def commands() -> list[tuple[str, str]]:
    """Return page and text of every command: lines of shell blocks, and calls of our programs in running text."""
    found = []
    for block in blocks("bash"):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            found += [(block.page, part) for part in re.split(r"\s+&&\s+", line) if part]
    found += [(page, code) for page, code in inline_code() if re.match(rf"(\w+=\S+ )*({PROGRAMS}) ", code)]
    return list(dict.fromkeys(found))


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for title in re.findall(r"^#+ +(.*)$", text, re.M):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()).strip()
        anchor, number = plain.replace(" ", "-"), 1
        while anchor in found:
            anchor, number = f"{plain.replace(' ', '-')}-{number}", number + 1
        found.add(anchor)
    return found


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield path and anchor of every link of a page that stays in the repository."""
    text = re.sub(r"`[^`\n]+`", "", BLOCK.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^()\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield path, anchor
