"""Finding people's images without a sheet: BIDS datasets, HCP's and UK Biobank's layouts. Standard library only.

The main process searches and writes what it found to OUTPUT/cohort, where every job reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurostrata.cohort.discovery.bids import choose
from neurostrata.cohort.discovery.bids_candidates import Request
from neurostrata.cohort.discovery.bids_index import load_index
from neurostrata.cohort.discovery.layouts import choose_scans, hcp_scans, ukb_scans
from neurostrata.cohort.discovery.participants import add_facts, add_table_facts, read_people
from neurostrata.cohort.ids import plain_id
from neurostrata.cohort.sheet import IMAGES, Row, read_rows, write_rows
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, sha256_file, write_json

#: Columns that every table of discovered people has; others follow when somebody has a value.
COLUMNS = ["subject", *IMAGES, "session"]
SOURCE_COLUMNS = ["subject", "person", "session", "column", "dataset", "file", "why"]
#: Raised when other rows are chosen from the same files and configuration.
_RULES = 2
#: Keys of the section `cohort` that choose among what is found, and the sources of people that they work with.
_CHOOSING_KEYS = {
    "sessions": ("bids", "hcp", "ukb"),
    "participants": ("bids", "hcp", "ukb"),
    "runs": ("bids",),
    "filters": ("bids",),
    "columns": ("bids", "hcp", "ukb"),
    "dwi_preprocessed": ("bids",),
}


def misplaced_keys(section: Mapping[str, Any], source: str) -> list[str]:
    """Return a line for each key of `cohort` that is set but has no effect with this source of people."""
    return [
        f"cohort.{key}: works with {', '.join(f'cohort.{s}' for s in sources)}, not with cohort.{source}; remove it"
        for key, sources in _CHOOSING_KEYS.items()
        if section[key] not in (None, {}, False) and source not in sources
    ]


def read_discovered(output: str | Path) -> list[Row]:
    """Return the rows that the main process found.

    Raises
    ------
    UserError
        When there are none, because nothing was planned in this folder yet, or the file was changed.
    """
    folder = Path(output) / "cohort"
    table = folder / "discovered.tsv"
    if not table.is_file():
        raise UserError(f"{table}: is missing; snakemake -n writes it")
    try:
        written = read_json(folder / "discovered.json")["digests"][table.name]
    except (UserError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}/discovered.json: is missing or damaged; snakemake -n writes it again"
        ) from error
    if sha256_file(table) != written:
        raise UserError(f"{table}: was changed after it was written; snakemake -n writes it again")
    return read_rows(table)[1]


def discover(
    config: Mapping[str, Any], source: str, columns: Sequence[str], spaces: Mapping[str, str]
) -> tuple[list[Row], list[str]]:
    """Find everybody's images and write the tables of people and of where each image comes from.

    Parameters
    ----------
    config
        Checked, with every default filled in.
    source
        ``bids``, ``hcp`` or ``ukb``: the key of `cohort` that is set.
    columns
        The columns that this configuration reads.
    spaces
        Column -> space of its images (t1w, dwi, template or mni).

    Returns
    -------
    rows : list of dict
    notices : list of str
        What was found, in numbers.
    """
    section, folder = config["cohort"], Path(config["output"]) / "cohort"
    if source == "bids":
        return _discover_bids(config, folder, columns, spaces)
    found = (hcp_scans if source == "hcp" else ukb_scans)(Path(section[source]))
    people = _participants(section)
    rows, sources, notices = choose_scans(found, source, _text(section["sessions"]), people)
    tables = config["phenotypes"]
    notices += add_table_facts(rows, tables["tables"], tables["id_column"], section["columns"])
    _write(folder, rows, sources, {"notices": notices})
    return read_rows(folder / "discovered.tsv")[1], notices


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _participants(section: Mapping[str, Any]) -> list[str] | None:
    listed = section["participants"]
    if not isinstance(listed, str):
        return listed
    try:
        lines = Path(listed).read_text(encoding="utf-8-sig").split()
    except OSError as error:
        raise UserError(f"cohort.participants: {listed}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cohort.participants: {listed}: is not UTF-8 text; save it as UTF-8") from error
    return [line for line in lines if line not in ("participant_id", "subject")]


def _discover_bids(
    config: Mapping[str, Any], folder: Path, columns: Sequence[str], spaces: Mapping[str, str]
) -> tuple[list[Row], list[str]]:
    section = config["cohort"]
    roots = [section["bids"]] if isinstance(section["bids"], str) else list(section["bids"])
    people = _participants(section)
    index = load_index(roots, folder)
    known_people = read_people(index.datasets, index.subjects)
    if config["phenotypes"]["matching"]["near_ids"] == "refuse":
        known_people.refuse_near(
            index.subjects if people is None else [plain_id(str(name)) for name in people]
        )
    request = Request(
        columns=[c for c in columns if c not in ("bval", "bvec", "grad_dev")],
        spaces=spaces,
        sessions=_text(section["sessions"]),
        runs=section["runs"],
        filters=section["filters"],
        participants=people,
        dwi_preprocessed=section["dwi_preprocessed"],
        dwi_space=config["diffusion"]["space"],
    )
    facts = json.dumps(
        [known_people.persons, known_people.sessions, known_people.notices, section["columns"]],
        sort_keys=True,
    )
    text = json.dumps([_RULES, index.digest, vars(request), facts], sort_keys=True, default=dict)
    key = hashlib.sha256(text.encode()).hexdigest()
    try:
        known = json.loads((folder / "discovered.json").read_text(encoding="utf-8"))
        if known["key"] == key and all(sha256_file(folder / n) == d for n, d in known["digests"].items()):
            return read_rows(folder / "discovered.tsv")[1], known["notices"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    found = choose(index, request, known_people.times)
    add_facts(found.rows, known_people, section["columns"])
    notices = [*found.notices, *known_people.notices]
    every = [{"subject": r["subject"], **known_people.values(r["person"], r["session"])} for r in found.rows]
    participants = (["subject", *known_people.columns], every) if known_people.columns else None
    _write(folder, found.rows, found.sources, {"key": key, "notices": notices}, participants)
    return read_rows(folder / "discovered.tsv")[1], notices


def _write(
    folder: Path,
    rows: Sequence[Row],
    sources: Sequence[Row],
    state: Mapping[str, Any],
    participants: tuple[list[str], list[Row]] | None = None,
) -> None:
    """Write the tables, and last the file with their digests."""
    (folder / "discovered.json").unlink(missing_ok=True)
    further = dict.fromkeys(c for row in rows for c in row if c not in (*COLUMNS, "person") and row[c])
    tables = {"discovered.tsv": ([*COLUMNS, *further], rows), "sources.tsv": (SOURCE_COLUMNS, sources)}
    if participants:
        tables["participants.tsv"] = participants
    for name, (columns, content) in tables.items():
        write_rows(folder / name, columns, content)
    digests = {name: sha256_file(folder / name) for name in tables}
    write_json(folder / "discovered.json", {**state, "digests": digests})
