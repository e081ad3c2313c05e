"""Recovery: how much of what was planted in a simulated cohort a finished run has found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from neurostrata.core.config import adjusts_codes, fill_defaults, load_schema, section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, write_json
from neurostrata.core.tables import read_table
from neurostrata.imaging.images.io import Image, normalise_intensity, read_image
from neurostrata.imaging.registration.chain import Registration, register_images
from neurostrata.imaging.registration.transforms import resample

#: Above this free water fraction the other parameters mean little.
MOST_FREE_WATER = 0.5


def _map_path(results: Path, subject: str, kind: str, name: str) -> Path:
    return results / "derivatives" / f"sub-{subject}" / kind / f"sub-{subject}_{name}.nii.gz"


def _short(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def compare_regions(
    measured: np.ndarray, planted: np.ndarray, weights: np.ndarray
) -> dict[str, float | None]:
    """Compare measured with planted log-Jacobians over people and regions.

    Each person's mean over the regions is subtracted (head size, and how a registration shares the growth
    between its affine and its non-linear part), then each region's mean over people (which template the
    people are compared with).

    Parameters
    ----------
    measured, planted
        (people, regions).
    weights
        (regions,), sizes of the regions.

    Returns
    -------
    dict
        ``correlation`` and ``slope`` (of measured on planted) over people and regions; the same within
        each region as medians over regions: ``region_correlation``, ``region_slope``.
    """

    def centred(values: np.ndarray) -> np.ndarray:
        values = values - np.average(values, axis=1, weights=weights)[:, None]
        return values - values.mean(axis=0)

    m, p = centred(measured), centred(planted)
    products, squares = (m * p).sum(axis=0), (p**2).sum(axis=0)
    return {
        "correlation": _short(products.sum() / np.sqrt((m**2).sum() * squares.sum())),
        "slope": _short(products.sum() / squares.sum()),
        "region_correlation": _short(np.median(products / np.sqrt((m**2).sum(axis=0) * squares))),
        "region_slope": _short(np.median(products / squares)),
    }


def register_mni152(
    truth: Path, template: Image, settings: dict[str, Any]
) -> tuple[Registration, np.ndarray]:
    """Register MNI152 to a study template.

    Returns
    -------
    registration
        The map from the template's points to MNI152's.
    labels
        The truth's regions on the template's grid, int.
    """
    mni = read_image(truth / "mni_T1w.nii.gz", what="MNI152")
    moving = Image(normalise_intensity(mni.data), mni.grid)
    found = register_images(template, moving, settings, seed=1, inverse=False, label="MNI152")
    regions = read_image(truth / "regions.nii.gz", what="regions")
    labels = resample(regions, template.grid, found.affine, found.warp, order=0)
    return found, labels.astype(int)


def deformation_recovery(cohort: Path, results: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Compare every region's measured growth with the planted one, in study space.

    The planted maps are brought from MNI152 into the template's space by a registration of MNI152 to the
    template, and both are averaged over the same voxels.

    Parameters
    ----------
    cohort
        Folder that ``neurostrata simulate`` wrote.
    results
        Folder of the run's results.
    settings
        Section ``registration``.

    Returns
    -------
    dict
        :func:`compare_regions`, with the numbers of people and regions.
    """
    truth = cohort / "truth"
    template = read_image(results / "template" / "template.nii.gz", what="template")
    found, labels = register_mni152(truth, template, settings)
    people = read_table(truth / "participants.tsv")
    regions = read_table(truth / "regions.tsv")
    sizes = ndimage.sum_labels(np.ones(labels.shape), labels, regions["label"])
    measured, planted = [], []
    for row in people.itertuples():
        path = _map_path(results, row.subject, "anat", "space-study_desc-absolute_jacobian")
        if row.bad_scan == "yes" or not path.exists():
            continue
        jacobian = read_image(path, subject=row.subject, what="Jacobian")
        values = np.log(np.clip(jacobian.data, 0.01, None))
        measured.append(ndimage.mean(values, labels, regions["label"]))
        name = f"sub-{row.subject}_space-MNI_desc-nonlinear_logjacobian.nii.gz"
        source = read_image(truth / "jacobians" / name, subject=row.subject, what="planted Jacobian")
        values = resample(source, template.grid, found.affine, found.warp) + row.log_det_affine
        planted.append(ndimage.mean(values, labels, regions["label"]))
    if len(measured) < 3:
        raise UserError(f"{results}: has Jacobians of {len(measured)} simulated people; 3 are needed")
    figures: dict[str, Any] = dict(compare_regions(np.array(measured), np.array(planted), sizes))
    return {**figures, "people": len(measured), "regions": len(regions)}


