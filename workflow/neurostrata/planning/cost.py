"""What a study costs: CPU hours, GPU hours, memory and disk of each stage, from what jobs were measured to take.

The numbers are in ``resources/costs.yaml``, with where they were measured. They are estimates: another processor, other
images and other settings than the ones of the measurement change them, so texts say "about" and give one or two figures.
Standard library and PyYAML only: dry runs use it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from neurostrata.cohort.sheet import Row
from neurostrata.cohort.sources.registry import map_files, required_columns
from neurostrata.cohort.study import Study
from neurostrata.core.config import fill_config, read_own_yaml, section_defaults
from neurostrata.core.locations import RESOURCES
from neurostrata.core.training_presets import PRESETS
from neurostrata.planning.experiments import can, explains, folds, predicts, reconstruction_folds
from neurostrata.planning.jobs import SEARCH_THREADS
from neurostrata.planning.parameters import leading_codes
from neurostrata.planning.results import HEADERS, path_in
from neurostrata.planning.targets import (
    clustered_codes,
    compared_raters,
    measured_experiments,
    stratified,
)
from neurostrata.stages import STAGES


class Work(NamedTuple):
    """What one job does, as far as its cost depends on it."""

    stage: str
    experiment: str = ""
    finder: str = ""
    modality: str = ""
    fold: str = ""
    iteration: str = ""


@dataclass(frozen=True)
class Images:
    """What a person's images are like; the defaults are those of many studies.

    Attributes
    ----------
    t1w_mm, dwi_mm
        Voxel side of the T1w images and of the diffusion data.
    dwi_volumes
        Number of diffusion volumes.
    """

    t1w_mm: float = 1.0
    dwi_mm: float = 2.0
    dwi_volumes: int = 96

    def sizes(self) -> dict[str, float]:
        """Return how large they are, in the words of ``resources/costs.yaml``."""
        return {
            "t1w": (2 / self.t1w_mm) ** 3,
            "dwi": (2 / self.dwi_mm) ** 3,
            "volumes": self.dwi_volumes / 96,
        }


@dataclass(frozen=True)
class Cost:
    """What some jobs take.

    Attributes
    ----------
    jobs
        Their number.
    cpu_hours
        CPU hours, starting the jobs included, without what a GPU would do.
    gpu_hours
        Hours of a GPU (of the card that resources/costs.yaml names), where there is one.
    cpu_hours_instead
        CPU hours for the same where there is no GPU.
    disk_gb
        What the results of the jobs take on the disk.
    memory_gb
        What the largest of the jobs needs.
    """

    jobs: int = 0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    cpu_hours_instead: float = 0.0
    disk_gb: float = 0.0
    memory_gb: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.jobs + other.jobs,
            self.cpu_hours + other.cpu_hours,
            self.gpu_hours + other.gpu_hours,
            self.cpu_hours_instead + other.cpu_hours_instead,
            self.disk_gb + other.disk_gb,
            max(self.memory_gb, other.memory_gb),
        )


@cache
def measured() -> dict[str, Any]:
    """Return the measured numbers, ``resources/costs.yaml``."""
    return read_own_yaml(RESOURCES / "costs.yaml")


# ---------------------------------------------------------------------------------------- jobs


def _image_jobs(study: Study) -> Iterator[tuple[Work, int]]:
    """Yield the jobs on images, up to the array of each modality."""
    members, registered = study.template_members(), study.registered()
    yield Work("prepare_t1w"), len({*members, *registered})
    for stage in ("template_start", "template_final", "template_mask", "grid_mask"):
        yield Work(stage), 1
    for iteration in range(1, study.config["template"]["iterations"] + 1):
        yield Work("template_register", iteration=str(iteration)), len(study.iteration_members(iteration))
        yield Work("template_update", iteration=str(iteration)), 1
    yield Work("register"), len(registered)
    yield Work("jacobian"), len(registered)
    yield Work("measure_quality"), len(study.with_images())
    people: dict[str, set[str]] = {}
    aligned = study.config["diffusion"]["space"] == "T1w"
    for modality in study.used_modalities():
        having = study.with_modality(modality)
        yield Work("map_to_template", modality=modality), len(having)
        yield Work("normalise", modality=modality), 1
        for made in map_files(study.modalities[modality], aligned).values():
            if made is None or made.rule in ("prepare_t1w", "register", "jacobian"):
                continue
            # a series is regressed once for all its components
            name = study.declared(modality) if made.rule == "dual_regression" else ""
            people.setdefault(f"{made.rule} {name}", set()).update(having)
            if made.rule in (
                "fit_noddi",
                "align_diffusion",
            ):  # both need the mask and b = 0 of the tensor's fit
                people.setdefault("fit_tensor ", set()).update(having)
    for name, found in people.items():
        stage = name.split()[0]
        yield Work(stage), 1 if stage == "template_to_mni" else len(found)


def _experiment_jobs(study: Study) -> Iterator[tuple[Work, int]]:
    """Yield the jobs of models and of what is predicted from their codes."""
    clustered, measured_too = stratified(study), measured_experiments(study)
    for name, experiment in study.experiments.items():
        number = len(folds(experiment))
        decoded = len(reconstruction_folds(experiment))
        asked = {
            "evaluate": bool(decoded),
            "robustness": experiment["analyses"]["robustness"],
            "relevance": can(experiment, "regions"),
            "explain": explains(study, name),
            "synthesise": can(experiment, "synthesises"),
        }
        predicted = predicts(experiment)
        embedded = predicted or asked["explain"] or (decoded and name in clustered)
        yield Work("split", name), 1
        yield Work("train", name, fold="all"), 1
        yield Work("embed", name, fold="all"), 1
        yield Work("train", name, fold="fold"), number if embedded or any(asked.values()) else 0
        yield Work("embed", name, fold="fold"), number if embedded else 0
        for stage, wanted in asked.items():
            yield Work(stage, name, fold="fold"), number if wanted else 0
        yield Work("summarise_experiment", name), 1
        yield Work("measure_codes", name), int(name in measured_too)
        yield Work("baselines", name, fold="fold"), number if predicted else 0
        yield Work("predict", name), int(predicted)
        yield Work("summarise_explanation", name), int(asked["explain"])
        yield Work("summarise_synthesis", name), int(asked["synthesise"])
        yield Work("map_codes", name), int(can(experiment, "modality_codes"))
        yield Work("generate", name), int(can(experiment, "generates"))


def _strata_jobs(study: Study) -> Iterator[tuple[Work, int]]:
    """Yield the jobs on codes and phenotypes."""
    clustered, finders = stratified(study), study.config["strata"]["finders"]
    phenotypes = bool(study.config["phenotypes"]["tables"])
    codes = len(clustered_codes(study))
    in_factors = any("factors" in e["analyses"]["prediction"] for e in study.experiments.values())
    if phenotypes:
        yield Work("factor_congruence"), 1
    if phenotypes or in_factors:
        yield Work("factor_phenotypes"), 1
    for stage in ("describe_people", "gather_quality", "compare_quality"):
        yield Work(stage), 1
    yield Work("compare_raters"), int(compared_raters(study))
    if clustered:
        yield Work("agreement"), 1
    for name in clustered:
        yield Work("adjust_codes", name), int(leading_codes(study) == "adjusted")
        yield Work("project", name), 1
        yield Work("map_strata", name, finders[0]), 1
        yield Work("decode_strata", name, finders[0]), int(can(study.experiments[name], "decodes"))
        if phenotypes:
            yield Work("continuous", name), 1
            yield Work("baselines", name, fold="all"), 1
        for finder in finders:
            for stage in ("cluster", "existence"):
                yield Work(stage, name, finder), codes
            for stage in ("stability", "composition", "strata_quality"):
                yield Work(stage, name, finder), 1
            if phenotypes:
                for stage in (
                    *("repartition_strata", "compare_strata", "profile_strata"),
                    *("compare_adjusted", "split_half", "shuffle_links"),
                ):
                    yield Work(stage, name, finder), 1


def jobs_of(study: Study) -> Counter[Work]:
    """Return what has to be done for a whole study, and by how many jobs."""
    jobs: Counter[Work] = Counter({Work("check_cohort"): 1, Work("provenance"): 1, Work("report"): 1})
    for part in (_image_jobs, _experiment_jobs, _strata_jobs):
        for work, number in part(study):
            jobs[work] += number
    if any(work.stage in ("baselines", "relevance") for work in +jobs):
        jobs[Work("grid_regions")] += 1
    jobs[Work("subject_page")] += len(study.registered())
    groups = ["template", *(f"modality-{m}" for m in study.used_modalities()), *study.experiments, "people"]
    groups += ["characteristics", "registered", "families"] if stratified(study) else []
    jobs[Work("list_people")] += len(groups)
    return +jobs


def imagined(config: Mapping[str, Any], people: int) -> Study:
    """Return a study of so many people who all have every image that a configuration uses.

    Parameters
    ----------
    config
        A configuration, also one that leaves keys at their defaults.
    people
        Their number.
    """
    filled = fill_config(config)
    bare = Study(filled, [])
    columns = {c for m in bare.used_modalities() for c in required_columns(bare.modalities[m])} | {"t1w"}
    labels = [e["label"] for e in filled["experiments"] if e["label"]]
    rows = []
    for number in range(people):
        cells = dict.fromkeys(columns, "image") | {"subject": f"{number:06d}"}
        rows.append(cells | {label["column"]: label["classes"][number % 2] for label in labels})
    return Study(filled, rows)


# ---------------------------------------------------------------------------------------- sizes


#: Voxels of the fusion grid on which models were measured.
_GRID = 128 * 128 * 96


def _effort(iterations: list[int]) -> float:
    """Return the work of a registration's levels, coarse to fine, in passes over the finest."""
    return sum(number / 8.0**level for level, number in enumerate(reversed(iterations)))


