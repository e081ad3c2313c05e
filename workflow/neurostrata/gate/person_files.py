"""Problems of each person's files that headers and gradient tables show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurostrata.cohort.sheet import FACTS, Row
from neurostrata.cohort.sources.registry import columns_read, source_of
from neurostrata.cohort.sources.source import SheetImage
from neurostrata.cohort.study import Study
from neurostrata.core.errors import UserError
from neurostrata.core.files import absence
from neurostrata.gate.cache import FileCache
from neurostrata.gate.gradients import noddi_shells, read_gradients, tensor_measurements
from neurostrata.gate.headers import SAME_GRID_MM, Facts, affine_problem, corner_distance, trimmed
from neurostrata.gate.problems import Problem, few

GRADIENTS = ("bval", "bvec")
#: Image -> masks and the like that must be on its grid.
_ON_GRID_OF = (("t1w", "t1w_mask"), ("dwi", "dwi_mask"), ("dwi", "grad_dev"))
#: In the file cache: a problem of the shells, which concerns only the modalities that need several.
_SHELLS = "noddi"


def needed_columns(study: Study) -> dict[str, list[str]]:
    """Return subject -> the sheet columns whose files are read of this person, exclusions taken into account."""
    template = set(study.template_members())
    people = set(study.people())
    needed: dict[str, set[str]] = {subject: set() for subject in study.rows}
    for modality in study.used_modalities():
        columns = columns_read(study.modalities[modality], study.config)
        for subject in people:
            if not study.excluded(subject, modality):
                needed[subject] |= columns
    for subject in template | people:
        needed[subject] |= {"t1w", "t1w_mask"}
    return {subject: sorted(columns) for subject, columns in needed.items()}


def sheet_images(study: Study) -> list[SheetImage]:
    """Return what is expected of the images in the columns that the modalities in use name."""
    declarations = (study.modalities[modality] for modality in study.used_modalities())
    images = (source_of(declaration).sheet_image(declaration) for declaration in declarations)
    return [image for image in images if image]


@dataclass
class _Person:
    """One person's row of the cohort sheet, and the headers of their images that could be read."""

    subject: str
    row: Row
    headers: dict[str, Facts]

    def problem(self, column: str, text: str, modality: str = "") -> Problem:
        return Problem("people", f"subject {self.subject}: {text}", self.subject, column, modality)

    def wrong(self, column: str, text: str) -> Problem:
        return self.problem(column, f"{column}: {self.row[column]}: {text}")

    def shape(self, column: str) -> tuple[int, ...]:
        return trimmed(self.headers[column]["shape"])


def person_problems(
    study: Study, subject: str, columns: list[str], images: list[SheetImage], cache: FileCache
) -> Iterator[Problem]:
    """Yield the problems of one person's files.

    Parameters
    ----------
    columns
        The columns whose files are read of this person.
    images
        See :func:`sheet_images`.
    """
    person = _Person(subject, study.rows[subject], {})
    for column in columns:
        path = person.row.get(column, "")
        if column in FACTS or not path:
            continue
        if column in GRADIENTS:
            if not Path(path).is_file():
                yield person.wrong(column, absence(path))
            continue
        facts = cache.facts(path)
        if "problem" in facts:
            yield person.wrong(column, facts["problem"])
        else:
            person.headers[column] = facts
    yield from _grid_problems(person)
    yield from _shape_problems(person, images)
    if "dwi" in columns and person.row.get("dwi"):
        yield from _diffusion_problems(study, person, cache)


def _grid_problems(person: _Person) -> Iterator[Problem]:
    """Check the T1w image, the affine of every image, and that masks and deviations of gradients are on the grid of their image."""
    headers = person.headers
    for image, facts in headers.items():
        text = (_t1w_problem(facts) if image == "t1w" else None) or affine_problem(
            np.asarray(facts["affine"])
        )
        if text:
            yield person.wrong(image, text)
    for image, other in _ON_GRID_OF:
        if image not in headers or other not in headers:
            continue
        shape, expected = person.shape(other)[:3], person.shape(image)[:3]
        if shape != expected:
            yield person.wrong(other, f"its shape {shape} is not that of {image}, {expected}")
            continue
        affine, its = (np.asarray(headers[column]["affine"]) for column in (image, other))
        if (apart := corner_distance(shape, affine, its)) > SAME_GRID_MM:
            text = f"its affine is not that of {image} (corners are up to {apart:.3g} mm apart)"
            yield person.wrong(other, text)
    if "grad_dev" in headers and person.shape("grad_dev")[3:] != (9,):
        yield person.wrong("grad_dev", f"expected nine volumes, got shape {person.shape('grad_dev')}")


