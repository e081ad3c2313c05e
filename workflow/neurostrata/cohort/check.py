"""The cohort check: every problem of every person's files, found from headers before any job starts."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.cohort.gradients import noddi_shells, read_gradients
from neurostrata.cohort.sheet import (
    FACTS,
    ID_COLUMNS,
    REGISTRATION_MEASURES,
    USUAL_NAMES,
    read_rows,
    subject_id,
)
from neurostrata.cohort.study import Study
from neurostrata.core.config import adjusting_columns
from neurostrata.core.errors import UserError
from neurostrata.core.files import write_json

_HCP_VARIABLES = Path(__file__).resolve().parents[3] / "resources" / "hcp_phenotypes.tsv"
_GRADIENTS = ("bval", "bvec")
#: Two affines agree when no voxel centre moves by more than this many mm per voxel step.
_AFFINE_TOLERANCE = 1e-2


class HeaderCache:
    """Facts read from image headers, kept by path, size and modification time.

    Parameters
    ----------
    path
        A JSON file; a missing or broken one is as good as empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}
        self.used: dict[str, Any] = {}

    def facts(self, image: str) -> dict[str, Any]:
        """Return ``{"shape", "affine"}`` of an image, or ``{"problem": text}``."""
        try:
            status = Path(image).stat()
        except OSError as error:
            return {"problem": f"cannot be read ({error.strerror})"}
        key = f"{image}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self.known:
            self.known[key] = _read_facts(image, status.st_size)
        self.used[key] = self.known[key]
        return self.known[key]

    def save(self) -> None:
        """Keep what was used this time."""
        write_json(self.path, self.used)


def _read_facts(image: str, size: int) -> dict[str, Any]:
    import nibabel as nib

    try:
        header: Any = nib.load(image)
        shape, affine = header.shape, header.affine
        wanted = int(header.dataobj.offset + np.prod(shape) * header.dataobj.dtype.itemsize)
    except (
        nib.filebasedimages.ImageFileError,
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        AttributeError,
    ) as error:
        return {"problem": f"is not a readable NIfTI image ({str(error).splitlines()[0][:120]})"}
    if not image.endswith(".gz"):
        held = size
    else:
        # The last four bytes of a gzip member are the length of its content modulo 2**32: a truncated
        # file is found without unpacking it. Several members (pigz, bgzip) are unpacked when they disagree.
        with open(image, "rb") as stream:
            stream.seek(-4, os.SEEK_END)
            held = int.from_bytes(stream.read(4), "little")
        if held != wanted % 2**32:
            held, wanted = _unpacked_size(image), wanted
        else:
            held = wanted
    if held < wanted:
        return {"problem": f"is truncated ({held} of {wanted} bytes of data)"}
    if not np.all(np.isfinite(affine)) or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return {"problem": "has an affine that cannot be inverted"}
    return {"shape": [int(n) for n in shape], "affine": np.asarray(affine, float).round(6).tolist()}


def _unpacked_size(image: str) -> int:
    total = 0
    try:
        with gzip.open(image) as stream:
            while chunk := stream.read(1 << 22):
                total += len(chunk)
    except (OSError, EOFError, zlib.error):
        return -1
    return total


