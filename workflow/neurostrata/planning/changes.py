"""Differences between two settings of a stage, named by the keys of the configuration.

``strata.affinity_propagation.damping.steps: 10 -> 5`` rather than two JSON texts. Standard library
only, and the schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from neurostrata.planning.options import (
    CONTENTS,
    FILES,
    LEARNED_FROM,
    LINES,
    OWN_ROWS,
    POSITIVE,
    TEMPLATE_KEYS,
    TOGETHER,
    deciding_both,
)
from neurostrata.stages import STAGES

#: Stage -> key of its settings, or place in them -> its place in the configuration; "" means all other keys. A stage
#: that is not listed has keys as the configuration has them.
_PLACES: dict[str, dict[str, str]] = {
    "prepare_t1w": {"": "anatomy."},
    **{stage: {"registration": "registration", "": "template."} for stage in TEMPLATE_KEYS},
    "register": {"": "registration."},
    "segment_tissue": {"": "tissue."},
    **{stage: {"": "diffusion."} for stage in ("fit_tensor", "fit_noddi", "align_diffusion")},
    "dual_regression": {"": "modalities.{declared}."},
    "map_to_template": {"modality": "modalities.{modality}", "": "volumes."},
    "normalise": {"kind": "modalities.{modality}.kind", "": "volumes."},
    "grid_mask": {"": "volumes."},
    "measure_quality": {f"diffusion.{key}": f"diffusion.noddi.{key}" for key in ("d_parallel", "d_iso")},
    "grid_regions": {"registration": "registration", "volumes": "volumes.shape", "": "regions."},
    "predict": {
        "prediction": "experiments[{experiment}].analyses.prediction",
        "harmonise": "experiments[{experiment}].analyses.harmonise",
        "covariates": "experiments[{experiment}].analyses.covariates",
        "label": "experiments[{experiment}].label",
        "id_column": "phenotypes.id_column",
    },
    "baselines": {"components": "experiments[{experiment}].options.latent_size"},
    "factor_phenotypes": {"": "phenotypes."},
    "factor_congruence": {"": "phenotypes."},
    "describe_people": {"adjust": "strata.adjust", "id_column": "phenotypes.id_column"},
    "composition": {"confidence": "strata.comparisons.confidence", "": "strata.repartition."},
    "strata_quality": {"confidence": "strata.comparisons.confidence", "": "strata.repartition."},
    "map_strata": {"confidence": "strata.comparisons.confidence"},
    "compare_adjusted": {
        "confidence": "strata.comparisons.confidence",
        "splines": "strata.adjust.splines",
        "": "strata.repartition.",
    },
    "shuffle_links": {
        "shuffles": "strata.shuffles",
        "alpha": "strata.comparisons.alpha",
        "families": "strata.repartition.families",
    },
    **{
        stage: {"options": "strata.{finder}", "": "strata."}
        for stage in (
            *("adjust_codes", "cluster", "existence", "stability", "split_half"),
            *("project", "repartition_strata", "compare_strata"),
        )
    },
    "continuous": {"splines": "strata.adjust.splines", "": "strata."},
}

#: Stage and digest in its settings -> what has changed when the digest differs.
_DIGESTS = {
    ("check_cohort", "digest"): "the cohort sheet or the quality decisions have changed",
    ("list_people", "digest"): "who takes part in what, or what the cohort sheet says of people, has changed",
    ("compare_quality", "decided"): "the quality decisions have changed",
    **{("compare_quality", key): "other modalities are used" for key in ("modalities", "of_diffusion")},
    **{
        (stage, "covariates"): "strata.adjust names other columns"
        for stage in ("compare_adjusted", "continuous")
    },
    ("compare_raters", "decisions"): "the quality decisions have changed",
    **{
        (stage, CONTENTS): "the phenotype tables have changed"
        for stage in ("factor_phenotypes", "factor_congruence", "predict")
    },
    **{
        ("describe_people", key): "what the phenotype tables say of age, sex and the like has changed"
        for key in ("tables", OWN_ROWS)
    },
    **{
        (stage, TOGETHER): "this release removes sites and columns together"
        for stage in ("adjust_codes", "predict")
    },
    **{
        (stage, LINES): "the number of people has come to allow curves, or no longer does"
        for stage in ("adjust_codes", "stability")
    },
    ("predict", POSITIVE): "this release measures the second class as listed",
    ("train", LEARNED_FROM): "the mean image is of those who are learned from, not of those held out",
    ("explain", "targets"): "the targets of two classes have changed",
    ("summarise_explanation", "targets"): "the targets of two classes have changed",
    ("map_codes", "targets"): "the targets of two classes have changed",
    ("report", "state"): "there are other results",
}

#: Settings that say how this release does what former ones did otherwise, or what `auto` comes to.
_BESIDE_KEYS = {TOGETHER, POSITIVE, LEARNED_FROM, LINES}

#: Stage and section of its settings -> what has changed when a value of it has come or gone: the configuration may be as it was.
_COME_OR_GONE = {
    **{
        (stage, "splines"): "comparisons are adjusted along other curves (strata.adjust.splines)"
        for stage in ("compare_adjusted", "continuous")
    },
    ("check_cohort", "config.diffusion.noddi"): "whether deviations of the gradients are read has changed",
    **{
        ("measure_quality", section): "other images of people are used"
        for section in ("modalities", "diffusion")
    },
    **{
        ("grid_regions", section): "regions.image has come or gone"
        for section in ("parcels", "volumes", "space", "registration")
    },
}

_ABSENT = object()

#: Keys that choose whose options are read: the options come and go with the choice, and only the choice is reported.
_CHOICES = ("engine", "method", "model", "enabled", "early_people", "missing", "baselines")


def _goes_with(place: str, choice: str) -> bool:
    """Tell whether a value is in the section in which the choice is made."""
    section = choice.rpartition(".")[0]
    return not section or place.startswith(f"{section}.")


def _words(stage: str, place: str, has_come_or_gone: bool = False) -> str:
    """Return what has changed where a value differs that is no value of the configuration, "" where it is one."""
    found = _DIGESTS.get((stage, place), "")
    if has_come_or_gone and not found:
        within = (
            words
            for (of, section), words in _COME_OR_GONE.items()
            if of == stage and f"{place}.".startswith(f"{section}.")
        )
        found = next(within, "")
    return found


def _leaves(value: Any, place: str = "") -> dict[str, Any]:
    """Return place -> value of every value that is not itself a mapping; experiments are named, not numbered."""
    if isinstance(value, Mapping) and value:
        found: dict[str, Any] = {}
        for key, part in value.items():
            found.update(_leaves(part, f"{place}.{key}" if place else str(key)))
        return found
    if isinstance(value, list) and value and all(isinstance(v, Mapping) and "name" in v for v in value):
        found = {f"{place}: names": [v["name"] for v in value]}
        for part in value:
            found.update(_leaves(part, f"{place}[{part['name']}]"))
        return found
    return {place: value}


def _say(value: Any) -> str:
    if value is _ABSENT:
        return "(nothing)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def config_key(stage: str, place: str, names: Mapping[str, str]) -> str:
    """Return the place of a value of a stage's settings in the configuration.

    Parameters
    ----------
    stage
        Name of the stage.
    place
        In its settings: ``options.damping.steps``.
    names
        What the job is about (its wildcards): ``finder``, ``experiment``, ``modality``, ...
    """
    key, dot, rest = place.partition(".")
    if key == "experiment":  # the stages of one experiment
        return f"experiments[{names['experiment']}]{dot}{rest}"
    if key == "config":  # the cohort's stages: sections of the configuration
        return rest
    places = _PLACES.get(stage, {})
    if place in places:
        key, dot, rest = place, "", ""
    at = places[key] if key in places else places.get("", "") + key
    return f"{at.format_map(names)}{dot}{rest}"


def _differing(stage: str, recorded: str, now: str) -> dict[str, tuple[Any, Any]] | None:
    """Return place -> value before and now, where they differ; None when settings cannot be read."""
    both = deciding_both(stage, recorded, now)
    if both is None:
        return None
    old, new = map(_leaves, both)
    pairs = {p: (old.get(p, _ABSENT), new.get(p, _ABSENT)) for p in dict.fromkeys([*old, *new])}
    found = {place: values for place, values in pairs.items() if values[0] != values[1]}
    # an empty section that now has keys, and a shared value that an experiment now sets itself, are said by what has come
    return {
        place: values
        for place, values in found.items()
        if _ABSENT not in values
        or not (f"experiment.{place}" in found or any(other.startswith(f"{place}.") for other in found))
    }


def _file(place: str) -> str:
    """Return the name of the input that a place in a stage's settings is about, "" where it is about none."""
    return place.removeprefix(f"{FILES}.") if place.startswith(f"{FILES}.") else ""


