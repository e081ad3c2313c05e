"""Checks of the clusters: who is in them, whether they replicate in other people, and what is found without clusters."""


rule composition:
    """Describe the people of each cluster (age, sex, site, diagnosis, ...), with tests."""
    input:
        clusters=rules.cluster.output.clusters,
        people=rules.describe_people.output[0],
    output:
        table=tree.COMPOSITION,
        tests=tree.COMPOSITION_TESTS,
    log:
        "<logs>/composition/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/composition/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(30),
    params:
        settings=settings("composition"),
    shell:
        "python -m neurostrata stage composition --clusters {input.clusters:q} --people {input.people:q}"
        " --output {output.table:q} --tests {output.tests:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule compare_adjusted:
    """Test each phenotype factor between clusters, adjusted for age, sex, head size, site and image quality."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
    output:
        tree.ADJUSTED_COMPARISONS,
    log:
        "<logs>/compare_adjusted/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/compare_adjusted/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(60),
    params:
        settings=settings("compare_adjusted"),
    shell:
        "python -m neurostrata stage compare-adjusted --clusters {input.clusters:q} --scores {input.scores:q}"
        " --people {input.people:q} --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule split_half:
    """Find clusters in half of the people, assign the other half to them, and compare its phenotypes."""
    input:
        embeddings=by_wildcards(INPUTS.codes),
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
    output:
        table=tree.SPLIT_HALF,
        factors=tree.SPLIT_HALF_FACTORS,
    log:
        "<logs>/split_half/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/split_half/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: SEARCH_THREADS
    resources:
        mem_mb=REQUESTS.search_memory("split_half", least=4000),
        runtime=minutes(240),
    params:
        settings=settings("split_half"),
    shell:
        "python -m neurostrata stage split-half --embeddings {input.embeddings:q} --scores {input.scores:q}"
        " --people {input.people:q} --output {output.table:q} --factors {output.factors:q}"
        " --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule shuffle_links:
    """Link clusters with other people's phenotypes, and count how often anything is found though there is nothing."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
        null=rules.repartition_strata.output.null,
    output:
        tree.SHUFFLES,
    log:
        "<logs>/shuffle_links/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/shuffle_links/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(30),
    params:
        settings=settings("shuffle_links"),
    shell:
        "python -m neurostrata stage shuffle-links --clusters {input.clusters:q} --scores {input.scores:q}"
        " --people {input.people:q} --null {input.null:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule continuous:
    """Predict each factor from codes without clusters, from linear baselines, and from clusters (ridge, CCA)."""
    input:
        embeddings=by_wildcards(partial(INPUTS.codes, codes=LEADING_CODES)),
        baselines=tree.fill(tree.BASELINES, fold="all"),
        clusters=expand(
            rules.cluster.output.clusters,
            codes=LEADING_CODES,
            finder=FINDERS,
            allow_missing=True,
        ),
        scores=rules.factor_phenotypes.output.scores,
        people=rules.describe_people.output[0],
    output:
        table=tree.CONTINUOUS,
        added=tree.CONTINUOUS_ADDED,
    log:
        "<logs>/continuous/{experiment}.log",
    benchmark:
        "<benchmarks>/continuous/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 2
    resources:
        mem_mb=memory(4),
        runtime=minutes(60),
    params:
        settings=settings("continuous"),
    shell:
        "python -m neurostrata stage continuous --embeddings {input.embeddings:q} --baselines {input.baselines:q}"
        " --clusters {input.clusters:q} --scores {input.scores:q} --people {input.people:q}"
        " --output {output.table:q} --added {output.added:q} --settings {params.settings:q} > {log:q} 2>&1"


