"""The true values of a simulated cohort, and their files in ``truth/``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurostrata.core.files import write_json
from neurostrata.core.tables import write_table
from neurostrata.imaging.registration.transforms import write_affine
from neurostrata.simulation.images.anatomy import Anatomy, Head
from neurostrata.simulation.images.diffusion import DiffusionScan
from neurostrata.simulation.images.files import write_nifti, write_warp
from neurostrata.simulation.images.regions import VENTRICLES
from neurostrata.simulation.people.oracle import discriminant_auc, oracle
from neurostrata.simulation.people.people import SITES, Person, Settings


@dataclass(frozen=True)
class RegionalTruth:
    """A person's true values, in the order of the regions.

    Attributes
    ----------
    log_jacobian
        Mean over the region of log det D(x + u(x)), the non-linear part.
    volume
        Log of the region's relative volume, log of the mean determinant, likewise.
    ndi
        Mean NDI, weighted by tissue, before the deformation; empty without diffusion.
    log_det_affine
        log det A: head size. Add it for absolute volumes.
    log_det_linear
        log det of the affine map nearest to ``x -> x + u(x)`` in the brain (least squares), which
        a registration puts into its affine part. Subtract it from `log_jacobian` to compare with a measured
        non-linear Jacobian.
    """

    log_jacobian: np.ndarray
    volume: np.ndarray
    ndi: np.ndarray
    log_det_affine: float
    log_det_linear: float


@dataclass
class GrownPerson:
    """A person's true values, including those of the optional images.

    Attributes
    ----------
    regional
        The true regional values.
    lesions, lesion_ml
        Number and volume of the lesions.
    amplitudes
        (components,), None without components.
    """

    regional: RegionalTruth
    lesions: int = 0
    lesion_ml: float = 0.0
    amplitudes: np.ndarray | None = None


def log_det_linear_part(displacement: np.ndarray, head: Head) -> float:
    """Return log det of the affine map nearest to ``x -> x + u(x)`` over the brain."""
    inside = head.templates.brain > 0.5
    points = head.templates.coordinates()[:, inside].T.astype(np.float64)
    moved = points + displacement[:, inside].T
    design = np.column_stack([points - points.mean(axis=0), np.ones(len(points))])
    # normal equations: the brain has 240,000 voxels and only four unknowns per axis
    solution = np.linalg.solve(design.T @ design, design.T @ moved)
    return float(np.log(np.linalg.det(solution[:3])))


def regional_truth(anatomy: Anatomy, head: Head, ndi: tuple[np.ndarray, np.ndarray] | None) -> RegionalTruth:
    """Measure a person's regions in MNI space; `ndi` is the NDI map and its weights there."""
    regions = head.regions
    return RegionalTruth(
        regions.means(anatomy.log_jacobian),
        np.log(regions.means(np.exp(anatomy.log_jacobian))),
        regions.means(*ndi) if ndi is not None else np.array([]),
        float(np.log(np.linalg.det(anatomy.affine[:3, :3]))),
        log_det_linear_part(anatomy.displacement, head),
    )


def write_anatomy_truth(folder: Path, person: Person, anatomy: Anatomy, head: Head) -> None:
    """Write a person's planted log-Jacobian map (MNI space) and the map from MNI to T1w points."""
    affine, name = head.templates.affine, f"sub-{person.subject}"
    rounded = (np.round(anatomy.log_jacobian * 1024) / 1024).astype(np.float32)
    write_nifti(folder / "jacobians" / f"{name}_space-MNI_desc-nonlinear_logjacobian.nii.gz", rounded, affine)
    transforms = folder / "transforms"
    write_affine(transforms / f"{name}_from-T1w_to-MNI_desc-affine_xfm.mat", anatomy.affine)
    write_warp(transforms / f"{name}_from-T1w_to-MNI_desc-warp_xfm.nii.gz", anatomy.displacement, affine)


def write_diffusion_truth(folder: Path, person: Person, scan: DiffusionScan) -> None:
    """Write a person's true maps in native diffusion space and the rigid offset to the T1w image."""
    name = f"sub-{person.subject}"
    for parameter, values in scan.maps.items():
        write_nifti(folder / "maps" / f"{name}_space-dwi_param-{parameter}_map.nii.gz", values, scan.affine)
    write_affine(folder / "transforms" / f"{name}_from-dwi_to-T1w_xfm.mat", scan.from_t1w)


