"""Checking a whole configuration, and filling in every default."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from neurostrata.core.config.experiments import experiment_problems
from neurostrata.core.config.messages import schema_problems, with_lines
from neurostrata.core.config.modalities import column_problems, declared_names, modality_problems
from neurostrata.core.config.schemas import fill_defaults, finder_names, load_schema, model_names
from neurostrata.core.errors import UserError

#: Former keys of the section `strata` -> what to write instead.
RENAMED = {
    "clustering": "its keys are now under strata.affinity_propagation, and small_cluster_people and small_cluster_share "
    "are strata.small_clusters: {people: 5, share: 0.01}",
}


def _renamed_problems(config: Mapping[str, Any]) -> list[str]:
    section = config.get("strata")
    if not isinstance(section, Mapping):
        return []
    return [f"strata.{key}: {what}" for key, what in RENAMED.items() if key in section]


def _strata_problems(config: Mapping[str, Any]) -> Iterator[str]:
    for position, name in enumerate(config["strata"]["finders"]):
        if name not in finder_names():
            yield f"strata.finders[{position}]: '{name}' is not one of {', '.join(finder_names())}"
    if "diagnosis" in config["strata"]["adjust"]["columns"]:
        yield (
            "strata.adjust.columns: 'diagnosis' is never adjusted for, which would hide how clusters relate to it; remove it"
        )


def _value_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Check values that the schema's types and limits do not."""
    low, high = config["volumes"]["percentiles"]
    if low >= high:
        yield f"volumes.percentiles: [{low}, {high}]: the first must be below the second"
    cohort = config["cohort"]
    bids = cohort["bids"] or []
    paths = [
        ("output", config["output"]),
        ("qc", config["qc"]),
        *((f"cohort.{key}", cohort[key]) for key in ("sheet", "hcp", "ukb")),
        *(("cohort.bids", folder) for folder in ([bids] if isinstance(bids, str) else bids)),
        *(("phenotypes.tables", path) for path in config["phenotypes"]["tables"]),
        *((f"regions.{key}", config["regions"][key]) for key in ("image", "names")),
        *(
            (f"modalities.{name}.components_image", m.get("components_image"))
            for name, m in config["modalities"].items()
        ),
    ]
    for key, path in paths:
        odd = [character for character in "{}<>\n\t\0" if path and character in path]
        if odd:
            yield (
                f"{key}: {path!r}: a path with {odd[0]!r}, which has a special meaning in a workflow; rename the file or folder, or use a link"
            )
        if path is not None and not path.strip():
            yield f"{key}: the path is empty"
        if path is not None and (path == "~" or path.startswith("~/")):
            yield f"{key}: {path!r}: a ~ is not read as the home folder; write the path from / on"


def _odd_values(value: Any, place: str = "") -> Iterator[str]:
    """Yield what YAML allows but no setting can be: infinite numbers and NaN, keys that are not text."""
    if isinstance(value, dict):
        for key, part in value.items():
            if isinstance(key, bool) or key is None:
                word = "null" if key is None else "yes, no, true, false, on and off"
                yield f"{place or 'the configuration'}: YAML reads a key as {key}; put {word} in quotes where it is meant as a word"
            yield from _odd_values(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _odd_values(part, f"{place}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: {value} is not a finite number"


def _text_keys(value: Any) -> Any:
    """Return a configuration whose keys are text: a questionnaire's codes are numbers in YAML."""
    if isinstance(value, Mapping):
        return {str(key): _text_keys(part) for key, part in value.items()}
    return [_text_keys(part) for part in value] if isinstance(value, list) else value


def fill_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with every default filled in, those of each experiment's model too."""
    filled = fill_defaults(dict(config), load_schema("config"))
    for experiment in filled["experiments"]:
        if experiment["model"] in model_names():
            experiment["options"] = fill_defaults(
                experiment["options"], load_schema(f"models/{experiment['model']}")
            )
    return filled


def _refuse(problems: list[str], files: Sequence[str | Path]) -> NoReturn:
    raise UserError("the configuration has problems:\n  " + "\n  ".join(with_lines(problems, files)))


def check_config(config: Mapping[str, Any], files: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Check a configuration and fill in every default.

    Parameters
    ----------
    config
        As read from YAML, overlays merged.
    files
        Those it was read from, in their order: messages then say in which line a value stands.

    Returns
    -------
    dict
        The whole configuration, with the options of each experiment's model filled in too.

    Raises
    ------
    UserError
        With all problems, one per line, each naming its key.
    """
    schema = load_schema("config")
    problems = list(_odd_values(config))
    config = _text_keys(config)
    problems = problems or _renamed_problems(config) or schema_problems(config, schema)
    if problems:
        _refuse(problems, files)
    filled = fill_defaults(dict(config), schema)
    declared = declared_names(filled["modalities"])
    used = {
        declared[name]
        for experiment in filled["experiments"]
        for name in experiment["modalities"]
        if name in declared
    }
    problems = [
        *_value_problems(filled),
        *modality_problems(filled["modalities"]),
        *column_problems(filled["modalities"], used),
        *experiment_problems(filled),
        *_strata_problems(filled),
    ]
    if problems:
        _refuse(problems, files)
    checked = fill_config(config)
    # Snakemake keeps the records of results by their paths
    checked["output"] = str(Path(checked["output"]))
    return checked
