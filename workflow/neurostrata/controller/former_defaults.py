"""Studies that were made with defaults of an earlier release: nothing is made again because a default has changed.

A study's own configuration has the keys that somebody decided; the others have defaults. When a default changes, a finished
study would be made again by itself, which may be thousands of CPU hours. So a run that would do that ends with a
question, and a key in the study's configuration answers it, whichever value it has there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from neurostrata.core.config import fill_config, look_up, overlaid, read_yaml
from neurostrata.core.locations import DEFAULT_CONFIG, FORMER_DEFAULTS, STUDY_CONFIG
from neurostrata.planning.options import WHOLE
from neurostrata.stages import STAGES


def given_settings(workflow: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the study itself sets: its own file, files and values of the command line, or what another workflow gives.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        The one that is being read.
    config
        Its configuration so far: of a module, only what the other workflow gives.
    """
    if not workflow.modifier.is_main_snakefile():
        return dict(config)
    own = read_yaml(STUDY_CONFIG) if STUDY_CONFIG.is_file() and not _is_the_default() else {}
    return overlaid(own, workflow.config_settings.overwrite_config)


def _is_the_default() -> bool:
    """Tell whether the study is the clone itself, whose configuration is the default."""
    return STUDY_CONFIG.resolve() == DEFAULT_CONFIG


@dataclass
class Undecided:
    """A key whose default has changed, which the study does not set and by which results were made.

    Attributes
    ----------
    key
        Of the configuration; ``experiments`` stands for all of them.
    former, now
        Its defaults.
    jobs
        Jobs of each stage that would be run again.
    """

    key: str
    former: Any
    now: Any
    jobs: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """Return what has changed, and the jobs that it would repeat."""
        jobs = ", ".join(f"{stage} {self.jobs[stage]}" for stage in STAGES if stage in self.jobs)
        if isinstance(self.former, list) and isinstance(self.former[0], Mapping):
            return f"{self.key}: other ones than before  ({jobs})"
        return f"{self.key}: made with {self.former}, recommended now is {self.now}  ({jobs})"


def _keys(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def undecided(dag: Any, given: Mapping[str, Any]) -> list[Undecided]:
    """Return the changed defaults because of which jobs would repeat what they have made.

    Parameters
    ----------
    dag : snakemake.dag.DAG
        Planned.
    given
        See :func:`given_settings`.
    """
    defaults = fill_config(read_yaml(DEFAULT_CONFIG))
    open_keys = {
        key: Undecided(key, former, look_up(defaults, key))
        for key, former in _keys(read_yaml(FORMER_DEFAULTS))
        if look_up(given, key) is None
    }
    # A dry run marks its jobs as done. What records the whole configuration takes a minute.
    jobs = [job for job in dag.needrun_jobs(exclude_finished=False) if job.rule.name not in WHOLE]
    if any(_decided_by(dag.reason(job).params_changed, open_keys) for job in jobs):
        # Snakemake compares no settings of jobs that it plans for another reason, such as that of the jobs before them.
        for job in jobs:
            change = dag.reason(job).params_changed or dag.workflow.persistence.params_changed(job)
            for key in _decided_by(change, open_keys):
                open_keys[key].jobs[job.rule.name] += 1
    return [found for found in open_keys.values() if found.jobs]


def _decided_by(change: Any, open_keys: Mapping[str, Undecided]) -> set[str]:
    """Return the keys whose former defaults are among the changed settings of a job."""
    keys = set()
    for place, (was, _) in getattr(change, "values", {}).items():
        key = place.partition("[")[0]  # experiments[NAME].model
        if key in open_keys and (key != place or was == open_keys[key].former):
            keys.add(key)
    return keys


def question(dag: Any, given: Mapping[str, Any]) -> str:
    """Return what has to be decided before a plan is run, or "" when there is nothing.

    Parameters
    ----------
    dag : snakemake.dag.DAG
        Planned.
    given
        See :func:`given_settings`.
    """
    found = undecided(dag, given)
    if not found:
        return ""
    changed = "".join(f"\n    {each.line()}" for each in found)
    keep = "".join(_answer({each.key: each.former for each in found}, FORMER_DEFAULTS))
    again = {each.key: each.now for each in found}
    if _is_the_default():
        values = " ".join(
            f"'{line.replace(': ', '=', 1)}'"
            for line in _lines({k: v for k, v in again.items() if _short(v)})
        )
        how = f"  To make them again: --config {values}" if values else ""
    else:
        how = f"  To make them again with what is recommended now:{''.join(_answer(again, DEFAULT_CONFIG))}"
    # The template's registrations are temporary: what they were made with is not known.
    if any(key.startswith("registration.") for key in again):
        how += "\n  The template then stays as it is; --forcerun template_start builds it again too."
    return (
        "what is recommended has changed since results of this study were made, and its configuration does not say which it wants:"
        f"{changed}\n  To keep these results, write into {STUDY_CONFIG} of the study:{keep}\n{how}"
    )


def _short(value: Any) -> bool:
    return not (isinstance(value, list) and value and isinstance(value[0], Mapping))


def _answer(values: Mapping[str, Any], file: Path) -> Iterator[str]:
    """Yield the lines of a configuration that set these keys; what is long is to be copied from a file."""
    for line in _lines({key: value for key, value in values.items() if _short(value)}):
        yield f"\n    {line}"
    for key in (key for key, value in values.items() if not _short(value)):
        yield f"\n    {key}: as in {file}"


def _lines(values: Mapping[str, Any]) -> list[str]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        nested = overlaid(nested, value)
    return [
        yaml.safe_dump({section: value}, default_flow_style=True, width=1000).strip()[1:-1]
        for section, value in nested.items()
    ]
