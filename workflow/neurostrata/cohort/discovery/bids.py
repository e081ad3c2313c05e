"""Choosing each person's images from the index of BIDS datasets, by stated rules only.

A cell gets an image when exactly one candidate is left; more than one is an error that names them and the
filter that would choose. Standard library only.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neurostrata.cohort.discovery.bids_index import IMAGES, NUMBERED, File, Index
from neurostrata.cohort.discovery.sessions import chosen_session, natural_order, row_id
from neurostrata.cohort.sheet import Row
from neurostrata.core.errors import UserError

#: Long names of entities, as in the filter files of fMRIPrep -> their keys in file names.
ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "ceagent": "ce",
    "tracer": "trc",
    "reconstruction": "rec",
    "direction": "dir",
    "modality": "mod",
    "inversion": "inv",
    "mtransfer": "mt",
    "processing": "proc",
    "hemisphere": "hemi",
    "resolution": "res",
    "density": "den",
    "segmentation": "seg",
    "description": "desc",
    "sample": "sample",
}
_LONG = {short: long for long, short in ENTITIES.items()}
#: Further keys that a filter may name without any file having them.
_KNOWN = {
    *(
        "task",
        "run",
        "echo",
        "flip",
        "part",
        "space",
        "split",
        "recording",
        "chunk",
        "atlas",
        "label",
        "desc",
    ),
    *("model", "param", "mdp", "stat", "from", "to", "mode", "cohort", "nuc", "voi", "stain", "scale", "tpl"),
}
#: Keys of a filter that are no entities. `dataset` is a root's folder name or its pipeline's name.
_PROPERTIES = ("session", "datatype", "suffix", "extension", "dataset")
#: Values of ``space-`` that mean the person's own space; every other one is a template's.
OWN_SPACES = ("T1w", "ACPC", "anat", "individual", "orig", "native", "scanner")
#: Columns with rules of their own; any other column of a filter is a further image and needs a suffix.
RULED = ("t1w", "t1w_mask", "dwi", "dwi_mask")
_SHOWN = 3


@dataclass
class Wanted:
    """What a study wants to know of its datasets (the section `cohort`, and what its modalities read)."""

    columns: list[str]
    #: Column -> where its images are, as the modality says: t1w, dwi, template or mni.
    spaces: Mapping[str, str]
    sessions: str | None = None
    runs: int | str | None = None
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    participants: Sequence[str] | None = None
    #: The user says that diffusion data whose names do not say so are preprocessed.
    dwi_preprocessed: bool = False
    #: `diffusion.space`: native, or T1w.
    dwi_space: str = "native"


@dataclass
class Found:
    """Rows for the study, the origin of every cell, and remarks in numbers."""

    rows: list[Row]
    sources: list[Row]
    notices: list[str]


def _same(key: str, wanted: Any, value: str) -> bool:
    text = str(wanted).strip()
    if key in NUMBERED and text.isdecimal():
        text = str(int(text))
    if key == "extension":
        return text.lstrip(".") == value.lstrip(".")
    return text == value


class _Chooser:
    def __init__(self, index: Index, wanted: Wanted) -> None:
        self.index, self.wanted = index, wanted
        self.filters = {column: self._keys(column, given) for column, given in wanted.filters.items()}
        self.dropped: dict[str, Counter[str]] = defaultdict(Counter)
        self.several: dict[str, list[tuple[str, list[File]]]] = defaultdict(list)
        self.problems: dict[str, list[str]] = defaultdict(list)

    # ------------------------------------------------------------------ filters

    def _keys(self, column: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a filter with short keys; unknown ones are refused with a suggestion."""
        seen = {key for file in self.index.files for key in file.entities}
        allowed = {*ENTITIES, *_LONG, *_KNOWN, *_PROPERTIES, *seen}
        keys = {}
        for key, value in given.items():
            if key not in allowed:
                close = difflib.get_close_matches(str(key), sorted(allowed), n=1, cutoff=0.6)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise UserError(f"cohort.filters.{column}: '{key}' is no BIDS entity{hint}")
            if key in ("subject", "sub"):
                raise UserError(
                    f"cohort.filters.{column}: people are chosen by cohort.participants, not by 'subject'"
                )
            keys["session" if key in ("session", "ses") else ENTITIES.get(key, key)] = value
        return keys

    def _value(self, file: File, key: str) -> str | None:
        if key == "session":
            return file.session or None
        if key in ("datatype", "suffix", "extension"):
            return getattr(file, key) or None
        return file.entities.get(key)

    def passes(self, file: File, column: str) -> bool:
        """Tell whether a file passes the filter of a column."""
        for key, wanted in self.filters.get(column, {}).items():
            for_any = wanted if isinstance(wanted, list) else [wanted]
            if key == "dataset":
                dataset = self.index.datasets[file.root]
                names = {dataset.name.lower(), dataset.pipeline.lower(), dataset.folder.rstrip("/").lower()}
                if not any(str(one).rstrip("/").lower() in names for one in for_any):
                    return False
                continue
            value = self._value(file, key)
            for one in for_any:
                if one is None or one == "Query.NONE":
                    accepted = value is None
                elif one in ("Query.ANY", "*"):
                    accepted = value is not None
                elif one == "Query.OPTIONAL":
                    accepted = True
                else:
                    accepted = value is not None and _same(key, one, value)
                if accepted:
                    break
            else:
                return False
        return True

    def _asks(self, column: str, key: str) -> bool:
        return key in self.filters.get(column, {})

    # --------------------------------------------------------------- candidates

    def candidates(self, column: str, files: Iterable[File]) -> list[File]:
        """Return the files of one person that may be the image of a column, the best level of them.

        Preprocessed images go before raw ones; raw diffusion data and images in a template's space (unless asked for)
        never pass.
        """
        levels: dict[int, list[File]] = defaultdict(list)
        suffix = {"t1w": "T1w", "dwi": "dwi", "t1w_mask": "mask", "dwi_mask": "mask"}.get(column)
        for file in files:
            if file.extension not in IMAGES or not self.passes(file, column):
                continue
            if suffix and not self._asks(column, "suffix") and file.suffix != suffix:
                continue
            if column == "t1w_mask" and file.datatype != "anat":
                continue
            if column == "dwi_mask" and file.datatype != "dwi":
                continue
            reason, level = self._judge(column, file)
            if reason:
                self.dropped[column][reason] += 1
            else:
                levels[level].append(file)
        named = self._named_session(column)
        if named is not None:
            levels = {k: [f for f in v if f.session in ("", named)] for k, v in levels.items()}
            levels = {k: v for k, v in levels.items() if v}
        return levels[min(levels)] if levels else []

    def _named_session(self, column: str) -> str | None:
        sessions = self.wanted.sessions
        if sessions in (None, "first", "last", "all") or self._asks(column, "session"):
            return None
        return str(sessions).removeprefix("ses-")

    def _judge(self, column: str, file: File) -> tuple[str, int]:
        """Return why a file is not taken for a column ("" if it may be), and its level (0 goes first)."""
        space, desc = file.entities.get("space"), file.entities.get("desc")
        raw = self.index.datasets[file.root].raw
        place = "t1w" if column in RULED else self.wanted.spaces.get(column)
        asked = self._asks(column, "space")
        if place in ("t1w", "dwi") and space not in (None, *OWN_SPACES) and not asked:
            return f"in a template's space (space-{space})", 0
        if place == "mni" and not (space or "").startswith("MNI152") and not asked:
            return f"not in MNI152 space ({f'space-{space}' if space else 'no space- in the name'})", 0
        if column in ("t1w", "dwi") and not self._asks(column, "desc") and desc not in (None, "preproc"):
            return f"of another kind (desc-{desc})", 0
        if column == "dwi" and desc is None and not self.wanted.dwi_preprocessed:
            return "raw", 0
        if place == "t1w" and column not in RULED and space is None and raw and not asked:
            return "not known to be in the T1w image's space (raw, no space- in the name)", 0
        return "", 0 if desc is not None else 1

    def narrowed(self, column: str, files: list[File], session: str | None) -> list[File]:
        """Return those of a session and of the run that is asked for."""
        if session is not None and not self._asks(column, "session"):
            files = [file for file in files if file.session in ("", session)]
        runs = self.wanted.runs
        if runs is not None and not self._asks(column, "run"):
            numbers = sorted({int(n) for f in files if (n := f.entities.get("run", "")).isdecimal()})
            if numbers:
                number = numbers[0] if runs == "first" else numbers[-1] if runs == "last" else int(runs)
                files = [f for f in files if f.entities.get("run") in (None, str(number))]
        return files

    # -------------------------------------------------------------- one person

    def cell(self, person: str, column: str, files: list[File]) -> File | None:
        """Return the one file that is left; note a problem when there are several."""
        if len(files) > 1:
            self.several[column].append((person, files))
            return None
        return files[0] if files else None

    def row(
        self, person: str, session: str | None, every: Mapping[str, list[File]], mine: Sequence[File]
    ) -> dict[str, tuple[File, str]]:
        """Return column -> (file, why) of one person, of one session when it is given."""
        cells: dict[str, tuple[File, str]] = {}
        left = {column: self.narrowed(column, files, session) for column, files in every.items()}
        dwi = self.cell(person, "dwi", left["dwi"]) if "dwi" in left else None
        if dwi is not None:
            self._diffusion(person, dwi, mine, cells)
        beside = self._frame_of(person, left.get("dwi", []), left["t1w"])
        image = self.cell(person, "t1w", beside)
        if image is not None:
            cells["t1w"] = (image, self._why("t1w", image, len(beside) < len(left["t1w"])))
            if "t1w_mask" not in self.filters:
                mask = self._mask_of(person, "t1w_mask", image, mine)
                if mask is not None:
                    cells["t1w_mask"] = (mask, "beside the T1w image, of the same name")
        for column in (c for c in every if c not in ("t1w", "dwi")):
            file = self.cell(person, column, left[column])
            if file is None:
                continue
            acpc = file.entities.get("space") == "ACPC" and self.wanted.spaces.get(column) == "t1w"
            if acpc and image is not None and image.entities.get("space") != "ACPC":
                self.problems["frame"].append(f"{person}: {column} {file.name}, t1w {image.name}")
                continue
            cells[column] = (file, self._why(column, file, False))
        return cells

    def _why(self, column: str, file: File, with_dwi: bool) -> str:
        dataset = self.index.datasets[file.root]
        words = [f"from {dataset.name}"]
        if file.entities.get("desc") == "preproc":
            words.append("preprocessed")
        elif column == "dwi" or (column == "t1w" and file.entities.get("desc") is None):
            words.append("as the configuration says, preprocessed" if column == "dwi" else "not preprocessed")
        if column in self.filters:
            words.append(f"by cohort.filters.{column}")
        if with_dwi:
            words.append("of the dataset that the dwi comes from")
        if file.session and self.wanted.sessions is not None and not self._asks(column, "session"):
            words.append(f"by cohort.sessions: {self.wanted.sessions}")
        if file.entities.get("run") and self.wanted.runs is not None and not self._asks(column, "run"):
            words.append(f"by cohort.runs: {self.wanted.runs}")
        return ", ".join(words)

    def _frame_of(self, person: str, dwi: list[File], files: list[File]) -> list[File]:
        """Return the T1w images that dwi images in the person's space are aligned with: those of their dataset."""
        roots = {file.root for file in dwi if file.entities.get("space") in OWN_SPACES}
        if not roots or not files:
            return files
        beside = [file for file in files if file.root in roots]
        if not beside and self.wanted.dwi_space == "T1w":
            self.problems["aligned"].append(f"{person}: dwi {dwi[0].name}, t1w {files[0].name}")
            return []
        return beside or files

    def _diffusion(
        self, person: str, dwi: File, mine: Sequence[File], cells: dict[str, tuple[File, str]]
    ) -> None:
        if (
            self.wanted.dwi_space == "T1w"
            and dwi.entities.get("space") not in OWN_SPACES
            and not self.wanted.dwi_preprocessed
        ):
            self.problems["native"].append(f"{person}: {dwi.name}")
            return
        cells["dwi"] = (dwi, self._why("dwi", dwi, False))
        for column in ("bval", "bvec"):
            file = self._inherited(person, dwi, "." + column, mine)
            if file is not None:
                level = "beside the dwi" if file.folder == dwi.folder else "inherited"
                cells[column] = (file, level)
        if "dwi_mask" not in self.filters:
            mask = self._mask_of(person, "dwi_mask", dwi, mine)
            if mask is not None:
                cells["dwi_mask"] = (mask, "beside the dwi, of the same name")

    def _inherited(self, person: str, image: File, extension: str, mine: Sequence[File]) -> File | None:
        """Return the gradient file that applies to an image by BIDS's inheritance principle: the nearest."""
        folder: str | None = image.folder
        while folder is not None:
            here = [
                file
                for file in mine
                if file.root == image.root
                and file.folder == folder
                and file.extension == extension
                and file.suffix == image.suffix
                and file.session in ("", image.session)
                and all(image.entities.get(key) == value for key, value in file.entities.items())
            ]
            if len(here) > 1:
                most = max(len(file.entities) for file in here)
                best = [file for file in here if len(file.entities) == most]
                if len(best) > 1:
                    self.several[extension[1:]].append((person, best))
                    return None
                return best[0]
            if here:
                return here[0]
            folder = folder.rpartition("/")[0] if folder else None
        return None

    def _mask_of(self, person: str, column: str, image: File, mine: Sequence[File]) -> File | None:
        """Return the brain mask beside an image: same dataset, folder and entities."""
        rest = {key: value for key, value in image.entities.items() if key != "desc"}
        found = [
            file
            for file in mine
            if file.root == image.root
            and file.folder == image.folder
            and file.suffix == "mask"
            and file.extension in IMAGES
            and file.session == image.session
            and {**file.entities, "desc": ""} == {**rest, "desc": ""}
            and file.entities.get("desc") == "brain"
        ]
        return self.cell(person, column, found)

    # ----------------------------------------------------------------- messages

    def complaints(self) -> Iterator[str]:
        """Yield a line for each kind of problem: how many people, the first few, and what to set."""
        for column, cases in self.several.items():
            yield self._ambiguity(column, cases)
        ways = {
            "aligned": (
                "have diffusion data in the space of their own dataset's T1w image, and the T1w image of another dataset: "
                "set diffusion.space: native (they are then aligned), or name the dataset with the T1w images in cohort.bids"
            ),
            "native": (
                "have diffusion data in their native space (no space-T1w or space-ACPC in the name), and diffusion.space "
                "is T1w: set diffusion.space: native"
            ),
            "frame": (
                "have an image in ACPC space for a modality with space: t1w, and a T1w image that is not: choose the T1w "
                "image of the same pipeline with cohort.filters.t1w: {dataset: ...}"
            ),
        }
        for kind, who in self.problems.items():
            yield f"cohort.bids: {_people(len(who))} {ways[kind]}:{_listed(who)}"

    def _ambiguity(self, column: str, cases: list[tuple[str, list[File]]]) -> str:
        differing: dict[str, set[str]] = defaultdict(set)
        for _, files in cases:
            for key in ("dataset", "session", *dict.fromkeys(k for f in files for k in f.entities)):
                values = {
                    self.index.datasets[f.root].name if key == "dataset" else self._value(f, key) or "null"
                    for f in files
                }
                if len(values) > 1:
                    differing[_LONG.get(key, key)] |= values
        kinds = {file.extension for _, files in cases for file in files}
        if not differing and len(kinds) > 1:
            differing["extension"] |= kinds
        advice, named = [], ""
        ruled = column not in ("bval", "bvec")
        if "session" in differing and self.wanted.sessions is None:
            held = Counter(s for s, _ in {(f.session, f.subject) for f in self.index.files if f.session})
            offered = _labels(differing["session"] - {"null"})
            named = max(offered, key=lambda label: held[label])  # the one that most people have
            advice.append(f"cohort.sessions: {named} (or first, last, all)")
        elif "run" in differing and self.wanted.runs is None:
            advice.append(
                f"cohort.runs: {next(iter(_labels(differing['run'] - {'null'})), '1')} (or first, last)"
            )
        for key, values in differing.items():
            if ruled:
                value = named if key == "session" and named else _labels(values)[0]
                advice.append(f"cohort.filters: {{{column}: {{{key}: {value}}}}}")
        differ = "; ".join(f"{key}: {', '.join(_labels(values)[:8])}" for key, values in differing.items())
        shown = [f"{person}: {', '.join(f.path for f in files[:4])}" for person, files in cases]
        remedy = f"choose with {' or '.join(advice[:4])}" if advice else "keep one of them"
        have = "has" if len(cases) == 1 else "have"
        return (
            f"cohort.bids: {_people(len(cases))} {have} more than one file for {column}, and nothing says which. "
            f"They differ in {differ or 'their folders'}; {remedy}:{_listed(shown)}"
        )

    def unmatched_filters(self) -> Iterator[str]:
        """Yield a line for each filter that no file passes."""
        for column in self.wanted.columns:
            if column not in self.filters or any(
                self.passes(f, column) for f in self.index.files if f.extension in IMAGES
            ):
                continue
            there = []
            suffix = self.filters[column].get("suffix", {"t1w": "T1w", "dwi": "dwi"}.get(column, "mask"))
            alike = [f for f in self.index.files if f.extension in IMAGES and f.suffix == suffix]
            for key in self.filters[column]:
                if key == "dataset":
                    values = {d.name for d in self.index.datasets} | {d.pipeline for d in self.index.datasets}
                else:
                    pool = self.index.files if key == "suffix" else alike
                    values = {self._value(f, key) or "null" for f in pool if f.extension in IMAGES}
                there.append(f"{_LONG.get(key, key)}: {', '.join(_labels(values - {''})[:12]) or 'none'}")
            yield f"cohort.filters.{column}: no file passes; there are {'; '.join(there)}"


