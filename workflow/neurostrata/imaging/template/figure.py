"""The figure of how the template converged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from neurostrata.core.files import atomic_path


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

    panels = [
        ("similarity", "Correlation with template", None),
        ("rms_change", "Change of template (RMS / mean)", tolerance),
        ("rms_mean_warp_vox", "RMS mean warp (voxels)", 0.5),
        ("mean_log_jacobian", "Mean log Jacobian", 0.0),
    ]
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
