"""The command of dual regression: a person's component maps from the BOLD series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.files import settings_record, write_sidecar
from neurostrata.core.tables import write_table
from neurostrata.imaging.functional.dual_regression import (
    DualRegression,
    changing,
    dual_regression_maps,
    on_grid,
    series_mask,
)
from neurostrata.imaging.images.io import write_image
from neurostrata.imaging.images.series import check_finite, read_image_mask, read_series

#: Share of the brain that the components must cover, else both images are in different spaces.
_LEAST_COVERED = 0.2


def dual_regression(
    *,
    bold: Path,
    components: Path,
    subject: str,
    output: Path,
    timeseries: Path,
    settings: dict[str, Any],
    mask: Path | None = None,
) -> None:
    """Find a person's version of a group's components in the person's BOLD series.

    Parameters
    ----------
    bold
        Preprocessed 4-D series in the space of the components (template space): denoised, not scaled per voxel.
    components
        The group's 4-D component maps; brought to the series' grid when it is another.
    subject
        Whose, for the messages.
    output
        The person's 4-D maps on the series' grid, 0 outside the mask.
    timeseries
        Table of the time courses.
    settings
        ``components`` (their number, as declared), ``statistic`` (``z`` or ``beta``), ``normalise``.
    mask
        Brain mask on the series' grid; by default the bright voxels of the series that change.
    """
    series = read_series(bold, subject, "bold")
    group = read_series(components, subject, "components")
    count = group.data.shape[3]
    if count != settings["components"]:
        raise UserError(
            f"{components}: has {count} components, the modality declares {settings['components']}; set its "
            f"'components' to {count}"
        )
    label = f"subject {subject}: bold {bold}"
    # SPM writes NaN outside the brain: a voxel without any value is background
    series.data[~np.isfinite(series.data).any(axis=3)] = 0.0
    check_finite(series.data, label, "")
    inside = read_image_mask(mask, subject, series.grid) if mask is not None else series_mask(series)
    check_finite(group.data, f"components {components}", "")
    inside &= changing(series)  # a voxel that does not change has no map
    if not inside.any():
        raise UserError(f"{label}: no voxel in the mask changes over time; is it a BOLD series?")
    maps = on_grid(group, series)
    covered = (maps[inside] != 0).any(axis=1).mean()
    if covered < _LEAST_COVERED:
        raise UserError(
            f"{label}: the components cover {covered:.0%} of its brain; are the series and {components} in the "
            "same (template) space?"
        )
    try:
        found = dual_regression_maps(
            series.data[inside].T, maps[inside].T, settings["statistic"], settings["normalise"]
        )
    except UserError as error:
        raise UserError(f"{label}: {error}") from error
    whole = np.zeros((*series.grid.shape, count), dtype=np.float32)
    whole[inside] = found.maps.T
    write_image(output, whole, series.grid)
    _describe(output, found, inside, bold, components, mask, settings)
    names = [f"component_{number:02d}" for number in range(1, count + 1)]
    write_table(
        timeseries,
        pd.DataFrame(found.courses, columns=names),
        dict.fromkeys(names, "time course of the component, one row per volume of the series"),
    )


def _describe(
    output: Path,
    found: DualRegression,
    inside: np.ndarray,
    bold: Path,
    components: Path,
    mask: Path | None,
    settings: Mapping[str, Any],
) -> None:
    sources = {"Bold": bold, "Components": components, "Mask": mask}
    write_sidecar(
        output,
        Description=f"Component maps of one person by dual regression, {settings['statistic']}",
        Space="that of the series and the components (template)",
        Sources={key: str(path) for key, path in sources.items() if path is not None},
        Components=found.maps.shape[0],
        Volumes=found.courses.shape[0],
        VoxelsInMask=int(inside.sum()),
        Settings=settings_record(dict(settings)),
    )