class Sizes:
    """How large the jobs of a study are, in the words of ``resources/costs.yaml``.

    Parameters
    ----------
    study
        People and configuration.
    images
        What the images are like.
    """

    def __init__(self, study: Study, images: Images = Images()) -> None:
        self.study = study
        self.images = images
        self._members: dict[tuple[str, str], int] = {}

    @cached_property
    def _of_study(self) -> dict[str, float]:
        config, images, numbers = self.study.config, self.images, measured()
        engine = config["registration"]["engine"]
        usual = section_defaults("registration")[engine]["iterations"]
        shape, downsample = config["volumes"]["shape"], config["volumes"]["downsample"]
        grid = math.prod(shape) / _GRID
        strata = config["strata"]
        return {
            "each": 1.0,
            "template": (2 / config["template"]["resolution_mm"]) ** 3,
            **images.sizes(),
            "grid": grid,
            "fine": grid * (downsample / 2) ** 3,
            "engine": float(numbers["engines"][engine]),
            "work": _effort(config["registration"][engine]["iterations"]) / _effort(usual),
            "noddi": float(numbers["noddi"][config["diffusion"]["noddi"]["engine"]]),
            "speed": float(numbers["gpu"]["step_s"]),
            "draws": 2.0 * strata["existence"]["draws"] + 1,
            "resamples": 2.0 * strata["stability"]["draws"],
            "splits": 2.0 * strata["split_half"]["splits"],
        }

    def _people(self, work: Work) -> int:
        """Return the number of people that a job is about."""
        key = work.experiment or work.modality or work.stage, work.iteration
        if key not in self._members:
            if work.experiment:
                number = len(self.study.experiment_members(work.experiment))
            elif work.modality:
                number = len(self.study.with_modality(work.modality))
            elif work.iteration:
                number = len(self.study.iteration_members(int(work.iteration)))
            elif work.stage.startswith("template"):
                number = len(self.study.template_members())
            else:
                number = len(self.study.people())
            self._members[key] = number
        return self._members[key]

    def of(self, work: Work) -> dict[str, float]:
        """Return every size of a job; a search for clusters has the threads that its rule asks for."""
        people = self._people(work)
        sizes = {**self._of_study, "people": float(people)}
        if work.experiment:
            experiment = self.study.experiments[work.experiment]
            model = measured()["models"][experiment["model"]]
            sizes |= {"dimensions": len(experiment["modalities"]), "model": model}
            # a GPU was measured with one model: others are taken to be faster or slower by as much as on a CPU
            sizes["speed"] *= model / measured()["models"]["separable_autoencoder"]
            sizes["steps"] = self._steps(experiment, work, people)
        if work.finder:
            sizes |= self._searches(work.finder, people) | self.of_search(work, SEARCH_THREADS)
        return sizes

    def of_search(self, work: Work, threads: int) -> dict[str, float]:
        """Return the sizes that the memory of a search for clusters depends on; a finder that was not measured is taken to need none.

        Parameters
        ----------
        work
            Its stage, experiment and finder.
        threads
            Of the job.
        """
        people, numbers = self._people(work), measured()["finders"].get(work.finder, {})
        sizes = {"each": 1.0, "people": float(people), "threads": float(threads)}
        sizes["dimensions"] = len(self.study.experiments[work.experiment]["modalities"])
        pairs = (self._searched(work.finder, people) / 1000) ** 2
        return sizes | {
            name: pairs * amount(numbers.get(name, {}), sizes) for name in ("search_mb", "quick_mb")
        }

    def _searched(self, finder: str, people: int) -> int:
        """Return how many people a finder searches: those of its sample, or all."""
        sample = self.study.config["strata"][finder].get("sample")
        return min(people, sample or people)

    def _steps(self, experiment: Mapping[str, Any], work: Work, people: int) -> float:
        """Return a training's steps, each of one person with two modalities."""
        own = {k: v for k, v in experiment["training"].items() if v is not None}
        training = {**self.study.config["training"], **own}
        epochs = training["epochs"] or PRESETS[training["preset"]]["epochs"]
        validation, share = experiment["validation"], 1.0
        if work.fold != "all":
            kfold = validation["method"] == "kfold"
            share = 1 - (1 / validation["folds"] if kfold else validation["test_fraction"])
        return float(epochs * people * share * len(experiment["modalities"]) / 2)

    def _searches(self, finder: str, people: int) -> dict[str, float]:
        """Return the seconds of a finder's search and of its short form."""
        numbers = measured()["finders"][finder]
        settings, short = 1.0, 1.0
        if finder == "affinity_propagation":
            options = self.study.config["strata"][finder]
            damping, preference = options["damping"]["steps"], options["preference"]["steps"]
            settings = damping * preference / numbers["settings"]
            short = min(1.0, damping / 2) * min(1.0, preference / 15)
        size = self._searched(finder, people) / 1000
        return {
            "search": settings * numbers["search_s"] * size ** numbers["power"],
            "quick": short * numbers["quick_s"] * size ** numbers["quick_power"],
        }


