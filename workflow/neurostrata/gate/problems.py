"""A problem of a study, and the table of all problems. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neurostrata.core.locations import program
from neurostrata.core.wording import count

#: Kind -> its heading, in the order in which problems are best solved: the later ones often follow from the earlier.
KINDS = {
    "configuration": "configuration",
    "sheets": "cohort sheet and quality decisions",
    "phenotypes": "phenotype tables",
    "study": "who takes part in what",
    "people": "people",
}
#: Lines of one kind that are shown.
MOST_LINES = 50


@dataclass(frozen=True)
class Problem:
    """Something that must be corrected before anything runs.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    text
        One line: what is wrong, where, and what to do.
    subject, column
        Of a problem of one person: the person, and the column of the cohort sheet.
    modality
        Of a problem that concerns only one modality: the modality.
    """

    kind: str
    text: str
    subject: str = ""
    column: str = ""
    modality: str = ""


def problem_table(problems: Iterable[Problem], most: int | None = MOST_LINES, where: str = "") -> str:
    """Return all problems as text, by kind, the ones to solve first on top.

    Parameters
    ----------
    most
        Lines shown of each kind; None shows all.
    where
        A file with all of them, named where some are not shown.
    """
    listed = list(dict.fromkeys(problems))
    total = count(len(listed), "problem")
    lines = [f"{total}, the ones to solve first on top:" if len(listed) > 1 else f"{total}:"]
    for kind, heading in KINDS.items():
        texts = [problem.text for problem in listed if problem.kind == kind]
        if not texts:
            continue
        shown = texts if most is None else texts[:most]
        lines.append(f"  {heading}:")
        lines += ["    " + text.replace("\n", "\n    ") for text in shown]
        if len(texts) > len(shown):
            lines.append(
                f"    ... and {len(texts) - len(shown)} more" + (f" (all: {where})" if where else "")
            )
    people = {problem.subject for problem in listed if problem.kind == "people" and problem.subject}
    if people:
        who = f"{len(people)} people" if len(people) > 1 else "one person"
        lines.append(f"  to exclude {who} and go on (rows of qc.tsv): {program()} check --exclude")
    return "\n".join(lines)


def few(names: Sequence[str], most: int = 5) -> str:
    """Return some names as text."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
