"""Where a run departs from a paper, by comparing its configuration with the paper's table of settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurostrata.core.config import declared_names, finder_names, look_up
from neurostrata.core.wording import join_words, setting_words
from neurostrata.planning.options import used_options
from neurostrata.report.text.methods import Config, training_values

#: Value of a key that the configuration does not have.
ABSENT = object()
#: Lists of modalities, whose order is of no importance.
ORDERLESS = ("modalities", "options.inputs", "options.outputs")
#: Modalities that are named one by one, at most.
MOST_NAMES = 8

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Departure:
    """One difference between a paper and a run.

    Attributes
    ----------
    topic, section, paper
        As in the paper's table: the subject, the paper's section, what the paper says.
    here
        What the run has; where experiments differ, which of them.
    key
        The setting that decides it.
    """

    topic: str
    section: str
    paper: str
    here: str
    key: str


def experiments_of(table: Row, config: Config) -> list[Config]:
    """Return the experiments of a run that use the model of a paper."""
    return [experiment for experiment in config["experiments"] if experiment["model"] == table["model"]]


def departures(table: Row, config: Config) -> list[Departure]:
    """Return where a run departs from a paper, a row for each setting.

    Settings that decide nothing in the run have no row: options of an engine, finder or method that was not chosen, and
    sections for what the run does not do, such as ``strata`` where no experiment with the paper's model is clustered.

    Parameters
    ----------
    table
        Of the paper; the head of ``resources/papers/dimitri2022.yaml`` explains it.
    config
        The whole configuration, defaults filled in.

    Returns
    -------
    list of Departure
        First those of the study, then those of the experiments with the paper's model; none without such experiments.
    """
    experiments = experiments_of(table, config)
    if not experiments:
        return []
    return [
        *_of_settings(table["settings"], config, experiments),
        *_of_experiments(table["experiments"], config, experiments),
    ]


def unsettled(table: Row) -> list[Departure]:
    """Return what no setting can say of a paper: what is done otherwise, and values for which there is no setting yet."""
    return [
        *(Departure(row["topic"], row["section"], row["paper"], row["here"], "") for row in table["beyond"]),
        *(
            Departure(row["topic"], row["section"], row["paper"], f"no setting yet: {row['meaning']}", "")
            for row in table["needed"]
        ),
    ]


def compared(table: Row) -> int:
    """Return how many settings of a paper's table a run is compared with."""
    return len(table["settings"]) + len(table["experiments"])


def _same(first: Any, second: Any) -> bool:
    """Tell whether two values are equal; unlike in Python, 0 is not `no`."""
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second))
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def _agrees(row: Row, value: Any) -> bool:
    of_paper = [row["equals"]] if "equals" in row else row["among"]
    if row["key"] in ORDERLESS and isinstance(value, list | tuple):
        value, of_paper = sorted(value), [sorted(one) for one in of_paper]
    return any(_same(value, one) for one in of_paper)


def _words(value: Any, key: str = "") -> str:
    """Return a value of the configuration for the table."""
    if key in ORDERLESS and isinstance(value, list | tuple) and len(value) > MOST_NAMES:
        return f"{len(value)} modalities, {value[0]} to {value[-1]}"
    return "not set" if value is ABSENT else setting_words(value)


def _of_settings(rows: Sequence[Row], config: Config, experiments: Sequence[Config]) -> Iterator[Departure]:
    """Yield the differences in the settings of the whole study."""
    used = _used_settings(config, experiments)
    undeclared: dict[str, list[Row]] = {}
    for row in rows:
        if not all(_same(look_up(config, key, ABSENT), value) for key, value in row.get("when", {}).items()):
            continue
        section, _, rest = row["key"].partition(".")
        modality = rest.partition(".")[0]
        if section == "modalities" and modality not in config["modalities"]:
            undeclared.setdefault(modality, []).append(row)
            continue
        value = look_up(config, row["key"], ABSENT)
        if not _agrees(row, value) and _is_used(row["key"], config, used):
            yield Departure(row["topic"], row["section"], row["paper"], _words(value), row["key"])
    for modality, group in undeclared.items():
        yield Departure(
            f"Modality {modality}",
            join_words(list(dict.fromkeys(row["section"] for row in group))),
            "; ".join(f"{row['topic']}: {row['paper']}" for row in group),
            "no modality of this name",
            f"modalities.{modality}",
        )


