"""Which results a study consists of: what its experiments, finders and phenotypes ask for."""

from __future__ import annotations

from itertools import product

from neurostrata.cohort.decisions import raters
from neurostrata.cohort.study import Study
from neurostrata.planning import results as tree
from neurostrata.planning.experiments import can, explains, folds, predicts, reconstruction_folds
from neurostrata.planning.parameters import leading_codes


def stratified(study: Study) -> list[str]:
    """Return the experiments whose codes are clustered."""
    return [name for name, experiment in study.experiments.items() if experiment["analyses"]["strata"]]


def clustered_codes(study: Study) -> list[str]:
    """Return the codes that are clustered, those that lead the report first."""
    return list(dict.fromkeys([leading_codes(study), "raw"]))


def _every(patterns: list[str], **names: list[str]) -> list[str]:
    """Return every pattern with every combination of the names."""
    found = []
    for pattern in patterns:
        used = {name: values for name, values in names.items() if f"{{{name}}}" in pattern}
        found += [tree.fill(pattern, **dict(zip(used, values))) for values in product(*used.values())]
    return found


def prediction_results(study: Study) -> list[str]:
    """Return what is predicted, explained, synthesised and generated, as patterns below the results folder."""
    every = study.experiments.items()
    of_experiments = [
        (tree.PREDICTIONS, predicts),
        (tree.PREDICTION_SCORES, predicts),
        (tree.CLASSIFICATION, predicts),
        (tree.ROC, predicts),
        (tree.SYNTHESIS, lambda e: can(e, "synthesises")),
        (tree.SYNTHESIS_COMPARISONS, lambda e: can(e, "synthesises")),
        (tree.IMPORTANCE, lambda e: explains(study, e["name"])),
        (tree.DIFFERENCES, lambda e: explains(study, e["name"])),
        (tree.CODE_MAP, lambda e: can(e, "modality_codes")),
        (tree.GENERATED, lambda e: can(e, "generates")),
    ]
    of_folds = [
        (tree.ROBUSTNESS, lambda e: e["analyses"]["robustness"]),
        (tree.RELEVANCE, lambda e: can(e, "regions")),
        (tree.ATTENTION_WEIGHTS, lambda e: can(e, "regions")),
    ]
    return [
        tree.fill(pattern, experiment=name)
        for pattern, asked in of_experiments
        for name, experiment in every
        if asked(experiment)
    ] + [
        tree.fill(pattern, experiment=name, fold=fold)
        for pattern, asked in of_folds
        for name, experiment in every
        if asked(experiment)
        for fold in folds(experiment)
    ]


def measured_experiments(study: Study) -> list[str]:
    """Return the experiments whose models decode people whom they have not seen, if these are to be compared.

    Only those whose folds are embedded for something else too: a paper with a hundred folds has as many jobs otherwise.
    """
    if not study.config["quality"]["models"]:
        return []
    clustered = stratified(study)
    return [
        name
        for name, experiment in study.experiments.items()
        if reconstruction_folds(experiment)
        and (name in clustered or predicts(experiment) or explains(study, name))
    ]


def compared_raters(study: Study) -> bool:
    """Tell whether two raters are named in the quality decisions."""
    return len(raters(study.decisions)) > 1


def quality_results(study: Study) -> list[str]:
    """Return the tables of everybody's quality and of quality between clusters, as patterns below the results folder."""
    found = [
        tree.QUALITY_MEASURES,
        tree.QUALITY_DEVIATIONS,
        tree.SUGGESTED_EXCLUSIONS,
        tree.QUALITY_COVARIATES,
    ]
    found += [tree.RATERS] if compared_raters(study) else []
    finders, codes = study.config["strata"]["finders"], [leading_codes(study)]
    return found + _every([tree.QUALITY_TESTS], experiment=stratified(study), codes=codes, finder=finders)


def strata_results(study: Study) -> list[str]:
    """Return the phenotype factors, the clusters and how they differ, as patterns below the results folder."""
    experiments, finders = stratified(study), study.config["strata"]["finders"]
    # Every finder on every kind of codes, so that the report can show what adjusting changes.
    found = _every(
        [tree.SEARCH, tree.CLUSTERS, tree.EXISTENCE, tree.EXISTENCE_NULL],
        experiment=experiments,
        codes=clustered_codes(study),
        finder=finders,
    )
    of_leading_codes = [tree.STABILITY, tree.COMPOSITION, tree.COMPOSITION_TESTS]
    of_experiments = [tree.TSNE]
    if experiments:
        found += [tree.AGREEMENT, tree.AGREEMENT_CROSSTABS]
    # Without phenotype tables there are clusters and nothing to compare them by.
    if study.config["phenotypes"]["tables"]:
        found += [tree.EIGENVALUES, tree.LOADINGS, tree.FACTOR_SCORES, tree.DESCRIPTIVES, tree.FACTOR_MODEL]
        found += [tree.CONGRUENCE]
        of_experiments += [tree.CONTINUOUS, tree.CONTINUOUS_ADDED]
        of_leading_codes += [tree.COMPARISONS, tree.PROFILES, tree.ADJUSTED_COMPARISONS]
        of_leading_codes += [tree.SPLIT_HALF, tree.SPLIT_HALF_FACTORS, tree.SHUFFLES]
    found += _every(of_experiments, experiment=experiments)
    codes = [leading_codes(study)]
    found += _every(of_leading_codes, experiment=experiments, codes=codes, finder=finders)
    # Only of the partition that the report shows: a map reads everybody's volumes.
    mapped = {"codes": codes, "finder": finders[:1]}
    found += _every(
        [tree.STRATA_MAPS, tree.STRATA_MAP_TABLE, tree.STRATA_PLACES], experiment=experiments, **mapped
    )
    decoding = [name for name in experiments if can(study.experiments[name], "decodes")]
    return found + _every([tree.STRATA_DECODED, tree.STRATA_DECODED_TABLE], experiment=decoding, **mapped)
