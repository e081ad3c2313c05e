"""Simulated cohorts brought to the layout of each paper: its images, columns, diagnoses and questionnaires.

What the simulator does not have (a trace image, PET, an atlas, HCP's variables) is derived from what it has, plainly: the
runs show that a preset works and what its report says, not how well a model does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from neurostrata.report.data.paper_results import printed_loadings
from neurostrata.simulation.images.regions import make_regions
from neurostrata.simulation.images.templates import load_templates

#: The sheet of a paper's layout, beside the simulator's.
SHEET = "paper.tsv"


def _save(path: Path, data: np.ndarray, like: nib.Nifti1Image) -> None:
    nib.save(nib.Nifti1Image(data.astype(np.float32), like.affine), path)


def dimitri(folder: Path, sheet: pd.DataFrame) -> pd.DataFrame:
    """HCP's 51 variables, drawn from the loadings that the paper prints (Fig. 6)."""
    loadings = printed_loadings()
    values, rng = loadings.to_numpy(float), np.random.default_rng(1)
    own = np.sqrt(np.clip(1 - (values**2).sum(axis=1), 0, None))
    scores = rng.standard_normal((len(sheet), values.shape[1])) @ values.T
    scores += rng.standard_normal(scores.shape) * own
    table = pd.DataFrame(50 + 10 * scores, columns=loadings.index).round(1)
    table["Age_in_Yrs"] = (29 + 3.5 * scores[:, loadings.index.get_loc("Age_in_Yrs")]).round()
    table["Gender"] = np.where(scores[:, loadings.index.get_loc("Gender")] > 0, "M", "F")
    table.insert(0, "subject", sheet["subject"])
    table.to_csv(folder / "hcp_phenotypes.tsv", sep="\t", index=False)
    return sheet


def geenjaar(folder: Path, sheet: pd.DataFrame) -> pd.DataFrame:
    """The simulator has component maps in MNI space, and a diagnosis."""
    return sheet


def chartsias(folder: Path, sheet: pd.DataFrame) -> pd.DataFrame:
    """A trace image from T2w: CSF, which T2w shows bright, diffuses freely and so is dark."""
    for subject in sheet["subject"]:
        t2w = nib.load(folder / f"images/sub-{subject}_T2w.nii.gz")
        data = t2w.get_fdata()
        water = np.clip(data / np.median(data[data > 0]) - 1.2, 0, 1)
        trace = data * np.exp(-0.8 - 2.2 * water)
        rng = np.random.default_rng(int(subject))
        trace *= 1 + 0.03 * rng.standard_normal(data.shape)
        _save(folder / f"images/sub-{subject}_trace.nii.gz", trace, t2w)
    sheet["dwi_trace"] = [f"images/sub-{subject}_trace.nii.gz" for subject in sheet["subject"]]
    return sheet.rename(columns={"lesion_mask": "lesions"})


def arco(folder: Path, sheet: pd.DataFrame) -> pd.DataFrame:
    """FDG-PET: much in grey matter, less of it in the back of patients' brains; three diagnoses of patients; regions in MNI space."""
    patients = np.flatnonzero(sheet["diagnosis"] == "patient")
    sheet["diagnosis"] = "CTL"
    for number, row in enumerate(patients):
        sheet.loc[row, "diagnosis"] = ("AD", "AD", "AD", "MCIc", "MCIs")[number % 5]
    kept = {"CTL": 1.0, "AD": 0.75, "MCIc": 0.85, "MCIs": 0.92}
    for subject, diagnosis in zip(sheet["subject"], sheet["diagnosis"]):
        t1w = nib.load(folder / f"images/sub-{subject}_T1w.nii.gz")
        mask = nib.load(folder / f"images/sub-{subject}_T1w_mask.nii.gz").get_fdata() > 0
        brightness = t1w.get_fdata() / np.percentile(t1w.get_fdata()[mask], 95)
        uptake = mask * (1 + 3 * np.exp(-(((brightness - 0.7) / 0.15) ** 2)))
        places = nib.affines.apply_affine(t1w.affine, np.moveaxis(np.indices(mask.shape), 0, -1))[..., 1]
        back = mask & (places < np.median(places[mask]))
        uptake[back] *= kept[diagnosis]
        rng = np.random.default_rng(int(subject))
        pet = ndimage.gaussian_filter(uptake, 1.0) * (1 + 0.03 * rng.standard_normal(mask.shape))
        _save(folder / f"images/sub-{subject}_pet.nii.gz", 1000 * pet, t1w)
    sheet["pet"] = [f"images/sub-{subject}_pet.nii.gz" for subject in sheet["subject"]]
    templates = load_templates()
    regions = make_regions(templates)
    nib.save(nib.Nifti1Image(regions.labels.astype(np.int16), templates.affine), folder / "regions.nii.gz")
    names = pd.DataFrame({"label": np.arange(1, len(regions.names) + 1), "name": regions.names})
    names.to_csv(folder / "regions.tsv", sep="\t", index=False)
    return sheet


#: Paper -> what brings a simulated cohort to its layout.
LAYOUTS: dict[str, Callable[[Path, pd.DataFrame], pd.DataFrame]] = {
    "dimitri2022": dimitri,
    "geenjaar2021": geenjaar,
    "chartsias2018": chartsias,
    "arco2023": arco,
}


def lay_out(paper: str, folder: Path) -> None:
    """Write a paper's sheet and further files beside the simulator's ``cohort.tsv``; the sheet last, and nothing if it is there."""
    if (folder / SHEET).exists():
        return
    sheet = pd.read_csv(folder / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False)
    LAYOUTS[paper](folder, sheet).to_csv(folder / SHEET, sep="\t", index=False)
