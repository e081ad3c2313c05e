"""How the building of the template converged: table and figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.core.files import atomic_path

CONVERGENCE_COLUMNS = {
    "iteration": "Number of the update; 0 is the mean of the images aligned by centre of mass",
    "people": "People registered",
    "similarity": "Mean over people: correlation of warped image and template in the template's support",
    "similarity_worst": "Smallest of these correlations",
    "rms_change": "RMS difference of the new template from the old one, as a share of the old one's mean",
    "rms_mean_warp_vox": "RMS length of the mean displacement in the template's support, in voxels",
    "mean_log_jacobian": "Mean over people and support of the log determinant of the non-linear part; near 0 by construction with registration.balance",
    "mean_log_scale": "Mean over people of the log determinant of the affine; below 0 in an unbiased template as well (docs/differences-dimitri2022.md)",
    "converged": "Whether the tolerance was met at this iteration or before",
    "skipped": "Whether this iteration only copied a template that had converged",
}


def convergence_table(states: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per iteration with the columns :data:`CONVERGENCE_COLUMNS`.

    Parameters
    ----------
    states
        ``state.json`` of every iteration, in order; measures of a skipped iteration are left out.
    """
    rows = [
        {
            "iteration": state["iteration"],
            **({} if state["skipped"] else state["measures"]),
            "converged": state["converged"],
            "skipped": state["skipped"],
        }
        for state in states
    ]
    return pd.DataFrame(rows).reindex(columns=list(CONVERGENCE_COLUMNS))


def convergence_panels(tolerance: float | None) -> list[tuple[str, str, float | None]]:
    """Return (column, label, line) of each panel: the line is what the measure should stay below, or close to."""
    return [
        ("similarity", "Correlation with template", None),
        ("rms_change", "Change of template (RMS / mean)", tolerance),
        ("rms_mean_warp_vox", "RMS mean warp (voxels)", 0.5),
        ("mean_log_jacobian", "Mean log Jacobian", 0.0),
    ]


def draw_convergence(table: pd.DataFrame, tolerance: float | None, path: Path) -> None:
    """Draw similarity, change, mean warp and mean log-Jacobian against the iteration.

    Parameters
    ----------
    table
        As ``convergence.tsv``.
    tolerance
        Drawn as a line in the panel of the change; None when the building never stops early.
    path
        PNG or SVG.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = convergence_panels(tolerance)
    shown = table[~table["skipped"].astype(bool) & (table["iteration"] > 0)]
    figure, axes = plt.subplots(1, len(panels), figsize=(13, 3.2), layout="constrained")
    for axis, (column, label, line) in zip(axes, panels):
        axis.plot(shown["iteration"], shown[column].astype(float), "o-", color="#0072B2")
        if line is not None:
            axis.axhline(line, color="#D55E00", linewidth=1, linestyle="--")
        axis.set(xlabel="Iteration", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
    with atomic_path(path, record=False) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None} if path.suffix == ".png" else None)
    plt.close(figure)
