"""The methods in sentences, made from the whole configuration (:func:`~neurostrata.core.config.fill_config`).

They are written from here on the report's page, as ``report/methods.rst`` for Snakemake's own report, and in the supplement
(:mod:`neurostrata.report.text.supplement`). Marks such as ``[@frey2007affinity]`` stand for works that are cited; see
:mod:`neurostrata.report.text.references`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from neurostrata.cohort.sources.registry import SOURCES
from neurostrata.core.config import (
    COVARIATES,
    PEOPLE_PER_COLUMN,
    PEOPLE_PER_CURVED_COLUMN,
    declared_names,
    expand_modalities,
    further_covariates,
    load_schema,
    section_defaults,
    without_later,
)
from neurostrata.core.model_words import model_schema, model_words
from neurostrata.core.wording import count, format_setting, join_words, setting_words
from neurostrata.planning.experiments import can, predicts, reconstruction_folds
from neurostrata.planning.options import training_keys
from neurostrata.report.html.blocks import human_name, model_name
from neurostrata.report.text.references import ENGINES, cite, model_references
from neurostrata.report.text.references import FINDERS as FINDER_REFERENCES
from neurostrata.report.text.references import SOURCES as SOURCE_REFERENCES
from neurostrata.strata.finders.registry import finder_class

Config = Mapping[str, Any]


def _numbers(values: Any) -> str:
    if isinstance(values, list | tuple):
        return ", ".join(format_setting(value) for value in values)
    return format_setting(values)


#: Works on the harmonisation of sites.
COMBAT = ("johnson2007combat", "fortin2018combat")
#: Kinds of images that come from diffusion images.
DIFFUSION = {"tensor", "noddi"}
#: Engines that register greedily: by which program, after which steps.
GREEDY = {
    "greedy": "(picsl_greedy) after rigid, similarity and affine",
    "torch": "(neurostrata's own, in torch) after rigid and affine",
}


def anatomy_text(config: Config) -> str:
    """Return the paragraph on preprocessing, template and registration."""
    parts = []
    if config["anatomy"]["n4"]["enabled"]:
        parts.append(f"T1-weighted images were corrected for the bias field with N4{cite('tustison2010n4')}.")
    template = config["template"]
    limit = "" if template["tolerance"] is None else "at most "
    part = template["early_people"]
    early = f" (in all but the last at most {part} people, spread evenly over the list, other ones each time)"
    step = format_setting(template["shape_step"])
    removed = (
        "the inverse of the mean warp and the mean affine without its rigid part are applied"
        if template["shape_step"] == 1
        else f"the inverse of a share of {step} of the mean warp and of the mean affine without its rigid part is applied"
    )
    steady = (
        ", and the result is turned and shifted to the pose of the template before it, so that neither shape, pose nor size drifts."
        if template["hold_pose"]
        else ", so that neither shape nor size drifts."
    )
    sharpened = f" (unsharp mask of weight {format_setting(template['sharpening'])})"
    text = (
        f"A study-specific template with {format_setting(template['resolution_mm'])} mm voxels was built from the mean of the "
        f"images aligned by centre of mass, in {limit}{count(int(template['iterations']), 'iteration')}{cite('avants2010template')}. In "
        f"each, the people of the template are registered{'' if part is None else early}, "
        f"images and warps are averaged, and {removed}{steady}"
    )
    if template["sharpening"]:
        text += f" Then each average is sharpened{sharpened}."
    if template["coarse_iterations"]:
        some = min(int(template["coarse_iterations"]), int(template["iterations"]))
        text += f" The first {'iteration leaves' if some == 1 else f'{some} iterations leave'} out the finest level of the registration."
    if template["tolerance"] is not None:
        # an iteration with a part of the people is never the last
        whose = "template" if part is None else "template of everybody"
        text += (
            f" The iterations end early once the {whose} changes by at most {format_setting(template['tolerance'])} of its mean "
            "brightness."
        )
    parts.append(f"{text} Everybody was then registered to the last template.")
    engine = config["registration"]["engine"]
    options = config["registration"][engine]
    if engine == "ants":
        parts.append(
            "Registration: ANTs by centre of mass, rigid, similarity and affine steps, then symmetric diffeomorphic (SyN)"
            f"{cite(*ENGINES[engine])} with "
            f"neighbourhood cross-correlation of radius {_numbers(options['cc_radius'])} voxels, gradient step "
            f"{_numbers(options['gradient_step'])}, shrink factors {_numbers(options['shrink_factors'])}, smoothing "
            f"{_numbers(options['smoothing_vox'])} voxels and at most {_numbers(options['iterations'])} iterations."
        )
    else:
        parts.append(
            f"Registration: greedy diffeomorphic registration {GREEDY[engine]} steps{cite(*ENGINES[engine])}, with "
            f"neighbourhood cross-correlation of radius {_numbers(options['ncc_radius'])} voxels and "
            f"{_numbers(options['iterations'])} iterations per level."
        )
    if config["registration"]["balance"]:
        parts.append(
            "The linear part of each warp was moved into the affine step, so that the warp holds no change of the whole brain's size."
        )
    return " ".join(parts)


def used_modalities(config: Config) -> dict[str, dict[str, Any]]:
    """Return modality -> declaration of the modalities that experiments use; each component of a 4-D image is one."""
    used = {modality for experiment in config["experiments"] for modality in experiment["modalities"]}
    return {name: d for name, d in expand_modalities(config["modalities"]).items() if name in used}


def maps_text(config: Config) -> str:
    """Return the paragraph on the maps: diffusion models, other sources, and the grid."""
    used, volumes = used_modalities(config), config["volumes"]
    names = {declaration["from"] for declaration in used.values()}
    parts = []
    for name, source in SOURCES.items():
        if name in names and (sentence := source.sentence(config)):
            parts.append(_with_references(sentence, _source_references(name, source.engine(config))))
    if names & DIFFUSION and config["diffusion"]["space"] == "native":
        alignment = config["diffusion"]["alignment"]
        parts.append(
            "Diffusion images were aligned with the T1-weighted image of the same person: the mean b = 0 image rigidly, by mutual "
            f"information (ANTs{cite('tustison2021ants')}; voxels of {format_setting(alignment['resolution_mm'])} mm, at most "
            f"{_numbers(alignment['iterations'])} iterations per level, {100 * float(alignment['sampling']):g}% of the voxels)."
        )
    elif names & DIFFUSION:
        parts.append("The diffusion images were in the space of the T1-weighted image already.")
    declared = declared_names(config["modalities"])
    # only some sources have a space
    in_mni = dict.fromkeys(declared[name] for name, d in used.items() if d.get("space") == "mni")
    if in_mni:
        parts.append(
            f"{join_words([name.upper() for name in in_mni])}: images in MNI152 space, transformed to the template by the "
            f"registration between nilearn's MNI152 (2009c){cite('fonov2011mni')} and the template."
        )
    blocks = (
        "" if volumes["downsample"] == 1 else f"averaged over blocks of {volumes['downsample']}³ voxels and "
    )
    parts.append(
        f"Each map was interpolated once, from its own space to a {format_setting(volumes['resolution_mm'])} mm "
        f"grid in template space, {blocks}cropped or padded to {grid_text(volumes)} voxels."
    )
    return " ".join(parts)


def _source_references(name: str, engine: str | None) -> tuple[str, ...]:
    """Return the works on how a kind of image is made."""
    more = ("daducci2015amico",) if name == "noddi" and engine == "amico" else ()
    return (*SOURCE_REFERENCES.get(name, ()), *more)


def _with_references(sentence: str, keys: Sequence[str]) -> str:
    """Return a sentence that cites these works at the end of its first part."""
    start, end, rest = sentence.partition(". ")
    return f"{start.removesuffix('.')}{cite(*keys)}{end.strip() or '.'}{' ' + rest if rest else ''}"


def quality_text(config: Config) -> str:
    """Return the paragraph on the quality of the images."""
    quality = config["quality"]
    usual = (
        f"what is expected from {join_words(quality['covariates'])}, as far as they are known and there are enough people"
        if quality["covariates"]
        else "everybody's"
    )
    limit = (
        f"The limits let about {100 * float(quality['false_flags']):g}% of people with sound images be called unusual, over all measures together."
        if quality["limit"] == "auto"
        else f"People who differ by more than {format_setting(quality['limit'])} of them were called unusual."
    )
    return (
        f"Each measure of the quality of a person's images was compared with {usual}, in robust standard deviations. {limit} Nobody was left "
        "out without a decision."
    )


def grid_text(volumes: Config) -> str:
    """Return the size of the models' grid, such as "64 × 96 × 64"."""
    return " × ".join(str(side) for side in volumes["shape"])


