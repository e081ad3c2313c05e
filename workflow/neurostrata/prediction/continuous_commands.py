"""The stage that predicts phenotype factors without clusters: continuous."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import Embeddings, read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.files import settings_record, sha256_file
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.strata.inputs import read_clusters

#: Features -> the table of the rule `baselines` that has them.
BASELINES = {"pca": "pca_stacked", "regional_means": "regional_means"}


def continuous(
    *,
    embeddings: Path,
    baselines: Path,
    clusters: list[Path],
    scores: Path,
    people: Path,
    output: Path,
    added: Path,
    settings: dict[str, Any],
) -> None:
    """Predict every factor from codes, linear baselines and clusters, for people not learned from.

    Parameters
    ----------
    embeddings
        The leading codes.
    baselines
        Folder with the linear baselines' codes of everybody.
    clusters
        The clusters that each finder found in the leading codes.
    scores
        Phenotype factors.
    people
        Characteristics of the people (``cohort/characteristics.tsv``).
    output, added
        Tables to write: every kind of features and every factor; what clusters add to codes.
    settings
        ``continuous`` (folds, permutations), ``seed``; ``covariates``, where the study names further ones than the usual;
        ``splines``, where their effects on factors are not straight lines; ``adjust`` where the codes are adjusted ones: the
        baselines are then adjusted in the same way.
    """
    from neurostrata.adjustment.characteristics import read_characteristics
    from neurostrata.adjustment.codes import free_of_covariates
    from neurostrata.prediction.continuous import ADDED_COLUMNS, COLUMNS, compare_features
    from neurostrata.strata.comparison.covariates import known_covariates

    described = read_characteristics(people)
    found: dict[str, Embeddings] = {"codes": read_embeddings(embeddings).complete()}
    for name, table in BASELINES.items():
        codes = read_embeddings(baselines / f"{table}.tsv")
        require_people(baselines / f"{table}.tsv", codes.subjects, found["codes"].subjects, embeddings)
        codes = codes.select(np.isin(codes.subjects, found["codes"].subjects))
        if "adjust" in settings:
            codes, _ = free_of_covariates(codes, described, settings["adjust"])
        found[name] = codes
    scored = read_table(scores).set_index("subject").astype(float)
    require_people(scores, scored.index, found["codes"].subjects, embeddings)
    require_people(people, described.index, found["codes"].subjects, embeddings)
    factors = scored.dropna(how="all")
    complete = set(factors.index).intersection(*(codes.subjects for codes in found.values()))
    subjects = [subject for subject in found["codes"].subjects if subject in complete]
    if not subjects:
        raise UserError(f"{scores}: shares no subject ids with {embeddings}")
    features = {
        name: pd.DataFrame(codes.values, index=codes.subjects).loc[subjects].to_numpy()
        for name, codes in found.items()
    }
    partitions = {}
    for path in clusters:
        clusters_of_path = read_clusters(path)
        require_people(path, clusters_of_path.index, found["codes"].subjects, embeddings)
        partitions[path.parent.name] = (
            clusters_of_path["cluster"].where(clusters_of_path["fits"] == "yes").reindex(subjects)
        )
    options = settings["continuous"]
    of_people = described.reindex(subjects)
    covariates = known_covariates(of_people, settings.get("covariates", ()))
    frame, gains = compare_features(
        features,
        partitions,
        factors.loc[subjects],
        of_people["family"].fillna("").astype(str).tolist(),
        options["folds"],
        options["permutations"],
        settings["seed"],
        covariates,
        settings.get("splines", 1),
    )
    facts = {
        "LearnedFrom": "Codes, baselines and clusters were learned from everybody's images; what links them to the factors, "
        "and the effects of the covariates on the factors, from the other folds alone.",
        "BaselinesAdjusted": "adjust" in settings,
        "people": len(subjects),
        "adjusted_for": [str(name) for name in covariates],
        "people_without_a_covariate": [s for s, known in covariates.notna().all(axis=1).items() if not known],
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in (embeddings, *clusters, scores, people)},
    }
    write_table(output, frame, COLUMNS, **facts)
    write_table(added, gains, ADDED_COLUMNS, **facts)
