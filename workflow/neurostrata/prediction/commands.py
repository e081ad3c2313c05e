"""The stage that predicts targets from codes: predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.adjustment.codes import Adjustment
from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.embeddings import Embeddings, read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of
from neurostrata.core.files import settings_record, sha256_file
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.phenotypes.covariates import find_columns
from neurostrata.phenotypes.tables import join_tables, read_phenotypes
from neurostrata.prediction.targets import FACTORS, Target, as_target, gather_targets


def _fold_codes(
    embeddings: Path, baselines: Path | None, people: Path, subjects: pd.Index
) -> dict[str, Embeddings]:
    """Return features -> codes of one fold, the model's embedding first; all must be of the people of the sheet."""
    codes = {"embedding": read_embeddings(embeddings)}
    require_people(people, subjects, codes["embedding"].subjects, embeddings)
    paths = {"embedding": embeddings}
    if baselines is not None:
        for path in sorted(baselines.glob("*.tsv")):
            codes[path.stem], paths[path.stem] = read_embeddings(path), path
    for name, path in paths.items():
        require_people(path, codes[name].subjects, subjects, people)
    return codes


def _variables(
    names: Sequence[str],
    sheet: pd.DataFrame,
    tables: Sequence[tuple[str, pd.DataFrame]],
    id_column: str | None,
) -> pd.DataFrame:
    """Return the columns that are in the phenotype tables and not in the sheet, rows in the sheet's order."""
    known = {column for _, frame in tables for column in frame}
    found = [name for name in dict.fromkeys(names) if name in known and name not in sheet]
    if not found:
        return pd.DataFrame(index=sheet.index)
    return join_tables(tables, list(sheet.index), found, id_column).values


def _read_targets(
    people: Path,
    sheet: pd.DataFrame,
    phenotypes: Sequence[tuple[str, pd.DataFrame]],
    scores: Path | None,
    settings: Mapping[str, Any],
) -> list[Target]:
    """Return what is predicted, the classes of a supervised model first; names are looked up in the sheet, the tables and the factors, in this order."""
    label, names = settings.get("label"), list(settings["prediction"])
    if label and label["column"] not in names:
        names.insert(0, label["column"])
    columns = [name for name in names if name != FACTORS]
    variables = _variables(columns, sheet, phenotypes, settings["id_column"])
    factors = None
    if scores is not None:
        factors = read_table(scores).set_index("subject")
        require_people(scores, factors.index, sheet.index, people)
    return gather_targets(names, sheet.drop(columns="family", errors="ignore"), variables, factors)


def _read_adjustment(
    path: Path | None,
    tables: Sequence[tuple[str, pd.DataFrame]],
    settings: Mapping[str, Any],
) -> Adjustment | None:
    """Return the adjustment that codes need, None for none."""
    harmonise, covariates = settings.get("harmonise"), settings.get("covariates", [])
    if path is None or not (harmonise or covariates):
        return None
    sites, keep = (harmonise["sites"], harmonise["keep"]) if harmonise else (None, [])
    names = list(dict.fromkeys([*([sites] if sites else []), *keep, *covariates]))
    sheet = read_table(path, text=("subject", *ALWAYS_WORDS, *([sites] if sites else []))).set_index(
        "subject"
    )
    others = _variables(names, sheet, tables, settings["id_column"])
    table = find_columns(names, (sheet, others), "experiments.analyses.harmonise and covariates")
    return Adjustment(table, sites, tuple(keep), tuple(covariates))


def _adjusted(
    adjustment: Adjustment, found: Mapping[str, Embeddings], fold: str
) -> tuple[dict[str, Embeddings], pd.DataFrame]:
    """Adjust every kind of codes of one fold; return them and who was left out (fold, subject, role, reason)."""
    adjusted, left_out = {}, []
    for features, codes in found.items():
        try:
            adjusted[features], without = adjustment.apply(codes)
        except UserError as error:
            raise UserError(f"experiments.analyses: fold {fold}, {features}: {error}") from error
        left_out.append(without.assign(fold=fold))
    return adjusted, pd.concat(left_out)


def _adjustment_record(adjustment: Adjustment, left_out: pd.DataFrame) -> dict[str, Any]:
    """Return how codes were adjusted, for the sidecar of the predictions."""
    return {
        "Sites": adjustment.sites,
        "Kept": list(adjustment.keep),
        "Removed": list(adjustment.covariates),
        "LearnedFrom": "the training people of each fold",
        "LeftOut": left_out[["fold", "subject", "role", "reason"]].to_dict("records"),
    }