def _person_problems(study: Study, subject: str, cache: HeaderCache) -> Iterator[str]:
    row = study.rows[subject]
    used = study.used_columns()
    found: dict[str, dict[str, Any]] = {}
    for column in used:
        path = row.get(column, "")
        if column in FACTS or not path:
            continue
        if column in _GRADIENTS:
            if not Path(path).is_file():
                yield f"subject {subject}: {column}: {path}: no such file"
            continue
        facts = cache.facts(path)
        if "problem" in facts:
            yield f"subject {subject}: {column}: {path}: {facts['problem']}"
        else:
            found[column] = facts
    if "t1w" in found and (len(found["t1w"]["shape"]) != 3 or min(found["t1w"]["shape"]) < 8):
        yield f"subject {subject}: t1w: {row['t1w']}: a 3-D image is wanted, this one has shape {tuple(found['t1w']['shape'])}"
    for image, mask in (("t1w", "t1w_mask"), ("dwi", "dwi_mask"), ("dwi", "grad_dev")):
        if image in found and mask in found:
            if found[image]["shape"][:3] != found[mask]["shape"][:3]:
                yield f"subject {subject}: {mask}: {row[mask]}: its shape {tuple(found[mask]['shape'])} is not that of {image}, {tuple(found[image]['shape'])}"
            elif np.abs(np.subtract(found[image]["affine"], found[mask]["affine"])).max() > _AFFINE_TOLERANCE:
                yield f"subject {subject}: {mask}: {row[mask]}: its affine is not that of {image}"
    if "grad_dev" in found and found["grad_dev"]["shape"][3:] != [9]:
        yield f"subject {subject}: grad_dev: {row['grad_dev']}: nine volumes are wanted, this one has shape {tuple(found['grad_dev']['shape'])}"
    for column in sorted(_series_columns(study) & set(found)):
        shape = found[column]["shape"]
        if len(shape) != 4 or shape[3] < 2:
            yield f"subject {subject}: {column}: {row[column]}: a 4-D series is wanted, this one has shape {tuple(shape)}"
    if "dwi" in used and row.get("dwi"):
        missing = [column for column in _GRADIENTS if not row.get(column)]
        if missing:
            yield f"subject {subject}: dwi is given but {' and '.join(missing)} is not; fill the cell or clear dwi"
        elif "dwi" in found:
            yield from _gradient_problems(study, subject, found["dwi"]["shape"])


def _series_columns(study: Study) -> set[str]:
    """Return the columns that hold BOLD series."""
    declarations = (study.modalities[modality] for modality in study.used_modalities())
    return {d["column"] for d in declarations if d["from"] == "dual_regression"}


def _component_problems(study: Study, cache: HeaderCache) -> Iterator[str]:
    for name, path in study.component_images().items():
        facts, wanted = cache.facts(path), study.config["modalities"][name]["components"]
        if "problem" in facts:
            yield f"modalities.{name}.components_image: {path}: {facts['problem']}"
        elif (facts["shape"] + [1])[3] != wanted:
            yield (
                f"modalities.{name}.components_image: {path}: has shape {tuple(facts['shape'])}, {wanted} components "
                "are declared; set 'components' to its number of volumes"
            )


def _gradient_problems(study: Study, subject: str, shape: list[int]) -> Iterator[str]:
    row, diffusion = study.rows[subject], study.config["diffusion"]
    if len(shape) != 4:
        yield f"subject {subject}: dwi: {row['dwi']}: a 4-D image is wanted, this one has shape {tuple(shape)}"
        return
    if not all(Path(row[column]).is_file() for column in _GRADIENTS):
        return  # said already
    try:
        gradients = read_gradients(
            Path(row["bval"]), Path(row["bvec"]), subject, shape[3], diffusion["b0_max"]
        )
        noddi = [m for m in study.used_modalities() if study.modalities[m]["from"] == "noddi"]
        if any(not study.excluded(subject, modality) for modality in noddi):
            noddi_shells(gradients, diffusion["shell_gap"], subject)
    except UserError as error:
        yield str(error)


def _phenotype_problems(study: Study) -> Iterator[str]:
    section = study.config["phenotypes"]
    for path in section.get("tables", []):
        try:
            columns, rows = read_rows(path)
        except UserError as error:
            yield f"phenotypes.tables: {error}"
            continue
        wanted = section.get("id_column")
        names = [wanted] if wanted else list(ID_COLUMNS)
        column = next((name for name in names if name in columns), None)
        if column is None:
            yield f"phenotypes.tables: {path}: no column {' or '.join(names)} (set phenotypes.id_column)"
            continue
        ids = set()
        for row in rows:
            try:
                ids.add(subject_id(row[column]))
            except UserError as error:
                yield f"phenotypes.tables: {path}: {error}"
        if not ids & set(study.rows):
            here, there = ", ".join(list(study.rows)[:3]), ", ".join(sorted(ids)[:3])
            yield f"phenotypes.tables: {path}: shares no ids with the cohort (there: {there}; cohort: {here})"


