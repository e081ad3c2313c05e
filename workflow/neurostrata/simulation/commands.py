"""The command ``neurostrata simulate``: a cohort of images and questionnaires with planted effects."""

from __future__ import annotations

from pathlib import Path

from neurostrata.simulation.cohort import grow_cohort
from neurostrata.simulation.people.people import Settings


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
    """Make a cohort from the MNI152 template: T1w images, multi-shell diffusion data, questionnaires.

    Writes cohort.tsv, qc.tsv, phenotypes.tsv, images/ and, with everything that was planted, truth/ into the cohort's
    folder. The same options give the same bytes, whatever the number of threads; a folder that already holds the same
    cohort is left unchanged. cohort.tsv is written last.

    Parameters
    ----------
    output
        Folder of the cohort. A folder with a cohort.tsv that the simulator did not write is an error.
    people
        Number of people.
    seed
        Seed; each person has separate random streams.
    effect
        Size of the differences between the strata: multiplies the regional log-Jacobians and changes of
        NDI (truth/effects.tsv) and the factors' shifts before they are scaled to variance 1
        (truth/factor_shifts.tsv). 0: the strata do not differ.
    resolution_mm
        Voxel size of the T1w images.
    dwi_resolution_mm
        Voxel size of the diffusion data.
    site_only
        The sites carry the planted differences, of images and factors, instead of the strata.
    null_link
        Each person gets the questionnaires of another person of the cohort (age, sex and site stay).
    strata
        Number of strata.
    noise
        Multiplies the standard deviation of the Rician noise; 0: no noise and no bias field. At 1 it is
        a fortieth of white matter's intensity, in T1w images of site north and in b = 0 images.
    directions
        Gradient directions of each shell (b = 1000 and 2000 s/mm^2), in addition to 6 volumes without weighting.
    diffusion
        Diffusion data besides the T1w images.
    diagnosis_effect
        Size of the differences between patients and controls, the same in all strata: multiplies regional
        log-Jacobians and changes of NDI (truth/diagnosis_effects.tsv) and amplitudes of components. Half of
        every stratum are then patients. 0: the diagnosis depends on the strata and has no effect of its own.
    contrasts
        Further images in T1w space, columns of cohort.tsv: t2w, flair.
    lesions
        White-matter lesions in three of five people, bright in the further contrasts; column lesion_mask.
    components
        Spatial components of a 4-D image of each person in MNI space, column icn; the group's are in
        images/components.nii.gz. 0: none. MNI space is about 25 mm away from the template that a study builds of
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
    grow_cohort(Path(output), settings, threads)
