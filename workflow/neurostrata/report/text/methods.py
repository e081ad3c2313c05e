"""The methods paragraphs, put together from the configuration that ran, which has every key (:func:`fill_config`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from neurostrata.cohort.sources.registry import SOURCES
from neurostrata.core.config import declared_names, expand_modalities
from neurostrata.core.model_words import model_schema, model_words
from neurostrata.planning.options import training_keys
from neurostrata.report.html.blocks import count, format_setting, join_words, model_name
from neurostrata.strata.finders.registry import FINDER_OF_THE_PAPER, finder_class, finder_name

Config = Mapping[str, Any]


def _numbers(values: Any) -> str:
    if isinstance(values, list | tuple):
        return ", ".join(format_setting(value) for value in values)
    return format_setting(values)


#: Engines that register greedily: by which program, after which steps.
GREEDY = {
    "greedy": "(picsl_greedy) after rigid, similarity and affine",
    "torch": "(neurostrata's own, in torch) after rigid and affine",
}


def anatomy_text(config: Config) -> str:
    """Preparation, template, registration, Jacobian."""
    parts = []
    if config["anatomy"]["n4"]["enabled"]:
        parts.append("T1-weighted images were corrected for the bias field with N4.")
    template = config["template"]
    text = (
        f"A study-specific template of {format_setting(template['resolution_mm'])} mm voxels was built from the mean of the "
        f"centre-of-mass-aligned images in at most {count(int(template['iterations']), 'iteration')}: everybody is registered, images "
        "and warps are averaged, and the inverse of the mean warp and the mean affine without its rigid part are applied, so that "
        "neither shape, pose nor size drifts."
    )
    if template["tolerance"] is not None:
        text += (
            f" Building ends early once the template changes by at most {format_setting(template['tolerance'])} of its mean "
            "brightness."
        )
    parts.append(text)
    engine = config["registration"]["engine"]
    options = config["registration"][engine]
    if engine == "ants":
        parts.append(
            "Registration: ANTs, from centre of mass over rigid, similarity and affine to symmetric diffeomorphic (SyN) with "
            f"neighbourhood cross-correlation of radius {_numbers(options['cc_radius'])} voxels, gradient step "
            f"{_numbers(options['gradient_step'])}, shrink factors {_numbers(options['shrink_factors'])}, smoothing "
            f"{_numbers(options['smoothing_vox'])} voxels and at most {_numbers(options['iterations'])} iterations."
        )
    else:
        parts.append(
            f"Registration: greedy diffeomorphic registration {GREEDY[engine]} steps, with "
            f"neighbourhood cross-correlation of radius {_numbers(options['ncc_radius'])} voxels and "
            f"{_numbers(options['iterations'])} iterations per level."
        )
    parts.append(
        "The Jacobian determinant (JAC) is that of the non-linear part of the last deformation, in template space; values "
        "above 1 mean that the person's region is larger than the template's."
    )
    return " ".join(parts)


def used_modalities(config: Config) -> dict[str, dict[str, Any]]:
    """Return modality -> declaration of those that an experiment uses, components of 4-D images each by itself."""
    used = {modality for experiment in config["experiments"] for modality in experiment["modalities"]}
    return {name: d for name, d in expand_modalities(config["modalities"]).items() if name in used}


def maps_text(config: Config) -> str:
    """Diffusion models, the grid, the limits."""
    used, volumes = used_modalities(config), config["volumes"]
    names = {declaration["from"] for declaration in used.values()}
    sentences = (source.sentence(config) for name, source in SOURCES.items() if name in names)
    parts = [sentence for sentence in sentences if sentence]
    declared = declared_names(config["modalities"])
    # only some sources have a space
    standard = dict.fromkeys(declared[name] for name, d in used.items() if d.get("space") == "mni")
    if standard:
        parts.append(
            f"{join_words([name.upper() for name in standard])}: images in MNI152 space, brought to the template by the "
            "registration of nilearn's MNI152 (2009c) and the template."
        )
    parts.append(
        f"Each map was interpolated once, from its own space to a {format_setting(volumes['resolution_mm'])} mm "
        f"grid in template space, averaged over blocks of {volumes['downsample']}³ voxels and cropped or padded to "
        f"{_grid(volumes)} voxels."
    )
    return " ".join(parts)


def _grid(volumes: Config) -> str:
    return " × ".join(str(side) for side in volumes["shape"])


def training_values(config: Config, experiment: Config) -> dict[str, Any]:
    """Return how an experiment's model was trained: of each key that it reads, its own value, the section's or the preset's."""
    from neurostrata.fusion.models.interface import PRESETS

    merged = {**config["training"], **experiment["training"]}
    preset = PRESETS[merged.pop("preset")]
    return {
        key: preset[key] if merged[key] is None else merged[key] for key in training_keys(experiment["model"])
    }


