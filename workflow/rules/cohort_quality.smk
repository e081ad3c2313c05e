"""Quality of everybody's images against the cohort: suggested exclusions, agreement of raters, quality between clusters."""


rule gather_quality:
    """Gather everybody's measures of quality in one table."""
    input:
        people=tree.group_table("people"),
        measured=expand(rules.measure_quality.output, subject=STUDY.with_images()),
    output:
        tree.QUALITY_MEASURES,
    log:
        "<logs>/gather_quality.log",
    benchmark:
        "<benchmarks>/gather_quality.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(20),
    params:
        settings=settings("gather_quality"),
    shell:
        "python -m neurostrata stage gather-quality --people {input.people:q}"
        f" --pattern {in_command(tree.PERSON_QUALITY)}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule measure_codes:
    """Measure how well held-out people are decoded, and how far their codes lie from those of the training."""
    input:
        reconstruction=rules.summarise_experiment.output.reconstruction,
        folds=by_wildcards(partial(INPUTS.decoded_folds, tree.FOLD_EMBEDDINGS)),
    output:
        tree.CODE_QUALITY,
    log:
        "<logs>/measure_codes/{experiment}.log",
    benchmark:
        "<benchmarks>/measure_codes/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(30),
    params:
        settings=settings("measure_codes"),
    shell:
        "python -m neurostrata stage measure-codes --reconstruction {input.reconstruction:q}"
        " --embeddings {input.folds:q} --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule compare_quality:
    """Compare everybody's images with what is expected of their age, sex and site; suggest whom to leave out."""
    input:
        measures=rules.gather_quality.output,
        people=rules.describe_people.output[0],
        experiments=expand(
            rules.measure_codes.output, experiment=measured_experiments(STUDY)
        ),
    output:
        deviations=tree.QUALITY_DEVIATIONS,
        suggestions=tree.SUGGESTED_EXCLUSIONS,
        tests=tree.QUALITY_COVARIATES,
    log:
        "<logs>/compare_quality.log",
    benchmark:
        "<benchmarks>/compare_quality.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(30),
    params:
        settings=settings("compare_quality"),
    shell:
        "python -m neurostrata stage compare-quality --measures {input.measures:q} --people {input.people:q}"
        " --experiments {input.experiments:q} --output {output.deviations:q}"
        " --suggestions {output.suggestions:q} --tests {output.tests:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule compare_raters:
    """Compare the quality decisions of every two raters."""
    output:
        tree.RATERS,
    log:
        "<logs>/compare_raters.log",
    benchmark:
        "<benchmarks>/compare_raters.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        settings=settings("compare_raters"),
    shell:
        "python -m neurostrata stage compare-raters --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule strata_quality:
    """Test whether the clusters differ in image quality, site or head size."""
    input:
        clusters=rules.cluster.output.clusters,
        measures=rules.gather_quality.output,
        people=rules.describe_people.output[0],
    output:
        tree.QUALITY_TESTS,
    log:
        "<logs>/strata_quality/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/strata_quality/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(30),
    params:
        settings=settings("strata_quality"),
    shell:
        "python -m neurostrata stage strata-quality --clusters {input.clusters:q} --measures {input.measures:q}"
        " --people {input.people:q} --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


# Seconds: not worth a job of its own on a cluster.
localrules:
    gather_quality,
    measure_codes,
    compare_quality,
    compare_raters,
    strata_quality,
