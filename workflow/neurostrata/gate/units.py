"""What is said of the units of the maps that experiments read. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from neurostrata.cohort.sources.registry import source_of
from neurostrata.cohort.study import Study


def unit_notes(study: Study) -> Iterator[str]:
    """Say which modalities have values that differ between scanners, where an experiment scales all people alike."""
    alike = {
        modality
        for experiment in study.config["experiments"]
        if experiment["scaling"] == "limits"
        for modality in experiment["modalities"]
    }
    for name, declaration in study.config["modalities"].items():
        if name in alike and (note := source_of(declaration).note(declaration)):
            yield f"modalities.{name}: {note}"