def _labels(values: Iterable[str]) -> list[str]:
    return sorted(values, key=natural_order)


def _people(count: int) -> str:
    return f"{count} person" if count == 1 else f"{count} people"


def _listed(cases: Sequence[str]) -> str:
    more = [f"... and {len(cases) - _SHOWN} more"] if len(cases) > _SHOWN else []
    return "".join(f"\n  {line}" for line in [*cases[:_SHOWN], *more])


def choose(
    index: Index, wanted: Wanted, times: Callable[[str], Mapping[str, str]] = lambda person: {}
) -> Found:
    """Choose every person's images.

    Parameters
    ----------
    index
        What is there.
    wanted
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
    UserError
        Every person with more than one candidate, filters that nothing passes, raw diffusion data and images
        in spaces that do not fit, grouped, all at once.
    """
    for column in wanted.columns:
        if column not in RULED and "suffix" not in wanted.filters.get(column, {}):
            raise UserError(
                f"cohort.filters.{column}: is missing; say which files the column '{column}' holds, "
                f"e.g. cohort.filters: {{{column}: {{suffix: {column.upper() if column == 'flair' else column}}}}}"
            )
    read = {*RULED, *wanted.columns, *wanted.spaces}
    for column in wanted.filters:
        if column not in read:
            raise UserError(
                f"cohort.filters.{column}: no modality reads a column of this name ({', '.join(sorted(read))}); correct or remove it"
            )
    chooser = _Chooser(index, wanted)
    problems = list(chooser.unmatched_filters())
    by_person: dict[str, list[File]] = defaultdict(list)
    shared: list[File] = []
    for file in index.files:
        (by_person[file.subject] if file.subject else shared).append(file)
    people = _participants(index, wanted)
    _known_session(index, wanted)
    columns = [c for c in wanted.columns if c in ("t1w", "dwi") or c not in RULED or c in wanted.filters]
    found = Found([], [], [])
    nothing, other_session = [], 0
    undated: list[str] = []
    for person in people:
        mine = by_person.get(person, [])
        every = {column: chooser.candidates(column, mine) for column in dict.fromkeys(["t1w", *columns])}
        labels = _sessions_of(every, chooser)
        sessions: list[str | None] = [None]
        if wanted.sessions in ("first", "last") and labels:
            session = chosen_session(labels, wanted.sessions, times(person))
            if session is None:
                undated.append(f"{person}: {', '.join(_labels(labels))}")
                continue
            sessions = [session]
        elif wanted.sessions == "all" and labels:
            sessions = list(_labels(labels))
            if len(labels) > 1 and every["t1w"] and not any(file.session for file in every["t1w"]):
                chooser.problems["shared"].append(f"{person}: {every['t1w'][0].path}")
                continue
        for position, session in enumerate(sessions):
            cells = chooser.row(person, session, every, [*mine, *shared])
            if not cells:
                nothing.append(person)
                continue
            kept = {file.session for file, _ in cells.values()} - {""}
            other_session += len(kept) > 1
            subject = row_id(person, session) if wanted.sessions == "all" and session else person
            row = {"subject": subject, "session": "+".join(_labels(kept)), "person": person}
            if wanted.sessions == "all":
                row["family"] = f"sub-{person}"
                row["template"] = "no" if position else ""
            for column, (file, why) in cells.items():
                row[column] = f"{index.datasets[file.root].folder.rstrip('/')}/{file.path}"
                found.sources.append(
                    {
                        "subject": subject,
                        "person": person,
                        "session": file.session,
                        "column": column,
                        "dataset": index.datasets[file.root].name,
                        "file": row[column],
                        "why": why,
                    }
                )
            found.rows.append(row)
    if undated:
        problems.append(
            f"cohort.sessions: {wanted.sessions}: the order of the sessions of {_people(len(undated))} is not known (labels that "
            f"are no numbers, and no acq_time in sessions.tsv); name the session, e.g. cohort.sessions: "
            f"{undated[0].split(': ')[1].split(',')[0]}:{_listed(undated)}"
        )
    shared_t1w = chooser.problems.pop("shared", [])
    if shared_t1w:
        problems.append(
            f"cohort.sessions: all: {_people(len(shared_t1w))} with several sessions and one T1w image for all of them, so the "
            "rows would not be scans of their own; preprocess each session's T1w image by itself, or choose one session:"
            f"{_listed(shared_t1w)}"
        )
    problems += chooser.complaints()
    problems += _twice(found.rows)
    problems += _raw_diffusion(chooser, found, wanted)
    if not problems and not any(row.get("t1w") for row in found.rows):
        problems.append(_no_t1w(chooser, index))
    if problems:
        raise UserError("\n".join(problems))
    found.rows.sort(key=lambda row: row["subject"])
    found.notices += _remarks(chooser, index, wanted, found, nothing, other_session)
    return found