def write_head(folder: Path, head: Head) -> None:
    """Write the regions, the MNI152 image and mask that everything refers to, and the planted differences."""
    regions, templates, planted = head.regions, head.templates, head.planted
    write_nifti(folder / "mni_T1w.nii.gz", templates.t1w, templates.affine)
    write_nifti(folder / "mni_mask.nii.gz", templates.brain.astype(np.uint8), templates.affine)
    write_nifti(folder / "regions.nii.gz", regions.labels, templates.affine)
    table = pd.DataFrame(
        {"label": np.arange(1, len(regions.names) + 1), "name": regions.names, "voxels": regions.sizes()}
    )
    write_table(
        folder / "regions.tsv",
        table,
        {"label": "value in regions.nii.gz", "name": "name", "voxels": "number of voxels of 2 mm"},
    )
    groups = len(planted.growth)
    # Differences from a mean leave 1e-18 where there is none, with either sign, as the processor rounds.
    growth, density = (np.round(effect, 12) + 0.0 for effect in (planted.growth, planted.density))
    rows = pd.DataFrame(
        {
            "group": np.repeat(np.arange(1, groups + 1), len(regions.names)),
            "region": list(regions.names) * groups,
            "log_jacobian": growth.ravel(),
            "ndi": density.ravel(),
        }
    )
    write_table(
        folder / "effects.tsv",
        rows,
        {
            "group": "stratum (with --site-only: site)",
            "region": "region",
            "log_jacobian": "planted difference from the cohort's mean",
            "ndi": "planted difference of NDI from the cohort's mean",
        },
    )


def write_diagnosis_effects(folder: Path, head: Head) -> None:
    """Write the planted differences between patients' and controls' regions."""
    growth, density = head.planted.diagnosis_growth, head.planted.diagnosis_density
    assert growth is not None
    assert density is not None
    rows = pd.DataFrame(
        {
            "region": head.regions.names,
            "log_jacobian": growth[1] - growth[0],
            "ndi": density[1] - density[0],
        }
    )
    about = {
        "region": "region",
        "log_jacobian": "planted log-Jacobian, patients minus controls",
        "ndi": "planted NDI, patients minus controls",
    }
    write_table(folder / "diagnosis_effects.tsv", rows, about)


def write_lesion_truth(folder: Path, person: Person, fraction: np.ndarray, head: Head) -> None:
    """Write where a person's lesions lie in MNI space, before the deformation: share of each voxel."""
    rounded = np.round(fraction * 255).astype(np.uint8)
    path = folder / "lesions" / f"sub-{person.subject}_space-MNI_label-lesion_probseg.nii.gz"
    write_nifti(path, rounded, head.templates.affine)


def write_lesion_table(folder: Path, people: Sequence[Person], lesions: Sequence[tuple[int, float]]) -> None:
    """Write how many lesions each person has and their volume (number, ml) in T1w space."""
    rows = [(person.subject, *found) for person, found in zip(people, lesions)]
    write_table(
        folder / "lesions.tsv",
        pd.DataFrame(rows, columns=["subject", "lesions", "volume_ml"]),
        {
            "subject": "id",
            "lesions": "number of lesions drawn; they may overlap",
            "volume_ml": "volume of the lesion mask in T1w space, ml",
        },
    )


def component_columns(count: int) -> list[str]:
    """Return the names of components in tables, in the order of the volumes."""
    return [f"component_{number:02d}" for number in range(1, count + 1)]


def write_component_effects(folder: Path, effects: np.ndarray) -> None:
    """Write the planted differences between patients' and controls' amplitudes, (components,)."""
    rows = pd.DataFrame({"component": component_columns(len(effects)), "amplitude": effects})
    about = {"component": "component", "amplitude": "planted amplitude, patients minus controls"}
    write_table(folder / "component_effects.tsv", rows, about)


def write_amplitudes(folder: Path, people: Sequence[Person], amplitudes: np.ndarray) -> None:
    """Write the amplitudes of all people (people, components)."""
    names = component_columns(amplitudes.shape[1])
    table = pd.DataFrame(amplitudes, columns=names)
    table.insert(0, "subject", [person.subject for person in people])
    about = dict.fromkeys(names, "amplitude of the component, 1 on average")
    write_table(folder / "component_amplitudes.tsv", table, {"subject": "id"} | about)


def write_time_courses(folder: Path, person: Person, courses: np.ndarray) -> None:
    """Write the time courses (volumes, components) behind a person's BOLD series."""
    table = pd.DataFrame(courses, columns=component_columns(courses.shape[1]))
    write_table(folder / "time_courses" / f"sub-{person.subject}_timeseries.tsv", table)


def participants(people: Sequence[Person], regional: Sequence[RegionalTruth]) -> pd.DataFrame:
    """Return the table of people; numbers of strata, sites and families count from 1."""
    return pd.DataFrame(
        {
            "subject": [p.subject for p in people],
            "stratum": [p.stratum + 1 for p in people],
            "group": [p.label + 1 for p in people],
            "site": [SITES[p.site] for p in people],
            "family": [f"F{p.family + 1:03d}" for p in people],
            "age": [p.age for p in people],
            "sex": ["F" if p.female else "M" for p in people],
            "head_scale": [p.head_scale for p in people],
            "diagnosis": ["patient" if p.patient else "control" for p in people],
            "template": ["yes" if p.template else "no" for p in people],
            "has_dwi": ["yes" if p.has_dwi else "no" for p in people],
            "bad_scan": ["yes" if p.bad_scan else "no" for p in people],
            "questionnaires_of": [people[p.questionnaires_of].subject for p in people],
            "log_det_affine": [r.log_det_affine for r in regional],
            "log_det_linear": [r.log_det_linear for r in regional],
        }
    )


