"""Where a run departs from Dimitri et al. 2022, for the table in the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from neurostrata.cohort.sources.registry import SOURCES
from neurostrata.core.model_words import model_schema
from neurostrata.core.wording import format_setting, join_words
from neurostrata.report.text.methods import Config, adjusted_text, grid_text, training_values, used_modalities
from neurostrata.strata.finders.registry import FINDER_OF_THE_PAPER, finder_class, finder_name

#: Topic, what the paper did, what this run did.
Row = tuple[str, str, str]


def _each(experiments: Sequence[Config], value: Callable[[Config], str]) -> str:
    """Return a value of all experiments, or each one's where they differ."""
    found = {e["name"]: value(e) for e in experiments}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return join_words([f"{text} in {name}" for name, text in found.items()])


def deviations(config: Config) -> list[Row]:
    """Return where this run departs from Dimitri et al. 2022: (topic, the paper, this run).

    Only the lines that hold for the configuration are returned.
    """
    return [
        *_imaging_deviations(config),
        *_model_deviations(config),
        *_decoding_deviations(config),
        *_phenotype_deviations(config),
        *_strata_deviations(config),
    ]


def _imaging_deviations(config: Config) -> list[Row]:
    volumes, template = config["volumes"], config["template"]
    sources = {declaration["from"] for declaration in used_modalities(config).values()}
    blocks = "×".join([str(volumes["downsample"])] * 3)
    rows: list[Row] = [
        ("Bias field", "FSL", "N4" if config["anatomy"]["n4"]["enabled"] else "not corrected"),
        ("Template mask", "BET2", "the MNI152 mask by registration, closed and filled, with the ventricles"),
        (
            "Resolution of the maps",
            "1.25 mm maps downsampled by 2, method not stated",
            f"one interpolation from native space to {format_setting(volumes['resolution_mm'])} mm, then means over {blocks} blocks "
            "(plain subsampling would alias)",
        ),
    ]
    engine = config["registration"]["engine"]
    if engine != "ants":
        rows.append(("Registration", "ANTs SyN with the published schedule", f"{engine} (see methods)"))
    if template["iterations"] != 5:
        rows.append(("Template iterations", "5", str(template["iterations"])))
    departures = (source.deviation(config) for name, source in SOURCES.items() if name in sources)
    rows += [departure for departure in departures if departure]
    if volumes["percentiles"] != [0.1, 99.9]:
        used = join_words([format_setting(p) for p in volumes["percentiles"]])
        rows.append(("Percentiles of the limits", "0.1 and 99.9", used))
    if any(experiment["limits"] == "train" for experiment in config["experiments"]):
        rows.append(
            (
                "Intensity limits",
                "percentiles over the whole population, test people included",
                "percentiles of the fold's training people (limits: train), so that nothing leaks from test people",
            )
        )
    return rows


def _model_deviations(config: Config) -> list[Row]:
    """Return the rows on the paper's own model, as far as experiments use it."""
    autoencoders = [
        e for e in config["experiments"] if model_schema(e["model"]).get("paper") == "dimitri2022"
    ]
    if not autoencoders:
        return []
    windows = _each(autoencoders, lambda e: str(e["options"]["pooling_size"]))
    rows: list[Row] = [
        (
            "Pooling",
            "size and stride 2 (2.1.1); size 3, stride 1 (2.1.3), which cannot halve",
            f"stride 2, size {windows}",
        )
    ]
    paper = {"epochs": 200, "batch_size": 1, "learning_rate": 0.001}
    for key, value in paper.items():
        run = {e["name"]: training_values(config, e)[key] for e in autoencoders}
        if any(number != value for number in run.values()):
            listed = join_words([f"{format_setting(number)} in {name}" for name, number in run.items()])
            rows.append((f"Training: {key.replace('_', ' ')}", format_setting(value), listed))
    without = [e["name"] for e in autoencoders if not e["options"]["skip_connections"]]
    if without:
        rows.append(
            (
                "Skip connections",
                "from encoder to decoder, although the decoding is said to rest on the embedding only",
                f"none in {join_words(without)}, so that the decoder sees the embedding alone",
            )
        )
    shape = config["volumes"]["shape"]
    voxels = math.prod(shape)
    numbers = 32 * math.prod(side // 32 for side in shape)
    reduction = (
        f"{grid_text(config['volumes'])} are {voxels:,} voxels; {numbers:,} numbers are a {voxels // numbers}-fold reduction "
        "per modality"
    )
    rows.append(("Data reduction", "12.2 M voxels, 16,000-fold", reduction))
    return rows


def _decoding_deviations(config: Config) -> list[Row]:
    if not config["experiments"]:
        return []
    return [
        (
            "Contrast-to-noise ratio",
            "signed difference of random pairs of blocks, whose median is near 0 by symmetry",
            "absolute difference, the same saved pairs for the real and the decoded image",
        ),
        (
            "NormDiff",
            "median over voxels",
            "inside the mask where decoded + real > 0.01; also the median of the absolute value, since signed errors cancel",
        ),
        ("Baselines", "none", "mean training image and PCA in the same tables"),
    ]


def _phenotype_deviations(config: Config) -> list[Row]:
    phenotypes, repartition = config["phenotypes"], config["strata"]["repartition"]
    if not phenotypes["tables"]:
        return []
    rows: list[Row] = []
    if phenotypes["method"] == "variables":
        rows.append(("Phenotypes", "PCA with varimax rotation", "the standardised variables themselves"))
    if phenotypes["missing"] != "complete":
        rows.append(("Missing phenotypes", "not stated", phenotypes["missing"]))
    draws = (
        "sampling with replacement"
        if repartition["with_replacement"]
        else "permutation, which is what equal sizes mean"
    )
    rows.append(
        (
            "Repartition test",
            "sampling with replacement and equal sizes, p = b/M; called a bootstrap",
            f"{draws}; p = (b + 1)/(M + 1); read as a permutation Kruskal-Wallis test, not as a confirmation",
        )
    )
    if repartition["families"]:
        rows.append(
            (
                "Families",
                "ignored, although HCP consists of twins and siblings",
                "exchanged as whole families, kept together in the folds",
            )
        )
    rows.append(("Effect sizes", "none", "η² with an interval, and the smallest detectable effect"))
    return rows


def _strata_deviations(config: Config) -> list[Row]:
    strata = config["strata"]
    rows: list[Row] = []
    adjusted = adjusted_text(strata)
    if adjusted:
        rows.append(
            (
                "Codes that are clustered",
                "as they are",
                f"without {adjusted}; unadjusted codes for comparison",
            )
        )
    finders, paper = strata["finders"], finder_class(FINDER_OF_THE_PAPER)
    if finders[0] != paper.name:
        compared = f", with {paper.title} for comparison" if paper.name in finders else ""
        rows.append(("Clusters", f"{paper.title}, {paper.measure}", finder_name(finders[0]) + compared))
    rows.append(
        (
            "Whether clusters exist",
            "not tested; the procedure always gives clusters",
            "tested against data without groups; stability over bootstrap samples, seeds and folds",
        )
    )
    for finder in finders:
        rows += finder_class(finder).deviations(strata[finder])
    if strata["outliers"]:
        rows.append(
            (
                "People in no cluster",
                "none",
                "people far from every centre, who are left out of the comparisons",
            )
        )
    if config["phenotypes"]["tables"]:
        rows.append(
            (
                "Covariates of the comparisons",
                "none",
                "each comparison also adjusted for age, sex, head size, site and image quality, as far as they are known",
            )
        )
    return rows
