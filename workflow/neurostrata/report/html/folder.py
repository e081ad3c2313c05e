"""What the folder of a report holds beside its pages: scripts and styles, which every page links relatively."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from neurostrata.core.files import atomic_path, sidecar_path
from neurostrata.core.records import check

#: Scripts and styles as they are copied: classic scripts, because a browser loads no modules from ``file://``.
ASSETS = Path(__file__).parent / "assets"
#: Scripts and styles of every page, in the order in which they are loaded.
SCRIPTS = ("theme.js", "pages.js", "search.js", "tables.js", "images.js", "points.js", "copy.js")
STYLES = ("report.css", "figures.css")
#: Folder of the copies of tables in a report's folder, the files that are copied, and the size in bytes up to which they are.
TABLES = "tables"
COPIED = (".tsv", ".json", ".txt", ".md", ".png", ".svg")
LARGEST = 10_000_000
#: The experiments' pages for the navigation of pages that are made before them, and the index of the search.
PAGES, SEARCH = "data/pages.js", "data/search.js"


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


def copied(report: Path, root: Path, target: Path) -> Path | None:
    """Return where a page may link a file: inside the report's folder, so that this folder alone can be passed on.

    A table, a description or a drawn figure of the results is copied to ``<report>/tables/`` under its own path, a table with the sidecar
    that explains its columns. Images, models and whatever is outside the results, such as the phenotype tables of the
    study, are not copied.

    Parameters
    ----------
    report
        Folder of ``index.html``.
    root
        The results folder.
    target
        A file that exists.

    Returns
    -------
    Path or None
        None where the file is named only.

    Raises
    ------
    DamagedError
        When the file is not as its stage wrote it.
    """
    if target.is_relative_to(report):
        return target
    if not target.is_relative_to(root) or target.suffix not in COPIED or not target.is_file():
        return None
    if target.stat().st_size > LARGEST:
        return None
    copy = report / TABLES / target.relative_to(root)
    _refresh(target, copy)
    if target.suffix == ".tsv" and (sidecar := sidecar_path(target)).is_file():
        _refresh(sidecar, copy.with_name(sidecar.name))
    return copy


def _refresh(source: Path, copy: Path) -> None:
    """Copy a file, unless the copy is as old and as large as it is."""
    new = source.stat()
    if copy.is_file():
        old = copy.stat()
        if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            return
    check(source)  # what was changed after its stage wrote it is not passed on
    with atomic_path(copy, record=False) as temporary:
        shutil.copyfile(source, temporary)
        os.utime(temporary, ns=(new.st_atime_ns, new.st_mtime_ns))


def renew_copies(report: Path, root: Path) -> None:
    """Bring the copies of tables up to date and delete those of tables that are gone.

    Copies that no page of this run linked stay while their table is there: people's pages, which are made by other jobs,
    may link them.
    """
    for copy in sorted((report / TABLES).rglob("*")):
        if not copy.is_file():
            continue
        source = root / copy.relative_to(report / TABLES)
        if source.is_file():
            _refresh(source, copy)
        else:
            copy.unlink()


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
