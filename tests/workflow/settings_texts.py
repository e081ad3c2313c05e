"""The settings that the rules track, of a configuration: parsed in this process, nothing is planned."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any
from unittest import mock

import yaml
from small_study import REPOSITORY, StudyFolder

#: Settings of a study: (stage, what the job is about) -> values.
Settings = dict[tuple[str, str], dict[str, Any]]


def tracked(study: StudyFolder, config: dict[str, Any]) -> Settings:
    """Return every settings text of a study with this configuration, as values."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings, WorkflowSettings

    (study.folder / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    # as a call that plans nothing, before which nothing is checked
    listing = mock.patch("neurostrata.controller.session.asked_of_snakemake", return_value="aside")
    with listing, SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        parsed = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            workflow_settings=WorkflowSettings(),
            snakefile=REPOSITORY / "Snakefile",
            workdir=study.folder,
        )
        workflow = parsed._workflow
        known = workflow.globals
        people = known["STUDY"]
        about: dict[str, list[str]] = {
            "experiment": list(people.experiments),
            "modality": people.used_modalities(),
            "finder": known["FINDERS"],
            "codes": known["CODES"],
            "declared": [],
            "iteration": ["1", str(known["ITERATIONS"])],
            "group": ["people", *(f"modality-{m}" for m in people.used_modalities())],
        }
        found: Settings = {}
        for rule in workflow.rules:
            text = getattr(rule.params, "settings", None)
            if isinstance(text, str):
                found[rule.name, ""] = json.loads(text)
            elif text is not None:
                names = [name for name in about if name in rule.wildcard_names]
                for values in itertools.product(*(about[name] for name in names)):
                    # of people who have all images, one stands for all
                    wildcards = SimpleNamespace(subject=people.people()[0], **dict(zip(names, values)))
                    found[rule.name, "-".join(values)] = json.loads(text(wildcards))
    return found


def leaves(values: Any, place: str = "") -> dict[str, Any]:
    """Return place -> value of every value that is no mapping."""
    if isinstance(values, dict) and values:
        return {p: v for key, part in values.items() for p, v in leaves(part, f"{place}.{key}").items()}
    return {place.removeprefix("."): values}


def differing(before: Settings, after: Settings) -> dict[tuple[str, str], set[str]]:
    """Return (stage, what the job is about) -> places of the values that differ, for the texts that differ.

    `provenance` and `report` hold the whole configuration and are left out.
    """
    found = {}
    for key in before.keys() | after.keys():
        old, new = leaves(before.get(key, {})), leaves(after.get(key, {}))
        places = {p for p in old.keys() | new.keys() if old.get(p) != new.get(p)}
        if places and key[0] not in ("provenance", "report"):
            found[key] = places
    return found


def another(schema: dict[str, Any], value: Any) -> Any:
    """Return a value other than `value` that a schema allows."""
    from neurostrata.core.config import schema_problems

    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 1
    candidates: list[Any] = [*schema.get("enum", []), not value]
    candidates += [number + 1, number - 1, number / 2, number * 2, number * 16, 8, 0.3, 0.6, 0.9]
    if isinstance(value, list):
        inner = value[0] if value else 1
        candidates += [value[:-1], [*value, inner], [inner, *value[1:]]]
        candidates.append([another(schema["items"], inner), *value[1:]])
    candidates += [["jac"], "jac"]
    return next(c for c in candidates if c != value and not schema_problems(c, schema))


def others(schema: dict[str, Any]) -> dict[str, Any]:
    """Return for every key of a schema a value that is not its default, sections inside it included."""
    return {
        key: others(part) if part.get("properties") else another(part, part["default"])
        for key, part in schema["properties"].items()
    }
