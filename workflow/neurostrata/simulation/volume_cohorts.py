"""Cohorts made directly at the level of fusion volumes: seconds instead of hours, for comparing models.

No stage uses this module: it is for those who develop models and finders (docs/extending.md), and for the calibration
and the tests that compare them.

Without images, registrations or fits: each person's volume is MNI152's anatomy, slightly misplaced, plus smooth
variation of that person, plus regional effects, plus noise.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.simulation.coarse_space import CoarseSpace, coarse_space
from neurostrata.simulation.images.regions import VENTRICLES
from neurostrata.simulation.images.velocity import random_field, sample
from neurostrata.simulation.people.oracle import discriminant_auc
from neurostrata.simulation.people.people import AGE_RANGE, balanced, stratum_sizes, stream

#: Mean image of a modality: weights of white matter, grey matter, CSF and of the T1w template, and the unit
#: that everything planted or random is a multiple of.
_CONTRASTS = {
    "jac": ((0.97, 1.02, 1.0, 0.0), 0.10),
    "ndi": ((0.67, 0.36, 0.10, 0.0), 0.05),
    "fa": ((0.45, 0.15, 0.05, 0.0), 0.05),
    "md": ((0.70, 0.85, 2.50, 0.0), 0.10),
    "gmv": ((0.02, 0.80, 0.02, 0.0), 0.08),
    "t1w": ((0.0, 0.0, 0.0, 1.0), 0.10),
}
#: Smooth variation of each person: width (FWHM, mm) -> standard deviation, units.
SMOOTHNESS = {14.0: 0.5, 30.0: 0.5, 60.0: 0.5}
#: Share of the variance of that variation that a person's modalities have in common.
SHARED = 0.5
#: Standard deviation of a person's regions around the value given by age, sex, stratum and diagnosis, units.
REGION_SD = 0.4
#: Change per standard deviation of age (ventricles: twice, and upwards) and of women over men, units.
AGE_SLOPE, SEX_SHIFT = -0.15, 0.15
#: At effect 1: difference of a stratum's own parcels, and minus that of the next stratum's, units.
STRATUM_SHIFT = 0.4
#: At diagnosis effect 1: difference of patients in the affected parcels, units.
DIAGNOSIS_SHIFT = -0.78
#: At site effect 1: standard deviation over sites of the shift of each region, units.
SITE_SHIFT = 0.4
#: Parcels (both sides) affected by the diagnosis, by position of the modality; later modalities repeat them.
AFFECTED = (("03", "06"), ("05", "08"))


def _contrast(modality: str) -> tuple[np.ndarray, float]:
    """Return a modality's weights of the tissues and its unit; unknown names get a random contrast."""
    if modality in _CONTRASTS:
        weights, unit = _CONTRASTS[modality]
        return np.array(weights, dtype=np.float32), unit
    rng = np.random.default_rng(zlib.crc32(modality.encode()))
    return np.append(rng.uniform(0.1, 0.9, 3), 0.0).astype(np.float32), 0.08


