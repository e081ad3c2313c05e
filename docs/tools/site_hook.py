"""What makes a site of pages that are written to be read on a forge: mkdocs.yml names this hook.

* README.md, CONTRIBUTING.md, CHANGELOG.md and config/README.md become pages of the site.
* A link to a file that is no page of the site (code, configuration, tests) becomes the file's name.
* The diagram of the stages is drawn here, so that the site needs no JavaScript from elsewhere.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from diagram import draw

ROOT = Path(__file__).resolve().parents[2]
#: Pages outside docs/, by their path in the repository, and where they are in the site.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "config/README.md": "config.md",
}
PICTURE = re.compile(r"(!)\[([^\[\]]*)\]\(([^()\s]+)\)")
LINK = re.compile(r"((?<!!))\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.M | re.S)
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.M | re.S)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are outside docs/."""
    for source, page in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    name = page.file.src_uri
    origin = {place: source for source, place in OUTSIDE.items()}.get(name, f"docs/{name}")
    markdown = MERMAID.sub(lambda found: draw(found[1]), markdown)
    parts = CODE.split(markdown)
    # Links whose text is code ([`x`](y)) are cut by the code between them: they are not used in these pages.
    for number in range(0, len(parts), 2):
        for kind in (PICTURE, LINK):
            parts[number] = kind.sub(lambda found: _link(found, name, origin, files), parts[number])
    return "".join(parts)


def _link(found: re.Match[str], name: str, origin: str, files: Files) -> str:
    picture, text, target = found.groups()
    path, _, anchor = target.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return found[0]
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    if not (ROOT / whole).exists():
        return found[0]  # mkdocs says that it is broken
    place = OUTSIDE.get(whole, whole.removeprefix("docs/") if whole.startswith("docs/") else "")
    if place and files.get_file_from_path(place):
        if re.fullmatch(
            r"[\w./-]+\.md", text
        ):  # the name of a file means something on a forge; here the page's title does
            text = (ROOT / whole).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        there = posixpath.relpath(place, posixpath.dirname(name) or ".")
        return f"{picture}[{text}]({there}{'#' + anchor if anchor else ''})"
    return text if whole in text or text in whole else f"{text} (`{whole}`)"
