"""What is said when results of the tiny study and versions of stages do not change together."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from golden_study import COMMAND, PEOPLE, GoldenStudy, problems, record, run_part

from neurostrata import stages


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> GoldenStudy:
    return run_part("phenotypes", tmp_path_factory.mktemp("golden"))


@pytest.fixture
def recorded(study: GoldenStudy) -> dict[str, Any]:
    """What is recorded of this very study."""
    return copy.deepcopy(record(study))


SCORES = "factor_phenotypes: scores.tsv"


def test_a_changed_result_asks_for_a_version(study: GoldenStudy, recorded: dict[str, Any]) -> None:
    recorded["results"][SCORES]["factor_01"][0] += 0.01
    [said] = problems(recorded, study)
    assert "the results of factor_phenotypes changed, its version did not" in said
    assert "factor_01, row 1" in said


def test_a_raised_version_asks_to_record(
    study: GoldenStudy, recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = "factor_phenotypes"
    raised = dataclasses.replace(stages.STAGES[stage], version=stages.STAGES[stage].version + 1)
    monkeypatch.setitem(stages.STAGES, stage, raised)
    recorded["results"][SCORES]["factor_01"][0] += 0.01
    # what follows has changed with it, and its own version need not
    recorded["results"]["factor_congruence: congruence.tsv"]["congruence"][0] /= 2
    [said] = problems(recorded, study)
    assert said == f"the version of {stage} is {raised.version}, recorded: {raised.version - 1}. " + (
        f"Record its results: {COMMAND}"
    )


@pytest.mark.parametrize("change", [lambda number: None, lambda number: number * 1.001, str])
def test_every_kind_of_cell_counts(
    study: GoldenStudy, recorded: dict[str, Any], change: Callable[[float], Any]
) -> None:
    cells = recorded["results"][SCORES]["factor_01"]
    row = max(range(1, PEOPLE), key=lambda number: abs(cells[number] or 0))
    cells[row] = change(cells[row])
    assert len(problems(recorded, study)) == 1


def test_rounding_is_no_change(study: GoldenStudy, recorded: dict[str, Any]) -> None:
    cells = recorded["results"][SCORES]["factor_01"]
    recorded["results"][SCORES]["factor_01"] = [cell and cell * (1 + 1e-6) for cell in cells]
    assert problems(recorded, study) == []


@pytest.mark.parametrize("cut", ["row", "column", "table"])
def test_added_rows_columns_and_tables_count(study: GoldenStudy, recorded: dict[str, Any], cut: str) -> None:
    tables = recorded["results"]
    if cut == "row":
        tables[SCORES]["factor_01"].pop()
    elif cut == "column":
        del tables[SCORES]["factor_01"]
    else:
        del tables[SCORES]
    assert len(problems(recorded, study)) == 1
