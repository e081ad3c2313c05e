"""The cohort check: every problem of people's files, found before any job starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neurostrata.cohort.sheet import FACTS
from neurostrata.cohort.study import Study, required_columns
from neurostrata.core.errors import UserError
from neurostrata.gate.gradients import noddi_shells, read_gradients
from neurostrata.gate.headers import Facts, HeaderCache, affine_problem
from neurostrata.gate.names import name_problems
from neurostrata.gate.problems import Problem, few

__all__ = ["HeaderCache", "cohort_problems", "find_problems"]

_GRADIENTS = ("bval", "bvec")
_MASKS = ("t1w_mask", "dwi_mask")
#: Two affines agree when no voxel centre moves by more than this many mm per voxel step.
_AFFINE_TOLERANCE = 1e-2
#: Fewest people of an experiment.
_FEWEST_PEOPLE = 4


def needed_columns(study: Study) -> dict[str, list[str]]:
    """Return subject -> the sheet columns whose files are read of this person, exclusions taken into account."""
    template = set(study.template_members())
    people = set(study.people())
    wanted: dict[str, set[str]] = {subject: set() for subject in study.rows}
    for modality in study.used_modalities():
        declaration = study.modalities[modality]
        columns = set(required_columns(declaration))
        columns |= {"dwi_mask"} if "dwi" in columns else set()
        columns |= (
            {"grad_dev"} if declaration["from"] == "noddi" and "grad_dev" in study.used_columns() else set()
        )
        for subject in people:
            if not study.excluded(subject, modality):
                wanted[subject] |= columns
    for subject in template | people:
        wanted[subject] |= {"t1w", "t1w_mask"}
    return {subject: sorted(columns) for subject, columns in wanted.items()}


def _person_problems(study: Study, subject: str, columns: list[str], cache: HeaderCache) -> Iterator[Problem]:
    row = study.rows[subject]

    def problem(column: str, text: str, modality: str = "") -> Problem:
        return Problem("people", f"subject {subject}: {text}", subject, column, modality)

    found: dict[str, Facts] = {}
    for column in columns:
        path = row.get(column, "")
        if column in FACTS or not path:
            continue
        if column in _GRADIENTS:
            if not Path(path).is_file():
                yield problem(column, f"{column}: {path}: no such file")
            continue
        facts = cache.facts(path)
        if "problem" in facts:
            yield problem(column, f"{column}: {path}: {facts['problem']}")
        else:
            found[column] = facts
    if "t1w" in found:
        wrong = _volume_problem(found["t1w"])
        if wrong:
            yield problem("t1w", f"t1w: {row['t1w']}: {wrong}")
    for image, mask in (("t1w", "t1w_mask"), ("dwi", "dwi_mask"), ("dwi", "grad_dev")):
        if image in found and mask in found:
            shapes = tuple(found[image]["shape"][:3]), tuple(found[mask]["shape"][:3])
            if shapes[0] != shapes[1]:
                yield problem(
                    mask, f"{mask}: {row[mask]}: its shape {shapes[1]} is not that of {image}, {shapes[0]}"
                )
            elif np.abs(np.subtract(found[image]["affine"], found[mask]["affine"])).max() > _AFFINE_TOLERANCE:
                yield problem(mask, f"{mask}: {row[mask]}: its affine is not that of {image}")
    if "grad_dev" in found and found["grad_dev"]["shape"][3:] != [9]:
        shape = tuple(found["grad_dev"]["shape"])
        yield problem(
            "grad_dev", f"grad_dev: {row['grad_dev']}: nine volumes are wanted, this one has shape {shape}"
        )
    series, volumes = _series_columns(study), _volume_columns(study)
    for column, facts in found.items():
        shape = facts["shape"]
        if column in series and (len(shape) != 4 or shape[3] < 2):
            text = f"{column}: {row[column]}: a 4-D series is wanted, this one has shape {tuple(shape)}"
            yield problem(column, text)
        if column in volumes:
            count = [*shape, 1][3] if len(shape) < 5 else -1
            if count != volumes[column]:
                declared = (
                    "a 3-D image" if volumes[column] == 1 else f"a 4-D image of {volumes[column]} volumes"
                )
                yield problem(
                    column,
                    f"{column}: {row[column]}: {declared} is declared under modalities, this one has shape "
                    f"{tuple(shape)}; set 'components' there to its number of volumes, or give one volume",
                )
    if "dwi" in columns and row.get("dwi"):
        missing = [column for column in _GRADIENTS if not row.get(column)]
        if missing:
            lacking = " and ".join(missing)
            yield problem("dwi", f"dwi is given but {lacking} is not; fill the cell or clear dwi")
        elif "dwi" in found:
            yield from _gradient_problems(study, subject, found["dwi"]["shape"], cache)


def _volume_problem(facts: Facts) -> str | None:
    """Tell why an image is no T1-weighted one."""
    shape = tuple(facts["shape"])
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 8:
        return f"a 3-D image of 8 voxels or more along every axis is wanted, this one has shape {shape}"
    return affine_problem(np.asarray(facts["affine"]))


def _series_columns(study: Study) -> set[str]:
    """Return the columns that hold BOLD series."""
    declarations = (study.modalities[modality] for modality in study.used_modalities())
    return {d["column"] for d in declarations if d["from"] == "dual_regression"}


def _volume_columns(study: Study) -> dict[str, int]:
    """Return the columns of images of the user's own -> how many volumes are declared."""
    declarations = (study.modalities[modality] for modality in study.used_modalities())
    return {d["column"]: d.get("components") or 1 for d in declarations if d["from"] == "column"}


