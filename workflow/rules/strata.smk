"""Clusters of people in embedding space, and how they differ in phenotype."""

STRATA = CONFIG["strata"]
STRATIFIED = [e["name"] for e in CONFIG["experiments"] if e["analyses"]["strata"]]


rule cluster:
    """Cluster the embeddings: affinity propagation over a grid of settings, best silhouette."""
    input:
        embeddings=rules.summarise_experiment.output.embeddings,
    output:
        grid="<results>/experiments/{experiment}/strata/grid.tsv",
        clusters=report(
            "<results>/experiments/{experiment}/strata/clusters.tsv",
            caption="../report/clusters.rst",
            category="Strata",
            subcategory="{experiment}",
            labels={"table": "Clusters"},
        ),
    log:
        "<logs>/cluster/{experiment}.log",
    benchmark:
        "<benchmarks>/cluster/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 8
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(480),
    params:
        settings=settings("cluster", clustering=STRATA["clustering"]),
    shell:
        "python -m neurostrata cluster --embeddings {input.embeddings:q} --grid {output.grid:q}"
        " --clusters {output.clusters:q} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule project:
    """Lay the embeddings out in two dimensions (t-SNE), for the eye only."""
    input:
        embeddings=rules.summarise_experiment.output.embeddings,
    output:
        "<results>/experiments/{experiment}/strata/tsne.tsv",
    log:
        "<logs>/project/{experiment}.log",
    benchmark:
        "<benchmarks>/project/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(60),
    params:
        settings=settings("project", tsne=STRATA["tsne"]),
    shell:
        "python -m neurostrata project --embeddings {input.embeddings:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule repartition_strata:
    """Compare the clusters with random repartitions of the same sizes, families kept together."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
        people="<results>/cohort/groups/families.tsv",
    output:
        table="<results>/experiments/{experiment}/strata/repartition.tsv",
        null="<results>/experiments/{experiment}/strata/null.npz",
    log:
        "<logs>/repartition_strata/{experiment}.log",
    benchmark:
        "<benchmarks>/repartition_strata/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(60),
    params:
        settings=settings("repartition_strata", repartition=STRATA["repartition"]),
    shell:
        "python -m neurostrata repartition-strata --clusters {input.clusters:q} --scores {input.scores:q}"
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
            "<results>/experiments/{experiment}/strata/comparisons.tsv",
            caption="../report/comparisons.rst",
            category="Strata",
            subcategory="{experiment}",
            labels={"table": "Comparisons"},
        ),
    log:
        "<logs>/compare_strata/{experiment}.log",
    benchmark:
        "<benchmarks>/compare_strata/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1),
        runtime=minutes(30),
    params:
        settings=settings("compare_strata", comparisons=STRATA["comparisons"]),
    shell:
        "python -m neurostrata compare-strata --clusters {input.clusters:q} --scores {input.scores:q}"
        " --repartition {input.repartition:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule profile_strata:
    """Locate each cluster's median of each factor in the whole population."""
    input:
        clusters=rules.cluster.output.clusters,
        scores=rules.factor_phenotypes.output.scores,
    output:
        "<results>/experiments/{experiment}/strata/profiles.tsv",
    log:
        "<logs>/profile_strata/{experiment}.log",
    benchmark:
        "<benchmarks>/profile_strata/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1),
        runtime=minutes(10),
    params:
        settings=settings("profile_strata"),
    shell:
        "python -m neurostrata profile-strata --clusters {input.clusters:q} --scores {input.scores:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


# Without phenotype tables there are clusters and nothing to compare them by.
STRATA_OUTPUTS = expand(
    [*rules.cluster.output, rules.project.output[0]], experiment=STRATIFIED
)
if CONFIG["phenotypes"]["tables"]:
    STRATA_OUTPUTS += [*rules.factor_phenotypes.output]
    STRATA_OUTPUTS += expand(
        [rules.compare_strata.output[0], rules.profile_strata.output[0]],
        experiment=STRATIFIED,
    )


localrules:
    compare_strata,
    profile_strata,
