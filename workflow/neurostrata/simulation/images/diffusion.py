"""One person's diffusion-weighted images, made from known neurite density, dispersion and free water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from neurostrata.simulation.images.anatomy import Anatomy, Head, rigid_matrix
from neurostrata.simulation.images.diffusion_signal import noddi_signal, rician_noise
from neurostrata.simulation.images.scan import sample_scan
from neurostrata.simulation.images.templates import SPACING_MM, Templates
from neurostrata.simulation.images.velocity import FWHM_PER_SIGMA, random_field, sample
from neurostrata.simulation.people import effects
from neurostrata.simulation.people.people import Person, Settings, stream

#: NDI and ODI of white matter, grey matter and CSF; those of CSF hardly affect the signal.
NDI_WM, NDI_GM, NDI_CSF = 0.67, 0.36, 0.25
ODI_WM, ODI_GM, ODI_CSF = 0.14, 0.52, 0.6
#: Free water fraction of tissue and of CSF.
FWF_TISSUE, FWF_CSF = 0.03, 0.95
#: Spatial variation common to all people (FWHM mm -> sd) and that of each person.
COMMON_NDI = {14.0: 0.05, 28.0: 0.05}
COMMON_ODI = {14.0: 0.04, 28.0: 0.03}
PERSON_NDI = {16.0: 0.015, 30.0: 0.012}
#: b = 0 signal of white matter, grey matter, CSF.
S0_WM, S0_GM, S0_CSF = 1000.0, 1100.0, 1600.0
#: b = 0 signal of white matter over the noise's standard deviation (in each channel).
SNR = 40.0
#: Differences between the sites: gain of the receiver and shift of the measured NDI.
SITE_GAIN = (1.0, 1.15, 0.9)
SITE_DENSITY = (0.0, 0.012, -0.012)
#: The tensor of the true FA is fitted to volumes up to this b-value, s/mm^2.
TENSOR_B_MAX = 1050.0


@dataclass(frozen=True)
class Microstructure:
    """White matter common to all people, maps on the grid of the templates.

    Attributes
    ----------
    dyads
        (6, X, Y, Z), smoothed outer product d d^T of the fibre direction d: xx, yy, zz, xy, xz, yz.
    ndi, odi
        (X, Y, Z), spatial variation added to NDI and ODI.
    """

    dyads: np.ndarray
    ndi: np.ndarray
    odi: np.ndarray


def _dyads(templates: Templates) -> np.ndarray:
    """Return the fibre directions: large tracts, drawn by hand, and a smooth random potential in between."""
    x, y, z = templates.coordinates()
    side = np.sign(x)
    zero, one = np.zeros_like(x), np.ones_like(x)

    def bump(value: np.ndarray, centre: float, width: float) -> np.ndarray:
        return np.exp(-(((value - centre) / width) ** 2))

    tracts = [
        # the commissure runs from side to side and turns up as it leaves the midline
        (3.0 * bump(x, 0, 16) * bump(z, 20, 18), (one, zero, np.clip(x / 30.0, -1, 1))),
        # the projection fibres run up and fan out
        (2.5 * bump(np.abs(x), 24, 11) * bump(y, -18, 26), (0.35 * side, zero, one)),
        (2.0 * bump(x, 0, 14) * bump(y, -30, 14) * bump(z, -35, 22), (zero, 0.2 * one, one)),
        # the long association fibres and those of both poles run from back to front
        (2.0 * bump(np.abs(x), 39, 9), (zero, one, 0.15 * one)),
        (1.5 * (1 - bump(y, -18, 48)), (0.25 * side, one, zero)),
    ]
    rng = stream(0, "fibres")
    potential = random_field(templates.shape, SPACING_MM, {30.0: 1.0}, rng)
    tracts.append((np.full_like(x, 0.6), tuple(np.gradient(potential))))
    total = np.zeros((6, *templates.shape), dtype=np.float32)
    for weight, parts in tracts:
        d = np.stack(parts)
        d = d / np.maximum(np.sqrt((d**2).sum(axis=0)), 1e-6)
        total += weight * np.stack([d[0] ** 2, d[1] ** 2, d[2] ** 2, d[0] * d[1], d[0] * d[2], d[1] * d[2]])
    return np.stack([ndimage.gaussian_filter(part, 6.0 / FWHM_PER_SIGMA / SPACING_MM) for part in total])


def make_microstructure(templates: Templates) -> Microstructure:
    """Return the white matter that all simulated people (of all seeds) share."""
    rng = stream(0, "microstructure")
    return Microstructure(
        _dyads(templates),
        random_field(templates.shape, SPACING_MM, COMMON_NDI, rng),
        random_field(templates.shape, SPACING_MM, COMMON_ODI, rng),
    )


def _blend(wm: np.ndarray, gm: np.ndarray, csf: np.ndarray, values: tuple[float, float, float]) -> np.ndarray:
    """Return the mean of the tissues' values, weighted by their fractions; CSF has little weight."""
    weights = (wm, gm, 0.05 * csf + 1e-4)
    total = weights[0] + weights[1] + weights[2]
    return (weights[0] * values[0] + weights[1] * values[1] + weights[2] * values[2]) / total


