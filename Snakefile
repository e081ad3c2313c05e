"""neurostrata: from multimodal brain images to phenotypic strata."""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/start.smk"


# What we recommend; a study that has its own config/config.yaml, or --configfile, sets over it.
configfile: f"{CHECKOUT}/config/config.yaml"


if os.path.exists("config/config.yaml"):

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


if CONFIG["container"]:

    containerized: CONFIG["container"]


include: "workflow/rules/cohort.smk"
include: "workflow/rules/anatomy.smk"
include: "workflow/rules/diffusion.smk"
include: "workflow/rules/functional.smk"
include: "workflow/rules/volumes.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/fusion.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/phenotypes.smk"
include: "workflow/rules/strata.smk"
include: "workflow/rules/prediction.smk"
include: "workflow/rules/strata_checks.smk"
include: "workflow/rules/cohort_quality.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    maps,
    volumes,
    models,
    quality,
    strata,


rule all:
    default_target: True
    input:
        rules.report.output,


rule maps:
    """Every map of every person, on the template."""
    input:
        [
            expand(
                rules.map_to_template.output,
                subject=STUDY.with_modality(m),
                modality=m,
            )
            for m in MODALITIES
        ],


rule volumes:
    """One array per modality."""
    input:
        expand(rules.normalise.output, modality=MODALITIES),


rule models:
    """Every trained model, its embeddings and its reconstruction table."""
    input:
        expand(rules.summarise_experiment.output, experiment=EXPERIMENTS),
        PREDICTION_OUTPUTS,


rule quality:
    """Everybody's measures of quality, who is unusual, and whom it is suggested to leave out."""
    input:
        rules.gather_quality.output,
        rules.compare_quality.output,


rule strata:
    """Phenotype factors, clusters, and how the clusters differ."""
    input:
        STRATA_OUTPUTS,