def training_values(config: Config, experiment: Config) -> dict[str, Any]:
    """Return how an experiment's model was trained: for each key that it reads, the experiment's value, the section's or the preset's."""
    from neurostrata.core.training_presets import PRESETS

    merged = {**config["training"], **experiment["training"]}
    preset = PRESETS[merged.pop("preset")]
    return {
        key: preset[key] if merged[key] is None else merged[key] for key in training_keys(experiment["model"])
    }


def experiment_text(config: Config, experiment: Config) -> str:
    """Return the paragraph on one experiment: model, training, validation and limits."""
    modalities = " + ".join(modality.upper() for modality in experiment["modalities"])
    model = model_name(experiment["model"])
    parts = [
        " ".join(
            [
                f"{model[:1].upper()}{model[1:]} of {modalities}",
                *model_words(experiment, "methods"),
                *purpose_words(experiment),
            ]
        )
    ]
    options = other_options(experiment)
    if options:
        parts.append(f"options other than the model's defaults: {options}")
    training = training_values(config, experiment)
    if training:
        names = {"epochs": "epochs", "batch_size": "batch size", "learning_rate": "learning rate"}
        values = [f"{name} {format_setting(training[key])}" for key, name in names.items()]
        changed = without_later(training, load_schema("training"))
        if "adam_epsilon" in changed:
            values.append(f"epsilon {format_setting(changed['adam_epsilon'])}")
        if experiment["seed"] is not None:
            values.append(f"seed {experiment['seed']}")
        # not every model has a schedule
        falling = ", falling to 0 along a cosine" if training.get("schedule") == "cosine" else ""
        summed = " on the sum of the modalities' losses" if "modality_losses" in changed else ""
        parts.append(f"trained with Adam ({', '.join(values)}{falling}){summed}")
    if experiment["missing"] == "include":
        clustered = (
            "; only people with all of them were clustered" if experiment["analyses"]["strata"] else ""
        )
        parts.append(f"trained on people who lack some of these modalities, too{clustered}")
    validation, tested = experiment["validation"], has_folds(experiment)
    if not tested:
        parts.append("not tested on people it has not seen")
    elif validation["method"] == "holdout":
        share = 100 * float(validation["test_fraction"])
        parts.append(f"tested once on {share:.0f}% of the people, who were held out")
    else:
        parts.append(f"tested in {validation['folds']}-fold cross-validation")
    if experiment["scaling"] == "maximum":
        scaled = "each volume divided by its largest absolute value in the brain mask"
    else:
        train = "the fold's training people" if tested else "the people it was trained on"
        scope = train if experiment["limits"] == "train" else "the whole cohort"
        scaled = f"intensities scaled to [0, 1] by percentiles of {scope}"
    # what the model does again is said once
    parts.append(", then ".join(dict.fromkeys([scaled, *model_words(experiment, "scaling")])))
    text = "; ".join(parts) + ". The final model, trained on everybody, gives the embeddings."
    return " ".join(
        [text, *prediction_sentences(config, experiment), *adjustment_sentences(experiment["analyses"])]
    )


