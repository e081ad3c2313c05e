"""Which quality decisions act, when several raters decide about the same people. Standard library only.

Of several decisions of one rater about the same person and modality, the last line of the sheet counts: a rater may change
their mind. Two raters disagree about a person and a modality when one says exclude and another says keep; an `unsure` agrees with both. Then nobody is excluded until the rater
:data:`CONSENSUS` decides, whose word counts for all others. `exclude_template` concerns the template alone and always acts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from neurostrata.cohort.sheet import Row

#: Name of the rater whose decisions stand for those of all others.
CONSENSUS = "consensus"


def rater_of(row: Row) -> str:
    """Return who decided; "" where the sheet does not say."""
    return row.get("rater", "")


def raters(rows: Iterable[Row]) -> list[str]:
    """Return the raters who are named, without the consensus."""
    named = dict.fromkeys(rater_of(row) for row in latest(rows))
    return [name for name in named if name and name.lower() != CONSENSUS]


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return what each rater says of each person and modality at last, of exclude, keep and unsure; repeated lines stay."""
    last: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["decision"] == "exclude_template":
            continue
        said = last.setdefault((row["subject"], row["modality"], rater_of(row)), [])
        if said and said[0]["decision"] != row["decision"]:
            said.clear()
        said.append(row)
    return [row for said in last.values() for row in said]


@dataclass(frozen=True)
class Disagreement:
    """One rater excludes what another keeps.

    Attributes
    ----------
    subject, modality
        What it is about; modality "" means all.
    excluding, keeping
        The raters.
    """

    subject: str
    modality: str
    excluding: tuple[str, ...]
    keeping: tuple[str, ...]

    def sentence(self) -> str:
        """Say who disagrees with whom, and what follows."""
        of = f", {self.modality}" if self.modality else ""
        who = " and ".join(name or "(no rater named)" for name in self.excluding)
        against = " and ".join(name or "(no rater named)" for name in self.keeping)
        return (
            f"subject {self.subject}{of}: {who}: exclude, {against}: keep; not excluded until a row with the rater "
            f"'{CONSENSUS}' decides"
        )


def _covers(row: Row, modality: str) -> bool:
    """Tell whether a decision is about a modality ("": the whole person)."""
    return row["modality"] in ("", modality)


def _about(row: Row) -> tuple[str, str]:
    return row["subject"], row["modality"]


def _settles(row: Row) -> bool:
    """Tell whether a decision is the consensus; an `unsure` settles nothing."""
    return rater_of(row).lower() == CONSENSUS and row["decision"] != "unsure"


def decide(rows: Iterable[Row]) -> tuple[list[Row], list[Disagreement]]:
    """Return the exclusions that act, and where raters disagree.

    Parameters
    ----------
    rows
        The sheet of quality decisions, in its order.
    """
    of_person: dict[str, list[Row]] = {}
    for row in latest(rows):
        of_person.setdefault(row["subject"], []).append(row)
    acting: list[Row] = []
    disputes: dict[tuple[str, str], Disagreement] = {}
    for subject, decided in of_person.items():
        settled = [row for row in decided if _settles(row)]
        for row in decided:
            if row["decision"] != "exclude":
                continue
            modality = row["modality"]
            if row not in settled and any(_covers(other, modality) for other in settled):
                continue  # the consensus is among the rows, and acts by itself if it excludes
            keeping = [
                rater_of(other)
                for other in decided
                if other["decision"] == "keep"
                and _covers(other, modality)
                and rater_of(other) != rater_of(row)
            ]
            if row in settled or not keeping:
                acting.append(row)
                continue
            excluding = [
                rater_of(other)
                for other in decided
                if other["decision"] == "exclude" and other["modality"] == modality
            ]
            disputes[subject, modality] = Disagreement(
                subject, modality, tuple(excluding), tuple(dict.fromkeys(keeping))
            )
    return acting, list(disputes.values())


def kept(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Return the persons and modalities ("": all) that somebody keeps and nobody excludes: nothing is suggested about them."""
    standing = latest(rows)
    settled = {_about(row) for row in standing if _settles(row)}
    heard = [row for row in standing if _settles(row) or _about(row) not in settled]
    excluded = {_about(row) for row in heard if row["decision"] == "exclude"}
    return {_about(row) for row in heard if row["decision"] == "keep"} - excluded
