"""Choosing each person's images from the index of BIDS datasets, by stated rules only. Standard library only.

A cell gets an image when exactly one candidate is left; more than one is an error that names them and the filter that
would choose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from neurostrata.cohort.discovery import bids_messages
from neurostrata.cohort.discovery.bids_candidates import RULED, Candidates, Request
from neurostrata.cohort.discovery.bids_filters import Filters
from neurostrata.cohort.discovery.bids_index import File, Index
from neurostrata.cohort.discovery.bids_person import Cells, PersonRows
from neurostrata.cohort.discovery.messages import listed, ordered, people
from neurostrata.cohort.discovery.sessions import chosen_session, row_id
from neurostrata.cohort.sheet import Row
from neurostrata.core.errors import UserError

Times = Callable[[str], Mapping[str, str]]


class UndecidedImages(UserError):
    """Images that the rules cannot choose, or choose wrongly.

    Attributes
    ----------
    several
        Column -> people with several candidates, and these.
    raw_diffusion
        Whether diffusion data are asked for, and all that there are are raw.
    """

    def __init__(
        self, problems: list[str], several: Mapping[str, list[tuple[str, list[File]]]], raw_diffusion: bool
    ) -> None:
        super().__init__("\n".join(problems))
        self.several = several
        self.raw_diffusion = raw_diffusion


class Found(NamedTuple):
    """Rows for the study, the origin of every cell, and what was found in numbers."""

    rows: list[Row]
    sources: list[Row]
    notices: list[str]


def choose(index: Index, request: Request, times: Times = lambda person: {}) -> Found:
    """Choose every person's images.

    Parameters
    ----------
    index
        The files of the datasets.
    request
        What the configuration says.
    times
        Returns session -> time of acquisition of a person (``sessions.tsv``), for `sessions: first` and `last`.

    Returns
    -------
    Found
        Rows sorted by subject. With `sessions: all` each session is a row, its id person x session
        (``01xpre``), the person being the family.

    Raises
    ------
    UndecidedImages
        Every person with more than one candidate, filters that nothing passes, raw diffusion data and images
        in spaces that do not fit, grouped, all at once.
    """
    _check_columns(request)
    filters = Filters(index, request.filters)
    candidates, person_rows = Candidates(index, request, filters), PersonRows(index, request, filters)
    sessions = _Sessions(request, candidates, times)
    problems = list(filters.without_files(request.columns))
    persons = _participants(index, request)
    _check_session(index, request)
    by_person: dict[str, list[File]] = defaultdict(list)
    for file in index.files:
        by_person[file.subject].append(file)
    shared = by_person[""]  # gradients that everybody inherits
    further = (c for c in request.columns if c == "dwi" or c not in RULED or c in request.filters)
    columns = dict.fromkeys(["t1w", *further])
    rows: list[Row] = []
    sources: list[Row] = []
    without: list[str] = []
    for person in persons:
        files = by_person.get(person, [])
        every = {column: candidates.find(column, files) for column in columns}
        for position, session in enumerate(sessions.of_person(person, every)):
            left = {column: candidates.narrowed(column, found, session) for column, found in every.items()}
            cells = person_rows.row(person, left, [*files, *shared])
            if cells:
                row, its_sources = _row(index, request, person, session, position, cells)
                rows.append(row)
                sources += its_sources
            else:
                without.append(person)
    problems += sessions.problems()
    problems += [
        bids_messages.ambiguity(index, request, column, cases)
        for column, cases in person_rows.several.items()
    ]
    problems += person_rows.misfit_lines()
    problems += bids_messages.repeated_ids(rows)
    raw = list(bids_messages.raw_diffusion(candidates, person_rows, request, rows))
    problems += raw
    if not problems and not any(row.get("t1w") for row in rows):
        problems.append(bids_messages.no_t1w(candidates, index))
    if problems:
        raise UndecidedImages(problems, person_rows.several, bool(raw))
    rows.sort(key=lambda row: row["subject"])
    notices = list(bids_messages.notices(candidates, index, request, rows, sources, without))
    return Found(rows, sources, notices)


class _Sessions:
    """Chooses the sessions that become rows, and collects the people whose sessions cannot be chosen."""

    def __init__(self, request: Request, candidates: Candidates, times: Times) -> None:
        self.request, self.candidates, self.times = request, candidates, times
        self.undated: list[str] = []
        self.one_t1w: list[str] = []

    def of_person(self, person: str, every: Mapping[str, list[File]]) -> list[str | None]:
        """Return a person's sessions, one for each row; None where no session is chosen."""
        asked, labels = self.request.sessions, self.candidates.sessions(every)
        if asked in ("first", "last") and labels:
            session = chosen_session(labels, asked, self.times(person))
            if session is None:
                self.undated.append(f"{person}: {', '.join(ordered(labels))}")
                return []
            return [session]
        if asked == "all" and labels:
            if len(labels) > 1 and every["t1w"] and not any(file.session for file in every["t1w"]):
                self.one_t1w.append(f"{person}: {every['t1w'][0].path}")
                return []
            return list(ordered(labels))
        return [None]

    def problems(self) -> list[str]:
        """Return a line for each kind of sessions that cannot be chosen."""
        lines = []
        if self.undated:
            example = self.undated[0].split(": ")[1].split(",")[0]
            lines.append(
                f"cohort.sessions: {self.request.sessions}: the order of the sessions of {people(len(self.undated))} is not "
                "known (the labels are not numbers, and sessions.tsv has no acq_time such as 2009-06-15T13:45:30); name the session, e.g. "
                f"cohort.sessions: {example}:{listed(self.undated)}"
            )
        if self.one_t1w:
            lines.append(
                f"cohort.sessions: all: {people(len(self.one_t1w))} with several sessions and one T1w image for all of them, so "
                "that the rows would not be separate scans; preprocess each session's T1w image separately, or choose one "
                f"session:{listed(self.one_t1w)}"
            )
        return lines


