"""Columns of the cohort sheet that hold files and that nothing reads: misspelled names, and images kept for later.

A misspelled column would be left out in silence, so that a brain mask, say, is not used. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from neurostrata.cohort.columns import sheet_columns
from neurostrata.cohort.image_words import DWI, PREPARED, image_column
from neurostrata.cohort.sheet import FACTS, IMAGES, holds_files
from neurostrata.cohort.study import Study, people_key
from neurostrata.core.wording import join_words
from neurostrata.gate.problems import Problem

#: Facts that change results, so that a column with another spelling must not be passed over in silence.
_ACTING = ("template", "site", "family", "diagnosis")
#: Words in the names of columns that say that the cells are paths.
_PATH_WORDS = {"path", "paths", "file", "files", "filename", "filepath"}
_WORD = re.compile(r"[A-Za-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")


def _sheet(study: Study) -> str | None:
    """Return the path of the cohort sheet, None where the people were found without one."""
    section = study.config["cohort"]
    return str(section["sheet"]) if people_key(section) == "sheet" else None


def _unread(study: Study) -> list[str]:
    """Return the columns that hold files and that nothing reads."""
    declared = {declaration.get("column") for declaration in study.config["modalities"].values()}
    return [
        column
        for column in sheet_columns(study)
        if column not in (*FACTS, *IMAGES)
        and column not in declared
        and holds_files(study.rows.values(), column)
    ]


def _plain(name: str) -> str:
    return "".join(_WORD.findall(name.lower()))


def _words(name: str) -> set[str]:
    """Return the words of a column's name, without those that every column of files may have."""
    words = {word.lower() for word in _WORD.findall(_HUMP.sub(" ", name))}
    return words - _PATH_WORDS


def _slipped(name: str, known: str) -> bool:
    """Tell whether two names differ by the order of their letters, or by one letter that only one of them has.

    Another letter instead (swi, t2w_mask) is mostly another image.
    """
    short, long = sorted((_plain(name), _plain(known)), key=len)
    if len(short) == len(long):
        return sorted(short) == sorted(long)
    return any(long[:place] + long[place + 1 :] == short for place in range(len(long)))


def _means(name: str, known: str) -> bool:
    """Tell whether a column's name can only mean a known column."""
    words = _words(name)
    if image_column(words) == known:
        # a mask of what else? (lesions, the diffusion data)
        return bool(words - {"mask"})
    left = {word.removesuffix("s") for word in words - PREPARED}
    if known in ("bval", "bvec"):
        left -= DWI
    return left == {word.removesuffix("s") for word in _words(known)} or _slipped(name, known)


def unread_problems(study: Study) -> Iterator[Problem]:
    """Yield each column of files whose name means a column that the study reads and that nobody has."""
    sheet = _sheet(study)
    if not sheet:
        return
    lacking = [c for c in study.used_columns() if not any(row.get(c) for row in study.rows.values())]
    for column in _unread(study):
        for known in lacking:
            if _means(column, known):
                text = (
                    f"{sheet}: nothing reads column '{column}', which holds files, and nobody has a '{known}'; rename it to "
                    f"'{known}', or give it a quite different name if nothing shall read it"
                )
                yield Problem("sheets", text)


def unread_notes(study: Study) -> Iterator[str]:
    """Say which columns of files nothing reads, and which facts about people have a name in other letters."""
    sheet = _sheet(study)
    if not sheet:
        return
    columns = sheet_columns(study)
    for column in columns:
        fact = column.lower()
        if fact in _ACTING and fact not in columns:
            yield f"{sheet}: column '{column}' is not read as '{fact}'; names of columns are in small letters"
    unread = [f"'{column}'" for column in _unread(study)]
    if unread:
        hold = "holds" if len(unread) == 1 else "hold"
        what = f"column {unread[0]}" if len(unread) == 1 else f"columns {join_words(unread)}"
        yield f"{sheet}: {what} {hold} files that no modality reads"
