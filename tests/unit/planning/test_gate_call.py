"""The check before the first job is made once, until anything that it depends on changes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from planned import planned

from neurostrata.planning.gate import check_study


def test_an_answer_is_kept_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, str]] = []

    def run(command: list[str], env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(env)
        Path(command[command.index("--notes") + 1]).write_text("a note\n")
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run)
    environment = {"NEUROSTRATA_CONSOLE": "3", "NEUROSTRATA_FAILURES": "notes", "PYTHONPATH": "library"}
    study = planned(output=str(tmp_path))
    status = 0
    assert check_study(study, environment) == check_study(study, environment) == ["a note"]
    assert len(calls) == 1
    assert calls[0]["PYTHONPATH"] == "library"
    assert not calls[0]["NEUROSTRATA_CONSOLE"]
    assert "NEUROSTRATA_FAILURES" not in calls[0]
    study.rows["01"]["t1w"] = "another.nii"
    status = 2
    for _ in range(2):  # a refusal is not kept
        with pytest.raises(SystemExit) as caught:
            check_study(study, environment)
        assert caught.value.code == 2
    assert len(calls) == 3