def amount(terms: Mapping[str, float], sizes: Mapping[str, float]) -> float:
    """Return a sum of products of sizes, such as ``{each: 2, people*grid: 0.1}``."""
    return sum(
        number * math.prod(sizes[name] for name in product.split("*")) for product, number in terms.items()
    )


# ---------------------------------------------------------------------------------------- costs


def cost_of(
    study: Study, jobs: Mapping[Work, int], images: Images = Images(), starting: bool = True
) -> dict[str, Cost]:
    """Return stage -> what its jobs take, in the order of the work.

    Parameters
    ----------
    study
        People and configuration.
    jobs
        What is done, and by how many jobs: of a plan, or :func:`jobs_of` a whole study.
    images
        What the images are like.
    starting
        Whether the time of starting and ending the jobs is counted.
    """
    numbers, sizes = measured(), Sizes(study, images)
    found: dict[str, Cost] = {}
    for work, count in jobs.items():
        stage = numbers["stages"].get(work.stage)
        if stage is None or not count:  # a rule that only names targets
            continue
        size = sizes.of(work)
        used = {
            what: amount(stage.get(what, {}), size) for what in ("cpu_s", "gpu_s", "disk_mb", "memory_mb")
        }
        on_gpu = used["gpu_s"] > 0
        start = numbers["starting_s"] if starting else 0.0
        found[work.stage] = found.get(work.stage, Cost()) + Cost(
            count,
            count * (start + (0 if on_gpu else used["cpu_s"])) / 3600,
            count * used["gpu_s"] / 3600,
            count * used["cpu_s"] / 3600 if on_gpu else 0.0,
            count * used["disk_mb"] / 1000,
            used["memory_mb"] / 1000,
        )
    return {stage: found[stage] for stage in STAGES if stage in found}