def _row(
    index: Index, request: Request, person: str, session: str | None, position: int, cells: Cells
) -> tuple[Row, list[Row]]:
    """Return the row of a person (and session), and the origin of each of its cells."""
    every = request.sessions == "all"
    labels = {file.session for file, _ in cells.values()} - {""}
    subject = row_id(person, session) if every and session else person
    row = {"subject": subject, "session": "+".join(ordered(labels)), "person": person}
    if every:
        row |= {"family": f"sub-{person}", "template": "no" if position else ""}
    sources = []
    for column, (file, why) in cells.items():
        dataset = index.datasets[file.root]
        row[column] = f"{dataset.folder.rstrip('/')}/{file.path}"
        sources.append(
            {
                "subject": subject,
                "person": person,
                "session": file.session,
                "column": column,
                "dataset": dataset.name,
                "file": row[column],
                "why": why,
            }
        )
    return row, sources


def _check_columns(request: Request) -> None:
    """Refuse columns without the filter that they need, and filters of columns that nothing reads."""
    for column in request.columns:
        if column not in RULED and "suffix" not in request.filters.get(column, {}):
            raise UserError(
                f"cohort.filters.{column}: is missing; say which files the column '{column}' holds, "
                f"e.g. cohort.filters: {{{column}: {{suffix: {column.upper() if column == 'flair' else column}}}}}"
            )
    read = {*RULED, *request.columns, *request.spaces}
    for column in request.filters:
        if column not in read:
            raise UserError(
                f"cohort.filters.{column}: no modality reads a column of this name ({', '.join(sorted(read))}); correct or remove it"
            )


def _participants(index: Index, request: Request) -> list[str]:
    if request.participants is None:
        return index.subjects
    asked = {str(name).strip().removeprefix("sub-") for name in request.participants}
    absent = sorted(asked - set(index.subjects))
    if absent:
        names = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
        raise UserError(
            f"cohort.participants: no folder sub-... of {names} (ids are compared letter by letter: write '01' in quotes)"
        )
    return sorted(asked)


def _check_session(index: Index, request: Request) -> None:
    labels = {file.session for file in index.files if file.session}
    if request.session is not None and request.session not in labels:
        raise UserError(
            f"cohort.sessions: there is no ses-{request.session}; there are {', '.join(ordered(labels)[:12]) or 'no sessions'} "
            "(labels are compared letter by letter: write '01' in quotes)"
        )
