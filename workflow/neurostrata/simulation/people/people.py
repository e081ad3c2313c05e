"""The people of a cohort: strata, age, sex, head size, site, families, missing and bad scans.

Each person's images come from separate random streams (:func:`stream`), keyed by the seed and the
person's number, so that a person is the same whatever the number of people or of workers.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError

#: Share of the people in each stratum, before rounding, for a given number of strata: ratio of one
#: stratum to the next larger one.
_STRATUM_RATIO = 0.68
SITES = ("north", "south", "east")
#: Largest number of people who help to build the template.
TEMPLATE_MEMBERS = 16
AGE_RANGE = (20.0, 70.0)
#: Contrasts in addition to T1w.
CONTRASTS = ("t2w", "flair")
#: Largest number of components that do not overlap.
MOST_COMPONENTS = 64


def stream(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """Return the random stream of one purpose and one person (or family); streams are independent."""
    key = (zlib.crc32(purpose.encode()), number)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@dataclass(frozen=True)
class Settings:
    """Options of a cohort; see :func:`neurostrata.simulation.commands.simulate`."""

    people: int = 24
    seed: int = 1
    effect: float = 1.0
    resolution_mm: float = 3.0
    dwi_resolution_mm: float = 4.0
    site_only: bool = False
    null_link: bool = False
    strata: int = 3
    noise: float = 1.0
    directions: int = 30
    diffusion: bool = True
    diagnosis_effect: float = 0.0
    contrasts: tuple[str, ...] = ()
    lesions: bool = False
    components: int = 0
    bold: bool = False
    bold_resolution_mm: float = 6.0

    def record(self) -> dict[str, Any]:
        """Return the options that a cohort was made with; later additions only where they are in use."""
        added = ("diagnosis_effect", "contrasts", "lesions", "components", "bold", "bold_resolution_mm")
        unused = [f.name for f in fields(self) if f.name in added and getattr(self, f.name) == f.default]
        options = {name: value for name, value in asdict(self).items() if name not in unused}
        if "contrasts" in options:
            options["contrasts"] = list(self.contrasts)  # as JSON gives it back
        return options

    def check(self) -> None:
        """Raise :class:`UserError` naming the first option that cannot be met."""
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: give 0 or more")
        if self.strata < 2:
            raise UserError(f"--strata {self.strata}: at least 2 strata are needed")
        if self.people < self.strata:
            raise UserError(
                f"--people {self.people}: at least one person per stratum ({self.strata}) is needed"
            )
        if not self.effect >= 0:
            raise UserError(f"--effect {self.effect}: give 0 (no strata) or more")
        if not self.noise >= 0:
            raise UserError(f"--noise {self.noise}: give 0 (no noise) or more")
        if self.directions < 6:
            raise UserError(f"--directions {self.directions}: a tensor needs at least 6 per shell")
        if not self.diagnosis_effect >= 0:
            raise UserError(f"--diagnosis-effect {self.diagnosis_effect}: give 0 (nothing planted) or more")
        unknown = [name for name in self.contrasts if name not in CONTRASTS]
        if unknown or len(set(self.contrasts)) != len(self.contrasts):
            raise UserError(
                f"--contrasts {' '.join(self.contrasts)}: give {' or '.join(CONTRASTS)}, each once"
            )
        if self.lesions and not self.contrasts:
            raise UserError("--lesions: they are seen in further contrasts; add --contrasts t2w flair")
        if not 0 <= self.components <= MOST_COMPONENTS:
            raise UserError(f"--components {self.components}: give 0 (none) to {MOST_COMPONENTS}")
        if self.bold and not self.components:
            raise UserError("--bold: the series is made of components; add --components N")
        for name, value in (
            ("bold-resolution-mm", self.bold_resolution_mm),
            ("resolution-mm", self.resolution_mm),
            ("dwi-resolution-mm", self.dwi_resolution_mm),
        ):
            if not 0.7 <= value <= 12:
                raise UserError(f"--{name} {value}: give a voxel size between 0.7 and 12 mm")


@dataclass(frozen=True)
class Person:
    """One person.

    Attributes
    ----------
    number
        Position in the cohort, from 0: the key of the person's random streams.
    subject
        Id without ``sub-``.
    stratum, site
        0-based; strata by decreasing size.
    label
        The group whose planted differences the images have: the stratum, or with `site_only` the site.
    family
        0-based; people of a family share part of their anatomy and of their scores.
    age, female, head_scale
        Years; sex; linear size of the head relative to MNI152, which is independent of the strata.
    patient
        Diagnosis: four in five people outside the largest stratum, one in five within it; with
        `diagnosis_effect` half of every stratum.
    template
        Whether the person helps to build the study's template.
    has_dwi, bad_scan
        A missing modality; a scan spoilt by motion.
    questionnaires_of
        Number of the person whose questionnaires these are; another person with `null_link`.
    """

    number: int
    subject: str
    stratum: int
    label: int
    site: int
    family: int
    age: float
    female: bool
    head_scale: float
    patient: bool
    template: bool
    has_dwi: bool
    bad_scan: bool
    questionnaires_of: int

    @property
    def age_z(self) -> float:
        """Age, centred and divided by its standard deviation in the population (a uniform one)."""
        low, high = AGE_RANGE
        return (self.age - (low + high) / 2) / ((high - low) / np.sqrt(12))


def stratum_sizes(people: int, strata: int) -> np.ndarray:
    """Return unequal sizes of the strata, largest first, that add up to `people`; each is at least 1."""
    shares = _STRATUM_RATIO ** np.arange(strata)
    sizes = np.maximum(np.floor(people * shares / shares.sum()).astype(int), 1)
    sizes[0] += people - sizes.sum()
    while sizes[0] < 1:  # very few people: take from the largest other strata
        sizes[np.argmax(sizes)] -= 1
        sizes[0] += 1
    return sizes


def balanced(groups: np.ndarray, levels: int, rng: np.random.Generator) -> np.ndarray:
    """Return levels 0..levels-1 assigned in turn within each group, so that they are independent of it."""
    assigned = np.empty(len(groups), dtype=int)
    turn = 0
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        assigned[members] = (turn + np.arange(len(members))) % levels
        turn += len(members)
    return rng.permutation(levels)[assigned]


def _families(people: int, rng: np.random.Generator) -> np.ndarray:
    """Return a family number per person: families of one, two and three, members scattered over the cohort."""
    numbers: list[int] = []
    family = 0
    while len(numbers) < people:
        numbers += [family] * int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
        family += 1
    order = rng.permutation(np.array(numbers[:people]))
    # renumber by first appearance
    seen: dict[int, int] = {}
    return np.array([seen.setdefault(int(number), len(seen)) for number in order])


def _derangement(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random permutation without fixed points."""
    while True:
        order = rng.permutation(count)
        if count < 2 or not np.any(order == np.arange(count)):
            return order