def study_cost(config: Mapping[str, Any], people: int, images: Images = Images()) -> dict[str, Cost]:
    """Return stage -> what it takes in a study of so many people who all have every image.

    Parameters
    ----------
    config
        A configuration, also one that leaves keys at their defaults.
    people
        Their number.
    images
        What their images are like.
    """
    study = imagined(config, people)
    return cost_of(study, jobs_of(study), images)


def total(costs: Mapping[str, Cost]) -> Cost:
    """Return the sum over all stages."""
    return sum(costs.values(), Cost())


def known_headers(study: Study) -> dict[str, dict[str, Any]]:
    """Return path -> ``affine`` and ``shape`` of the images that a study's last check has read; nothing before any check.

    Parameters
    ----------
    study
        People and configuration.
    """
    path = Path(path_in(study.config["output"], HEADERS))
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {
            key.split("|")[0]: facts for key, facts in known.items() if {"affine", "shape"} <= facts.keys()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # no check yet, or of a release that wrote it otherwise


def images_of(study: Study) -> Images:
    """Return what a study's images are like, from the headers that its last check has read; typical ones before any check.

    Parameters
    ----------
    study
        People and configuration.
    """
    return images_like(study.rows.values(), known_headers(study))


def images_like(
    rows: Iterable[Row], headers: Mapping[str, Mapping[str, Any]], usual: Images = Images()
) -> Images:
    """Return what the images of people are like: the median of those whose headers are known; of others what is usual.

    Parameters
    ----------
    rows
        The people's rows of the cohort sheet.
    headers
        Path of an image -> its ``affine`` and ``shape``.
    usual
        What images are like of which no header is known.
    """
    sides: dict[str, list[float]] = {"t1w": [], "dwi": []}
    volumes: list[int] = []
    for row in rows:
        for column, found in sides.items():
            if facts := headers.get(row.get(column, "")):
                a, b, c = (facts["affine"][axis][:3] for axis in range(3))
                volume = abs(
                    a[0] * (b[1] * c[2] - b[2] * c[1])
                    - a[1] * (b[0] * c[2] - b[2] * c[0])
                    + a[2] * (b[0] * c[1] - b[1] * c[0])
                )
                found.append(volume ** (1 / 3))  # the side of a cube with the voxel's volume
                if column == "dwi":
                    volumes.append(([*facts["shape"], 1])[3])
    return Images(
        median(sides["t1w"]) if sides["t1w"] else usual.t1w_mm,
        median(sides["dwi"]) if sides["dwi"] else usual.dwi_mm,
        round(median(volumes)) if volumes else usual.dwi_volumes,
    )


# ---------------------------------------------------------------------------------------- words


def about(number: float) -> str:
    """Return an estimate of 1 or more with one significant figure; below that with one decimal."""
    digits = -math.floor(math.log10(number)) if number > 0 else 1
    rounded = round(number, min(digits, 1))
    return f"{rounded:,.0f}" if rounded >= 1 else f"{rounded:.1f}"


def hours_in_words(hours: float, of: str = "CPU") -> str:
    """Return hours for people: "about 20 CPU hours", "about 3 CPU minutes", "less than a CPU minute"."""
    if hours * 60 < 1:
        return f"less than a {of} minute"
    if hours >= 11 / 12:
        number, unit = about(max(hours, 1)), "hour"
    else:
        number, unit = about(hours * 60), "minute"
    return f"about {number} {of} {unit}{'' if number == '1' else 's'}"


def work_in_words(cost: Cost, short: bool = False) -> str:
    """Return the hours of a cost: "about 20 CPU hours and about 400 GPU hours (H100; without a GPU about 2,000 CPU hours more)".

    Parameters
    ----------
    cost
        Some stages'.
    short
        Leave out which GPU it is and what it would be without one.
    """
    on_cpu = hours_in_words(cost.cpu_hours)
    if not cost.gpu_hours:
        return on_cpu
    on_gpu = hours_in_words(cost.gpu_hours, "GPU")
    if short:
        return on_gpu if cost.cpu_hours < cost.gpu_hours / 10 else f"{on_cpu} and {on_gpu}"
    card, instead = measured()["gpu"]["card"], hours_in_words(cost.cpu_hours_instead)
    return f"{on_cpu} and {on_gpu} ({card}; without a GPU {instead} more)"


def disk_in_words(gigabytes: float) -> str:
    """Return a size for people: "about 30 GB", "about 200 MB", "less than 1 MB"."""
    if gigabytes < 0.001:
        return "less than 1 MB"
    return f"about {about(gigabytes)} GB" if gigabytes >= 0.95 else f"about {about(gigabytes * 1000)} MB"


def in_words(cost: Cost) -> str:
    """Return hours and disk for people: those of :func:`work_in_words`, then ", about 30 GB on the disk"."""
    return f"{work_in_words(cost)}, {disk_in_words(cost.disk_gb)} on the disk"
