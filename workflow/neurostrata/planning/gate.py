"""The check of everything that a study names, before anything is planned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from neurostrata.cohort.study import Study
from neurostrata.gate.notes import SECONDS, gate_key, keep_notes, kept_notes
from neurostrata.planning import results as tree


def check_study(study: Study, environment: Mapping[str, str]) -> list[str]:
    """Check what configuration, sheets and tables name, and return the check's notes.

    The answer is kept until anything that it depends on changes.

    Parameters
    ----------
    study
        People and configuration.
    environment
        What every job finds in its environment.

    Raises
    ------
    SystemExit
        When there are problems (the check has printed them): exit status 2.
    """
    kept = Path(tree.path_in(study.config["output"], tree.GATE))
    key = gate_key(study)
    notes = kept_notes(kept, key)
    if notes is None:
        notes = _check(study, environment)
        keep_notes(kept, key, notes)
    return notes


def _check(study: Study, environment: Mapping[str, str]) -> list[str]:
    command = [sys.executable, "-m", "neurostrata", "stage", "check-cohort", "--settings", "@-"]
    command += ["--cache", tree.path_in(study.config["output"], tree.HEADERS)]
    surroundings = {**os.environ, **environment, "NEUROSTRATA_CONSOLE": ""}
    # The check notes no failure: it is made again each time, and says the same again.
    del surroundings["NEUROSTRATA_FAILURES"]
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as said:
        command += ["--seconds", str(SECONDS), "--notes", said.name]
        settings = json.dumps({"config": study.config, "version": 1, "seed": 0})
        if subprocess.run(command, env=surroundings, input=settings, text=True).returncode:
            sys.exit(2)
        return said.read().splitlines()