PARTICIPANT_COLUMNS = {
    "subject": "id",
    "stratum": "true stratum, 1 the largest",
    "group": "whose planted differences the images carry: the stratum, with --site-only the site's number",
    "site": "scanner",
    "family": "people of a family share 30% of the variance of random deformations and of factor scores",
    "age": "years",
    "sex": "F or M",
    "head_scale": "linear size of the head relative to MNI152",
    "diagnosis": "patient (80% of the people outside stratum 1, 20% in it) or control",
    "template": "whether the person helps to build the template",
    "has_dwi": "whether there are diffusion data",
    "bad_scan": "whether motion spoilt the scans (excluded in qc.tsv)",
    "questionnaires_of": "whose questionnaires these are; another person with --null-link",
    "log_det_affine": "log of the volume scaling of the affine part (head size)",
    "log_det_linear": "log of the volume scaling of the affine map nearest to the non-linear deformation",
}


def region_table(
    people: Sequence[Person], values: Sequence[np.ndarray], names: Sequence[str]
) -> pd.DataFrame:
    """Return people x regions with a leading column `subject`; missing where a person has no values."""
    rows = [v if len(v) else np.full(len(names), np.nan) for v in values]
    table = pd.DataFrame(np.stack(rows), columns=list(names))
    table.insert(0, "subject", [p.subject for p in people])
    return table


def write_truth_tables(
    folder: Path, people: list[Person], grown: list[GrownPerson], head: Head, settings: Settings
) -> None:
    """Write the tables of people, regional values and other planted effects, and the best results possible."""
    names = head.regions.names
    regional = [person.regional for person in grown]
    about_people = dict(PARTICIPANT_COLUMNS)
    if settings.diagnosis_effect > 0:
        about_people["diagnosis"] = "patient (half of every stratum) or control"
    write_table(folder / "participants.tsv", participants(people, regional), about_people)
    jacobian = region_table(people, [r.log_jacobian for r in regional], names)
    volume = region_table(people, [r.volume for r in regional], names)
    about = {"subject": "id"}
    write_table(
        folder / "regional_log_jacobian.tsv",
        jacobian,
        about | dict.fromkeys(names, "mean log-Jacobian of the non-linear part in MNI space"),
    )
    write_table(
        folder / "regional_log_volume.tsv",
        volume,
        about
        | dict.fromkeys(names, "log of the region's volume relative to MNI152, without the affine part"),
    )
    features = [jacobian[list(names)].to_numpy()]
    if settings.diffusion:
        density = region_table(people, [r.ndi for r in regional], names)
        write_table(
            folder / "regional_ndi.tsv",
            density,
            about | dict.fromkeys(names, "mean NDI, weighted by tissue, in MNI space"),
        )
        # without the ventricles, which have too little tissue
        features.append(density[[name for name in names if name != VENTRICLES]].to_numpy())
    used = np.array([not p.bad_scan for p in people])
    best = oracle(
        np.hstack(features)[used],
        np.array([p.stratum for p in people])[used],
        np.array([p.site for p in people])[used],
        settings.seed,
    )
    if settings.lesions:
        write_lesion_table(folder, people, [(person.lesions, person.lesion_ml) for person in grown])
    amplitudes = [person.amplitudes for person in grown if person.amplitudes is not None]
    if amplitudes:
        write_amplitudes(folder, people, np.stack(amplitudes))
    if settings.diagnosis_effect > 0:
        write_diagnosis_effects(folder, head)
        patients = np.array([int(p.patient) for p in people])[used]
        sources = {"regional": np.hstack(features)[used]}
        if amplitudes:
            sources["components"] = np.stack(amplitudes)[used]
            sources["all"] = np.hstack(list(sources.values()))
        best["diagnosis"] = {
            f"auc_{name}": _diagnosis_auc(values, patients, settings.seed) for name, values in sources.items()
        }
    write_json(folder / "oracle.json", best)


def _diagnosis_auc(values: np.ndarray, patients: np.ndarray, seed: int) -> float | None:
    """Return the AUC of the diagnosis from true values (people, features); None with too few people."""
    if np.bincount(patients, minlength=2).min() < 2:
        return None
    auc = discriminant_auc((values - values.mean(axis=0)) / values.std(axis=0), patients, seed)
    return None if auc is None else round(auc, 6)