@dataclass(frozen=True, eq=False)
class VolumeCohort:
    """People as fusion volumes, and everything that was planted in them.

    Attributes
    ----------
    volumes
        (people, modalities, x, y, z), float32, unscaled, 0 outside the mask.
    mask
        (x, y, z), bool, brain.
    regions
        (x, y, z), int16: 0 outside the brain, else 1 + position in `region_names`.
    affine
        (4, 4), voxel to MNI152 mm (R, A, S).
    modalities, region_names, subjects
        Names, in the order of the arrays.
    stratum
        (people,), from 0, by decreasing size.
    diagnosis
        (people,), bool, True for patients; half of every stratum.
    age, female
        (people,), years; bool. Independent of stratum and diagnosis.
    site
        (people,), from 0. Independent of the stratum.
    regional
        (people, modalities, regions): the true regional values, relative to the mean image. The mean
        of the planted part of a volume in each region, without the smooth variation and noise.
    stratum_effects
        (strata, modalities, regions): planted difference of each stratum, part of `regional`.
    diagnosis_effects
        (modalities, regions): patients minus controls, part of `regional`.
    diagnosis_maps, stratum_maps
        (modalities, x, y, z) and (strata, modalities, x, y, z): the same as maps.
    options
        The options of the cohort.
    """

    volumes: np.ndarray
    mask: np.ndarray
    regions: np.ndarray
    affine: np.ndarray
    modalities: tuple[str, ...]
    region_names: tuple[str, ...]
    subjects: tuple[str, ...]
    stratum: np.ndarray
    diagnosis: np.ndarray
    age: np.ndarray
    female: np.ndarray
    site: np.ndarray
    regional: np.ndarray
    stratum_effects: np.ndarray
    diagnosis_effects: np.ndarray
    diagnosis_maps: np.ndarray
    stratum_maps: np.ndarray
    options: dict[str, Any]

    def features(self) -> np.ndarray:
        """Return the true regional values as (people, modalities x regions)."""
        return self.regional.reshape(len(self.regional), -1)

    def oracle(self) -> dict[str, float | None]:
        """Return the results from the true regional values: the best that a model of the volumes can reach.

        Returns
        -------
        dict
            ``auc``: diagnosis by a cross-validated shrunken linear discriminant (None with fewer than two
            people in a group); ``adjusted_rand``: strata by k-means with their true number.
        """
        from sklearn.cluster import KMeans
        from sklearn.metrics import adjusted_rand_score

        values = self.features()
        values = (values - values.mean(axis=0)) / values.std(axis=0)
        seed, strata = int(self.options["seed"]), len(self.stratum_effects)
        labels = KMeans(strata, n_init=20, random_state=seed).fit_predict(values)
        return {
            "auc": discriminant_auc(values, self.diagnosis.astype(int), seed),
            "adjusted_rand": float(adjusted_rand_score(self.stratum, labels)),
        }


def _stratum_effects(names: Sequence[str], modalities: int, sizes: np.ndarray, effect: float) -> np.ndarray:
    """Return (strata, modalities, regions) in units: each parcel belongs to one stratum, another one per modality.

    A stratum has more in its own parcels and the next stratum less; centred over people.
    """
    strata = len(sizes)
    shifts = np.zeros((strata, modalities, len(names)))
    for column, name in enumerate(names):
        if name == VENTRICLES:
            continue
        for modality in range(modalities):
            owner = (int(name.split("_")[1]) - 1 + modality) % strata
            shifts[owner, modality, column] += STRATUM_SHIFT
            shifts[(owner + 1) % strata, modality, column] -= STRATUM_SHIFT
    weights = sizes / sizes.sum()
    return effect * (shifts - np.tensordot(weights, shifts, axes=1))


def _sizes(people: int, shares: Sequence[float]) -> np.ndarray:
    """Return whole numbers of people in the given proportions, the first group gets what rounding leaves."""
    parts = np.asarray(shares, dtype=float)
    if parts.ndim != 1 or len(parts) < 2 or not (parts > 0).all():
        raise UserError(f"shares {list(shares)}: give two numbers above 0 or more")
    sizes = np.maximum(np.floor(people * parts / parts.sum()).astype(int), 1)
    sizes[0] += people - sizes.sum()
    return sizes


def _check(
    people: int,
    shape: Sequence[int],
    modalities: Sequence[str],
    strata: int,
    effects: Mapping[str, float],
    chosen: Mapping[str, Sequence[str]],
) -> None:
    if strata < 2 or people < 2 * strata:
        raise UserError(f"people {people}, strata {strata}: 2 strata or more, 2 people or more in each")
    if len(shape) != 3 or min(shape) < 12:
        raise UserError(f"shape {tuple(shape)}: three sides of at least 12 voxels are needed")
    if not modalities or len(set(modalities)) != len(modalities):
        raise UserError(f"modalities {', '.join(modalities) or 'none'}: give different names, at least one")
    for name, value in effects.items():
        if not value >= 0:
            raise UserError(f"{name} {value}: give 0 or more")
    for name, names in chosen.items():
        unknown = [modality for modality in names if modality not in modalities]
        if unknown:
            raise UserError(f"{name}: '{unknown[0]}' is none of the modalities {', '.join(modalities)}")