def changed_files(stage: str, recorded: str, now: str) -> dict[str, str]:
    """Return name of a job's input -> how its file differs from the one that the results were made of.

    Parameters
    ----------
    stage
        Name of the stage.
    recorded, now
        Settings (JSON) as they were when the results were made, and as they are.
    """
    return {
        name: f"is another file than before ({was:,} -> {now_is:,} bytes)"
        if isinstance(now_is, int)
        else "has other content than before"
        for place, (was, now_is) in (_differing(stage, recorded, now) or {}).items()
        if (name := _file(place))
    }


def changed_values(
    stage: str, recorded: str, now: str, names: Mapping[str, str]
) -> dict[str, tuple[Any, Any]]:
    """Return key of the configuration -> value before and now, of settings that differ and decide a stage's results.

    Parameters
    ----------
    stage
        Name of the stage.
    recorded, now
        Settings (JSON) as they were when the results were made, and as they are.
    names
        The job's wildcards.
    """
    found = _differing(stage, recorded, now) or {}
    own = ("version", "seed")  # of the stage, no keys
    return {
        config_key(stage, place, names): values
        for place, values in found.items()
        if place not in own and not _words(stage, place, _ABSENT in values) and not _file(place)
    }


def changes(stage: str, recorded: str, now: str, names: Mapping[str, str]) -> list[str]:
    """Return a line for each setting that differs and decides a stage's results; for files see :func:`changed_files`.

    Parameters
    ----------
    stage
        Name of the stage.
    recorded, now
        Settings (JSON) as they were when the results were made, and as they are.
    names
        The job's wildcards.
    """
    found = _differing(stage, recorded, now)
    if found is None:
        return ["settings recorded by a release that cannot be compared with this one"]
    found = {place: values for place, values in found.items() if not _file(place)}
    lines = []
    chosen = [p for p in found if p.rpartition(".")[2] in _CHOICES]
    for place, (was, now_is) in found.items():
        if _ABSENT in (was, now_is) and any(
            _goes_with(place, choice) for choice in chosen if choice != place
        ):
            continue
        words = _words(stage, place, _ABSENT in (was, now_is))
        if place in _BESIDE_KEYS and found.keys() - _BESIDE_KEYS:
            continue  # it came or went with a key of the configuration
        if words:
            lines.append(words)
        elif place == "version":
            lines.append(f"this release makes other results in {stage} (version {was} -> {now_is})")
        else:
            lines.append(f"{_key_of(stage, place, names)}: {_say(was)} -> {_say(now_is)}")
    return list(dict.fromkeys(lines))


def _key_of(stage: str, place: str, names: Mapping[str, str]) -> str:
    if place == "seed":
        key = STAGES[stage].seed
        return key if key != "experiment" else f"experiments[{names['experiment']}].seed or seed"
    return config_key(stage, place, names)
