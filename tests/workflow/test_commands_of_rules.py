"""A changed shell command plans nothing by itself: whoever changes one says whether results change with it.

When a test here fails: raise the stage's version in `stages.py` if its results change, then run
``python tests/workflow/test_commands_of_rules.py``, which writes down the commands as they are.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from small_study import REPOSITORY, StudyFolder, make_study

KNOWN = REPOSITORY / "tests" / "reference" / "commands_of_rules.json"


def commands(study: StudyFolder) -> dict[str, str]:
    """Return stage -> version of its results and digest of its rule's command."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings, WorkflowSettings

    from neurostrata.stages import STAGES

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        parsed = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            workflow_settings=WorkflowSettings(),
            snakefile=REPOSITORY / "Snakefile",
            workdir=study.folder,
        )
        return {
            rule.name: f"version {STAGES[rule.name].version}: {hashlib.sha256(rule.shellcmd.encode()).hexdigest()[:16]}"
            for rule in parsed._workflow.rules
            if rule.shellcmd
        }


def test_commands_are_as_they_were_looked_at(study: StudyFolder) -> None:
    known = json.loads(KNOWN.read_text())
    found = commands(study)
    assert {name for name in found.keys() | known.keys() if found.get(name) != known.get(name)} == set(), (
        __doc__
    )


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY / "workflow"))
    with tempfile.TemporaryDirectory() as folder:
        found = commands(make_study(Path(folder) / "study"))
    KNOWN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