def has_folds(experiment: Config) -> bool:
    """Tell whether models of single folds are trained: whether anything is measured in people whom a model has not seen."""
    analyses = experiment["analyses"]
    measured = bool(reconstruction_folds(experiment)) or predicts(experiment) or analyses["robustness"]
    return measured or can(experiment, "synthesises") or can(experiment, "regions")


def purpose_words(experiment: Config) -> list[str]:
    """Return which classes a model tells apart, and which modalities it synthesises from which."""
    words, options = [], experiment["options"]
    if experiment["label"]:
        classes, column = experiment["label"]["classes"], experiment["label"]["column"]
        words.append(f"that tells {classes[0]} from {classes[1]} (column {column})")
    if model_schema(experiment["model"]).get("synthesises"):
        # without a list, all modalities but the mask
        every = [name for name in experiment["modalities"] if name != options["mask_input"]]
        made, given = ([name.upper() for name in options[key] or every] for key in ("outputs", "inputs"))
        words.append(f"that synthesises {join_words(made)} from {join_words(given)}")
    return words


def other_options(experiment: Config) -> str:
    """Return the options that are not the model's defaults; without those that :func:`experiment_text` says in words."""
    schema = model_schema(experiment["model"])
    if not schema:
        return ""
    said = {"inputs", "outputs"} if schema.get("synthesises") else set()
    said |= {key for entry in schema.get("words", {}).get("methods", []) for key in entry.get("options", {})}
    defaults = section_defaults(f"models/{experiment['model']}")
    return ", ".join(
        f"{key} ({setting_words(value)})"
        if isinstance(value, list | Mapping)
        else f"{key} {setting_words(value)}"
        for key, value in sorted(experiment["options"].items())
        if key not in said and value != defaults[key]
    )