def _component_problems(study: Study, cache: HeaderCache) -> Iterator[Problem]:
    for name, path in study.component_images().items():
        facts, wanted = cache.facts(path), study.config["modalities"][name]["components"]
        place = f"modalities.{name}.components_image: {path}"
        if "problem" in facts:
            yield Problem("configuration", f"{place}: {facts['problem']}")
        elif [*facts["shape"], 1][3] != wanted:
            yield Problem(
                "configuration",
                f"{place}: has shape {tuple(facts['shape'])}, {wanted} components are declared; set 'components' to "
                "its number of volumes",
            )
    atlas = study.config["regions"]["image"]
    if atlas and "problem" in (facts := cache.facts(atlas)):
        yield Problem("configuration", f"regions.image: {atlas}: {facts['problem']}")
    names = study.config["regions"]["names"]
    if names and not Path(names).is_file():
        yield Problem("configuration", f"regions.names: {names}: no such file")


def _gradient_problems(study: Study, subject: str, shape: list[int], cache: HeaderCache) -> Iterator[Problem]:
    row, diffusion = study.rows[subject], study.config["diffusion"]
    if len(shape) != 4:
        text = (
            f"subject {subject}: dwi: {row['dwi']}: a 4-D image is wanted, this one has shape {tuple(shape)}"
        )
        yield Problem("people", text, subject, "dwi")
        return
    bval, bvec = Path(row["bval"]), Path(row["bvec"])
    if not (bval.is_file() and bvec.is_file()):
        return  # said already
    noddi = [m for m in study.used_modalities() if study.modalities[m]["from"] == "noddi"]
    wanted = any(not study.excluded(subject, modality) for modality in noddi)

    def look() -> list[list[str]]:
        try:
            gradients = read_gradients(bval, bvec, subject, shape[3], diffusion["b0_max"])
        except UserError as error:
            return [["bval", str(error)]]
        if wanted:
            try:
                noddi_shells(gradients, diffusion["shell_gap"], subject)
            except UserError as error:
                return [["noddi", str(error)]]
        return []

    stamps = [f"{path}|{(known := path.stat()).st_size}|{known.st_mtime_ns}" for path in (bval, bvec)]
    key = "|".join(
        [*stamps, subject, str(shape[3]), str(diffusion["b0_max"]), f"{wanted} {diffusion['shell_gap']}"]
    )
    for column, text in cache.remember(key, look):
        if column != "noddi":
            yield Problem("people", text, subject, column)
            continue
        for modality in dict.fromkeys(study.declared(name) for name in noddi):
            yield Problem("people", text, subject, "dwi", modality)


def _content_columns(study: Study) -> dict[str, bool]:
    """Return the columns of images -> whether voxels that are no numbers are refused there.

    Images in standard space have gaps outside the head, which are taken for background.
    """
    columns = {"t1w": True, "t1w_mask": True, "dwi": False, "dwi_mask": False}
    for modality in study.used_modalities():
        declaration = study.modalities[modality]
        if declaration["from"] == "column" and declaration.get("kind") != "mask":
            columns[declaration["column"]] = declaration.get("space", "t1w") != "mni"
        if declaration["from"] == "dual_regression":
            columns[declaration["column"]] = False
    return columns


