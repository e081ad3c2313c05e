"""Groups of people in their codes: whether they exist, who belongs to them, and how they differ in phenotype."""


rule describe_people:
    """Gather the characteristics of everybody: age, sex, site, diagnosis, family, head size, image quality."""
    input:
        people=tree.group_table("characteristics"),
        registered=tree.group_table("registered"),
        affines=expand(rules.register.output.affine, subject=STUDY.registered()),
        # only some columns are used, and their digest is tracked: a changed score does not repeat the clustering
        tables=[ancient(path) for path in TABLES],
    output:
        tree.CHARACTERISTICS,
    log:
        "<logs>/describe_people.log",
    benchmark:
        "<benchmarks>/describe_people.tsv"
    conda:
        "../../envs/phenotypes.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(30),
    params:
        settings=settings("describe_people"),
    shell:
        "python -m neurostrata stage describe-people --people {input.people:q} --tables {input.tables:q}"
        " --registered {input.registered:q}"
        f" --pattern {in_command(tree.T1W_AFFINE)}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule adjust_codes:
    """Adjust everybody's codes for age, sex, head size or sites, so that these do not form the clusters."""
    input:
        embeddings=rules.summarise_experiment.output.embeddings,
        people=rules.describe_people.output[0],
    output:
        tree.ADJUSTED_CODES,
    log:
        "<logs>/adjust_codes/{experiment}.log",
    benchmark:
        "<benchmarks>/adjust_codes/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(30),
    params:
        settings=settings("adjust_codes"),
    shell:
        "python -m neurostrata stage adjust-codes --embeddings {input.embeddings:q} --people {input.people:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule cluster:
    """Search for groups of people in their codes with one finder."""
    input:
        embeddings=by_wildcards(INPUTS.codes),
    output:
        search=tree.SEARCH,
        clusters=report(
            tree.CLUSTERS,
            caption="../report/clusters.rst",
            category="Strata",
            subcategory="{experiment}",
            labels={"table": "Clusters", "codes": "{codes}", "finder": "{finder}"},
        ),
    log:
        "<logs>/cluster/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/cluster/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: SEARCH_THREADS
    resources:
        mem_mb=REQUESTS.search_memory("cluster", least=4000),
        runtime=minutes(480),
    params:
        settings=settings("cluster"),
    shell:
        "python -m neurostrata stage cluster --embeddings {input.embeddings:q} --search {output.search:q}"
        " --clusters {output.clusters:q} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule existence:
    """Compare the clusters with those that the finder finds in codes without groups."""
    input:
        embeddings=by_wildcards(INPUTS.codes),
        clusters=rules.cluster.output.clusters,
        people=tree.group_table("families"),
    output:
        table=report(
            tree.EXISTENCE,
            caption="../report/existence.rst",
            category="Strata",
            subcategory="{experiment}",
            labels={"table": "Existence", "codes": "{codes}", "finder": "{finder}"},
        ),
        null=tree.EXISTENCE_NULL,
    log:
        "<logs>/existence/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/existence/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: SEARCH_THREADS
    resources:
        mem_mb=REQUESTS.search_memory("existence", least=4000),
        runtime=minutes(480),
    params:
        settings=settings("existence"),
    shell:
        "python -m neurostrata stage existence --embeddings {input.embeddings:q} --clusters {input.clusters:q}"
        " --people {input.people:q}"
        " --output {output.table:q} --null {output.null:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule stability:
    """Measure how well each cluster is found again in resampled people, with other seeds, in the folds' codes."""
    input:
        embeddings=by_wildcards(INPUTS.codes),
        clusters=rules.cluster.output.clusters,
        folds=by_wildcards(partial(INPUTS.decoded_folds, tree.FOLD_EMBEDDINGS)),
        people=rules.describe_people.output[0],
    output:
        tree.STABILITY,
    log:
        "<logs>/stability/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/stability/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: SEARCH_THREADS
    resources:
        mem_mb=REQUESTS.search_memory("stability", least=4000),
        runtime=minutes(480),
    params:
        settings=settings("stability"),
    shell:
        "python -m neurostrata stage stability --embeddings {input.embeddings:q} --clusters {input.clusters:q}"
        " --folds {input.folds:q} --people {input.people:q} --output {output:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule project:
    """Project the embeddings to two dimensions (t-SNE), for a figure only."""
    input:
        embeddings=by_wildcards(partial(INPUTS.codes, codes=LEADING_CODES)),
    output:
        tree.TSNE,
    log:
        "<logs>/project/{experiment}.log",
    benchmark:
        "<benchmarks>/project/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(60),
    params:
        settings=settings("project"),
    shell:
        "python -m neurostrata stage project --embeddings {input.embeddings:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule repartition_strata:
    """Compare the clusters with random repartitions of the same sizes, families kept together."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
        people=tree.group_table("families"),
    output:
        table=tree.REPARTITION,
        null=tree.REPARTITION_NULL,
    log:
        "<logs>/repartition_strata/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/repartition_strata/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(4),
        runtime=minutes(60),
    params:
        settings=settings("repartition_strata"),
    shell:
        "python -m neurostrata stage repartition-strata --clusters {input.clusters:q} --scores {input.scores:q}"
        " --subjects {input.people:q} --output {output.table:q} --null {output.null:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule compare_strata:
    """Test each phenotype factor between clusters: Kruskal-Wallis, effect sizes, intervals."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
        repartition=rules.repartition_strata.output.table,
    output:
        report(
            tree.COMPARISONS,
            caption="../report/comparisons.rst",
            category="Strata",
            subcategory="{experiment}",
            labels={"table": "Comparisons", "codes": "{codes}", "finder": "{finder}"},
        ),
    log:
        "<logs>/compare_strata/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/compare_strata/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(30),
    params:
        settings=settings("compare_strata"),
    shell:
        "python -m neurostrata stage compare-strata --clusters {input.clusters:q} --scores {input.scores:q}"
        " --repartition {input.repartition:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule profile_strata:
    """Locate each cluster's median of each factor in the whole population."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
    output:
        tree.PROFILES,
    log:
        "<logs>/profile_strata/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/profile_strata/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        settings=settings("profile_strata"),
    shell:
        "python -m neurostrata stage profile-strata --clusters {input.clusters:q} --scores {input.scores:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    describe_people,
    adjust_codes,
    compare_strata,
    profile_strata,
