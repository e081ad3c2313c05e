"""``neurostrata simulate``: grow a cohort of images and questionnaires, and write down what was planted."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata import __version__
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, read_json, write_json
from neurostrata.core.tables import write_table
from neurostrata.simulation import truth
from neurostrata.simulation.images import functional
from neurostrata.simulation.images.anatomy import Head, make_anatomy
from neurostrata.simulation.images.contrasts import (
    SUFFIXES,
    contrast_scan,
    lesion_mask,
    make_contrast,
    make_lesions,
)
from neurostrata.simulation.images.diffusion import (
    Microstructure,
    density_change,
    make_diffusion,
    make_microstructure,
    ndi_in_mni,
)
from neurostrata.simulation.images.diffusion_signal import demo_scheme, format_fsl
from neurostrata.simulation.images.files import write_nifti
from neurostrata.simulation.images.regions import VENTRICLES, make_regions
from neurostrata.simulation.images.t1w import make_t1w
from neurostrata.simulation.images.templates import load_templates
from neurostrata.simulation.people import questionnaires
from neurostrata.simulation.people.effects import plant, plant_diagnosis
from neurostrata.simulation.people.oracle import discriminant_auc, oracle
from neurostrata.simulation.people.people import SITES, Person, Settings, make_people, stream

#: Raised when the same options give other files than before.
_RECIPE = 2

_COHORT_COLUMNS = {
    "subject": "id",
    "t1w": "brain-extracted T1-weighted image, relative to this file's folder",
    "t1w_mask": "its brain mask",
    "dwi": "diffusion-weighted series, empty when there is none",
    "bval": "b-values",
    "bvec": "gradient directions, FSL's convention",
    "dwi_mask": "brain mask of the diffusion data",
    "template": "yes: helps to build the template",
    "session": "empty: one session",
    "site": "scanner",
    "family": "family",
    "diagnosis": "patient or control",
}


@dataclass(frozen=True)
class _Job:
    """What a worker needs to grow a person."""

    output: Path
    settings: Settings
    head: Head
    common: Microstructure
    scheme: tuple[np.ndarray, np.ndarray]
    networks: functional.Networks | None = None
    share_of_patients: float = 0.0


@dataclass
class _Extras:
    """What the options beside T1w and diffusion planted: lesions (number, ml), amplitudes (components,)."""

    lesions: int = 0
    lesion_ml: float = 0.0
    amplitudes: np.ndarray | None = None


_Grown = tuple[truth.RegionalTruth, _Extras]
_job: _Job | None = None


def _start_worker(job: _Job, parent: int) -> None:
    """Keep the job in this worker process, which ends when the process that started it is killed."""
    global _job
    _job = job

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _grow_in_worker(person: Person) -> _Grown:
    assert _job is not None
    return _grow(_job, person)


def _grow_functional(job: _Job, networks: functional.Networks, person: Person) -> np.ndarray:
    """Write a person's component maps and, when asked for, BOLD series; return the amplitudes (components,)."""
    settings, name = job.settings, f"sub-{person.subject}"
    components = functional.make_components(person, settings, networks, job.share_of_patients)
    images = job.output / "images"
    write_nifti(images / f"{name}_space-MNI_icn.nii.gz", components.maps, networks.affine)
    if settings.bold:
        series, courses = functional.make_bold(person, settings, networks, components)
        path = images / f"{name}_space-MNI_desc-preproc_bold.nii.gz"
        write_nifti(path, series, networks.affine, functional.REPETITION_S)
        truth.write_time_courses(job.output / "truth", person, courses)
    return components.amplitudes