rule map_strata:
    """Map where each stratum's images differ from everybody else's: effect sizes, means, standard deviations."""
    input:
        volumes=by_wildcards(INPUTS.arrays),
        mask=rules.grid_mask.output,
        clusters=rules.cluster.output.clusters,
        existence=rules.existence.output.table,
        codes=by_wildcards(INPUTS.codes),
        people=rules.describe_people.output[0],
        regions=INPUTS.atlas(tree.REGIONS),
        names=INPUTS.atlas(tree.REGION_NAMES),
        affine=by_wildcards(partial(INPUTS.to_mni, tree.MNI_AFFINE)),
        warp=by_wildcards(partial(INPUTS.to_mni, tree.MNI_WARP)),
    output:
        maps=directory(tree.STRATA_MAPS),
        table=tree.STRATA_MAP_TABLE,
        places=tree.STRATA_PLACES,
    log:
        "<logs>/map_strata/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/map_strata/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(120),
    params:
        settings=settings("map_strata"),
    shell:
        "python -m neurostrata stage map-strata --volumes {input.volumes:q} --mask {input.mask:q}"
        " --clusters {input.clusters:q} --existence {input.existence:q} --codes {input.codes:q}"
        " --people {input.people:q} --regions {input.regions:q} --names {input.names:q}"
        " --affine {input.affine:q} --warp {input.warp:q} --maps {output.maps:q} --output {output.table:q}"
        " --places {output.places:q} --settings {params.settings:q} > {log:q} 2>&1"


rule decode_strata:
    """Decode the mean code of each stratum's people with the final model, beside their mean images."""
    input:
        model=tree.fill(tree.FOLD_MODEL, fold="all"),
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=tree.fill(tree.LIMITS, fold="all"),
        mask=rules.grid_mask.output,
        embeddings=rules.summarise_experiment.output.embeddings,
        clusters=rules.cluster.output.clusters,
        existence=rules.existence.output.table,
    output:
        maps=directory(tree.STRATA_DECODED),
        table=tree.STRATA_DECODED_TABLE,
    log:
        "<logs>/decode_strata/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/decode_strata/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(8),
        runtime=minutes(120),
    params:
        settings=settings("decode_strata"),
    shell:
        "python -m neurostrata stage decode-strata --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q}"
        " --embeddings {input.embeddings:q} --clusters {input.clusters:q} --existence {input.existence:q}"
        " --maps {output.maps:q} --output {output.table:q} --threads {threads}"
        " --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


rule agreement:
    """Compare the clusters of every pair of experiments and finders."""
    input:
        expand(
            rules.cluster.output.clusters,
            experiment=STRATIFIED,
            codes=LEADING_CODES,
            finder=FINDERS,
        ),
    output:
        table=tree.AGREEMENT,
        crosstabs=tree.AGREEMENT_CROSSTABS,
    log:
        "<logs>/agreement.log",
    benchmark:
        "<benchmarks>/agreement.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        settings=settings("agreement"),
    shell:
        "python -m neurostrata stage agreement --clusters {input:q} --output {output.table:q}"
        " --crosstabs {output.crosstabs:q} --settings {params.settings:q} > {log:q} 2>&1"


rule factor_congruence:
    """Measure whether the phenotype factors replicate in halves of the people."""
    input:
        tables=TABLES,
        families=tree.group_table("families"),
        model=rules.factor_phenotypes.output.model,
        loadings=rules.factor_phenotypes.output.loadings,
        scores=rules.factor_phenotypes.output.scores,
    output:
        tree.CONGRUENCE,
    log:
        "<logs>/factor_congruence.log",
    benchmark:
        "<benchmarks>/factor_congruence.tsv"
    conda:
        "../../envs/phenotypes.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(30),
    params:
        settings=settings("factor_congruence"),
    shell:
        "python -m neurostrata stage factor-congruence --tables {input.tables:q} --families {input.families:q}"
        " --model {input.model:q} --loadings {input.loadings:q} --scores {input.scores:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


# Seconds: not worth a job of its own on a cluster.
localrules:
    composition,
    shuffle_links,
    agreement,
    factor_congruence,
