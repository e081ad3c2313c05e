"""What the folder of a report holds beside its pages: scripts and styles, which every page links relatively."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from neurostrata.core.files import atomic_path

#: Scripts and styles as they are copied: classic scripts, because a browser loads no modules from ``file://``.
ASSETS = Path(__file__).parent / "assets"
#: Scripts and styles of every page, in the order in which they are loaded.
SCRIPTS = ("theme.js", "points.js", "copy.js")
STYLES = ("report.css", "figures.css")


def write_assets(report: Path) -> Path:
    """Copy the scripts and styles into ``<report>/assets/``; return that folder.

    Each file is replaced as a whole and only when it differs, so jobs that write pages at the same time do not disturb
    each other.

    Parameters
    ----------
    report
        Folder of ``index.html``.
    """
    folder = report / "assets"
    for source in sorted(path for path in ASSETS.rglob("*") if path.is_file()):
        target = folder / source.relative_to(ASSETS)
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        with atomic_path(target, record=False) as temporary:
            shutil.copyfile(source, temporary)
    return folder


def script_json(value: Any) -> str:
    """Return JSON that may stand inside a script element, whatever the texts in it are.

    ``<`` is written as ``\\u003c``, so that no text ends the element, and so are the two line ends that older
    JavaScript does not allow in strings.

    Raises
    ------
    ValueError
        For a NaN or an infinite number, which JSON has not.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def write_data(path: Path, name: str, value: Any) -> None:
    """Write a classic script that sets ``window.NAME``: how a page from ``file://``, which may fetch nothing, gets data.

    Parameters
    ----------
    path
        The ``.js`` file.
    name
        Of the variable.
    value
        What JSON can hold.
    """
    with atomic_path(path, record=False) as temporary:
        temporary.write_text(f"window.{name}={script_json(value)};\n", encoding="utf-8")
