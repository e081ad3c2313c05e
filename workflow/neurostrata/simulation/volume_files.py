"""Files of a cohort of fusion volumes, as the fusion stages read them (see :mod:`.volume_cohorts`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from neurostrata.core.files import atomic_path, write_json
from neurostrata.core.tables import write_table
from neurostrata.imaging.images.io import Grid, write_image
from neurostrata.imaging.volumes.arrays import limits
from neurostrata.simulation.volume_cohorts import VolumeCohort


def write_volumes(cohort: VolumeCohort, folder: Path) -> list[Path]:
    """Write the cohort as rule `normalise` would: MODALITY.npy, MODALITY.json and mask.nii.gz.

    Also subjects.tsv (subject, family, diagnosis, site, which `split` reads), regions.nii.gz and
    regions.tsv, and in truth/ the people, the true regional values and the planted maps.

    Returns
    -------
    list of Path
        The arrays, in the order of the modalities.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    x, y, z = cohort.mask.shape
    grid = Grid((x, y, z), cohort.affine)
    write_image(folder / "mask.nii.gz", cohort.mask, grid, np.uint8)
    paths = []
    for position, modality in enumerate(cohort.modalities):
        array = np.ascontiguousarray(cohort.volumes[:, position], dtype="<f4")
        low, high = limits(array, cohort.mask)
        path = folder / f"{modality}.npy"
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, array)
        write_json(
            folder / f"{modality}.json",
            {
                "modality": modality,
                "subjects": list(cohort.subjects),
                "shape": list(array.shape),
                "affine": cohort.affine.tolist(),
                "mask": "mask.nii.gz",
                "limits": {"low": low, "high": high, "percentiles": [0.1, 99.9], "scope": "cohort"},
                "description": "Simulated, unscaled values, people x X x Y x Z, float32, MNI152 space",
                "settings": cohort.options,
            },
        )
        paths.append(path)
    _write_tables(cohort, folder, grid)
    return paths


def _write_tables(cohort: VolumeCohort, folder: Path, grid: Grid) -> None:
    diagnosis = np.where(cohort.diagnosis, "patient", "control")
    rows = pd.DataFrame(
        {"subject": cohort.subjects, "family": "", "diagnosis": diagnosis, "site": _sites(cohort)}
    )
    with atomic_path(folder / "subjects.tsv") as temporary:
        rows.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    write_image(folder / "regions.nii.gz", cohort.regions, grid, np.int16)
    names = list(cohort.region_names)
    labels = pd.DataFrame({"label": np.arange(1, len(names) + 1), "name": names})
    write_table(folder / "regions.tsv", labels, {"label": "value in regions.nii.gz", "name": "name"})
    _write_truth(cohort, folder / "truth", grid)


def _sites(cohort: VolumeCohort) -> list[str]:
    """Return everybody's site, empty where no sites were planted."""
    return [f"site-{number + 1}" if cohort.options["sites"] else "" for number in cohort.site]


def _write_truth(cohort: VolumeCohort, folder: Path, grid: Grid) -> None:
    names = list(cohort.region_names)
    people = pd.DataFrame(
        {
            "subject": cohort.subjects,
            "stratum": cohort.stratum + 1,
            "diagnosis": np.where(cohort.diagnosis, "patient", "control"),
            "age": cohort.age,
            "sex": np.where(cohort.female, "F", "M"),
            "site": _sites(cohort),
        }
    )
    write_table(
        folder / "participants.tsv",
        people,
        {
            "subject": "id",
            "stratum": "true stratum, 1 the largest",
            "diagnosis": "patient or control, half of every stratum",
            "age": "years",
            "sex": "F or M",
            "site": "scanner, empty where no sites were planted",
        },
    )
    for position, modality in enumerate(cohort.modalities):
        table = pd.DataFrame(cohort.regional[:, position], columns=names)
        table.insert(0, "subject", cohort.subjects)
        about = dict.fromkeys(names, f"true mean of {modality} relative to the mean image")
        write_table(folder / f"regional_{modality}.tsv", table, {"subject": "id"} | about)
        write_image(folder / f"diagnosis_{modality}.nii.gz", cohort.diagnosis_maps[position], grid)
        for number, maps in enumerate(cohort.stratum_maps, start=1):
            write_image(folder / f"stratum-{number}_{modality}.nii.gz", maps[position], grid)
    write_json(folder / "oracle.json", {**cohort.oracle(), "people": len(cohort.subjects)})
