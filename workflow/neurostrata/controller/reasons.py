"""Why jobs are planned again: settings are compared by what decides results, and each change is explained in one line.

Snakemake compares the text of a job's settings with the text it recorded. Here both are read: the
same settings in another form are no change, and others are explained by the configuration's keys. Standard library only;
what is used of Snakemake (9.27) is looked up at run time, and a run continues without it where it has changed.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neurostrata.planning.changes import changed_files, changed_values, changes
from neurostrata.planning.options import same_results

#: How many changes are listed; further ones are counted.
MOST_LINES = 40

_same_results = functools.lru_cache(maxsize=10_000)(same_results)  # thousands of jobs share their settings


@dataclass(frozen=True)
class Names:
    """What a job is about: its wildcards, with a component's modality under its declared name."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, wildcards: Mapping[str, str], declared: Callable[[str], str]) -> Names:
        """Take them from a job's wildcards, without the person: all people share their settings."""
        named = {
            key: str(value) for key, value in wildcards.items() if key not in ("subject", "fold", "iteration")
        }
        if "modality" in named:
            named["modality"] = declared(named["modality"])
        return cls(tuple(sorted(named.items())))


@functools.lru_cache(maxsize=10_000)
def _changes(stage: str, recorded: str, now: str, names: Names) -> tuple[str, ...]:
    return tuple(changes(stage, recorded, now, dict(names.pairs)))


_values = functools.lru_cache(maxsize=10_000)(
    lambda stage, recorded, now, names: changed_values(stage, recorded, now, dict(names.pairs))
)
_read = functools.lru_cache(maxsize=10_000)(ast.literal_eval)


def _texts(params: Iterable[str]) -> list[str]:
    """Return the settings among params as Snakemake records them, which is by their ``repr``."""
    return [_read(text) for text in params]


def explain_reruns(declared: Callable[[str], str]) -> None:
    """Make Snakemake compare settings by what decides results, and name what has changed.

    In the main process, before anything is planned.

    Parameters
    ----------
    declared
        Returns the name under which a modality is declared.
    """
    try:
        _compare_settings(declared)
    except (ImportError, AttributeError) as error:
        print(
            f"neurostrata: this release of Snakemake is unknown ({error}): results of earlier releases may be planned again, and "
            "changed settings are not explained",
            file=sys.stderr,
        )


def _compare_settings(declared: Callable[[str], str]) -> None:
    from snakemake.persistence import NO_PARAMS_CHANGE, ParamsChange, PersistenceBase

    class SettingsChange(ParamsChange):
        """Snakemake's record of a change, which names what has changed instead of both texts."""

        lines: tuple[str, ...] = ()
        #: Keys of the configuration -> value before and now.
        values: Mapping[str, tuple[Any, Any]] = {}

        def __str__(self) -> str:
            return "; ".join(self.lines)

    plain = getattr(PersistenceBase.params_changed, "__wrapped__", PersistenceBase.params_changed)

    @functools.wraps(plain)
    def params_changed(self: Any, job: Any, file: Any = None) -> Any:
        change = plain(self, job, file)
        if not change:
            return change
        try:
            stage = job.rule.name
            before, (now,) = _texts(change.only_old), _texts(change.only_new)
            if all(_same_results(stage, text, now) for text in before):
                return NO_PARAMS_CHANGE
            names = Names.of(job.wildcards_dict, declared)
            found = [line for text in before for line in _changes(stage, text, now, names)]
            for text in before:
                files = changed_files(stage, text, now).items()
                found += [f"{job.input.get(name)}: {how}" for name, how in files]
        except (AttributeError, ValueError, SyntaxError, KeyError, TypeError):
            return change  # not of this workflow: Snakemake explains it in its own words
        said = SettingsChange(only_old=change.only_old, only_new=change.only_new, files=change.files)
        said.lines = tuple(dict.fromkeys(found))
        said.values = {key: pair for text in before for key, pair in _values(stage, text, now, names).items()}
        return said

    PersistenceBase.params_changed = params_changed


def changes_of(dag: Any) -> list[str]:
    """Return a line for each change that jobs are planned for, with the stages that use it and their jobs.

    Parameters
    ----------
    dag : snakemake.dag.DAG
        Planned.
    """
    stages: dict[str, Counter[str]] = {}
    for job in dag.needrun_jobs(exclude_finished=False):  # a dry run marks its jobs as done
        reason = dag.reason(job)
        lines = list(getattr(reason.params_changed, "lines", ()))
        lines += [f"{path}: is newer than what was made of it" for path in _sources(dag, job, reason)]
        if reason.input_changed:
            lines.append("other input files (people, modalities or finders have come or gone)")
        for line in lines:
            stages.setdefault(line, Counter())[job.rule.name] += 1
    return [
        f"{line}  ({', '.join(f'{stage} {number}' for stage, number in jobs.items())})"
        for line, jobs in stages.items()
    ]


def _sources(dag: Any, job: Any, reason: Any) -> list[str]:
    """Return the changed inputs of a job that no other job makes: images, tables, sheets."""
    made = {str(file) for files in dag.dependencies[job].values() for file in files}
    return sorted({str(path) for path in reason.updated_input} - made)


def say_changes(dag: Any) -> None:
    """Print in a few lines for which changes jobs are planned again, if there are any."""
    from snakemake.logging import logger

    try:
        lines = changes_of(dag)
    except Exception as error:  # an explanation must never end a run
        logger.info(f"neurostrata: what has changed cannot be said ({type(error).__name__}: {error})")
        return
    if lines:
        more = [f"... and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        listed = "".join(f"\n    {line}" for line in [*lines[:MOST_LINES], *more])
        logger.info(f"Changed since the results were made (what follows from it is planned too):{listed}")