def _participants(index: Index, wanted: Wanted) -> list[str]:
    if wanted.participants is None:
        return index.subjects
    asked = [str(name).strip().removeprefix("sub-") for name in wanted.participants]
    absent = sorted(set(asked) - set(index.subjects))
    if absent:
        names = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
        raise UserError(
            f"cohort.participants: no folder sub-... of {names} (ids are compared letter by letter)"
        )
    return sorted(set(asked))


def _known_session(index: Index, wanted: Wanted) -> None:
    if wanted.sessions in (None, "first", "last", "all"):
        return
    name = str(wanted.sessions).removeprefix("ses-")
    there = {file.session for file in index.files if file.session}
    if name not in there:
        raise UserError(
            f"cohort.sessions: there is no ses-{name}; there are {', '.join(_labels(there)[:12]) or 'no sessions'} "
            "(labels are compared letter by letter: write '01' in quotes)"
        )


def _sessions_of(every: Mapping[str, list[File]], chooser: _Chooser) -> set[str]:
    """Return the sessions to choose from: those of T1w images, or else of diffusion data, or of anything."""
    for column in every:  # t1w stands first
        if not chooser._asks(column, "session"):
            labels = {file.session for file in every[column]} - {""}
            if labels:
                return labels
    return set()


def _twice(rows: Sequence[Row]) -> list[str]:
    counts = Counter(row["subject"] for row in rows)
    return [
        f"cohort.sessions: all: the id {subject} stands for two rows; rename a session, or choose one"
        for subject, count in counts.items()
        if count > 1
    ]


