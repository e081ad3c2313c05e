"""The stage that says which regions a siamese model looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, settings_record
from neurostrata.core.tables import write_table
from neurostrata.fusion.data.splits import people_of
from neurostrata.fusion.data.stage import load_model, read_splits, study_people
from neurostrata.fusion.data.volumes import open_volumes
from neurostrata.fusion.training.machine import Machine


def relevance(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    fold: str,
    output: Path,
    weights: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Write which regions and modalities count for each test person, and for the classifier (Arco 2023, Figs. 6, 7)."""
    from neurostrata.fusion.evaluation.reconstruction import chunks
    from neurostrata.fusion.models.siamese.attention import RELEVANT, SiameseAttention

    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    network = load_model(model, opened)
    if not isinstance(network, SiameseAttention):
        raise UserError(f"{model}: '{network.name}' does not weigh regions; only siamese_attention does")
    network.prepare(Machine(threads, gpus, memory_mb))
    tested = people_of(read_splits(splits), fold, "test")
    people = study_people(opened, tested, read_json(limits)["limits"], settings)
    tables = [network.relevance(batch, subjects) for subjects, batch in chunks(people)]
    facts = {"Fold": fold, "Model": network.name, "Settings": settings_record(settings)}
    write_table(
        output,
        pd.concat(tables, ignore_index=True).assign(fold=fold),
        {
            "subject": "A test person of the fold",
            "region": "Region (volumes/regions.tsv)",
            "modality": "Modality, or fused: all of them together",
            "features": f"Features whose attention mask is above {RELEVANT}",
            "mean_mask": "Mean of the attention mask over the features",
            "fold": "Fold",
        },
        Description="Relevance of regions and modalities for each person (Arco 2023, Fig. 6).",
        **facts,
    )
    write_table(
        weights,
        network.first_layer_weights().assign(fold=fold),
        {
            "region": "Region (volumes/regions.tsv)",
            "modality": "Modality, or fused: their mean",
            "weight": "Mean absolute weight of the attention module's first layer",
            "fold": "Fold",
        },
        Description="How strongly the attention module's first layer listens to each region (Arco 2023, Fig. 7).",
        **facts,
    )