def _grow(job: _Job, person: Person) -> _Grown:
    """Grow one person, write the images and their truth, return the regional values and what else there is."""
    from threadpoolctl import threadpool_limits

    settings, head = job.settings, job.head
    images, planted = job.output / "images", job.output / "truth"
    name = f"sub-{person.subject}"
    # sums in another order (more threads) would end in other last digits
    with threadpool_limits(limits=1):
        anatomy = make_anatomy(person, settings.seed, head)
        lesions = make_lesions(person, settings.seed, head, anatomy) if settings.lesions else None
        darker = None if lesions is None else lesions.fraction
        t1w, mask, affine = make_t1w(person, settings, head, anatomy, darker)
        write_nifti(images / f"{name}_T1w.nii.gz", t1w, affine)
        write_nifti(images / f"{name}_T1w_mask.nii.gz", mask, affine)
        truth.write_anatomy_truth(planted, person, anatomy, head)
        found = _Extras()
        if settings.contrasts:
            scan = contrast_scan(settings, head, anatomy)
            for contrast in settings.contrasts:
                image = make_contrast(contrast, person, settings, head, anatomy, lesions, scan, mask)
                write_nifti(images / f"{name}_{SUFFIXES[contrast]}.nii.gz", image, affine)
            if lesions is not None:
                inside = lesion_mask(lesions, scan, mask)
                write_nifti(images / f"{name}_label-lesion_mask.nii.gz", inside, affine)
                truth.write_lesion_truth(planted, person, lesions.fraction, head)
                found.lesions = len(lesions.radii)
                found.lesion_ml = float(inside.sum() * settings.resolution_mm**3 / 1000)
        if job.networks is not None:
            found.amplitudes = _grow_functional(job, job.networks, person)
        ndi = None
        if settings.diffusion:
            # also of a person without diffusion data: the truth is there, only the scan is missing
            ndi = ndi_in_mni(anatomy, density_change(person, settings, head, job.common))
        if person.has_dwi:
            dwi = make_diffusion(person, settings, head, job.common, anatomy, job.scheme)
            write_nifti(images / f"{name}_dwi.nii.gz", dwi.dwi, dwi.affine)
            write_nifti(images / f"{name}_dwi_mask.nii.gz", dwi.mask, dwi.affine)
            bvals, bvecs = job.scheme
            # FSL counts x from the right when the affine has a positive determinant
            texts = format_fsl(bvals, bvecs * np.array([-1.0, 1.0, 1.0]) + 0.0)
            for suffix, text in zip(("bval", "bvec"), texts):
                with atomic_path(images / f"{name}_dwi.{suffix}") as temporary:
                    temporary.write_text(text, encoding="ascii")
            truth.write_diffusion_truth(planted, person, dwi)
        return truth.regional_truth(anatomy, head, ndi), found