def density_change(person: Person, settings: Settings, head: Head, common: Microstructure) -> np.ndarray:
    """Return the change of the tissues' NDI, (X, Y, Z) in MNI space, by anatomy, group, diagnosis, age, site and chance."""
    individual = random_field(
        head.templates.shape, SPACING_MM, PERSON_NDI, stream(settings.seed, "density", person.number)
    )
    regional = head.planted.density[person.label] + effects.AGE_DENSITY * person.age_z
    if head.planted.diagnosis_density is not None:
        regional = regional + head.planted.diagnosis_density[int(person.patient)]
    return common.ndi + individual + head.smooth_map(regional) + np.float32(SITE_DENSITY[person.site])


def ndi_in_mni(anatomy: Anatomy, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a person's NDI map before the deformation and the amount of tissue, (X, Y, Z) each."""
    wm, gm, csf = anatomy.tissues
    return np.clip(_blend(wm, gm, csf, (NDI_WM, NDI_GM, NDI_CSF)) + change, 0.02, 0.98), wm + gm


@dataclass(frozen=True)
class DiffusionScan:
    """A person's diffusion data and the truth in their native space.

    Attributes
    ----------
    dwi
        (X, Y, Z, measurements), int16, 0 outside the mask.
    mask
        (X, Y, Z), uint8.
    affine
        (4, 4), voxel to scanner mm.
    from_t1w
        (4, 4), points of the T1w image to points of the diffusion data, mm.
    maps
        ``ndi``, ``odi``, ``fwf`` and ``fa`` (of the noise-free tensor fit), (X, Y, Z), float32, 0 outside
        the mask.
    """

    dwi: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    from_t1w: np.ndarray
    maps: dict[str, np.ndarray]


def true_fa(signal: np.ndarray, bvals: np.ndarray, bvecs: np.ndarray) -> np.ndarray:
    """Return FA of a weighted least squares fit (dipy) to noise-free signals (voxels, measurements)."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    used = bvals <= TENSOR_B_MAX
    table = gradient_table(bvals=bvals[used], bvecs=bvecs[used], b0_threshold=50)
    return np.asarray(TensorModel(table, fit_method="WLS").fit(signal[:, used]).fa, dtype=np.float32)


def make_diffusion(
    person: Person,
    settings: Settings,
    head: Head,
    common: Microstructure,
    anatomy: Anatomy,
    scheme: tuple[np.ndarray, np.ndarray],
) -> DiffusionScan:
    """Return a person's diffusion scan; the head has moved a little since the T1w image.

    Parameters
    ----------
    person, settings, head, common, anatomy
        The person and the brain.
    scheme
        b-values (measurements,) in s/mm^2 and unit vectors (measurements, 3) along the scanner's R, A, S.
    """
    bvals, bvecs = scheme
    rng = stream(settings.seed, "dwi", person.number)
    from_t1w = rigid_matrix(rng.uniform(-3, 3, 3), rng.uniform(-4, 4, 3))
    scan = sample_scan(anatomy, head.templates, settings.dwi_resolution_mm, np.linalg.inv(from_t1w))

    brain = scan.average(head.templates.brain)
    kept = brain > 0.5
    scan = scan.only(kept)
    brain = brain[kept]
    wm, gm, csf = (scan.average(tissue) / brain for tissue in anatomy.tissues)
    change = scan.average(density_change(person, settings, head, common))
    ndi = np.clip(_blend(wm, gm, csf, (NDI_WM, NDI_GM, NDI_CSF)) + change, 0.02, 0.98)
    odi = np.clip(_blend(wm, gm, csf, (ODI_WM, ODI_GM, ODI_CSF)) + scan.average(common.odi), 0.03, 0.95)
    fwf = np.clip(FWF_TISSUE + (FWF_CSF - FWF_TISSUE) * csf, 0.0, 1.0)

    # tracts rotate with the head; the small rotations of the non-linear deformation are left out
    centre = scan.index.mean(axis=2)
    xx, yy, zz, xy, xz, yz = (sample(part, centre) for part in common.dyads)
    dyads = np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=-1).reshape(-1, 3, 3)
    u, _, vt = np.linalg.svd(from_t1w[:3, :3] @ anatomy.affine[:3, :3])
    direction = np.linalg.eigh(dyads)[1][:, :, -1] @ (u @ vt).T

    signal = noddi_signal(bvals, bvecs, ndi, odi, fwf, direction)
    fa = true_fa(signal, bvals, bvecs)
    s0 = (S0_WM * wm + S0_GM * gm + S0_CSF * csf) * SITE_GAIN[person.site]
    sigma = S0_WM * SITE_GAIN[person.site] / SNR * settings.noise
    signal = s0[:, None] * signal
    if person.bad_scan:
        # signal lost in every third volume while the head moved
        signal[:, ::3] *= 0.5
        sigma *= 3.0
    if sigma > 0:
        signal = rician_noise(signal, sigma, rng)
    maps = {"ndi": ndi, "odi": odi, "fwf": fwf, "fa": fa}
    return DiffusionScan(
        scan.image(np.round(signal).astype(np.int16)),
        scan.image(np.ones(len(scan.voxels), dtype=np.uint8)),
        scan.affine,
        from_t1w,
        {name: scan.image(values.astype(np.float32)) for name, values in maps.items()},
    )
