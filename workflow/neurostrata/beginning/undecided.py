"""What only a person can decide about a folder: the question, and each answer as an option."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from neurostrata.cohort.discovery.bids import UndecidedImages, choose
from neurostrata.cohort.discovery.bids_candidates import Request
from neurostrata.cohort.discovery.bids_index import File, Index
from neurostrata.cohort.discovery.bids_messages import differences
from neurostrata.cohort.discovery.messages import listed, ordered, people
from neurostrata.cohort.discovery.participants import People
from neurostrata.core.errors import UserError
from neurostrata.core.wording import count

#: Answers that are tried for each question.
_MOST = 8
#: Keys of the configuration in messages of the search -> the options that set them.
_OPTIONS = {
    "cohort.sessions": "--session-label",
    "cohort.runs": "--run-label",
    "cohort.participants": "--participant-label",
    "cohort.filters.t1w": "--filter-t1w",
    "cohort.filters.dwi": "--filter-dwi",
}


def in_options(error: UserError) -> UserError:
    """Return a message of the search with options in place of the keys of the configuration that they set."""
    text = str(error)
    for key, option in _OPTIONS.items():
        text = re.sub(rf"\b{re.escape(key)}:", f"{option}:", text)
    return UserError(text)


def undecided(index: Index, request: Request, known: People, error: UndecidedImages) -> UserError:
    """Return the message on images that only a person can choose among, each choice with what it would give."""
    lines: list[str] = []
    for column, cases in error.several.items():
        if column in ("bval", "bvec"):
            continue
        different = differences(index, cases)
        shown = [f"{person}: {', '.join(file.path for file in files[:4])}" for person, files in cases]
        differ = "; ".join(
            f"{key}: {', '.join(ordered(values)[:_MOST])}" for key, values in different.items()
        )
        have = "has" if len(cases) == 1 else "have"
        lines.append(
            f"{people(len(cases))} {have} more than one {column} image, and only you know which to take. They differ in "
            f"{differ or 'their folders'}:{listed(shown)}"
        )
        lines += ["choose with one of"] if different else ["keep one of them"]
        lines += [f"  {line}" for line in _answers(index, request, known, column, cases)]
    if not lines:
        lines = str(error).splitlines()
    return UserError("\n".join(["nothing was written.", *lines]))


def _answers(
    index: Index, request: Request, known: People, column: str, cases: list[tuple[str, list[File]]]
) -> Iterator[str]:
    """Yield an option for each choice, with how many people then have an image."""
    different = differences(index, cases)
    if "session" in different and request.sessions is None:
        for label in [*ordered(different["session"] - {"null"})[:_MOST], "first", "last", "all"]:
            yield f"--session-label {label}{_outcome(index, replace(request, sessions=label), known, column)}"
        return
    if "run" in different and request.runs is None and different.keys() == {"run"}:
        for run in ["first", "last"]:
            yield f"--run-label {run}{_outcome(index, replace(request, runs=run), known, column)}"
        return
    for key, values in different.items():
        for value in ordered(values)[:_MOST]:
            filters = {
                **request.filters,
                column: {**request.filters.get(column, {}), key: None if value == "null" else value},
            }
            outcome = _outcome(index, replace(request, filters=filters), known, column)
            yield f"--filter-{column} {key}={value}{outcome}"


def _outcome(index: Index, request: Request, known: People, column: str) -> str:
    """Return in words how many people would have an image of a column."""
    try:
        rows = choose(index, request, known.times).rows
    except UndecidedImages as error:
        if column in error.several:
            return "   (more choices follow)"
        if not error.several and not error.raw_diffusion:
            return f"   (cannot be: {str(error).splitlines()[0].partition(': ')[2][:90]} ...)"
        return ""
    except UserError as error:
        return f"   (cannot be: {str(error).splitlines()[0][:90]})"
    number = sum(bool(row.get(column)) for row in rows)
    persons = len({row["person"] for row in rows if row.get(column)})
    images = f", {count(number, 'image')}" if number != persons else ""
    return f"   ({people(persons)}{images})"
