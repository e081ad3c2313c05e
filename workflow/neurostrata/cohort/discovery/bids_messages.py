"""What is said when images of BIDS datasets cannot be chosen, and what was found in numbers. Standard library only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from neurostrata.cohort.discovery.bids_candidates import RULED, Candidates, Request
from neurostrata.cohort.discovery.bids_filters import LONG_NAMES, value_of
from neurostrata.cohort.discovery.bids_index import File, Index
from neurostrata.cohort.discovery.bids_person import PersonRows
from neurostrata.cohort.discovery.messages import listed, ordered, people
from neurostrata.cohort.sheet import Row


def ambiguity(index: Index, request: Request, column: str, cases: list[tuple[str, list[File]]]) -> str:
    """Return a line on people with several files for a column: how the files differ, and what would choose."""
    differing = differences(index, cases)
    advice, label = [], ""
    if "session" in differing and request.sessions is None:
        held = Counter(s for s, _ in {(f.session, f.subject) for f in index.files if f.session})
        offered = ordered(differing["session"] - {"null"})
        label = max(offered, key=lambda session: held[session])  # the one that most people have
        advice.append(f"cohort.sessions: {label} (or first, last, all)")
    elif "run" in differing and request.runs is None:
        run = next(iter(ordered(differing["run"] - {"null"})), "1")
        advice.append(f"cohort.runs: {run} (or first, last)")
    if column not in ("bval", "bvec"):
        for key, values in differing.items():
            value = label if key == "session" and label else ordered(values)[0]
            advice.append(f"cohort.filters: {{{column}: {{{key}: {value}}}}}")
    differ = "; ".join(f"{key}: {', '.join(ordered(values)[:8])}" for key, values in differing.items())
    shown = [f"{person}: {', '.join(f.path for f in files[:4])}" for person, files in cases]
    remedy = f"choose with {' or '.join(advice[:4])}" if advice else "keep one of them"
    have = "has" if len(cases) == 1 else "have"
    return (
        f"cohort.bids: {people(len(cases))} {have} more than one file for {column}, and nothing says which to take. "
        f"They differ in {differ or 'their folders'}; {remedy}:{listed(shown)}"
    )


def differences(index: Index, cases: list[tuple[str, list[File]]]) -> dict[str, set[str]]:
    """Return entity -> its values, for those in which the files of some person differ ("null" for none)."""
    differing: dict[str, set[str]] = defaultdict(set)
    for _, files in cases:
        for key in ("dataset", "session", *dict.fromkeys(k for f in files for k in f.entities)):
            values = {
                index.datasets[f.root].name if key == "dataset" else value_of(f, key) or "null" for f in files
            }
            if len(values) > 1:
                differing[LONG_NAMES.get(key, key)] |= values
    extensions = {file.extension for _, files in cases for file in files}
    if not differing and len(extensions) > 1:
        differing["extension"] |= extensions
    return differing


def repeated_ids(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each id that two rows have."""
    for subject, count in Counter(row["subject"] for row in rows).items():
        if count > 1:
            yield f"cohort.sessions: all: two rows have the id {subject}; rename a session, or choose one"


def raw_diffusion(
    candidates: Candidates, person_rows: PersonRows, request: Request, rows: Sequence[Row]
) -> Iterator[str]:
    """Yield a line when all diffusion data are raw."""
    raw = candidates.dropped["dwi"]["raw"]
    if person_rows.several.get("dwi") or person_rows.misfits.get("native"):
        return
    if "dwi" in request.columns and raw and not any("dwi" in row for row in rows):
        yield (
            f"cohort.bids: the diffusion data ({raw} files) are raw: no desc-preproc in their names. Maps of raw data are "
            "distorted and not corrected for motion: preprocess them (QSIPrep) and name its output in cohort.bids as well; or, "
            "if they were preprocessed without saying so in their names, set cohort.dwi_preprocessed: true"
        )


def no_t1w(candidates: Candidates, index: Index) -> str:
    """Return a line on a study in which nobody has a T1w image."""
    roots = ", ".join(dataset.folder for dataset in index.datasets)
    reasons = "; ".join(f"{count} files {reason}" for reason, count in candidates.dropped["t1w"].items())
    remedy = "; cohort.filters.t1w takes those of another kind, e.g. {desc: ...}" if reasons else ""
    taken = f" (not taken: {reasons})" if reasons else ""
    return f"cohort.bids: nobody has a T1w image in {roots}{taken}{remedy}"


def notices(
    candidates: Candidates,
    index: Index,
    request: Request,
    rows: Sequence[Row],
    sources: Sequence[Row],
    without: list[str],
) -> Iterator[str]:
    """Yield what was found, in numbers.

    Parameters
    ----------
    sources
        The origin of every cell.
    without
        People without any image.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for source in sources:
        kind = ", not preprocessed" if "not preprocessed" in source["why"].split(", ") else ""
        counts[source["column"]][source["dataset"] + kind] += 1
    columns = [*(c for c in RULED if c in request.columns), *(c for c in request.columns if c not in RULED)]
    parts = [
        f"{column} {sum(counts[column].values())}"
        + (f" ({', '.join(f'{n} from {d}' for d, n in counts[column].items())})" if counts[column] else "")
        for column in columns
    ]
    persons = len({row["person"] for row in rows})
    of_rows = f" in {len(rows)} rows" if len(rows) != persons else ""
    chosen = f", cohort.sessions: {request.sessions}" if request.sessions is not None else ""
    yield f"{people(persons)}{of_rows}{chosen}: {', '.join(parts)}"
    if without:
        more = ", ..." if len(without) > 5 else ""
        yield f"{people(len(without))} without any image: {', '.join(without[:5])}{more}"
    mixed = sum("+" in row["session"] for row in rows)
    if mixed:
        yield f"{people(mixed)} with images of different sessions"
    for column in columns:
        for reason, count in candidates.dropped[column].items():
            yield f"{count} {column} files not taken: {reason}"
    if index.strange:
        yield (
            f"folders whose names are not those of BIDS subjects (letters and digits), not read: "
            f"{', '.join(index.strange[:3])}"
        )