def experiment_text(config: Config, experiment: Config) -> str:
    """One experiment: model, validation, limits, training."""
    modalities = " + ".join(modality.upper() for modality in experiment["modalities"])
    model = model_name(experiment["model"])
    parts = [
        " ".join([f"{model[:1].upper()}{model[1:]} of {modalities}", *model_words(experiment, "methods")])
    ]
    training = training_values(config, experiment)
    if training:
        names = {"epochs": "epochs", "batch_size": "batch size", "learning_rate": "learning rate"}
        values = [f"{name} {format_setting(training[key])}" for key, name in names.items()]
        if experiment["seed"] is not None:
            values.append(f"seed {experiment['seed']}")
        # not every model has a schedule
        falling = ", falling to 0 along a cosine" if training.get("schedule") == "cosine" else ""
        parts.append(f"trained with Adam ({', '.join(values)}{falling})")
    validation = experiment["validation"]
    if validation["method"] == "holdout":
        share = 100 * float(validation["test_fraction"])
        parts.append(f"tested once on {share:.0f}% of the people, held out")
    else:
        parts.append(f"tested in {validation['folds']}-fold cross-validation")
    scope = "the fold's training people" if experiment["limits"] == "train" else "the whole cohort"
    parts.append(f"intensities scaled to [0, 1] by percentiles of {scope}")
    text = "; ".join(parts) + ". The final model, trained on everybody, gives the embeddings."
    return " ".join([text, *adjustment_sentences(experiment["analyses"])])


def adjustment_sentences(analyses: Config) -> list[str]:
    """What is taken out of codes before anything is predicted from them."""
    sentences = []
    harmonise, covariates = analyses["harmonise"], analyses["covariates"]
    if harmonise:
        kept = join_words(list(harmonise["keep"]))
        sentences.append(
            f"Before anything was predicted, sites (column {harmonise['sites']}) were harmonised by ComBat "
            "(Johnson et al. 2007; Fortin et al. 2018; parametric empirical Bayes), learned from each fold's training people"
            + (f", keeping the effects of {kept}." if kept else ".")
        )
    if covariates:
        sentences.append(
            f"Linear effects of {join_words(list(covariates))}, learned from each fold's training people, were removed"
            + (" after that." if harmonise else " before anything was predicted.")
        )
    if sentences:
        sentences.append("The embedding and the baselines were treated alike.")
    return sentences


def phenotypes_text(config: Config) -> str:
    """Reduction of the phenotypes."""
    section = config["phenotypes"]
    if not section["tables"]:
        return ""
    if section["method"] == "variables":
        return "Each variable was standardised and compared as it is."
    keep = section["n_factors"]
    rule = f"the first {keep} components" if keep else "components with an eigenvalue above 1"
    return (
        f"Principal components of the correlation matrix, {rule}, varimax rotation with Kaiser normalisation, regression "
        f"scores; missing values: {section['missing']}."
    )


def adjusted_text(strata: Config) -> str:
    """Say what was taken out of the codes before they were clustered; "" when nothing was."""
    adjust = strata["adjust"]
    parts = [f"sites (column {adjust['sites']}, ComBat)"] if adjust["sites"] else []
    if adjust["columns"] == "auto":
        parts.append("age, sex and head size, as far as the study has them and 20 people for each")
    elif adjust["columns"]:
        parts.append(join_words([str(column) for column in adjust["columns"]]))
    if not parts:
        return ""
    how = "" if adjust["splines"] == 1 else f" by cubic splines with {adjust['splines']} degrees of freedom"
    return ", then ".join(parts) + how