class _People(NamedTuple):
    """The people, (people,) each: stratum from 0, patients, women, age in years, standardised age."""

    stratum: np.ndarray
    diagnosis: np.ndarray
    female: np.ndarray
    age: np.ndarray
    age_z: np.ndarray


def _draw_people(people: int, sizes: np.ndarray, seed: int) -> _People:
    rng = stream(seed, "volume people")
    stratum = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    diagnosis = balanced(stratum, 2, rng).astype(bool)
    female = balanced(stratum, 2, rng).astype(bool)
    age = rng.uniform(*AGE_RANGE, size=people).round(1)
    return _People(
        stratum, diagnosis, female, age, (age - np.mean(AGE_RANGE)) / (np.ptp(AGE_RANGE) / np.sqrt(12))
    )


def _diagnosis_effects(
    names: Sequence[str], modalities: Sequence[str], affected: Mapping[str, Sequence[str]], effect: float
) -> np.ndarray:
    """Return (modalities, regions) in units: patients minus controls."""
    effects = np.zeros((len(modalities), len(names)))
    for name, parcels in affected.items():
        for parcel in parcels:
            hit = [k for k, region in enumerate(names) if region == parcel or region.endswith(f"_{parcel}")]
            if not hit:
                raise UserError(f"affected.{name}: '{parcel}' is no region (known: {', '.join(names)})")
            effects[modalities.index(name), hit] = effect * DIAGNOSIS_SHIFT
    return effects


