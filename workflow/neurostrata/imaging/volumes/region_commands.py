"""The stage that brings the brain's regions to the fusion grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.files import settings_record as record
from neurostrata.core.files import write_sidecar
from neurostrata.core.tables import write_table
from neurostrata.imaging.anatomy.commands import skull_stripped
from neurostrata.imaging.images.io import read_image, write_image
from neurostrata.imaging.images.series import read_map


def region_names(path: Path | None) -> dict[int, str]:
    """Read region numbers and names: the first two columns of a table, whatever separates them.

    Raises
    ------
    UserError
        When a line does not begin with a number and a name.
    """
    if path is None:
        return {}
    names: dict[int, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"regions.names: {path}: cannot be read ({error})") from error
    for position, line in enumerate(lines):
        cells = line.replace(",", "\t").split("\t") if "\t" in line or "," in line else line.split()
        cells = [cell.strip() for cell in cells if cell.strip()]
        if len(cells) >= 2 and cells[0].isdigit():
            names[int(cells[0])] = cells[1]
        elif cells and position > 0:
            raise UserError(f"regions.names: {path}: line {position + 1} has no number and name")
    return names


def grid_regions(
    *,
    mask: Path,
    template: Path,
    output: Path,
    table: Path,
    settings: dict[str, Any],
    atlas: Path | None = None,
    names: Path | None = None,
    threads: int = 1,
) -> None:
    """Write the brain's regions on the fusion grid (numbers) and a table of them.

    Parameters
    ----------
    mask
        Brain mask on the fusion grid; regions end where it does.
    template
        The study template, for an atlas in MNI space.
    output, table
        Image of region numbers; region, name, voxels, and centre (mm, study space).
    settings
        Section ``regions``; with an atlas in MNI space also ``registration``.
    atlas, names
        See section ``regions``.
    """
    from neurostrata.imaging.volumes.regions import atlas_on_grid, parcels

    brain = read_map(mask, "template", "fusion mask")
    inside = brain.data > 0
    known = region_names(names)
    if atlas is None:
        numbers = parcels(inside, brain.grid, settings["parcels"], settings["seed"])
    else:
        image = read_map(atlas, "atlas", "regions.image")
        numbers = atlas_on_grid(
            image,
            settings["space"],
            read_image(template, what="template"),
            brain.grid,
            settings.get("registration", {}),
            skull_stripped=skull_stripped(template),
            seed=settings["seed"],
            threads=threads,
        )
        numbers = np.where(inside, numbers, 0)
        lost = sorted(set(np.unique(image.data).astype(int)) - set(np.unique(numbers)) - {0})
        if lost:
            print(f"regions: {len(lost)} regions have no voxel on the fusion grid: {lost}")
    present = [int(number) for number in np.unique(numbers) if number]
    rows = []
    for number in present:
        where = np.argwhere(numbers == number)
        centre = brain.grid.affine[:3, :3] @ where.mean(axis=0) + brain.grid.affine[:3, 3]
        rows.append([number, known.get(number, f"region {number}"), len(where), *centre])
    write_image(output, numbers, brain.grid, np.int32)
    write_sidecar(
        output,
        Description="Region numbers on the fusion grid, 0 outside",
        Sources={"Atlas": str(atlas) if atlas else "parcels of the mask", "Mask": str(mask)},
        Settings=record(settings),
    )
    write_table(
        table,
        pd.DataFrame(rows, columns=["region", "name", "voxels", "x_mm", "y_mm", "z_mm"]),
        {
            "region": "Number in the image",
            "name": "Name",
            "voxels": "Voxels on the fusion grid",
            "x_mm": "Centre, right (mm, study space)",
            "y_mm": "Centre, anterior",
            "z_mm": "Centre, superior",
        },
        Settings=record(settings),
    )
