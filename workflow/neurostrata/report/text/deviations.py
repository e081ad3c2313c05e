"""Where a run departs from Dimitri et al. 2022, for the table in the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from neurostrata.report.data.evidence import finder_name
from neurostrata.report.html.blocks import format_setting, join_words
from neurostrata.report.text.methods import Config, adjusted_text, grid_text, training_values, used_modalities


def _each(experiments: Sequence[Config], value: Callable[[Config], str]) -> str:
    """Return a value of all experiments, or each one's where they differ."""
    found = {e["name"]: value(e) for e in experiments}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return join_words([f"{text} in {name}" for name, text in found.items()])


def deviations(config: Config) -> list[tuple[str, str, str]]:
    """Return where this run departs from Dimitri et al. 2022: (topic, the paper, this run).

    Only the lines that hold for the configuration are returned.
    """
    experiments = config["experiments"]
    autoencoders = [e for e in experiments if e["model"] == "separable_autoencoder"]
    sources = {declaration["from"] for declaration in used_modalities(config).values()}
    volumes, template = config["volumes"], config["template"]
    blocks = "×".join([str(volumes["downsample"])] * 3)
    lines: list[tuple[str, str, str]] = [
        ("Bias field", "FSL", "N4" if config["anatomy"]["n4"]["enabled"] else "not corrected"),
        ("Template mask", "BET2", "the MNI152 mask by registration, closed and filled, ventricles inside"),
        (
            "Resolution of the maps",
            "1.25 mm maps downsampled by 2, method not said",
            f"one interpolation from native space to {format_setting(volumes['resolution_mm'])} mm, then means over {blocks} blocks "
            "(plain subsampling would alias)",
        ),
    ]
    engine = config["registration"]["engine"]
    if engine != "ants":
        lines.append(("Registration", "ANTs SyN with the published schedule", f"{engine} (see methods)"))
    if template["iterations"] != 5:
        lines.append(("Template iterations", "5", str(template["iterations"])))
    if "noddi" in sources:
        lines.append(("NODDI", "MDT", config["diffusion"]["noddi"]["engine"]))
    if volumes["percentiles"] != [0.1, 99.9]:
        lines.append(
            (
                "Percentiles of the limits",
                "0.1 and 99.9",
                join_words([format_setting(p) for p in volumes["percentiles"]]),
            )
        )
    if any(e["limits"] == "train" for e in experiments):
        lines.append(
            (
                "Intensity limits",
                "percentiles over the whole population, test people included",
                "percentiles of the fold's training people (limits: train), so that nothing leaks from test people",
            )
        )
    if autoencoders:
        windows = _each(autoencoders, lambda e: str(e["options"]["pooling_size"]))
        lines.append(
            (
                "Pooling",
                "size and stride 2 (2.1.1); size 3, stride 1 (2.1.3), which cannot halve",
                f"stride 2, size {windows}",
            )
        )
        paper = {"epochs": 200, "batch_size": 1, "learning_rate": 0.001}
        for key, value in paper.items():
            run = {e["name"]: training_values(config, e)[key] for e in autoencoders}
            if any(number != value for number in run.values()):
                listed = join_words([f"{format_setting(number)} in {name}" for name, number in run.items()])
                lines.append((f"Training: {key.replace('_', ' ')}", format_setting(value), listed))
        without = [e["name"] for e in autoencoders if not e["options"]["skip_connections"]]
        if without:
            lines.append(
                (
                    "Skip connections",
                    "from encoder to decoder, while the decoding is said to rest on the embedding only",
                    f"none in {join_words(without)}, so that the embedding is all the decoder sees",
                )
            )
        voxels = math.prod(volumes["shape"])
        numbers = 32 * math.prod(side // 32 for side in volumes["shape"])
        lines.append(
            (
                "Data reduction",
                "12.2 M voxels, 16,000-fold",
                f"{grid_text(volumes)} are {voxels:,} voxels; {numbers:,} numbers are a {voxels // numbers}-fold reduction per modality",
            )
        )
    if experiments:
        lines += [
            (
                "Contrast-to-noise ratio",
                "signed difference of random pairs of blocks, the median near 0 by symmetry",
                "absolute difference, the same saved pairs for the real and the decoded image",
            ),
            (
                "NormDiff",
                "median over voxels",
                "inside the mask where decoded + real > 0.01; the median of the absolute value beside it, as signed errors cancel",
            ),
            ("Baselines", "none", "mean training image and PCA in the same tables"),
        ]
    phenotypes, repartition = config["phenotypes"], config["strata"]["repartition"]
    if phenotypes["tables"]:
        if phenotypes["method"] == "variables":
            lines.append(("Phenotypes", "PCA with varimax rotation", "the standardised variables themselves"))
        if phenotypes["missing"] != "complete":
            lines.append(("Missing phenotypes", "not said", phenotypes["missing"]))
        lines.append(
            (
                "Repartition test",
                "sampling with replacement and equal sizes, p = b/M; called a bootstrap",
                (
                    "sampling with replacement"
                    if repartition["with_replacement"]
                    else "permutation, which is what equal sizes mean"
                )
                + "; p = (b + 1)/(M + 1); read as a permutation Kruskal-Wallis test, not as a confirmation",
            )
        )
        if repartition["families"]:
            lines.append(
                (
                    "Families",
                    "ignored, although HCP is made of twins and siblings",
                    "exchanged as wholes, kept together in the folds",
                )
            )
        lines.append(("Effect sizes", "none", "η² with an interval, and the smallest detectable effect"))
    return lines + _strata_deviations(config)


def _strata_deviations(config: Config) -> list[tuple[str, str, str]]:
    """How people were clustered."""
    strata = config["strata"]
    lines = []
    adjusted = adjusted_text(strata)
    if adjusted:
        lines.append(
            ("Codes that are clustered", "as they are", f"without {adjusted}; as they are beside them")
        )
    if strata["finders"][0] != "affinity_propagation":
        beside = " with affinity propagation beside it" if "affinity_propagation" in strata["finders"] else ""
        lines.append(
            ("Clusters", "affinity propagation, best silhouette", finder_name(strata["finders"][0]) + beside)
        )
    lines.append(
        (
            "Whether clusters exist",
            "not tested; the procedure always gives clusters",
            "tested against data without groups; stability over bootstrap samples, seeds and folds",
        )
    )
    if "affinity_propagation" in strata["finders"]:
        options = strata["affinity_propagation"]
        if options["preference"]["steps"] != 1000:
            lines.append(("Preferences tried", "1000", str(options["preference"]["steps"])))
        if options["sample"] is not None:
            lines.append(
                (
                    "People clustered",
                    "all",
                    f"at most {options['sample']}, drawn at random; the rest go to the nearest exemplar",
                )
            )
    if strata["outliers"]:
        lines.append(
            ("People in no cluster", "none", "people far from every centre, left out of the comparisons")
        )
    if config["phenotypes"]["tables"]:
        lines.append(
            (
                "Covariates of the comparisons",
                "none",
                "each comparison also adjusted for age, sex, head size, site and image quality, as far as they are known",
            )
        )
    return lines