def _content_problems(
    study: Study, needed: dict[str, list[str]], cache: HeaderCache, seconds: float | None, unread: list[str]
) -> Iterator[Problem]:
    """Look at what has been read to its end: checksums, images without anything in them, gaps, doubles."""
    columns = _content_columns(study)
    images = [
        (subject, column, path)
        for subject, used in needed.items()
        for column in used
        if column not in FACTS and column not in _GRADIENTS and (path := study.source(subject, column))
        if "problem" not in cache.facts(path)
    ]
    alike: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for subject, column, path in images:
        if column in columns and column not in _MASKS:
            alike[column, cache.facts(path).get("print", path)].append((subject, column, path))
    candidates = [group for group in alike.values() if len({subject for subject, _, _ in group}) > 1]
    cache.contents(
        [
            path
            for group in candidates
            for _, _, path in group
            if len({cache.places[p] for _, _, p in group}) > 1
        ]
    )
    unread += cache.contents([path for _, _, path in images], seconds)
    for subject, column, path in images:
        content, place = cache.content(path), f"subject {subject}: {column}: {path}"
        text = content.get("problem")
        if not text and column in _MASKS and content.get("empty"):
            text = "every voxel is 0: the mask is empty"
        elif not text and column in columns and column not in _MASKS:
            if content.get("constant"):
                text = "every voxel has the same value, there is no image in it"
            elif column == "dwi" and content.get("same"):
                text = "all its volumes are the same, there is no diffusion in it"
            elif columns[column] and content.get("gaps"):
                text = f"has {content['gaps']} NaN or infinite voxels; replace them"
        if text:
            yield Problem("people", f"{place}: {text}", subject, column)
    doubles = list(candidates)
    by_digest: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for subject, column, path in images:
        content = cache.content(path)
        if column in columns and column not in _MASKS and "digest" in content and not content["constant"]:
            by_digest[column, content["digest"]].append((subject, column, path))
    doubles += [group for group in by_digest.values() if len({subject for subject, _, _ in group}) > 1]
    said: set[tuple[str, ...]] = set()
    for group in doubles:
        whole = {cache.content(path).get("digest") for _, _, path in group}
        one_file = len({cache.places[path] for _, _, path in group}) == 1
        people = tuple(subject for subject, _, _ in group)
        constant = any(cache.content(path).get("constant") for _, _, path in group)
        if (one_file or (len(whole) == 1 and None not in whole and not constant)) and people not in said:
            said.add(people)
            what = "is the same file" if one_file else "holds the same image"
            paths = list(dict.fromkeys(path for _, _, path in group))
            text = f"{group[0][1]} {what} for subjects {few(people)}: {few(paths, 3)}; give each person their own image"
            yield Problem("sheets", text)


def _member_problems(study: Study) -> Iterator[Problem]:
    """Check that there are people for the template and for every experiment, and say who lacks what."""
    if not study.template_members():
        yield Problem(
            "study", "nobody is left for the template: every row says template: no, is excluded or has no t1w"
        )
    people = study.people()
    known = {column for row in study.rows.values() for column in row}
    for name, experiment in study.experiments.items():
        label = experiment.get("label")
        if label and label["column"] not in known:
            continue  # said already
        count = len(study.experiment_members(name))
        if count < _FEWEST_PEOPLE:
            modalities = experiment["modalities"]
            each = " and every one" if experiment.get("missing") != "include" else " and one"
            which = f"{each} of {few(modalities)}" if label else f" of {few(modalities)}"
            text = f"experiment {name}: {count} people have all{which}; at least {_FEWEST_PEOPLE} are needed"
            if label:
                text = f"experiment {name}: {count} people have a class of the label{which}; at least {_FEWEST_PEOPLE} are needed"
            yield Problem("study", "; ".join([text, *_lacking(study, name, people)]))
            continue
        validation = experiment["validation"]
        if validation["method"] == "kfold" and count < 2 * validation["folds"]:
            yield Problem(
                "study",
                f"experiment {name}: {count} people are too few for {validation['folds']} folds; "
                f"set validation.folds to {count // 2} or less",
            )


def _lacking(study: Study, name: str, people: list[str]) -> Iterator[str]:
    """Say for how many people each modality of an experiment is missing, and why."""
    for modality in study.experiments[name]["modalities"][:10]:
        have = set(study.with_modality(modality))
        without = [subject for subject in people if subject not in have]
        if not without:
            continue
        columns = required_columns(study.modalities[modality])
        empty = [c for c in columns if any(not study.has(subject, c) for subject in without)]
        why = f" (no {', '.join(empty)} in the sheet)" if empty else " (excluded)"
        yield f"{modality} is missing for {len(without)} of {len(people)} people{why}"


def find_problems(
    study: Study, cache: HeaderCache, seconds: float | None = None, unread: list[str] | None = None
) -> list[Problem]:
    """Return every problem of a study that can be seen before anything runs.

    Parameters
    ----------
    cache
        What is known of image files.
    seconds
        Time for reading images to their end that have not been read; None takes what it takes. The stages that use
        them read them to their end in any case.
    unread
        Filled with the images that are still unread.
    """
    needed = needed_columns(study)
    problems = [*name_problems(study), *_component_problems(study, cache)]
    problems += [Problem("sheets", line) for line in study.decision_problems()]
    of_people = [p for s, columns in needed.items() for p in _person_problems(study, s, columns, cache)]
    of_people += _content_problems(study, needed, cache, seconds, [] if unread is None else unread)
    problems += sorted(of_people, key=lambda problem: problem.subject)
    problems += _member_problems(study)
    return problems


def cohort_problems(study: Study, cache: HeaderCache) -> list[str]:
    """Return every problem as one line of text; see :func:`find_problems`."""
    return [problem.text for problem in find_problems(study, cache)]