def _raw_diffusion(chooser: _Chooser, found: Found, wanted: Wanted) -> list[str]:
    raw = chooser.dropped["dwi"]["raw"]
    if chooser.several.get("dwi") or chooser.problems.get("native"):
        return []
    if "dwi" not in wanted.columns or not raw or any("dwi" in row for row in found.rows):
        return []
    return [
        f"cohort.bids: the diffusion data ({raw} files) are raw: no desc-preproc in their names. Maps of raw data are distorted and "
        "not corrected for motion: preprocess them (QSIPrep) and name its output in cohort.bids as well; or, if they were "
        "preprocessed without saying so in their names, set cohort.dwi_preprocessed: true"
    ]


def _no_t1w(chooser: _Chooser, index: Index) -> str:
    roots = ", ".join(dataset.folder for dataset in index.datasets)
    reasons = "; ".join(f"{count} files {reason}" for reason, count in chooser.dropped["t1w"].items())
    way = "; cohort.filters.t1w takes those of another kind, e.g. {desc: ...}" if reasons else ""
    return (
        f"cohort.bids: nobody has a T1w image in {roots}{f' (not taken: {reasons})' if reasons else ''}{way}"
    )


def _remarks(
    chooser: _Chooser, index: Index, wanted: Wanted, found: Found, nothing: list[str], other_session: int
) -> Iterator[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for source in found.sources:
        kind = ", not preprocessed" if "not preprocessed" in source["why"].split(", ") else ""
        counts[source["column"]][source["dataset"] + kind] += 1
    shown = [*(c for c in RULED if c in wanted.columns), *(c for c in wanted.columns if c not in RULED)]
    parts = [
        f"{column} {sum(counts[column].values())}"
        + (f" ({', '.join(f'{n} from {d}' for d, n in counts[column].items())})" if counts[column] else "")
        for column in shown
    ]
    people = len({row["person"] for row in found.rows})
    rows = f" in {len(found.rows)} rows" if len(found.rows) != people else ""
    chosen = f", cohort.sessions: {wanted.sessions}" if wanted.sessions is not None else ""
    yield f"{_people(people)}{rows}{chosen}: {', '.join(parts)}"
    if nothing:
        yield f"{_people(len(nothing))} without any image: {', '.join(nothing[:5])}{', ...' if len(nothing) > 5 else ''}"
    if other_session:
        yield f"{_people(other_session)} with images of different sessions"
    for column in shown:
        for reason, count in chooser.dropped[column].items():
            yield f"{count} {column} files not taken: {reason}"
    if index.strange:
        yield f"folders that are no BIDS subjects (letters and digits), not read: {', '.join(index.strange[:3])}"
