"""The command that decodes the centre of each stratum: the mean code of its people as images, beside their mean images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_directory, sha256_file, write_sidecar
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.prediction.explanation import class_means, map_correlation, present_rows
from neurostrata.strata.inputs import read_groups
from neurostrata.strata.maps.commands import MOST_STRATA, map_file, why_no_maps

if TYPE_CHECKING:
    from neurostrata.fusion.models.interface import FusionModel

#: Kind of image (the end of its file's name) -> what it shows.
KINDS = {
    "decoded": "mean code of the stratum's people, decoded",
    "meanscaled": "mean of the stratum's people's images as the model saw them",
}

COLUMNS = {
    "stratum": "number of the cluster",
    "modality": "name of the modality",
    "n": "people of the stratum who have the modality",
    "correlation": "correlation over the mask's voxels of the decoded centre with the mean image",
    "difference_correlation": (
        "the same of both after the decoded centre (the mean image) of everybody in clusters is subtracted: whether what is "
        "decoded shows what is particular to the stratum"
    ),
}

#: Name of the group of everybody in :func:`neurostrata.prediction.explanation.class_means`.
_EVERYBODY = ("", "everybody")


def decode_strata(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    embeddings: Path,
    clusters: Path,
    existence: Path,
    maps: Path,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
    memory_mb: int = 4000,
) -> None:
    """Decode each stratum's mean code with the final model. Where no strata exist, nothing is decoded.

    Codes as the model gives them are averaged, also where adjusted ones were clustered: what is adjusted is no longer a code
    of the model.

    Parameters
    ----------
    model, limits
        The final model and the limits of its inputs.
    volumes, splits, mask
        Of the experiment.
    embeddings
        The final model's codes of everybody.
    clusters, existence
        Who is in which cluster, and whether clusters exist.
    maps
        Folder to write: decoded centre and mean image of each stratum in each modality, in units of the scaled volumes.
    output
        Table to write, :data:`COLUMNS`.
    settings
        ``experiment``.
    """
    from neurostrata.fusion.data.experiment import ExperimentData
    from neurostrata.fusion.data.splits import FINAL_FOLD
    from neurostrata.fusion.training.machine import Machine
    from neurostrata.imaging.images.io import Grid, write_image

    groups = read_groups(clusters)
    strata = [int(number) for number in sorted(groups.unique())]
    reason = why_no_maps(read_table(existence).iloc[0], len(strata))
    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=FINAL_FOLD, mask=mask, limits=limits)
    rows: list[dict[str, Any]] = []
    with atomic_directory(maps) as folder:
        if reason is None:
            network = data.load_model(model, Machine(threads, 0, memory_mb))
            if not network.decodes:
                raise UserError(f"{model}: '{network.name}' with these options does not decode codes")
            known = read_embeddings(embeddings)
            require_people(embeddings, known.subjects, groups.index, clusters)
            place = {subject: row for row, subject in enumerate(known.subjects)}
            codes = known.select(np.array([place[subject] for subject in groups.index], dtype=np.intp))
            people = data.people(codes.subjects)
            present = present_rows(codes.table.get("missing"), len(codes.subjects), network.modalities)
            described = strata[:MOST_STRATA]
            members = {("stratum", str(s)): groups.to_numpy() == s for s in described}
            members[_EVERYBODY] = np.ones(len(groups), bool)
            means, scale = class_means(people, members, network)
            decoded = {
                key: network.decode(_centre(network, codes.values, present, chosen)[None])[0].astype(
                    np.float64
                )
                * scale[:, None, None, None]
                for key, chosen in members.items()
            }
            x, y, z = data.mask.shape
            grid = Grid((x, y, z), np.array(data.affine))
            for stratum in described:
                key = ("stratum", str(stratum))
                likeness = map_correlation(decoded[key], means[key], data.mask)
                particular = map_correlation(
                    decoded[key] - decoded[_EVERYBODY], means[key] - means[_EVERYBODY], data.mask
                )
                for number, modality in enumerate(network.modalities):
                    n = int(present[members[key], number].sum())
                    rows.append(
                        {
                            "stratum": stratum,
                            "modality": modality,
                            "n": n,
                            "correlation": likeness[number],
                            "difference_correlation": particular[number],
                        }
                    )
                    for kind, images in (("decoded", decoded[key]), ("meanscaled", means[key])):
                        path = folder / map_file(stratum, modality, kind)
                        write_image(path, np.nan_to_num(np.where(data.mask, images[number], 0)), grid)
                        write_sidecar(
                            path,
                            Description=KINDS[kind],
                            Stratum=stratum,
                            Modality=modality,
                            People=n,
                            Units="of the volumes divided by their maxima"
                            if data.maximum
                            else "of the volumes scaled to [0, 1] by the final model's limits",
                            Space="study template, fusion grid",
                        )
    write_table(
        output,
        pd.DataFrame(rows, columns=list(COLUMNS)),
        COLUMNS,
        Description="The centres of the strata, decoded by the final model, which was trained on these people.",
        Reason=reason,
        inputs={str(path): sha256_file(path) for path in (embeddings, clusters, existence)},
        **data.facts(),
    )


def _centre(model: FusionModel, codes: np.ndarray, present: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return some people's mean code; a modality's own part is averaged over those who have it."""
    position = {name: number for number, name in enumerate(model.modalities)}
    counted = np.repeat(chosen[:, None], codes.shape[1], axis=1)
    for column, name in enumerate(model.code_modalities):
        if name is not None:
            counted[:, column] &= present[:, position[name]]
    return (codes * counted).sum(axis=0) / counted.sum(axis=0).clip(1)