def _along_a_gradient(in_strata: np.ndarray, people: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (people, modalities, regions) between the first two strata, and the half each person is in."""
    along = stream(seed, "volume gradient").uniform(-1, 1, people) * np.sqrt(3)
    half = (in_strata[0] - in_strata[1]) / 2
    return (along - along.mean())[:, None, None] * half, (along < 0).astype(int)


def _site_effects(sites: int, shape: Sequence[int], effect: float, seed: int) -> np.ndarray:
    """Return (sites, modalities, regions) in units, centred over sites."""
    chance = stream(seed, "volume site effects").standard_normal((sites, *shape))
    return effect * SITE_SHIFT * (chance - chance.mean(axis=0))


def _regional_values(
    planted: np.ndarray, drawn: _People, in_patients: np.ndarray, names: Sequence[str], seed: int
) -> np.ndarray:
    """Return `planted` plus the effects of diagnosis, age, sex and chance, (people, modalities, regions) in units."""
    ageing = np.array([-2 * AGE_SLOPE if name == VENTRICLES else AGE_SLOPE for name in names])
    chance = REGION_SD * stream(seed, "volume regions").standard_normal(planted.shape)
    return (
        planted
        + (drawn.diagnosis - drawn.diagnosis.mean())[:, None, None] * in_patients
        + drawn.age_z[:, None, None] * ageing
        + SEX_SHIFT * (drawn.female - drawn.female.mean())[:, None, None]
        + chance
    )


def _draw_volume(
    space: CoarseSpace,
    means: Sequence[np.ndarray],
    units: np.ndarray,
    regional: np.ndarray,
    rng: np.random.Generator,
    smoothness: Mapping[float, float],
    shared: float,
    misplaced_mm: float,
    noise: float,
) -> np.ndarray:
    """Return the volumes of one person, (modalities, x, y, z); `regional` is (modalities, regions) in units."""
    shape = space.mask.shape
    index = np.indices(shape, dtype=np.float32)
    if misplaced_mm > 0:
        shift = np.stack([random_field(shape, space.spacing, {30.0: misplaced_mm}, rng) for _ in range(3)])
        index = index + (shift / space.spacing).astype(np.float32)
    common = random_field(shape, space.spacing, smoothness, rng)
    volumes = []
    for mean, unit, values in zip(means, units, regional):
        apart = random_field(shape, space.spacing, smoothness, rng)
        smooth = np.float32(np.sqrt(shared)) * common + np.float32(np.sqrt(1 - shared)) * apart
        smooth += np.tensordot(values.astype(np.float32), space.spread, axes=1)
        smooth += noise * rng.standard_normal(shape, dtype=np.float32)
        volumes.append((sample(mean, index) + unit * smooth) * space.mask)
    return np.stack(volumes)


def simulate_volumes(
    people: int = 120,
    seed: int = 1,
    shape: tuple[int, int, int] = (32, 32, 32),
    modalities: Sequence[str] = ("jac", "ndi"),
    strata: int = 3,
    effect: float = 1.0,
    diagnosis_effect: float = 1.0,
    affected: Mapping[str, Sequence[str]] | None = None,
    stratified: Sequence[str] | None = None,
    smoothness: Mapping[float, float] | None = None,
    shared: float = SHARED,
    misplaced_mm: float = 1.5,
    noise: float = 0.5,
    shares: Sequence[float] | None = None,
    gradient: bool = False,
    sites: int = 0,
    site_effect: float = 0.0,
) -> VolumeCohort:
    """Make a cohort of fusion volumes with strata and a diagnosis planted in it.

    A volume is the modality's mean image, displaced by the error left by registration, plus smooth variation of several
    widths that a person's modalities share in part, plus the person's regional values, plus noise. Each person
    takes about 15 ms on the default grid.

    With the defaults at 120 people, seeds 1 to 5: the true regional values tell the diagnosis with an AUC of
    0.965, 0.973, 0.986, 0.980, 0.996 and the strata with an adjusted Rand index of 1.0; the linear baseline
    (32 components) reaches an AUC of 0.867, 0.869, 0.899, 0.909, 0.893, and k-means on its components an adjusted
    Rand index of about 0.2 to 0.65. A good model lies in between.

    Parameters
    ----------
    people, seed
        Number of people; every purpose has a separate random stream.
    shape
        Voxels along x, y, z; the voxel size follows from MNI152's brain (6 mm for 32).
    modalities
        Names; ``jac``, ``ndi``, ``fa``, ``md``, ``gmv`` and ``t1w`` have the contrast of such images, others get
        a random one.
    strata
        Groups of unequal size.
    effect
        Multiplies the regional differences between the strata (:data:`STRATUM_SHIFT` units at 1).
    diagnosis_effect
        Multiplies the regional differences of patients (:data:`DIAGNOSIS_SHIFT` units at 1).
    affected
        Modality -> parcels (``"03"``: both sides; ``"left_03"``: one) that the diagnosis shows in; by default
        :data:`AFFECTED`, other parcels in each of two modalities.
    stratified
        Modalities that the strata differ in; all by default.
    smoothness
        Width (FWHM, mm) -> standard deviation (units) of each person's smooth variation.
    shared
        Share of that variation's variance that the modalities of a person have in common, 0 to 1.
    misplaced_mm
        Standard deviation of the smooth displacement that registration left; it moves the mean image only, and is the same
        in all modalities.
    noise
        Standard deviation of each voxel's own noise, units.
    shares
        Sizes of the strata relative to each other, largest first; by default those of
        :func:`neurostrata.simulation.people.people.stratum_sizes`.
    gradient
        Plant a continuum instead of strata: people are spread evenly from the first stratum's regional differences to the
        second's, with as much variance as two such strata of equal size would have. `stratum` says which half they are in.
    sites, site_effect
        Number of sites (0: one), with equal numbers of people, and the factor of their regional differences.

    Returns
    -------
    VolumeCohort

    Raises
    ------
    UserError
        When an option cannot be met.
    """
    shape = (int(shape[0]), int(shape[1]), int(shape[2])) if len(shape) == 3 else tuple(shape)
    modalities = tuple(modalities)
    if affected is None:
        affected = {name: AFFECTED[k % len(AFFECTED)] for k, name in enumerate(modalities)}
    stratified = modalities if stratified is None else tuple(stratified)
    smoothness = SMOOTHNESS if smoothness is None else dict(smoothness)
    sizes_of = {
        "effect": effect,
        "diagnosis_effect": diagnosis_effect,
        "misplaced_mm": misplaced_mm,
        "noise": noise,
    }
    _check(
        people, shape, modalities, strata, sizes_of, {"affected": list(affected), "stratified": stratified}
    )
    if not 0 <= shared <= 1:
        raise UserError(f"shared {shared}: give a share from 0 to 1")
    options = {
        "people": people,
        "seed": seed,
        "shape": list(shape),
        "modalities": list(modalities),
        "strata": strata if shares is None else len(shares),
        "effect": effect,
        "diagnosis_effect": diagnosis_effect,
        "affected": {name: list(parcels) for name, parcels in affected.items()},
        "stratified": list(stratified),
        "smoothness": {str(width): sd for width, sd in smoothness.items()},
        "shared": shared,
        "misplaced_mm": misplaced_mm,
        "noise": noise,
        "shares": None if shares is None else list(shares),
        "gradient": gradient,
        "sites": sites,
        "site_effect": site_effect,
    }
    space = coarse_space(shape)
    sizes = stratum_sizes(people, strata) if shares is None else _sizes(people, shares)
    drawn = _draw_people(people, sizes, seed)
    in_strata = _stratum_effects(space.names, len(modalities), sizes, effect)
    in_strata[:, [modality not in stratified for modality in modalities]] = 0.0
    in_patients = _diagnosis_effects(space.names, modalities, affected, diagnosis_effect)
    planted, stratum = in_strata[drawn.stratum], drawn.stratum
    if gradient:
        planted, stratum = _along_a_gradient(in_strata, people, seed)
    site = balanced(stratum, sites, stream(seed, "volume sites")) if sites else np.zeros(people, dtype=int)
    if sites:
        planted = planted + _site_effects(sites, planted.shape[1:], site_effect, seed)[site]
    regional = _regional_values(planted, drawn, in_patients, space.names, seed)
    contrasts = [_contrast(modality) for modality in modalities]
    units = np.array([unit for _, unit in contrasts], dtype=np.float32)
    means = [np.tensordot(weights, space.tissues, axes=1) for weights, _ in contrasts]
    volumes = np.zeros((people, len(modalities), *shape), dtype=np.float32)
    for person in range(people):
        rng = stream(seed, "volume", person)
        volumes[person] = _draw_volume(
            space, means, units, regional[person], rng, smoothness, shared, misplaced_mm, noise
        )

    def maps(values: np.ndarray) -> np.ndarray:
        return np.tensordot(values.astype(np.float32), space.spread, axes=1)

    scale = units.astype(np.float64)[:, None]
    width = max(3, len(str(people)))
    return VolumeCohort(
        volumes=volumes,
        mask=space.mask.copy(),
        regions=space.labels.copy(),
        affine=space.affine.copy(),
        modalities=modalities,
        region_names=space.names,
        subjects=tuple(f"{k + 1:0{width}d}" for k in range(people)),
        stratum=stratum,
        diagnosis=drawn.diagnosis,
        age=drawn.age,
        female=drawn.female,
        site=site,
        regional=regional * scale,
        stratum_effects=in_strata * scale,
        diagnosis_effects=in_patients * scale,
        diagnosis_maps=maps(in_patients * scale),
        stratum_maps=maps(in_strata * scale),
        options=options,
    )
