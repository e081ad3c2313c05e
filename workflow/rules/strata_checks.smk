"""What a careful reader asks next: who is in the clusters, do they hold in other people, what would no clusters say?"""

PERMUTING = {
    "draws": STRATA["repartition"]["draws"],
    "confidence": STRATA["comparisons"]["confidence"],
}


rule composition:
    """Say who the people of each cluster are (age, sex, site, diagnosis, ...), with tests."""
    input:
        clusters=rules.cluster.output.clusters,
        people=rules.describe_people.output[0],
    output:
        table="<results>/experiments/{experiment}/strata/{codes}/{finder}/composition.tsv",
        tests="<results>/experiments/{experiment}/strata/{codes}/{finder}/composition_tests.tsv",
    log:
        "<logs>/composition/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/composition/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(30),
    params:
        settings=settings("composition", **PERMUTING),
    shell:
        "python -m neurostrata composition --clusters {input.clusters:q} --people {input.people:q}"
        " --output {output.table:q} --tests {output.tests:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule compare_adjusted:
    """Test each phenotype factor between clusters beside age, sex, head size, site and image quality."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
    output:
        "<results>/experiments/{experiment}/strata/{codes}/{finder}/comparisons_adjusted.tsv",
    log:
        "<logs>/compare_adjusted/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/compare_adjusted/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(60),
    params:
        settings=settings(
            "compare_adjusted",
            families=STRATA["repartition"]["families"],
            **PERMUTING,
        ),
    shell:
        "python -m neurostrata compare-adjusted --clusters {input.clusters:q} --scores {input.scores:q}"
        " --people {input.people:q} --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule split_half:
    """Find clusters in half of the people, assign the other half to them, and compare its phenotypes."""
    input:
        embeddings=codes_of,
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
    output:
        table="<results>/experiments/{experiment}/strata/{codes}/{finder}/split_half.tsv",
        factors="<results>/experiments/{experiment}/strata/{codes}/{finder}/split_half_factors.tsv",
    log:
        "<logs>/split_half/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/split_half/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 8
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(240),
    params:
        settings=finder_settings("split_half", "split_half", "comparisons"),
    shell:
        "python -m neurostrata split-half --embeddings {input.embeddings:q} --scores {input.scores:q}"
        " --people {input.people:q} --output {output.table:q} --factors {output.factors:q}"
        " --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule shuffle_links:
    """Join clusters with other people's phenotypes: how often is anything found where there is nothing?"""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
        null=rules.repartition_strata.output.null,
    output:
        "<results>/experiments/{experiment}/strata/{codes}/{finder}/shuffles.tsv",
    log:
        "<logs>/shuffle_links/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/shuffle_links/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1),
        runtime=minutes(30),
    params:
        settings=settings(
            "shuffle_links",
            shuffles=STRATA["shuffles"],
            alpha=STRATA["comparisons"]["alpha"],
            families=STRATA["repartition"]["families"],
        ),
    shell:
        "python -m neurostrata shuffle-links --clusters {input.clusters:q} --scores {input.scores:q}"
        " --people {input.people:q} --null {input.null:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule continuous:
    """Predict each factor from codes without clusters, from linear baselines, and from clusters (ridge, CCA)."""
    input:
        embeddings=lambda wildcards: codes_path(wildcards.experiment, LEADING_CODES),
        baselines=lambda wildcards: expand(
            rules.baselines.output, experiment=wildcards.experiment, fold="all"
        ),
        clusters=expand(
            rules.cluster.output.clusters,
            codes=LEADING_CODES,
            finder=FINDERS,
            allow_missing=True,
        ),
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
    output:
        table="<results>/experiments/{experiment}/strata/continuous.tsv",
        added="<results>/experiments/{experiment}/strata/continuous_added.tsv",
    log:
        "<logs>/continuous/{experiment}.log",
    benchmark:
        "<benchmarks>/continuous/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 2
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(60),
    params:
        settings=settings(
            "continuous",
            continuous=STRATA["continuous"],
            **({"adjust": STRATA["adjust"]} if LEADING_CODES == "adjusted" else {}),
        ),
    shell:
        "python -m neurostrata continuous --embeddings {input.embeddings:q} --baselines {input.baselines:q}"
        " --clusters {input.clusters:q} --scores {input.scores:q} --people {input.people:q}"
        " --output {output.table:q} --added {output.added:q} --settings {params.settings:q} > {log:q} 2>&1"


rule agreement:
    """Compare the clusters of every two experiments and finders."""
    input:
        expand(
            rules.cluster.output.clusters,
            experiment=STRATIFIED,
            codes=LEADING_CODES,
            finder=FINDERS,
        ),
    output:
        table="<results>/strata/agreement.tsv",
        crosstabs="<results>/strata/agreement_crosstabs.tsv",
    log:
        "<logs>/agreement.log",
    benchmark:
        "<benchmarks>/agreement.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1),
        runtime=minutes(10),
    params:
        settings=settings("agreement"),
    shell:
        "python -m neurostrata agreement --clusters {input:q} --output {output.table:q}"
        " --crosstabs {output.crosstabs:q} --settings {params.settings:q} > {log:q} 2>&1"


rule factor_congruence:
    """Measure whether the phenotype factors come back in halves of the people."""
    input:
        tables=CONFIG["phenotypes"]["tables"],
        families="<results>/cohort/groups/families.tsv",
        model=rules.factor_phenotypes.output.model,
        loadings=rules.factor_phenotypes.output.loadings,
        scores=rules.factor_phenotypes.output.scores,
    output:
        "<results>/phenotypes/congruence.tsv",
    log:
        "<logs>/factor_congruence.log",
    benchmark:
        "<benchmarks>/factor_congruence.tsv"
    conda:
        "../../envs/phenotypes.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(30),
    params:
        settings=settings(
            "factor_congruence",
            **{key: CONFIG["phenotypes"][key] for key in ("id_column", "rotation")},
        ),
    shell:
        "python -m neurostrata factor-congruence --tables {input.tables:q} --families {input.families:q}"
        " --model {input.model:q} --loadings {input.loadings:q} --scores {input.scores:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


CHECKED = [*rules.composition.output]
if STRATIFIED:
    STRATA_OUTPUTS += [*rules.agreement.output]
if CONFIG["phenotypes"]["tables"]:
    CHECKED += [
        *rules.compare_adjusted.output,
        *rules.split_half.output,
        *rules.shuffle_links.output,
    ]
    STRATA_OUTPUTS += expand(rules.continuous.output, experiment=STRATIFIED)
    STRATA_OUTPUTS += [*rules.factor_congruence.output]
STRATA_OUTPUTS += expand(
    CHECKED, experiment=STRATIFIED, codes=LEADING_CODES, finder=FINDERS
)


# Seconds: not worth a job of its own on a cluster.
localrules:
    composition,
    shuffle_links,
    agreement,
    factor_congruence,
