"""Explanation of a fold: for each target of two classes, which modalities count and where the classes differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import Embeddings
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel
from neurostrata.prediction.explanation import (
    class_means,
    codes_without,
    decoded_difference,
    map_correlation,
    modality_importance,
    present_rows,
)
from neurostrata.prediction.targets import Target

#: The maps of a target and what they are made from.
MAPS = {
    "decoded": "mean codes of the training people, decoded",
    "train": "mean images of the training people",
    "test": "mean images of the test people (0 throughout where a class has nobody)",
}


@dataclass(frozen=True)
class Part:
    """The training or the test people of a fold: their codes and their volumes."""

    codes: Embeddings
    people: VolumeSet

    def classes(self, target: Target) -> np.ndarray:
        """Return each person's class, shape (people,), objects; NaN where it is not known."""
        return target.values.reindex(self.people.subjects).to_numpy(object)


@dataclass(frozen=True)
class Explanation:
    """The explanation of one target in one fold.

    Attributes
    ----------
    target : str
    classes : tuple of str
        The reference class first.
    importance : DataFrame
        A row per modality.
    differences : DataFrame
        A row per modality: how well decoded and voxelwise differences agree.
    maps : dict
        Key of :data:`MAPS` -> second class minus first, shape (modalities, x, y, z).
    """

    target: str
    classes: tuple[str, str]
    importance: pd.DataFrame
    differences: pd.DataFrame
    maps: dict[str, np.ndarray]


def learnable(
    targets: Sequence[tuple[Target, tuple[str, str]]], train: Part
) -> list[tuple[Target, tuple[str, str]]]:
    """Return the targets both of whose classes are among the training people."""
    return [(target, classes) for target, classes in targets if set(classes) <= set(train.classes(target))]


def explain_fold(
    model: FusionModel,
    train: Part,
    test: Part,
    families: np.ndarray,
    targets: Sequence[tuple[Target, tuple[str, str]]],
    mask: np.ndarray,
    seed: int,
) -> Iterator[Explanation]:
    """Explain each target.

    Parameters
    ----------
    model
        Trained on the training people; it decodes.
    train, test
        The fold's people.
    families
        Families of the training people.
    targets
        With their classes, the reference first; both are among the training people (:func:`learnable`).
    mask
        Brain mask, shape (x, y, z).
    seed
        Seed of the inner folds that choose a classifier's penalty.
    """
    missing = train.codes.table.get("missing")
    present = present_rows(missing, len(train.codes.subjects), model.modalities)
    classes_of = []
    members: dict[str, dict[tuple[str, str], np.ndarray]] = {"train": {}, "test": {}}
    for target, classes in targets:
        found = {"train": train.classes(target), "test": test.classes(target)}
        classes_of.append((target.name, classes, found))
        for part, values in found.items():
            members[part] |= {(target.name, c): values == c for c in classes}
    means, scale = class_means(train.people, members["train"], model)
    test_means, _ = class_means(test.people, members["test"], model)
    # of all training people, whether or not they have a target
    mean_code = train.codes.values.mean(axis=0)
    mean_image = train.people.mean() if not model.handles_missing else np.empty(0)
    without = codes_without(model, test.people, test.codes.values, mean_code, mean_image)
    for name, classes, found in classes_of:
        learned, tested = (np.isin(found[part], classes) for part in ("train", "test"))
        codes, labels = train.codes.values[learned], found["train"][learned]
        importance = modality_importance(
            codes,
            labels.astype(str),
            families[learned],
            test.codes.values[tested],
            found["test"][tested].astype(str),
            {modality: values[tested] for modality, values in without.items()},
            model.code_modalities,
            seed,
        )
        maps = {
            "decoded": decoded_difference(model, codes, present[learned], labels == classes[1], scale),
            "train": means[name, classes[1]] - means[name, classes[0]],
            "test": test_means[name, classes[1]] - test_means[name, classes[0]],
        }
        differences = pd.DataFrame(
            {
                "modality": model.modalities,
                **{
                    f"{one}_{other}": map_correlation(maps[one], maps[other], mask)
                    for one, other in (("decoded", "train"), ("decoded", "test"), ("train", "test"))
                },
            }
        )
        yield Explanation(name, classes, importance, differences, maps)
