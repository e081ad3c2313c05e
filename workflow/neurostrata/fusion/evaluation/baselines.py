"""Linear baselines that any model must be compared with: three kinds of PCA, and the means of regions.

Geenjaar 2021 calls PCA before and after joining the modalities "early" and "late" and mixes the two up;
here each is named by what it does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurostrata.fusion.data.volumes import ModalityVolumes, VolumeSet
from neurostrata.fusion.models.pca import PrincipalComponents

#: Methods that decoded images are compared with, as tables call them.
MEAN_IMAGE, PCA = "mean_image", "pca"
#: Names of the baselines in texts.
TITLES = {
    "pca_modalities": "PCA of each modality",
    "pca_stacked": "PCA of the modalities side by side",
    "pca_pooled": "PCA of all volumes pooled",
    "regional_means": "regional means",
    MEAN_IMAGE: "mean training image",
    PCA: "PCA",
}
#: Descriptions of the baselines, for the sidecars of their tables.
DESCRIPTIONS = {
    "pca_modalities": "PCA of each modality by itself, the scores one after the other.",
    "pca_stacked": "PCA of the modalities side by side, one long row of voxels per person.",
    "pca_pooled": "PCA of all volumes of all modalities as samples of their own (the shared VAE's linear twin), "
    "a person's scores one after the other.",
    "regional_means": "Mean of each modality in each region.",
}
#: Most components, where the settings name no number; never more than the samples allow.
MAX_COMPONENTS = 256


class PooledVolumes(VolumeSet):
    """All modalities of all people as samples of a single modality, person after person.

    Volumes are divided by their maximum, as the shared VAE has them (Geenjaar 2021, III.C).
    """

    def __init__(self, people: VolumeSet) -> None:
        self.people = people
        whole = people.present()
        self.samples = [tuple(pair) for pair in np.argwhere(whole)]
        person, modality = self.samples[0]  # the first person may lack the first modality
        only: ModalityVolumes = people.volumes[modality]
        super().__init__([only], [people.subjects[person]], people.scaling, maximum=people.maximum)
        self.subjects = [f"{people.subjects[i]} {people.modalities[m]}" for i, m in self.samples]
        self.largest = np.array([maxima(people[i][None])[0] for i in range(len(people))])

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a sample, shape (1, x, y, z)."""
        person, modality = self.samples[index]
        return self.people[person][modality : modality + 1] / self.largest[person, modality]

    def slab(self, modality: int, start: int, stop: int) -> np.ndarray:
        """Return all samples' voxels with start <= x < stop."""
        slabs = [self.people.slab(m, start, stop) for m in range(len(self.people.modalities))]
        return np.stack([slabs[m][person] / self.largest[person, m] for person, m in self.samples])

    def present(self) -> np.ndarray:
        """Return that every sample is present."""
        return np.ones((len(self), 1), bool)

    def subset(self, positions: Sequence[int]) -> VolumeSet:
        """Return this set: it is never divided."""
        if list(positions) != list(range(len(self))):
            raise ValueError("pooled volumes are not divided")
        return self


def maxima(volumes: np.ndarray) -> np.ndarray:
    """Return the largest absolute value of each volume of (people, modalities, x, y, z)."""
    return np.maximum(np.abs(volumes).max(axis=(2, 3, 4)), 1e-6)


def fit_pca(people: VolumeSet, mask: np.ndarray, components: int, seed: int) -> PrincipalComponents:
    """Return the linear baseline: PCA of people's modalities side by side.

    Parameters
    ----------
    people
        Training people.
    mask
        Brain mask, shape (x, y, z).
    components
        Most components; never more than the people allow.
    seed
        Unused by the decomposition, kept with the model.
    """
    options = {"max_components": components, "balance": False}
    model = PrincipalComponents(options, people.modalities, people.shape, seed)
    model.fit(people, mask, None, None)  # type: ignore[arg-type]
    return model


def _one_modality(people: VolumeSet, position: int) -> VolumeSet:
    """Return the people who have one modality, with that modality alone."""
    volume = people.volumes[position]
    having = [subject for subject in people.subjects if subject in volume.row]
    return VolumeSet([volume], having, people.scaling, maximum=people.maximum)


def baseline_codes(
    training: VolumeSet,
    everybody: VolumeSet,
    mask: np.ndarray,
    regions: np.ndarray,
    seed: int,
    components: int = MAX_COMPONENTS,
) -> dict[str, np.ndarray]:
    """Learn every baseline from the training people and apply it to everybody.

    Where a modality is missing its part of the code is the training people's mean (0 for scores).

    Parameters
    ----------
    training, everybody
        Volumes of the training people, and of the people to encode.
    mask
        Brain mask, shape (x, y, z).
    regions
        Region numbers, shape (x, y, z), 0 outside.
    seed
        Unused by the decompositions, kept with the models.
    components
        Most components of each decomposition.

    Returns
    -------
    dict
        Baseline -> codes, shape (people, numbers); see :data:`DESCRIPTIONS`.
    """
    modalities = everybody.modalities
    single = [
        fit_pca(_one_modality(training, position), mask, components, seed)
        for position in range(len(modalities))
    ]
    stacked = fit_pca(training, mask, components, seed)
    pooled = fit_pca(PooledVolumes(training), mask, components, seed)
    numbers = np.unique(regions[mask & (regions > 0)])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in DESCRIPTIONS}
    for _, volumes in everybody.chunks():
        samples = np.nan_to_num(volumes)
        samples /= maxima(samples)[:, :, None, None, None]
        present = ~np.isnan(volumes[:, :, 0, 0, 0])

        def joined(codes: list[np.ndarray], present: np.ndarray = present) -> np.ndarray:
            """One modality's codes after the other, 0 where it is missing."""
            return np.concatenate([c * present[:, [m]] for m, c in enumerate(codes)], axis=1)

        parts["pca_modalities"].append(
            joined([model.encode(np.nan_to_num(volumes[:, [m]])) for m, model in enumerate(single)])
        )
        parts["pca_stacked"].append(stacked.encode(volumes))
        parts["pca_pooled"].append(joined([pooled.encode(samples[:, [m]]) for m in range(len(modalities))]))
        means = [volumes[:, :, mask & (regions == number)].mean(axis=2) for number in numbers]
        parts["regional_means"].append(np.stack(means, axis=2).reshape(len(volumes), -1))
    codes = {name: np.concatenate(chunk) for name, chunk in parts.items()}
    learned = np.isin(everybody.subjects, training.subjects)
    training_mean = np.nanmean(codes["regional_means"][learned], axis=0)
    codes["regional_means"] = np.where(
        np.isnan(codes["regional_means"]), training_mean, codes["regional_means"]
    )
    return codes
