"""Commands of the cohort stage: the check that precedes every run, and the tables it leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from neurostrata.cohort.study import Study, load_study, write_group
from neurostrata.core.config import check_config
from neurostrata.core.errors import UserError


def _study(settings: dict[str, Any]) -> Study:
    sheets = json.loads(os.environ.get("NEUROSTRATA_SHEETS", "{}"))
    return load_study(check_config({**sheets, **settings["config"]}), rescan=False)


def check_cohort(
    *, settings: dict[str, Any], cache: Path, subjects: Path | None = None, exclusions: Path | None = None
) -> None:
    """Check every person's files and list all problems at once; write who takes part in what.

    Parameters
    ----------
    settings
        ``config``: the configuration (the sections that say who has what). Where the sheets are, which
        results do not depend on, may come from the environment instead (NEUROSTRATA_SHEETS, JSON with
        the configuration's ``output``, ``cohort`` and ``qc``).
    cache
        JSON file with what is known of image headers.
    subjects, exclusions
        Where to write the tables; without them only the check is made.
    """
    from neurostrata.cohort.check import HeaderCache, cohort_problems

    study = _study(settings)
    headers = HeaderCache(cache)
    problems = cohort_problems(study, headers)
    headers.save()
    if problems:
        count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
        raise UserError(f"{count} in the cohort:\n  " + "\n  ".join(problems))
    if subjects is not None:
        facts = ["site", "family", "diagnosis", "session"]
        modalities = study.used_modalities()
        template = set(study.template_members())
        have = {modality: set(study.with_modality(modality)) for modality in modalities}
        rows = [
            {"subject": subject}
            | {fact: study.rows[subject].get(fact, "") or "n/a" for fact in facts}
            | {"template": "yes" if subject in template else "no"}
            | {modality: "yes" if subject in have[modality] else "no" for modality in modalities}
            for subject in study.people()
        ]
        write_group(subjects, ["subject", *facts, "template", *modalities], rows)
    if exclusions is not None:
        write_group(exclusions, ["subject", "modality", "stage", "reason"], study.exclusions())


def list_people(*, settings: dict[str, Any], group: str, output: Path) -> None:
    """Write the people of a group (``template``, ``modality-fa``, ``experiment-jac-ndi``, ...) in order.

    Cohort-wide stages read this list rather than a thousand paths on their command line.
    """
    study = _study(settings)
    columns, _ = study.group(group)
    write_group(output, columns, study.group_rows(group))
