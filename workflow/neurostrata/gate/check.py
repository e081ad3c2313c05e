"""The check of a study: every problem that can be seen before any job starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from neurostrata.cohort.study import Study
from neurostrata.core.errors import UserError
from neurostrata.gate.cache import FileCache
from neurostrata.gate.image_contents import content_problems
from neurostrata.gate.membership import decision_problems, member_problems
from neurostrata.gate.named_columns import column_problems
from neurostrata.gate.person_files import needed_columns, orientation_notes, person_problems, sheet_images
from neurostrata.gate.phenotype_tables import read_tables, variable_problems
from neurostrata.gate.problems import Problem
from neurostrata.gate.region_names import region_names
from neurostrata.gate.unread_columns import unread_problems


def _configured_file_problems(study: Study, cache: FileCache) -> Iterator[Problem]:
    """Check the files that the configuration names: images of components, regions and their names."""
    for name, path in study.component_images().items():
        facts, expected = cache.facts(path), study.config["modalities"][name]["components"]
        place = f"modalities.{name}.components_image: {path}"
        if "problem" in facts:
            yield Problem("configuration", f"{place}: {facts['problem']}")
        elif [*facts["shape"], 1][3] != expected:
            yield Problem(
                "configuration",
                f"{place}: has shape {tuple(facts['shape'])}, {expected} components are declared; set 'components' to "
                "its number of volumes",
            )
    atlas, names = (study.config["regions"][key] for key in ("image", "names"))
    if atlas and "problem" in (facts := cache.facts(atlas)):
        yield Problem("configuration", f"regions.image: {atlas}: {facts['problem']}")
    if names and not Path(names).is_file():
        yield Problem("configuration", f"regions.names: {names}: no such file")
    elif names:
        try:
            region_names(Path(names))
        except UserError as error:
            yield Problem("configuration", str(error))


def find_problems(
    study: Study,
    cache: FileCache,
    seconds: float | None = None,
    unread: list[str] | None = None,
    notes: list[str] | None = None,
) -> list[Problem]:
    """Return every problem of a study that can be seen before anything runs.

    Parameters
    ----------
    cache
        What is known of files.
    seconds
        Time for reading images to their end that have not been read; None reads all. The stages that use them read
        them to their end in any case.
    unread
        Filled with the images that are still unread.
    notes
        Filled with what a person should know of the images, though it is no problem.
    """
    needed, images = needed_columns(study), sheet_images(study)
    problems: list[Problem] = []
    tables = read_tables(study, problems)
    # when a table cannot be read, the columns that are named may be in it
    if len(tables) == len(study.config["phenotypes"]["tables"]):
        problems += variable_problems(study, tables) if tables else []
        problems += column_problems(study, tables)
    problems += [*_configured_file_problems(study, cache), *decision_problems(study)]
    problems += unread_problems(study)
    of_people = [
        problem
        for subject, columns in needed.items()
        for problem in person_problems(study, subject, columns, images, cache)
    ]
    of_people += content_problems(study, needed, images, cache, seconds, [] if unread is None else unread)
    problems += sorted(of_people, key=lambda problem: problem.subject)
    problems += member_problems(study)
    if notes is not None:
        notes += orientation_notes(study, needed, cache)
    return problems
