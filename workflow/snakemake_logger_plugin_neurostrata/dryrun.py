"""What a dry run would do: a line for each stage, with people and reasons."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from neurostrata.controller.progress import about, stage_words
from neurostrata.core.wording import count
from neurostrata.stages import STAGES, TARGETS

#: Snakemake's reason -> ours; what Snakemake lists after it is kept where ours ends with a colon.
_REASONS = {
    "Forced execution": "asked for by an option",
    "Missing output files": "results are missing",
    "Incomplete output files": "results are incomplete",
    "Updated input files": "newer:",
    "Input files updated by another job": "what it is made of is made again",
    "Set of input files has changed since last execution": "other input files",
    "Code has changed since last execution": "the code has changed",
    "Params have changed since last execution": "settings:",
    "Software environment definition has changed since last execution": "the software environment has changed",
}
_SPLIT = re.compile("; (?=" + "|".join(map(re.escape, _REASONS)) + ")")
#: Reasons that are given where there is no other: most stages follow from the first ones.
_FOLLOWS = "what it is made of is made again"
MOST_NAMES = 6
MOST_CHARACTERS = 110


def reasons_of(text: str) -> list[str]:
    """Return Snakemake's reasons of a job in plain words."""
    found = []
    for part in _SPLIT.split(text):
        reason, _, details = part.partition(": ")
        ours = _REASONS.get(reason)
        if ours is None:
            found.append(part)
        else:
            found.append(f"{ours} {details}" if ours.endswith(":") else ours)
    return found


@dataclass
class DryRun:
    """What would run.

    Attributes
    ----------
    jobs : dict
        Rule -> number of jobs.
    """

    jobs: Counter[str] = field(default_factory=Counter)
    _names: dict[str, dict[str, None]] = field(default_factory=dict)
    _people: dict[str, set[str]] = field(default_factory=dict)
    _reasons: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, rule: str, wildcards: Mapping[str, str], reason: str) -> None:
        """Take down a job that would run."""
        if rule in TARGETS:
            return
        self.jobs[rule] += 1
        person = wildcards.get("subject")
        if person is not None:
            self._people.setdefault(rule, set()).add(person)
            wildcards = {"subject": person}
        if name := about(wildcards):
            self._names.setdefault(rule, {})[name] = None
        self._reasons.setdefault(rule, Counter()).update(reasons_of(reason))

    def lines(self) -> list[str]:
        """Return what would run, for people."""
        order = {stage: place for place, stage in enumerate(STAGES)}
        rules = sorted((rule for rule in self.jobs if rule in order), key=order.__getitem__)
        others = [rule for rule in self.jobs if rule not in order]
        people = set().union(*self._people.values()) if self._people else set()
        whom = f" for {count(len(people), 'person', 'people')}" if people else ""
        lines = [f"{count(sum(self.jobs.values()), 'job')} would run{whom}:"]
        for rule in [*rules, *others]:
            lines.append(f"{self.jobs[rule]:>7}  {stage_words(rule)}{self._whom(rule)}")
            why = [reason for reason in self._reasons[rule] if reason != _FOLLOWS] or [_FOLLOWS]
            if why not in ([_FOLLOWS], ["results are missing"]):
                lines.append(f"{'':>9}because: {_cut('; '.join(why))}")
        return lines

    def _whom(self, rule: str) -> str:
        names = sorted(self._names.get(rule, {}))
        if not names:
            return ""
        if len(names) > MOST_NAMES:
            names = [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES} more"]
        return f": {_cut(', '.join(names))}" if rule in self._people else f": {_cut('; '.join(names))}"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."