def _phenotype_variables(section: Mapping[str, Any], columns: set[str]) -> set[str]:
    """Return the columns that the phenotype factors are made of (some of `all` may turn out not to be numbers)."""
    chosen = section["variables"]
    if chosen == "all":
        found = columns
    elif chosen == "dimitri2022":
        found = {row["column"] for row in read_rows(_HCP_VARIABLES)[1]}
    else:
        found = set(chosen)
    return found - set(section["exclude"])


def _adjustment_problems(study: Study) -> Iterator[str]:
    """Check what predictions are adjusted by: that it exists, differs between people and tells no phenotype."""
    section = study.config["phenotypes"]
    tables: set[str] = set()
    for path in section["tables"]:
        with contextlib.suppress(UserError):  # said elsewhere
            tables.update(read_rows(path)[0])
    sheet = {column for row in study.rows.values() for column in row}
    variables = _phenotype_variables(section, tables) if section["tables"] else set()
    for name, experiment in study.experiments.items():
        for key, columns in adjusting_columns(experiment).items():
            place = f"experiment {name}: analyses.{key}"
            for column in columns:
                if column not in sheet | tables:
                    yield f"{place}: '{column}' is no column of the cohort sheet or of the phenotype tables"
                elif column in variables and key != "harmonise.sites":
                    yield (
                        f"{place}: '{column}' is one of the variables that the phenotype factors are made of, which would "
                        f"leak into the test people's codes; add it to phenotypes.exclude, or remove it here"
                    )
                elif key == "harmonise.sites" and column in sheet:
                    yield from _site_problems(study, name, column)


def _strata_problems(study: Study) -> Iterator[str]:
    """Check that what the codes are adjusted by before clustering exists."""
    adjust = study.config["strata"]["adjust"]
    named = [] if adjust["columns"] == "auto" else list(adjust["columns"])
    known = {column for row in study.rows.values() for column in row}
    for path in study.config["phenotypes"]["tables"]:
        with contextlib.suppress(UserError):  # said elsewhere
            known.update(read_rows(path)[0])
    for measure in ("age", "sex"):
        if any(column.lower() in USUAL_NAMES[measure] for column in known):
            known.add(measure)
    known |= set(REGISTRATION_MEASURES)
    for key, columns in (("columns", named), ("sites", [adjust["sites"]] if adjust["sites"] else [])):
        for column in columns:
            if column not in known:
                yield (
                    f"strata.adjust.{key}: '{column}' is no column of the cohort sheet or of the phenotype tables, and "
                    f"none of {', '.join(REGISTRATION_MEASURES)}"
                )


def _site_problems(study: Study, name: str, column: str) -> Iterator[str]:
    counts = Counter(study.rows[subject][column] for subject in study.experiment_members(name))
    large = [site for site, count in counts.items() if site and count > 3]
    if len(large) < 2:
        yield (
            f"experiment {name}: analyses.harmonise.sites: fewer than two sites of column '{column}' have more than 3 "
            "people; remove harmonise"
        )


def cohort_problems(study: Study, cache: HeaderCache) -> list[str]:
    """Return every problem of the cohort, one line each, naming subject, column and file.

    Images are judged by their headers and lengths; voxels are looked at by the jobs that read them.
    """
    problems = study.decision_problems()
    problems += _component_problems(study, cache)
    problems += [line for subject in study.people() for line in _person_problems(study, subject, cache)]
    if not study.template_members():
        problems.append(
            "nobody is left for the template: every row says template: no, is excluded or has no t1w"
        )
    for name, experiment in study.experiments.items():
        count = len(study.experiment_members(name))
        if count < 4:
            problems.append(
                f"experiment {name}: {count} people have all of {', '.join(experiment['modalities'])}; at least 4 are needed"
            )
        validation = experiment["validation"]
        if validation["method"] == "kfold" and count >= 4 and count < 2 * validation["folds"]:
            problems.append(
                f"experiment {name}: {count} people are too few for {validation['folds']} folds; "
                f"set validation.folds to {count // 2} or less"
            )
    problems.extend(_phenotype_problems(study))
    problems.extend(_adjustment_problems(study))
    problems.extend(_strata_problems(study))
    return problems