def _t1w_problem(facts: Facts) -> str | None:
    shape = trimmed(facts["shape"])
    if len(shape) != 3 or min(shape) < 8:
        return f"expected a 3-D image of 8 voxels or more along every axis, got shape {shape}"
    return None


def orientation_notes(study: Study, needed: Mapping[str, list[str]], cache: FileCache) -> Iterator[str]:
    """Say whose images have headers that do not tell left from right.

    Parameters
    ----------
    needed
        Subject -> the columns whose files are read.
    """
    unplaced = [
        path
        for subject, columns in needed.items()
        for column in columns
        if column not in FACTS and column not in GRADIENTS and (path := study.source(subject, column))
        if not cache.facts(path).get("placed", True)
    ]
    if unplaced:
        has = "1 image has" if len(unplaced) == 1 else f"{len(unplaced)} images have"
        yield (
            f"{has} no orientation in the header (qform_code and sform_code are 0), so that left and right may be swapped: "
            f"{few(unplaced, 3)}; make them again from the scanner's data, or set a code once you know that the orientation is right"
        )


def _shape_problems(person: _Person, images: list[SheetImage]) -> Iterator[Problem]:
    """Check the number of volumes of images in columns that modalities name."""
    # of several modalities that name one column the last counts
    series = {image.column: image.least for image in images if image.volumes is None}
    volumes = {image.column: image.volumes for image in images if image.volumes is not None}
    for column in person.headers:
        shape = person.shape(column)
        if column in series and (len(shape) != 4 or shape[3] < series[column]):
            text = f"expected a 4-D series of {series[column]} volumes or more, got shape {shape}"
            yield person.wrong(column, text)
        if column in volumes:
            count, declared = [*shape, 1][3] if len(shape) < 5 else -1, volumes[column]
            if count != declared:
                kind = "a 3-D image" if declared == 1 else f"a 4-D image of {declared} volumes"
                yield person.wrong(
                    column,
                    f"expected {kind}, as declared under modalities, got shape {shape}; set 'components' there to its "
                    "number of volumes, or give one volume",
                )


def _diffusion_problems(study: Study, person: _Person, cache: FileCache) -> Iterator[Problem]:
    """Check that diffusion data have gradients that fit and determine a tensor, and several shells where a modality needs them."""
    missing = " and ".join(column for column in GRADIENTS if not person.row.get(column))
    if missing:
        yield person.problem("dwi", f"dwi is given but {missing} is not; fill the cell or clear dwi")
        return
    if "dwi" not in person.headers:
        return
    shape = person.shape("dwi")
    if len(shape) != 4:
        yield person.wrong("dwi", f"expected a 4-D image, got shape {shape}")
        return
    bval, bvec = (Path(person.row[column]) for column in GRADIENTS)
    if not (bval.is_file() and bvec.is_file()):
        return  # reported above
    used = study.used_modalities()
    of_shells = [m for m in used if source_of(study.modalities[m]).several_shells]
    shells_needed = any(not study.excluded(person.subject, modality) for modality in of_shells)
    section = study.config["diffusion"]

    def find() -> list[list[str]]:
        try:
            gradients = read_gradients(bval, bvec, person.subject, shape[3], section["b0_max"])
            tensor_measurements(gradients, section["tensor_b_max"], person.subject)
        except UserError as error:
            return [["bval", str(error)]]
        try:
            if shells_needed:
                noddi_shells(gradients, section["shell_gap"], person.subject)
        except UserError as error:
            return [[_SHELLS, str(error)]]
        return []

    stamps = [f"{path}|{(status := path.stat()).st_size}|{status.st_mtime_ns}" for path in (bval, bvec)]
    limits = f"{section['b0_max']} {section['tensor_b_max']}"
    options = [str(shape[3]), limits, f"{shells_needed} {section['shell_gap']}"]
    for column, text in cache.remember("|".join([*stamps, person.subject, *options]), find):
        if column != _SHELLS:
            yield Problem("people", text, person.subject, column)
            continue
        for modality in dict.fromkeys(study.declared(name) for name in of_shells):
            yield Problem("people", text, person.subject, "dwi", modality)