def predict(
    *,
    embeddings: list[Path],
    baselines: list[Path],
    people: Path,
    covariates: Path | None = None,
    tables: list[Path],
    scores: Path | None = None,
    output: Path,
    summary: Path,
    classification: Path,
    roc: Path,
    settings: dict[str, Any],
) -> None:
    """Predict the experiment's targets for the test people of each fold, from its codes and from those of the baselines.

    Parameters
    ----------
    embeddings
        ``fold-{k}/embeddings.tsv``, with roles.
    baselines
        ``fold-{k}/baselines`` folders, in the same order.
    people
        Subject, family, and the targets that are columns of the cohort sheet.
    covariates
        Subject, and those columns of the cohort sheet that the predictions are adjusted by.
    tables
        The phenotype tables.
    scores
        Phenotype factors.
    output, summary, classification, roc
        Tables to write: every prediction, how good they are, and for targets of two classes the measures of
        Arco 2023, Table 2, and the points of the ROC curves (Fig. 5).
    settings
        ``prediction`` (targets), ``label``, ``id_column``; ``harmonise`` and ``covariates`` where codes are adjusted.
    """
    from neurostrata.prediction.crossfold import (
        CLASSIFICATION_COLUMNS,
        PREDICTION_COLUMNS,
        ROC_COLUMNS,
        SCORE_COLUMNS,
        classifier_predictions,
        fold_predictions,
        score_predictions,
        two_class_tables,
    )

    if len(baselines) not in (0, len(embeddings)):
        raise UserError(f"predict: {len(baselines)} folders of baselines for {len(embeddings)} folds")
    label = settings.get("label")
    # names of classes stay as they are written: 01, TRUE
    words = ("subject", *ALWAYS_WORDS, *([label["column"]] if label else []))
    sheet = read_table(people, text=words).set_index("subject")
    families = dict(zip(sheet.index, families_of(sheet, sheet.index)))
    text = [*ALWAYS_WORDS, *([settings["harmonise"]["sites"]] if settings.get("harmonise") else [])]
    phenotypes = [(str(path), read_phenotypes(path, settings["id_column"], text)) for path in tables]
    adjustment = _read_adjustment(covariates, phenotypes, settings)
    targets = _read_targets(people, sheet, phenotypes, scores, settings)
    parts, left_out = [], [pd.DataFrame(columns=["subject", "role", "reason", "fold"])]
    for position, path in enumerate(embeddings):
        fold = path.parent.name.removeprefix("fold-")
        found = _fold_codes(path, baselines[position] if baselines else None, people, sheet.index)
        if adjustment is not None:
            found, without = _adjusted(adjustment, found, fold)
            left_out.append(without)
        for features, codes in found.items():
            for target in targets:
                # as of the model's own classifier, beside which these stand
                positive = label["classes"][1] if label and target.name == label["column"] else None
                parts.append(
                    fold_predictions(target, features, fold, codes, families, settings["seed"], positive)
                )
        if label and "probability" in found["embedding"].table:
            target = as_target(label["column"], sheet[label["column"]])
            parts.append(classifier_predictions(target, label["classes"][1], fold, found["embedding"].table))
    predictions = pd.concat([part for part in parts if len(part)], ignore_index=True)
    facts = {
        "Settings": settings_record(settings),
        "Inputs": {str(path): sha256_file(path) for path in embeddings},
    }
    if adjustment is not None:
        facts["Adjustment"] = _adjustment_record(adjustment, pd.concat(left_out).drop_duplicates())
    write_table(
        output,
        predictions,
        PREDICTION_COLUMNS,
        Description="Predictions for people whom neither the fold's model nor the predictor has seen.",
        **facts,
    )
    write_table(
        summary,
        score_predictions(predictions, targets, families, settings["seed"]),
        SCORE_COLUMNS,
        Description="How well people whom the models have not seen are predicted.",
        **facts,
    )
    measures, curves = two_class_tables(predictions, targets)
    write_table(
        classification,
        measures,
        CLASSIFICATION_COLUMNS,
        Description="How well two classes are told apart (Arco 2023, Table 2), mean and spread over folds.",
        **facts,
    )
    write_table(
        roc, curves, ROC_COLUMNS, Description="Points of the ROC curves (Arco 2023, Fig. 5).", **facts
    )
