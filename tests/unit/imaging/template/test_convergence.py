"""The table and the figure of how the building of the template converged."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from neurostrata.imaging.template.building import has_converged
from neurostrata.imaging.template.convergence import (
    CONVERGENCE_COLUMNS,
    convergence_table,
    draw_convergence,
)


def states() -> list[dict[str, object]]:
    made = [{"iteration": 0, "converged": False, "skipped": False, "measures": {"people": 5}}]
    for number in (1, 2, 3):
        measures = {"people": 5, "similarity": 0.9, "rms_change": 0.1 / number, "rms_mean_warp_vox": 0.4}
        made.append(
            {
                "iteration": number,
                "converged": number > 1,
                "skipped": number == 3,
                "measures": {**measures, "mean_log_jacobian": 0.001, "mean_log_scale": -0.01},
            }
        )
    return made


def test_a_skipped_iteration_has_no_measures() -> None:
    table = convergence_table(states())
    assert list(table) == list(CONVERGENCE_COLUMNS)
    assert table["converged"].tolist() == [False, False, True, True]
    assert table["skipped"].tolist() == [False, False, False, True]
    np.testing.assert_array_equal(table["rms_change"], [np.nan, 0.1, 0.05, np.nan])
    np.testing.assert_array_equal(table["people"], [5, 5, 5, np.nan])


@pytest.mark.parametrize("tolerance", [0.06, None])
def test_the_figure_shows_the_iterations_that_were_made(
    tolerance: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    monkeypatch.setattr(
        "matplotlib.pyplot.close", lambda figure: drawn.update({a.get_ylabel(): a for a in figure.axes})
    )
    draw_convergence(convergence_table(states()), tolerance, tmp_path / "x.png")
    change = drawn["Change of template (RMS / mean)"]
    lines = [line.get_xydata().tolist() for line in change.lines]
    assert lines[0] == [[1, 0.1], [2, 0.05]]
    assert [line[0][1] for line in lines[1:]] == ([] if tolerance is None else [0.06])
    assert change.get_xlabel() == "Iteration"
    width = mpl.image.imread(tmp_path / "x.png").shape[1]
    assert 1000 < width <= 1600


@pytest.mark.parametrize(
    ("change", "warp", "tolerance", "converged"),
    [(0.05, 0.5, 0.05, True), (0.051, 0.5, 0.05, False), (0.05, 0.51, 0.05, False), (0.0, 0.0, None, False)],
)
def test_a_template_has_converged_when_it_stops_changing_in_the_mean_shape(
    change: float, warp: float, tolerance: float | None, converged: bool
) -> None:
    measures = {"rms_change": change, "rms_mean_warp_vox": warp}
    assert has_converged(measures, tolerance) is converged