def make_people(settings: Settings) -> list[Person]:
    """Draw the people of a cohort; the strata are independent of everything else about them."""
    n, seed = settings.people, settings.seed
    rng = stream(seed, "people")
    stratum = rng.permutation(np.repeat(np.arange(settings.strata), stratum_sizes(n, settings.strata)))
    site = balanced(stratum, len(SITES), rng)
    female = balanced(stratum, 2, rng).astype(bool)
    family = _families(n, rng)
    age = rng.uniform(*AGE_RANGE, size=n).round(1)
    size = np.clip(rng.normal(1.0, 0.03, size=n), 0.92, 1.08) * np.where(female, 0.98, 1.02)
    patient = rng.random(n) < np.where(stratum == 0, 0.2, 0.8)
    if settings.diagnosis_effect > 0:
        patient = balanced(stratum, 2, stream(seed, "diagnosis")).astype(bool)
    bad = np.zeros(n, dtype=bool)
    missing = np.zeros(n, dtype=bool)
    if n >= 8:
        # not from the smallest stratum, which has few people
        able = rng.permutation(np.flatnonzero(stratum < settings.strata - 1))
        few = max(1, round(n / 24))
        bad[able[:few]] = True
        missing[able[few : 2 * few]] = True
    members = np.zeros(n, dtype=bool)
    # the template's people are drawn evenly from the strata, in turn over a shuffled order
    rounds = np.empty(n, dtype=int)
    for group in range(settings.strata):
        rows = rng.permutation(np.flatnonzero((stratum == group) & ~bad))
        rounds[rows] = np.round(np.arange(len(rows)) * n / max(len(rows), 1)).astype(int)
    rounds[bad] = 2 * n
    members[np.argsort(rounds, kind="stable")[:TEMPLATE_MEMBERS]] = True
    members &= ~bad
    link = _derangement(n, rng) if settings.null_link else np.arange(n)
    width = max(3, len(str(n)))
    return [
        Person(
            number=k,
            subject=f"{k + 1:0{width}d}",
            stratum=int(stratum[k]),
            label=int(site[k] if settings.site_only else stratum[k]),
            site=int(site[k]),
            family=int(family[k]),
            age=float(age[k]),
            female=bool(female[k]),
            head_scale=float(size[k]),
            patient=bool(patient[k]),
            template=bool(members[k]),
            has_dwi=settings.diffusion and not bool(missing[k]),
            bad_scan=bool(bad[k]),
            questionnaires_of=int(link[k]),
        )
        for k in range(n)
    ]