def diffusion_recovery(cohort: Path, results: Path) -> dict[str, Any]:
    """Compare measured FA, NDI, ODI and FWF with the planted maps, voxel by voxel in native space.

    Only voxels inside both masks with less free water than :data:`MOST_FREE_WATER` count; all people
    with good scans are pooled.

    Returns
    -------
    dict
        For each map that was measured: ``mean_absolute_error``, ``bias`` (measured - planted), ``r``,
        ``people``, ``voxels``.
    """
    truth = cohort / "truth"
    people = read_table(truth / "participants.tsv")
    names = {"fa": "model-tensor_param-fa_dwimap"} | {
        name: f"model-noddi_param-{name}_dwimap" for name in ("ndi", "odi", "fwf")
    }
    found: dict[str, Any] = {}
    for parameter, name in names.items():
        pairs = []
        for row in people.itertuples():
            path = _map_path(results, row.subject, "dwi", name)
            if row.bad_scan == "yes" or row.has_dwi == "no" or not path.exists():
                continue
            measured = read_image(path, subject=row.subject, what=parameter).data
            prefix = truth / "maps" / f"sub-{row.subject}_space-dwi_param-"
            planted = read_image(Path(f"{prefix}{parameter}_map.nii.gz"), what="planted map").data
            water = read_image(Path(f"{prefix}fwf_map.nii.gz"), what="planted map").data
            used = (water > 0) & (water < MOST_FREE_WATER) & np.isfinite(measured)
            pairs.append(np.stack([measured[used], planted[used]]))
        if not pairs:
            continue
        measured, planted = np.concatenate(pairs, axis=1).astype(np.float64)
        found[parameter] = {
            "mean_absolute_error": _short(np.abs(measured - planted).mean()),
            "bias": _short((measured - planted).mean()),
            "r": _short(np.corrcoef(measured, planted)[0, 1]),
            "people": len(pairs),
            "voxels": len(measured),
        }
    return found


def _strata_settings(results: Path) -> dict[str, Any]:
    """Return section ``strata`` of the configuration that made `results`, with its defaults."""
    record = results / "provenance.json"
    settings = read_json(record).get("settings", {}) if record.exists() else {}
    return fill_defaults(settings.get("strata", {}), load_schema("strata"))


def strata_recovery(cohort: Path, results: Path) -> dict[str, Any]:
    """Compare each experiment's clusters with the planted strata, as a share of what the oracle reached.

    Returns
    -------
    dict
        ``oracle`` (truth/oracle.json's ``adjusted_rand``) and for each experiment, of the finder and codes that lead,
        ``finder``, ``codes``, ``adjusted_rand``, ``share_of_oracle`` (null when the oracle found nothing),
        ``clusters``, ``people``; under ``all`` the same of every finder on every kind of codes.
    """
    from sklearn.metrics import adjusted_rand_score

    truth = cohort / "truth"
    best = read_json(truth / "oracle.json")["adjusted_rand"]
    people = read_table(truth / "participants.tsv")[["subject", "stratum"]]
    experiments = {}
    strata = _strata_settings(results)
    codes = "adjusted" if adjusts_codes(strata) else "raw"
    for folder in sorted(path for path in results.glob("experiments/*") if path.is_dir()):
        every = []
        for path in sorted(folder.glob("strata/*/*/clusters.tsv")):
            clusters = pd.merge(read_table(path), people, on="subject")
            rand = adjusted_rand_score(clusters["stratum"], clusters["cluster"])
            every.append(
                {
                    "finder": path.parent.name,
                    "codes": path.parent.parent.name,
                    "adjusted_rand": _short(rand),
                    "share_of_oracle": _short(rand / best) if best > 0 else None,
                    "clusters": int(clusters["cluster"].nunique()),
                    "people": len(clusters),
                }
            )
        leading = [row for row in every if (row["finder"], row["codes"]) == (strata["finders"][0], codes)]
        if leading:
            experiments[folder.name] = {**leading[0], "all": every}
    return {"oracle": best, "experiments": experiments}


def recovery(*, cohort: Path, results: Path, output: Path, settings: dict[str, Any] | None = None) -> None:
    """Compare a finished run with the truth: how much of what was planted in a simulated cohort it has found.

    Parameters
    ----------
    cohort
        Folder that ``neurostrata simulate`` wrote.
    results
        Folder of the run's results.
    output
        JSON file to write: ``deformation``, ``diffusion``, ``strata``, as :func:`deformation_recovery`, :func:`diffusion_recovery`
        and :func:`strata_recovery` return them.
    settings
        Section ``registration``, for the registration of MNI152 to the study's template; by default the
        greedy engine's.
    """
    if settings is None:
        settings = {**section_defaults("registration"), "engine": "greedy"}
    if not (cohort / "truth" / "oracle.json").exists():
        raise UserError(f"{cohort}: has no truth/; give the folder of a simulated cohort")
    found = {
        "deformation": deformation_recovery(cohort, results, settings),
        "diffusion": diffusion_recovery(cohort, results),
        "strata": strata_recovery(cohort, results),
    }
    write_json(output, found)
    print("\nHow much of what was planted was found")
    growth = found["deformation"]
    print(
        f"  growth of {growth['regions']} regions in {growth['people']} people: correlation with the truth "
        f"{growth['correlation']}, slope {growth['slope']}"
    )
    for name, errors in found["diffusion"].items():
        print(
            f"  {name.upper()}: mean absolute error {errors['mean_absolute_error']}, bias {errors['bias']}, r {errors['r']}"
        )
    if found["strata"]["experiments"]:
        print(f"  strata (adjusted Rand; from the true regional values {found['strata']['oracle']:.2f}):")
    for name, strata in found["strata"]["experiments"].items():
        for row in strata["all"]:
            leads = " (leads)" if (row["finder"], row["codes"]) == (strata["finder"], strata["codes"]) else ""
            what = f"{row['finder'].replace('_', ' ')} on {row['codes']} codes{leads}"
            print(f"    {name}, {what}: {row['adjusted_rand']:.2f}, {row['clusters']} clusters")