def _of_experiments(
    rows: Sequence[Row], config: Config, experiments: Sequence[Config]
) -> Iterator[Departure]:
    """Yield the differences in the settings of experiments, those of all experiments in one row."""
    for row in rows:
        values = {
            experiment["name"]: _value(config, experiment, row["key"])
            for experiment in experiments
            if all(
                _same(_value(config, experiment, key), value) for key, value in row.get("when", {}).items()
            )
        }
        names: dict[str, list[str]] = {}
        for name, value in values.items():
            if not _agrees(row, value):
                names.setdefault(_words(value, row["key"]), []).append(name)
        if not names:
            continue
        same = len(names) == 1 and len(next(iter(names.values()))) == len(experiments)
        here = "; ".join(text if same else f"{text} in {join_words(those)}" for text, those in names.items())
        yield Departure(row["topic"], row["section"], row["paper"], here, row["key"])


def _value(config: Config, experiment: Config, key: str) -> Any:
    """Return an experiment's value of a key, as it was used: of `training` and `seed` its own, else that of the study."""
    section, _, rest = key.partition(".")
    if section == "training":
        return training_values(config, experiment).get(rest, ABSENT)
    value = look_up(experiment, key, ABSENT)
    return config["seed"] if key == "seed" and value is None else value


def _is_used(key: str, config: Any, used: Any) -> bool:
    """Tell whether a setting decides anything: whether it is still there once the unused ones are left out."""
    for part in key.split("."):
        if part not in config:
            return True  # that it is not set is the difference
        if part not in used:
            return False
        config, used = config[part], used[part]
    return True


def _used_settings(config: Config, experiments: Sequence[Config]) -> dict[str, Any]:
    """Return the configuration without the settings that decide nothing in this run."""
    declared = declared_names(config["modalities"])
    names = {
        declared[modality]
        for experiment in experiments
        for modality in experiment["modalities"]
        if modality in declared
    }
    modalities = {name: part for name, part in config["modalities"].items() if name in names}
    sources = {declaration["from"] for declaration in modalities.values()}
    phenotypes = config["phenotypes"] if config["phenotypes"]["tables"] else {}
    clustered = any(experiment["analyses"]["strata"] for experiment in experiments)
    return {
        **config,
        "modalities": modalities,
        "registration": used_options("register", config["registration"]),
        "diffusion": _used_diffusion(config["diffusion"], sources),
        "phenotypes": used_options("factor_phenotypes", phenotypes) if phenotypes else {},
        "strata": _used_strata(config["strata"], bool(phenotypes)) if clustered else {},
        "report": {
            key: value
            for key, value in config["report"].items()
            if {"alpha": clustered, "loading_threshold": bool(phenotypes)}.get(key, True)
        },
    }


def _used_diffusion(section: Config, sources: set[str]) -> dict[str, Any]:
    """Return the settings of the diffusion models whose maps are used."""
    readers = {"space": {"tensor", "noddi"}, "tensor_b_max": {"tensor"}, "noddi": {"noddi"}}
    used = used_options("fit_noddi", section)
    return {key: value for key, value in used.items() if readers.get(key, sources) & sources}


def _used_strata(section: Config, phenotypes: bool) -> dict[str, Any]:
    """Return the settings of the finders that were used; those of random repartitions only where phenotypes are compared."""
    unused = {name for name in finder_names() if name not in section["finders"]}
    if not phenotypes:
        unused.add("repartition")
    return {key: value for key, value in section.items() if key not in unused}
