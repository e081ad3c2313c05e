"""A problem of a study, and many of them as one table. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neurostrata.core.locations import LIBRARY

#: Kind -> its heading, in the order in which problems are mended: the later ones often follow from the earlier.
KINDS = {
    "configuration": "configuration",
    "sheets": "cohort sheet and quality decisions",
    "phenotypes": "phenotype tables",
    "study": "who takes part in what",
    "people": "people",
}
#: So many lines of one kind are shown.
MOST_LINES = 50


@dataclass(frozen=True)
class Problem:
    """Something that must be mended before anything runs.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    text
        One line: what is wrong, where, and what to do.
    subject, column
        Of a problem of one person: who, and the column of the cohort sheet.
    modality
        Of a problem that concerns one modality alone: which.
    """

    kind: str
    text: str
    subject: str = ""
    column: str = ""
    modality: str = ""


def problem_table(problems: Iterable[Problem], most: int | None = MOST_LINES, where: str = "") -> str:
    """Return all problems as text, by kind, what to mend first on top.

    Parameters
    ----------
    most
        Lines shown of each kind; None shows all.
    where
        A file that has all of them.
    """
    listed = list(dict.fromkeys(problems))
    count = f"{len(listed)} problem" + ("s" if len(listed) > 1 else "")
    lines = [f"{count}, what to mend first on top:" if len(listed) > 1 else f"{count}:"]
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
        program = LIBRARY / "neurostrata"
        lines.append(f"  to leave {who} out and go on (rows of qc.tsv): python {program} check --exclude")
    return "\n".join(lines)


def few(names: Sequence[str], most: int = 5) -> str:
    """Return some names as text."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