def _grow_all(job: _Job, people: list[Person], threads: int) -> Iterator[_Grown]:
    if threads <= 1:
        yield from (_grow(job, person) for person in people)
        return
    with ProcessPoolExecutor(
        max_workers=min(threads, len(people)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(job, os.getpid()),
    ) as pool:
        yield from pool.map(_grow_in_worker, people)


def _extra_images(subject: str, settings: Settings) -> dict[str, str]:
    """Return the sheet's further columns and a person's files in them."""
    name = f"images/sub-{subject}"
    cells = {contrast: f"{name}_{SUFFIXES[contrast]}.nii.gz" for contrast in settings.contrasts}
    if settings.lesions:
        cells["lesion_mask"] = f"{name}_label-lesion_mask.nii.gz"
    if settings.components:
        cells["icn"] = f"{name}_space-MNI_icn.nii.gz"
    if settings.bold:
        cells["bold"] = f"{name}_space-MNI_desc-preproc_bold.nii.gz"
    return cells


def _cohort_sheet(people: list[Person], settings: Settings | None = None) -> pd.DataFrame:
    settings = settings or Settings()
    rows = []
    for person in people:
        name = f"images/sub-{person.subject}"
        dwi = person.has_dwi
        rows.append(
            {
                "subject": person.subject,
                "t1w": f"{name}_T1w.nii.gz",
                "t1w_mask": f"{name}_T1w_mask.nii.gz",
                "dwi": f"{name}_dwi.nii.gz" if dwi else "",
                "bval": f"{name}_dwi.bval" if dwi else "",
                "bvec": f"{name}_dwi.bvec" if dwi else "",
                "dwi_mask": f"{name}_dwi_mask.nii.gz" if dwi else "",
                "template": "yes" if person.template else "no",
                "session": "",
                "site": SITES[person.site],
                "family": f"F{person.family + 1:03d}",
                "diagnosis": "patient" if person.patient else "control",
                **_extra_images(person.subject, settings),
            }
        )
    return pd.DataFrame(rows, columns=[*_COHORT_COLUMNS, *_extra_images("", settings)])


def _write_questionnaires(output: Path, people: list[Person], settings: Settings) -> None:
    """Write phenotypes.tsv, and in truth/ the factor scores, loadings and shifts behind it."""
    rng = stream(settings.seed, "questionnaires")
    # the whole row of answers is that of `questionnaires_of`, whose group, family and age shape it
    scores, shifts = questionnaires.factor_scores(
        np.array([p.label for p in people]),
        np.array([p.family for p in people]),
        np.array([p.age_z for p in people]),
        rng,
        effect=settings.effect,
    )
    loadings = questionnaires.simple_loadings(scores.shape[1])
    table = questionnaires.answers(scores, loadings, rng)
    source = np.array([p.questionnaires_of for p in people])
    subjects = [p.subject for p in people]
    table = table.iloc[source].reset_index(drop=True)
    table.insert(0, "subject", subjects)
    table.insert(1, "age", [p.age for p in people])
    table.insert(2, "sex", ["F" if p.female else "M" for p in people])
    table.insert(3, "site", [SITES[p.site] for p in people])
    write_table(
        output / "phenotypes.tsv",
        table,
        {"subject": "id", "age": "years", "sex": "F or M", "site": "scanner"}
        | dict.fromkeys(table.columns[4:], "score, mean 50 and standard deviation 10 in the population"),
    )
    names = [f"planted_{k + 1:02d}" for k in range(scores.shape[1])]
    folder = output / "truth"
    true_scores = pd.DataFrame(scores[source], columns=names)
    true_scores.insert(0, "subject", subjects)
    write_table(folder / "factor_scores.tsv", true_scores, {"subject": "id, of the row in phenotypes.tsv"})
    frame = pd.DataFrame(loadings, columns=names)
    frame.insert(0, "variable", list(table.columns[4:]))
    write_table(folder / "loadings.tsv", frame, {"variable": "column of phenotypes.tsv"})
    frame = pd.DataFrame(shifts, columns=names)
    frame.insert(0, "group", np.arange(1, len(shifts) + 1))
    write_table(folder / "factor_shifts.tsv", frame, {"group": "stratum (with --site-only: site)"})


def _write_truth_tables(
    output: Path, people: list[Person], grown: list[_Grown], head: Head, settings: Settings
) -> None:
    folder, names = output / "truth", head.regions.names
    regional = [values for values, _ in grown]
    about_people = dict(truth.PARTICIPANT_COLUMNS)
    if settings.diagnosis_effect > 0:
        about_people["diagnosis"] = "patient (half of every stratum) or control"
    write_table(folder / "participants.tsv", truth.participants(people, regional), about_people)
    jacobian = truth.region_table(people, [r.log_jacobian for r in regional], names)
    volume = truth.region_table(people, [r.volume for r in regional], names)
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
        density = truth.region_table(people, [r.ndi for r in regional], names)
        write_table(
            folder / "regional_ndi.tsv",
            density,
            about | dict.fromkeys(names, "mean NDI, weighted by tissue, in MNI space"),
        )
        # there is too little tissue in the ventricles
        features.append(density[[name for name in names if name != VENTRICLES]].to_numpy())
    used = np.array([not p.bad_scan for p in people])
    best = oracle(
        np.hstack(features)[used],
        np.array([p.stratum for p in people])[used],
        np.array([p.site for p in people])[used],
        settings.seed,
    )
    if settings.lesions:
        truth.write_lesion_table(folder, people, [(e.lesions, e.lesion_ml) for _, e in grown])
    amplitudes = [e.amplitudes for _, e in grown if e.amplitudes is not None]
    if amplitudes:
        truth.write_amplitudes(folder, people, np.stack(amplitudes))
    if settings.diagnosis_effect > 0:
        truth.write_diagnosis_effects(folder, head)
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


def _prepare_folder(output: Path, record: dict[str, Any]) -> bool:
    """Make room for a cohort; return whether the very same one is there already, complete.

    Raises
    ------
    UserError
        When the folder holds a cohort sheet that the simulator did not write.
    """
    done, sheet = output / "truth" / "simulation.json", output / "cohort.tsv"
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; name a folder with --output")
    if sheet.exists():
        if not done.exists():
            raise UserError(f"{sheet}: was not written by the simulator; choose another folder with --output")
        if read_json(done) == record:
            return True
        sheet.unlink()
    if done.exists():
        # a cohort of other options, or one that was cut short: nothing of it may be mistaken for the new one
        for folder in ("images", "truth"):
            shutil.rmtree(output / folder, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    write_json(done, record)
    return False


def simulate(
    *,
    output: Path,
    people: int = 24,
    seed: int = 1,
    effect: float = 1.0,
    resolution_mm: float = 3.0,
    dwi_resolution_mm: float = 4.0,
    site_only: bool = False,
    null_link: bool = False,
    strata: int = 3,
    noise: float = 1.0,
    directions: int = 30,
    diffusion: bool = True,
    diagnosis_effect: float = 0.0,
    contrasts: list[str] | None = None,
    lesions: bool = False,
    components: int = 0,
    bold: bool = False,
    bold_resolution_mm: float = 6.0,
    threads: int = 1,
) -> None:
    """Grow a cohort from the MNI152 template: T1w images, multi-shell diffusion data, questionnaires.

    Writes OUTPUT/cohort.tsv, qc.tsv, phenotypes.tsv, images/ and, with everything that was planted,
    truth/. The same options give the same bytes, whatever the number of threads; a folder that already
    holds the very same cohort is left as it is. cohort.tsv is written last.

    Parameters
    ----------
    output
        Folder of the cohort. A folder with somebody else's cohort.tsv is refused.
    people
        Number of people.
    seed
        Seed; every person has random streams of their own.
    effect
        Size of the differences between the strata: multiplies the regional log-Jacobians and changes of
        NDI (truth/effects.tsv) and the factors' shifts before they are scaled to variance 1
        (truth/factor_shifts.tsv). 0: the strata differ in nothing.
    resolution_mm, dwi_resolution_mm
        Voxel size of the T1w images and of the diffusion data.
    site_only
        The sites carry the planted differences, of images and factors, instead of the strata.
    null_link
        Everybody's questionnaires are those of another person of the cohort (age, sex and site stay).
    strata
        Number of strata.
    noise
        Multiplies the standard deviation of the Rician noise; 0: no noise and no bias field. At 1 white
        matter has 40 times it in T1w (north) and in b = 0 images.
    directions
        Gradient directions of each shell (b = 1000 and 2000 s/mm^2), beside 6 volumes without weighting.
    diffusion
        False: T1w images only.
    diagnosis_effect
        Size of the differences between patients and controls, the same in all strata: multiplies regional
        log-Jacobians and changes of NDI (truth/diagnosis_effects.tsv) and amplitudes of components. Half of
        every stratum are then patients. 0: the diagnosis goes with the strata and has no effect of its own.
    contrasts
        Further images in T1w space, columns of cohort.tsv: t2w, flair.
    lesions
        White-matter lesions in three of five people, bright in the further contrasts; column lesion_mask.
    components
        Spatial components of a 4-D image of each person in MNI space, column icn; the group's are in
        images/components.nii.gz. 0: none. MNI space lies some 25 mm off the template that a study builds of
        the T1w images: declare them with ``space: mni``.
    bold
        A resting-state series of those components in MNI space, column bold.
    bold_resolution_mm
        Voxel size of the components and the series.
    threads
        Worker processes.

    Raises
    ------
    UserError
        When an option cannot be met.
    """
    started = time.monotonic()
    settings = Settings(
        people=people,
        seed=seed,
        effect=effect,
        resolution_mm=resolution_mm,
        dwi_resolution_mm=dwi_resolution_mm,
        site_only=site_only,
        null_link=null_link,
        strata=strata,
        noise=noise,
        directions=directions,
        diffusion=diffusion,
        diagnosis_effect=diagnosis_effect,
        contrasts=tuple(contrasts or ()),
        lesions=lesions,
        components=components,
        bold=bold,
        bold_resolution_mm=bold_resolution_mm,
    )
    settings.check()
    output = Path(output)
    record = {"recipe": _RECIPE, "version": __version__, "options": settings.record()}
    if _prepare_folder(output, record):
        print(f"{output}: this cohort is there already", flush=True)
        return
    members = make_people(settings)
    templates = load_templates()
    regions = make_regions(templates)
    sizes = np.bincount([p.label for p in members], minlength=len(SITES) if site_only else strata)
    patients = [p.patient for p in members]
    planted = plant_diagnosis(plant(regions, sizes, effect), regions, patients, diagnosis_effect)
    head = Head(templates, regions, planted)
    _ = head.spreading, head.detail  # once here rather than in every worker
    networks = functional.make_networks(templates, settings) if components else None
    job = _Job(
        output,
        settings,
        head,
        make_microstructure(templates),
        demo_scheme(directions, seed=1),
        networks,
        float(np.mean(patients)),
    )
    truth.write_head(output / "truth", head)
    if networks is not None:
        write_nifti(output / "images" / "components.nii.gz", networks.maps, networks.affine)
        truth.write_component_effects(output / "truth", networks.effects)
    grown = []
    for number, values in enumerate(_grow_all(job, members, threads), start=1):
        grown.append(values)
        if number % 8 == 0 or number == people:
            print(f"simulated {number} of {people} people", flush=True)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        _write_truth_tables(output, members, grown, head, settings)
        _write_questionnaires(output, members, settings)
    bad = [p for p in members if p.bad_scan]
    checks = pd.DataFrame(
        [(p.subject, "", "exclude", "head motion, seen by eye") for p in bad],
        columns=["subject", "modality", "decision", "reason"],
    )
    with atomic_path(output / "qc.tsv") as temporary:
        checks.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    with atomic_path(output / "cohort.tsv") as temporary:
        _cohort_sheet(members, settings).to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    print(f"{output}: {people} people in {time.monotonic() - started:.0f} s", flush=True)
