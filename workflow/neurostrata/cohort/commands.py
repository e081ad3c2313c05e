"""The command that writes lists of people for the stages that work on many of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from neurostrata.cohort.groups import group_digest, group_rows, named_group
from neurostrata.cohort.sheet import write_rows
from neurostrata.cohort.study import Study, load_study
from neurostrata.core.config import check_config
from neurostrata.core.errors import UserError


def study_of(settings: dict[str, Any]) -> Study:
    """Return the study that a stage's settings describe.

    Parameters
    ----------
    settings
        ``config``: the sections of the configuration that decide who has what. The paths of the sheets, on which results
        do not depend, may come from the environment instead (NEUROSTRATA_SHEETS, JSON with the configuration's
        ``output``, ``cohort`` and ``qc``).
    """
    sheets = json.loads(os.environ.get("NEUROSTRATA_SHEETS", "{}"))
    return load_study(check_config({**sheets, **settings["config"]}), rescan=False)


def list_people(*, settings: dict[str, Any], group: str, output: Path) -> None:
    """Write the people of a group (``template``, ``modality-fa``, ``experiment-jac-ndi``, ...) in order.

    Stages on the whole cohort read this list rather than a thousand paths on their command line.

    Raises
    ------
    UserError
        When the sheets say something else of the group than they did when the run was planned (``digest`` of the settings).
        The list would be recorded as that of the former sheets, and would stay when they are restored.
    """
    study = study_of(settings)
    if settings["digest"] != group_digest(study, group):
        sheet, decisions = study.config["cohort"]["sheet"] or "the folder of images", study.config["qc"]
        raise UserError(
            f"{' or '.join(filter(None, [sheet, decisions]))} has changed since this run was planned, in what it says of the "
            f"group {group}; run again when this run has ended"
        )
    columns, _ = named_group(study, group)
    write_rows(output, columns, group_rows(study, group))