def prediction_sentences(config: Config, experiment: Config) -> list[str]:
    """Return the sentences on what the codes, or the synthesised images, are compared for."""
    sentences, targets = [], experiment["analyses"]["prediction"]
    if targets:
        named = ["the phenotype factors" if target == "factors" else target for target in targets]
        sentences.append(
            f"From the embeddings of each fold's model, {join_words(named)} of its test people "
            f"{'was' if len(named) == 1 and targets != ['factors'] else 'were'} predicted: numbers by ridge regression, classes by a linear "
            "support vector machine."
        )
    if experiment["analyses"]["robustness"]:
        sentences.append(
            "Each modality of the test people was hidden in turn, to measure how much codes and decoded images change."
        )
    if model_schema(experiment["model"]).get("synthesises"):
        methods = [name.replace("_", " ").replace("mlp", "MLP") for name in config["synthesis"]["baselines"]]
        sentences.append(
            "Test people's images were synthesised from every subset of the inputs"
            + (
                f", and for comparison by methods that learned from the same training people ({join_words(methods)})."
                if methods
                else "."
            )
        )
    return sentences


def adjustment_sentences(analyses: Config) -> list[str]:
    """Return the sentences on what was removed from the codes before anything was predicted from them."""
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
        sentences.append("The embedding and the baselines were treated in the same way.")
    return sentences


def phenotypes_text(config: Config) -> str:
    """Return the paragraph on the reduction of the phenotypes; "" where there are none and nothing to compare."""
    section = config["phenotypes"]
    if not section["tables"]:
        if not is_clustered(config):
            return ""
        return "No phenotype tables were configured, so the clusters were not compared."
    if section["method"] == "variables":
        return "Each phenotypic variable was standardised and compared by itself."
    keep = section["n_factors"]
    rule = f"the first {keep} components" if keep else "components with an eigenvalue above 1"
    return (
        f"Phenotypes were reduced to principal components of the correlation matrix ({rule}), with varimax rotation"
        f"{cite('kaiser1958varimax')} and Kaiser normalisation; scores by regression; missing values: {section['missing']}."
    )


def adjusted_text(strata: Config) -> str:
    """Return what was removed from the codes before they were clustered; "" when nothing was."""
    adjust = strata["adjust"]
    parts = [f"sites (column {adjust['sites']}, ComBat)"] if adjust["sites"] else []
    if adjust["columns"] == "auto":
        parts.append(
            f"age, sex and head size, as far as they are known and there are {PEOPLE_PER_COLUMN} people for each"
        )
    elif adjust["columns"]:
        parts.append(join_words([str(column) for column in adjust["columns"]]))
    if not parts:
        return ""
    curves = curves_text(adjust, PEOPLE_PER_CURVED_COLUMN) if adjust["columns"] else ""
    return ", then ".join(parts) + curves


def curves_text(adjust: Config, people: int) -> str:
    """Return which effects of numbers are curves, in words that follow the covariates; "" where all are straight lines."""
    splines = adjust["splines"]
    if splines == 1:
        return ""
    if splines == "auto":
        return (
            f" (numbers along cubic curves, as far as there are {people} people for each degree of freedom)"
        )
    return f" (numbers along cubic splines with {splines} degrees of freedom)"


def repeated_text(strata: Config) -> str:
    """Return which form of the search is run again, on data without groups and on resampled people."""
    classes = {finder: finder_class(finder) for finder in strata["finders"]}
    cheaper = [f"{of.title} {text}" for name, of in classes.items() if (text := of.quick_text(strata[name]))]
    if not cheaper:
        return "the whole search was run again"
    return f"the search in a cheaper form ({'; '.join(cheaper)}) was run on the codes and"


def is_clustered(config: Config) -> bool:
    """Tell whether the codes of any experiment are clustered."""
    return any(experiment["analyses"]["strata"] for experiment in config["experiments"])


