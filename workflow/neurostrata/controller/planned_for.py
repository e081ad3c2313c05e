"""The study that a run was planned for, kept for the jobs that parse the workflow again on other machines.

They would otherwise read the configuration and the sheets as they are when the job starts, perhaps days later: a setting that
somebody has edited meanwhile would make results that are recorded with the former one. Standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path

from neurostrata.cohort.study import Study
from neurostrata.core.files import atomic_path

#: In a study's folder: configuration, people and quality decisions of the last run.
PLANNED_FOR = Path(".snakemake") / "neurostrata" / "study.json"


def keep_study(study: Study) -> None:
    """Write down the study of the current folder that a run was planned for, before its first job."""
    content = {"config": study.config, "rows": list(study.rows.values()), "decisions": study.decisions}
    with atomic_path(PLANNED_FOR) as temporary:
        # without indents: the encoder in C is ten times faster
        temporary.write_text(json.dumps(content), encoding="utf-8")


def kept_study() -> Study | None:
    """Return the study that the run was planned for; None where a release kept none."""
    try:
        kept = json.loads(PLANNED_FOR.read_text(encoding="utf-8"))
        return Study(kept["config"], kept["rows"], kept["decisions"])
    except FileNotFoundError:
        return None
