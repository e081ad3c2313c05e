"""Results of a tiny study are as recorded; they change only together with a stage's version (tests/golden_study.py)."""

from __future__ import annotations

from pathlib import Path

from golden_study import problems, recorded, run_part


def test_results_are_as_recorded(tmp_path: Path) -> None:
    said = problems(recorded("fusion"), run_part("fusion", tmp_path))
    assert not said, "\n".join(said)