def strata_text(config: Config) -> str:
    """Clustering and tests."""
    strata = config["strata"]
    adjusted = adjusted_text(strata)
    sentences = []
    if adjusted:
        sentences.append(f"Taken out of the codes: {adjusted}. The codes as they are were clustered too.")
    first, *others = [finder_class(finder).methods_text(strata[finder]) for finder in strata["finders"]]
    sentences.append(f"Clusters: {first}.")
    sentences += [f"Beside it: {text}." for text in others]
    existence = strata["existence"]
    sentences.append(
        f"Whether clusters exist: the whole search repeated on {existence['draws']} data sets without groups, of each of two kinds, that have the codes' "
        "covariance and unimodal margins (joined by a Gaussian copula); clusters are claimed where p = (b + 1)/(M + 1) is at most "
        f"{format_setting(existence['alpha'])}. Stability: mean Jaccard index of each cluster over {strata['stability']['draws']} "
        "bootstrap samples of families (Hennig 2007)."
    )
    if strata["outliers"]:
        sentences.append(
            f"People farther from every centre than all but {format_setting(strata['outliers'])} of a cluster's people belong to none."
        )
    sentences.append(
        "Factors were compared by Kruskal-Wallis tests with Benjamini-Hochberg correction over factors; effect size η² = "
        "(H − k + 1)/(n − k), floored at 0, with an interval from the non-central χ² distribution."
    )
    repartition = strata["repartition"]
    kind = "drawn with replacement" if repartition["with_replacement"] else "permutations"
    text = (
        f"Random repartition: {repartition['draws']} {kind} with the same cluster sizes, p = (b + 1)/(M + 1)"
    )
    text += ", whole families exchanged" if repartition["families"] and kind == "permutations" else ""
    sentences.append(text + ".")
    sentences.append(
        f"Checks: comparisons adjusted for age, sex, head size, site and image quality; {strata['split_half']['splits']} split halves; "
        f"{strata['shuffles']} times images and phenotypes of different people; ridge regression and canonical correlation in "
        f"{strata['continuous']['folds']} folds with {strata['continuous']['permutations']} permutations. Families are never divided."
    )
    return " ".join(sentences)


def methods_paragraphs(config: Config) -> list[tuple[str, str]]:
    """Return (heading, text) of every paragraph that the configuration calls for."""
    paragraphs = [("Anatomy", anatomy_text(config)), ("Maps", maps_text(config))]
    for experiment in config["experiments"]:
        paragraphs.append((f"Experiment {experiment['name']}", experiment_text(config, experiment)))
    paragraphs += [("Phenotypes", phenotypes_text(config)), ("Strata", strata_text(config))]
    seeds = f"Seed of splits, training, clustering and permutations: {config['seed']}; of the registrations: {config['imaging_seed']}."
    paragraphs.append(("Seeds", seeds))
    return [(heading, text) for heading, text in paragraphs if text]


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
    autoencoders = [e for e in experiments if model_schema(e["model"]).get("paper") == "dimitri2022"]
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
    departures = (source.deviation(config) for name, source in SOURCES.items() if name in sources)
    lines += [departure for departure in departures if departure]
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
                f"{_grid(volumes)} are {voxels:,} voxels; {numbers:,} numbers are a {voxels // numbers}-fold reduction per modality",
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
    finders, paper = strata["finders"], finder_class(FINDER_OF_THE_PAPER)
    if finders[0] != paper.name:
        beside = f" with {paper.title} beside it" if paper.name in finders else ""
        lines.append(("Clusters", f"{paper.title}, {paper.measure}", finder_name(finders[0]) + beside))
    lines.append(
        (
            "Whether clusters exist",
            "not tested; the procedure always gives clusters",
            "tested against data without groups; stability over bootstrap samples, seeds and folds",
        )
    )
    for finder in finders:
        lines += finder_class(finder).deviations(strata[finder])
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
