"""Groups of people in their codes: whether there are any, who belongs to them, and how they differ in phenotype."""

STRATA = CONFIG["strata"]
STRATIFIED = [e["name"] for e in CONFIG["experiments"] if e["analyses"]["strata"]]
#: The codes that lead the report, and all that are clustered.
LEADING_CODES = "adjusted" if adjusts_codes(STRATA) else "raw"
CODES = list(dict.fromkeys([LEADING_CODES, "raw"]))
FINDERS = STRATA["finders"]


rule describe_people:
    """Gather what is known of everybody: age, sex, site, diagnosis, family, head size, image quality."""
    input:
        people="<results>/cohort/groups/characteristics.tsv",
        registered="<results>/cohort/groups/registered.tsv",
        affines=expand(rules.register.output.affine, subject=STUDY.registered()),
        # only some columns are used: their digest is tracked, and another score does not repeat the clustering
        tables=[ancient(path) for path in CONFIG["phenotypes"]["tables"]],
    output:
        "<results>/cohort/characteristics.tsv",
    log:
        "<logs>/describe_people.log",
    benchmark:
        "<benchmarks>/describe_people.tsv"
    conda:
        "../../envs/phenotypes.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1),
        runtime=minutes(30),
    params:
        settings=characteristics_settings,
    shell:
        "python -m neurostrata describe-people --people {input.people:q} --tables {input.tables:q}"
        " --registered {input.registered:q}"
        ' --pattern "$(dirname {output:q})/../derivatives/sub-{{subject}}/anat/sub-{{subject}}_from-T1w_to-study_desc-affine_xfm.mat"'
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule adjust_codes:
    """Take age, sex, head size or sites out of everybody's codes, so that clusters are not clusters of these."""
    input:
        embeddings=rules.summarise_experiment.output.embeddings,
        people=rules.describe_people.output[0],
    output:
        "<results>/experiments/{experiment}/strata/codes-adjusted.tsv",
    log:
        "<logs>/adjust_codes/{experiment}.log",
    benchmark:
        "<benchmarks>/adjust_codes/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(30),
    params:
        settings=settings("adjust_codes", adjust=STRATA["adjust"]),
    shell:
        "python -m neurostrata adjust-codes --embeddings {input.embeddings:q} --people {input.people:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule cluster:
    """Look for groups of people in their codes by one finder."""
    input:
        embeddings=codes_of,
    output:
        search="<results>/experiments/{experiment}/strata/{codes}/{finder}/search.tsv",
        clusters=report(
            "<results>/experiments/{experiment}/strata/{codes}/{finder}/clusters.tsv",
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
    threads: 8
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(480),
    params:
        settings=finder_settings("cluster", "small_clusters", "outliers"),
    shell:
        "python -m neurostrata cluster --embeddings {input.embeddings:q} --search {output.search:q}"
        " --clusters {output.clusters:q} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule existence:
    """Compare what the finder found with what it finds in codes without groups."""
    input:
        embeddings=codes_of,
        clusters=rules.cluster.output.clusters,
        people="<results>/cohort/groups/families.tsv",
    output:
        table=report(
            "<results>/experiments/{experiment}/strata/{codes}/{finder}/existence.tsv",
            caption="../report/existence.rst",
            category="Strata",
            subcategory="{experiment}",
            labels={"table": "Existence", "codes": "{codes}", "finder": "{finder}"},
        ),
        null="<results>/experiments/{experiment}/strata/{codes}/{finder}/existence_null.tsv",
    log:
        "<logs>/existence/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/existence/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 8
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(480),
    params:
        settings=finder_settings("existence", "existence"),
    shell:
        "python -m neurostrata existence --embeddings {input.embeddings:q} --clusters {input.clusters:q}"
        " --people {input.people:q}"
        " --output {output.table:q} --null {output.null:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule stability:
    """Measure how well each cluster is found again in resampled people, with other seeds, in the folds' codes."""
    input:
        embeddings=codes_of,
        clusters=rules.cluster.output.clusters,
        folds=lambda wildcards: expand(
            rules.embed.output,
            experiment=wildcards.experiment,
            fold=reconstruction_folds(wildcards.experiment),
        ),
        people=rules.describe_people.output[0],
    output:
        "<results>/experiments/{experiment}/strata/{codes}/{finder}/stability.tsv",
    log:
        "<logs>/stability/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/stability/{experiment}-{codes}-{finder}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 8
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(480),
    params:
        settings=finder_settings("stability", "stability", adjust=True),
    shell:
        "python -m neurostrata stability --embeddings {input.embeddings:q} --clusters {input.clusters:q}"
        " --folds {input.folds:q} --people {input.people:q} --output {output:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule project:
    """Lay the embeddings out in two dimensions (t-SNE), for the eye only."""
    input:
        embeddings=lambda wildcards: codes_path(wildcards.experiment, LEADING_CODES),
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
        table="<results>/experiments/{experiment}/strata/{codes}/{finder}/repartition.tsv",
        null="<results>/experiments/{experiment}/strata/{codes}/{finder}/null.npz",
    log:
        "<logs>/repartition_strata/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/repartition_strata/{experiment}-{codes}-{finder}.tsv"
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
            "<results>/experiments/{experiment}/strata/{codes}/{finder}/comparisons.tsv",
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
        "<results>/experiments/{experiment}/strata/{codes}/{finder}/profiles.tsv",
    log:
        "<logs>/profile_strata/{experiment}-{codes}-{finder}.log",
    benchmark:
        "<benchmarks>/profile_strata/{experiment}-{codes}-{finder}.tsv"
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


# Every finder on every kind of codes, so that the report can show what adjusting changes.
STRATA_OUTPUTS = expand(
    [*rules.cluster.output, *rules.existence.output],
    experiment=STRATIFIED,
    codes=CODES,
    finder=FINDERS,
)
STRATA_OUTPUTS += expand(rules.project.output, experiment=STRATIFIED)
OF_LEADING_CODES = [rules.stability.output[0]]
# Without phenotype tables there are clusters and nothing to compare them by.
if CONFIG["phenotypes"]["tables"]:
    STRATA_OUTPUTS += [*rules.factor_phenotypes.output]
    OF_LEADING_CODES += [rules.compare_strata.output[0], rules.profile_strata.output[0]]
STRATA_OUTPUTS += expand(
    OF_LEADING_CODES, experiment=STRATIFIED, codes=LEADING_CODES, finder=FINDERS
)


localrules:
    describe_people,
    adjust_codes,
    compare_strata,
    profile_strata,
