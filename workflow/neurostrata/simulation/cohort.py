"""Growing a cohort: the images and tables of all people, with worker processes that grow one person each."""

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
from threadpoolctl import threadpool_limits

from neurostrata import __version__
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, read_json, write_json
from neurostrata.simulation import truth
from neurostrata.simulation.images import functional
from neurostrata.simulation.images.anatomy import Anatomy, Head, make_anatomy
from neurostrata.simulation.images.contrasts import (
    SUFFIXES,
    Lesions,
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
from neurostrata.simulation.images.regions import make_regions
from neurostrata.simulation.images.t1w import make_t1w
from neurostrata.simulation.images.templates import load_templates
from neurostrata.simulation.people.effects import plant, plant_diagnosis
from neurostrata.simulation.people.people import SITES, Person, Settings, make_people
from neurostrata.simulation.sheets import write_cohort_sheet, write_quality_sheet, write_questionnaires
from neurostrata.simulation.truth import GrownPerson

#: Increased when the same options give other files than before.
_RECIPE = 2


@dataclass(frozen=True)
class _Job:
    """What all workers need to grow people."""

    output: Path
    settings: Settings
    head: Head
    common: Microstructure
    scheme: tuple[np.ndarray, np.ndarray]
    networks: functional.Networks | None = None
    share_of_patients: float = 0.0


_job: _Job | None = None


def _start_worker(job: _Job, parent: int) -> None:
    """Keep the job in this worker process, and end the worker when the process that started it ends."""
    global _job
    _job = job

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _grow_in_worker(person: Person) -> GrownPerson:
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


def _write_contrasts(
    job: _Job, person: Person, anatomy: Anatomy, lesions: Lesions | None, mask: np.ndarray, affine: np.ndarray
) -> tuple[int, float]:
    """Write the further contrasts and the lesion mask; return the number of lesions and their volume (ml)."""
    settings, head = job.settings, job.head
    if not settings.contrasts:
        return 0, 0.0
    images, name = job.output / "images", f"sub-{person.subject}"
    scan = contrast_scan(settings, head, anatomy)
    for contrast in settings.contrasts:
        image = make_contrast(contrast, person, settings, head, anatomy, lesions, scan, mask)
        write_nifti(images / f"{name}_{SUFFIXES[contrast]}.nii.gz", image, affine)
    if lesions is None:
        return 0, 0.0
    inside = lesion_mask(lesions, scan, mask)
    write_nifti(images / f"{name}_label-lesion_mask.nii.gz", inside, affine)
    truth.write_lesion_truth(job.output / "truth", person, lesions.fraction, head)
    return len(lesions.radii), float(inside.sum() * settings.resolution_mm**3 / 1000)


def _write_diffusion(job: _Job, person: Person, anatomy: Anatomy) -> None:
    """Write a person's diffusion series, its mask and gradients, and the true maps."""
    images, name = job.output / "images", f"sub-{person.subject}"
    dwi = make_diffusion(person, job.settings, job.head, job.common, anatomy, job.scheme)
    write_nifti(images / f"{name}_dwi.nii.gz", dwi.dwi, dwi.affine)
    write_nifti(images / f"{name}_dwi_mask.nii.gz", dwi.mask, dwi.affine)
    bvals, bvecs = job.scheme
    # FSL counts x from the right when the affine has a positive determinant
    texts = format_fsl(bvals, bvecs * np.array([-1.0, 1.0, 1.0]) + 0.0)
    for suffix, text in zip(("bval", "bvec"), texts):
        with atomic_path(images / f"{name}_dwi.{suffix}") as temporary:
            temporary.write_text(text, encoding="ascii")
    truth.write_diffusion_truth(job.output / "truth", person, dwi)


def _grow(job: _Job, person: Person) -> GrownPerson:
    """Grow one person; write the images and their truth."""
    settings, head = job.settings, job.head
    images, planted = job.output / "images", job.output / "truth"
    name = f"sub-{person.subject}"
    # with more threads, sums in another order would change the last digits
    with threadpool_limits(limits=1):
        anatomy = make_anatomy(person, settings.seed, head)
        lesions = make_lesions(person, settings.seed, head, anatomy) if settings.lesions else None
        darker = None if lesions is None else lesions.fraction
        t1w, mask, affine = make_t1w(person, settings, head, anatomy, darker)
        write_nifti(images / f"{name}_T1w.nii.gz", t1w, affine)
        write_nifti(images / f"{name}_T1w_mask.nii.gz", mask, affine)
        truth.write_anatomy_truth(planted, person, anatomy, head)
        lesion_count, lesion_ml = _write_contrasts(job, person, anatomy, lesions, mask, affine)
        amplitudes = None
        if job.networks is not None:
            amplitudes = _grow_functional(job, job.networks, person)
        ndi = None
        if settings.diffusion:
            # also of a person without diffusion data: the truth is there, only the scan is missing
            ndi = ndi_in_mni(anatomy, density_change(person, settings, head, job.common))
        if person.has_dwi:
            _write_diffusion(job, person, anatomy)
        regional = truth.regional_truth(anatomy, head, ndi)
        return GrownPerson(regional, lesion_count, lesion_ml, amplitudes)


def _grow_all(job: _Job, people: list[Person], threads: int) -> Iterator[GrownPerson]:
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


def _prepare_folder(output: Path, record: dict[str, Any]) -> bool:
    """Make room for a cohort; return whether the same cohort is already there, complete.

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
        # a cohort with other options or an incomplete one: none of its files may be mistaken for new ones
        for folder in ("images", "truth"):
            shutil.rmtree(output / folder, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    write_json(done, record)
    return False


def grow_cohort(output: Path, settings: Settings, threads: int) -> None:
    """Write a cohort; :func:`neurostrata.simulation.commands.simulate` says which files.

    Parameters
    ----------
    output
        Folder of the cohort.
    settings
        The options.
    threads
        Worker processes.

    Raises
    ------
    UserError
        When an option cannot be met, or the folder holds another cohort.
    """
    started = time.monotonic()
    settings.check()
    record = {"recipe": _RECIPE, "version": __version__, "options": settings.record()}
    if _prepare_folder(output, record):
        print(f"{output}: this cohort already exists", flush=True)
        return
    members = make_people(settings)
    templates = load_templates()
    regions = make_regions(templates)
    sizes = np.bincount(
        [p.label for p in members], minlength=len(SITES) if settings.site_only else settings.strata
    )
    patients = [p.patient for p in members]
    planted = plant_diagnosis(
        plant(regions, sizes, settings.effect), regions, patients, settings.diagnosis_effect
    )
    head = Head(templates, regions, planted)
    _ = head.spreading, head.detail  # computed once here instead of in every worker
    networks = functional.make_networks(templates, settings) if settings.components else None
    job = _Job(
        output,
        settings,
        head,
        make_microstructure(templates),
        demo_scheme(settings.directions, seed=1),
        networks,
        float(np.mean(patients)),
    )
    truth.write_head(output / "truth", head)
    if networks is not None:
        write_nifti(output / "images" / "components.nii.gz", networks.maps, networks.affine)
        truth.write_component_effects(output / "truth", networks.effects)
    grown: list[GrownPerson] = []
    for number, values in enumerate(_grow_all(job, members, threads), start=1):
        grown.append(values)
        if number % 8 == 0 or number == settings.people:
            print(f"simulated {number} of {settings.people} people", flush=True)
    with threadpool_limits(limits=1):
        truth.write_truth_tables(output / "truth", members, grown, head, settings)
        write_questionnaires(output, members, settings)
    write_quality_sheet(output, members)
    write_cohort_sheet(output, members, settings)
    print(f"{output}: {settings.people} people in {time.monotonic() - started:.0f} s", flush=True)