def strata_text(config: Config) -> str:
    """Return the paragraph on clustering and tests."""
    strata = config["strata"]
    if not is_clustered(config):
        return "No experiment's codes were clustered."
    adjusted = adjusted_text(strata)
    sentences = []
    if adjusted:
        sentences.append(
            f"Removed from the codes: {adjusted}{cite(*COMBAT) if strata['adjust']['sites'] else ''}. The unadjusted codes were clustered too."
        )
    first, *others = [
        finder_class(finder).methods_text(strata[finder]) + cite(*FINDER_REFERENCES.get(finder, ()))
        for finder in strata["finders"]
    ]
    sentences.append(f"Clusters: {first}.")
    sentences += [f"For comparison: {text}." for text in others]
    existence = strata["existence"]
    sentences.append(
        f"Existence of clusters: {repeated_text(strata)} on {existence['draws']} data sets without groups of each of two kinds, which have the codes' "
        "covariance and unimodal margins (joined by a Gaussian copula); clusters are claimed where p = (b + 1)/(M + 1) is at most "
        f"{format_setting(existence['alpha'])}. Stability: mean Jaccard index of each cluster over {strata['stability']['draws']} "
        f"bootstrap samples of families (Hennig 2007){cite('hennig2007stability')}."
    )
    if strata["outliers"]:
        sentences.append(
            f"People who are farther from every centre than all but {format_setting(strata['outliers'])} of a cluster's people belong to no cluster."
        )
    sentences.append(
        "Maps of the clusters of the first finder show Hedges' g of each cluster against all other people in every voxel"
        f"{', the same effects removed' if adjusted else ''}; they were not tested."
    )
    if not config["phenotypes"]["tables"]:
        return " ".join([*sentences, "Families are never divided."])
    sentences.append(
        f"Factors were compared by Kruskal-Wallis tests{cite('kruskal1952ranks')} with Benjamini-Hochberg correction"
        f"{cite('benjamini1995fdr')} over factors; effect size η² = "
        "(H − k + 1)/(n − k), floored at 0, with an interval from the non-central χ² distribution."
    )
    repartition = strata["repartition"]
    kind = "draws with replacement" if repartition["with_replacement"] else "permutations"
    text = f"Random repartition (the same test in random groups): {repartition['draws']} {kind} with the same cluster sizes, p = (b + 1)/(M + 1)"
    text += ", whole families exchanged" if repartition["families"] and kind == "permutations" else ""
    sentences.append(text + ".")
    continuous, shuffles = strata["continuous"], strata["shuffles"]
    covariates = join_words(
        [human_name(name) for name in (*COVARIATES, *further_covariates(strata["adjust"]))]
    )
    slopes = ", age with slopes of its own in each class" if strata["adjust"]["splines"] == "auto" else ""
    checks = [
        f"comparisons adjusted for {covariates}, as far as they are known{curves_text(strata['adjust'], PEOPLE_PER_COLUMN)}{slopes}, numbers as ranks{cite('freedman1983permutation')}, by a statistic that does not take people to vary equally in all clusters{cite('diciccio2017robust')}",
        f"{count(strata['split_half']['splits'], 'division')} into halves",
        f"{count(shuffles, 'run')} with images and phenotypes of different people joined" if shuffles else "",
        f"ridge regression and canonical correlation in {continuous['folds']} folds with {continuous['permutations']} permutations, factors freed of the same covariates in each fold{cite('snoek2019confounds')}",
    ]
    sentences.append(f"Checks: {'; '.join(check for check in checks if check)}. Families are never divided.")
    return " ".join(sentences)


def methods_paragraphs(config: Config) -> list[tuple[str, str]]:
    """Return (heading, text) of every paragraph that the configuration calls for."""
    paragraphs = [
        ("Anatomy", anatomy_text(config)),
        ("Maps", maps_text(config)),
        ("Quality", quality_text(config)),
    ]
    for experiment in config["experiments"]:
        paragraphs.append(
            (
                f"Experiment {experiment['name']}",
                experiment_text(config, experiment) + _experiment_references(config, experiment),
            )
        )
    paragraphs += [("Phenotypes", phenotypes_text(config)), ("Strata", strata_text(config))]
    seeds = f"Seed of splits, training, clustering and permutations: {config['seed']}; of the registrations: {config['imaging_seed']}."
    paragraphs.append(("Seeds", seeds))
    return [(heading, text) for heading, text in paragraphs if text]


def _experiment_references(config: Config, experiment: Config) -> str:
    """Return a sentence with the works on the model and its training; "" without any."""
    parts = []
    if keys := model_references(experiment["model"]):
        parts.append(f"the model{cite(*keys)}")
    if training_values(config, experiment):
        parts.append(f"Adam{cite('kingma2015adam')}")
    if experiment["analyses"]["harmonise"]:
        parts.append(f"ComBat{cite(*COMBAT)}")
    if experiment["analyses"]["strata"]:
        parts.append(f"the map of the embeddings by t-SNE{cite('vandermaaten2008tsne')}")
    return f" References: {join_words(parts)}." if parts else ""


def restructured_text(paragraphs: Sequence[tuple[str, str]]) -> str:
    """Return the paragraphs as reStructuredText, for Snakemake's own report (``workflow/report/workflow.rst``)."""
    parts = [f"**{_escaped(heading)}.** {_escaped(text)}" for heading, text in paragraphs]
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Return a text without markup: names of experiments and columns may end with an underscore, which makes a link."""
    return re.sub(r"([\\`*_|])", r"\\\1", text)
