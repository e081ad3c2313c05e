"""Which files of a person may be the image of a column: preprocessed, in the right space. Standard library only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neurostrata.cohort.discovery.bids_filters import SUFFIXES, Filters
from neurostrata.cohort.discovery.bids_index import IMAGES, File, Index

#: Values of ``space-`` that mean the person's own space; every other one is a template's.
OWN_SPACES = ("T1w", "ACPC", "anat", "individual", "orig", "native", "scanner")
#: Columns with rules of their own; any other column of a filter is a further image and needs a suffix.
RULED = ("t1w", "t1w_mask", "dwi", "dwi_mask")


@dataclass
class Request:
    """What a study asks of its datasets (the section `cohort`, and what its modalities read)."""

    columns: list[str]
    #: Column -> space of its images, as the modality says: t1w, dwi, template or mni.
    spaces: Mapping[str, str]
    sessions: str | None = None
    runs: int | str | None = None
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    participants: Sequence[str] | None = None
    #: The user says that diffusion data whose names do not say so are preprocessed.
    dwi_preprocessed: bool = False
    #: `diffusion.space`: native, or T1w.
    dwi_space: str = "native"

    @property
    def session(self) -> str | None:
        """The label of the one session that is asked for, None for a rule (first, last, all) or nothing."""
        if self.sessions in (None, "first", "last", "all"):
            return None
        return str(self.sessions).removeprefix("ses-")


class Candidates:
    """The files that may be the image of a column, and counts of those that may not.

    Attributes
    ----------
    dropped
        Column -> reason -> number of files that were not taken.
    """

    def __init__(self, index: Index, request: Request, filters: Filters) -> None:
        self.index, self.request, self.filters = index, request, filters
        self.dropped: dict[str, Counter[str]] = defaultdict(Counter)

    def find(self, column: str, files: Iterable[File]) -> list[File]:
        """Return the files of one person that may be the image of a column, the best level of them.

        Preprocessed images go before raw ones; raw diffusion data and images in a template's space (unless asked for)
        never pass.
        """
        levels: dict[int, list[File]] = defaultdict(list)
        for file in files:
            if file.extension not in IMAGES or not self.filters.passes(file, column):
                continue
            suffix = SUFFIXES.get(column)
            if suffix and not self.filters.names(column, "suffix") and file.suffix != suffix:
                continue
            if file.datatype != {"t1w_mask": "anat", "dwi_mask": "dwi"}.get(column, file.datatype):
                continue
            reason, level = self._judge(column, file)
            if reason:
                self.dropped[column][reason] += 1
            else:
                levels[level].append(file)
        session = None if self.filters.names(column, "session") else self.request.session
        if session is not None:
            levels = {k: [f for f in v if f.session in ("", session)] for k, v in levels.items()}
            levels = {k: v for k, v in levels.items() if v}
        return levels[min(levels)] if levels else []

    def _judge(self, column: str, file: File) -> tuple[str, int]:
        """Return why a file is not taken for a column ("" if it may be), and its level (0 goes first)."""
        space, desc = file.entities.get("space"), file.entities.get("desc")
        expected = "t1w" if column in RULED else self.request.spaces.get(column)
        if not self.filters.names(column, "space"):
            if expected in ("t1w", "dwi") and space not in (None, *OWN_SPACES):
                return f"in a template's space (space-{space})", 0
            if expected == "mni" and not (space or "").startswith("MNI152"):
                return f"not in MNI152 space ({f'space-{space}' if space else 'no space- in the name'})", 0
        if (
            column in ("t1w", "dwi")
            and not self.filters.names(column, "desc")
            and desc not in (None, "preproc")
        ):
            return f"of another kind (desc-{desc})", 0
        if column == "dwi" and desc is None and not self.request.dwi_preprocessed:
            return "raw", 0
        unknown = expected == "t1w" and column not in RULED and space is None
        if unknown and self.index.datasets[file.root].raw and not self.filters.names(column, "space"):
            return "not known to be in the T1w image's space (raw, no space- in the name)", 0
        return "", 0 if desc is not None else 1

    def narrowed(self, column: str, files: list[File], session: str | None) -> list[File]:
        """Return the candidates of a session and of the run that is asked for."""
        if session is not None and not self.filters.names(column, "session"):
            files = [file for file in files if file.session in ("", session)]
        runs = self.request.runs
        if runs is not None and not self.filters.names(column, "run"):
            numbers = sorted({int(n) for f in files if (n := f.entities.get("run", "")).isdecimal()})
            if numbers:
                number = numbers[0] if runs == "first" else numbers[-1] if runs == "last" else int(runs)
                files = [f for f in files if f.entities.get("run") in (None, str(number))]
        return files

    def sessions(self, candidates: Mapping[str, list[File]]) -> set[str]:
        """Return the sessions to choose from: those of T1w images, or else of diffusion data, or of anything."""
        for column, files in candidates.items():  # t1w comes first
            if not self.filters.names(column, "session"):
                labels = {file.session for file in files} - {""}
                if labels:
                    return labels
        return set()
