"""What the embeddings say about people, beside linear baselines, for people whom no model has seen."""


rule baselines:
    """Learn linear baselines from a fold's training people: three kinds of PCA, and the means of regions."""
    input:
        volumes=arrays,
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
        regions=rules.grid_regions.output.image,
    output:
        directory("<results>/experiments/{experiment}/fold-{fold}/baselines"),
    log:
        "<logs>/baselines/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/baselines/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 2
    resources:
        mem_mb=gigabytes(8),
        runtime=minutes(240),
    params:
        settings=baseline_settings,
    shell:
        "python -m neurostrata baselines --volumes {input.volumes:q} --splits {input.splits:q}"
        " --limits {input.limits:q} --mask {input.mask:q} --regions {input.regions:q}"
        " --fold {wildcards.fold} --output {output:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule predict:
    """Predict diagnosis, age or phenotypes of each fold's test people from their codes."""
    input:
        embeddings=lambda wildcards: expand(
            rules.embed.output,
            experiment=wildcards.experiment,
            fold=folds(wildcards.experiment),
        ),
        baselines=lambda wildcards: expand(
            rules.baselines.output,
            experiment=wildcards.experiment,
            fold=folds(wildcards.experiment),
        ),
        people="<results>/cohort/groups/targets-{experiment}.tsv",
        covariates=covariates_of,
        tables=CONFIG["phenotypes"]["tables"],
        scores=lambda wildcards: (
            rules.factor_phenotypes.output.scores
            if "factors"
            in STUDY.experiments[wildcards.experiment]["analyses"]["prediction"]
            else []
        ),
    output:
        predictions="<results>/experiments/{experiment}/predictions.tsv",
        summary=report(
            "<results>/experiments/{experiment}/prediction_scores.tsv",
            caption="../report/prediction.rst",
            category="Experiments",
            subcategory="{experiment}",
            labels={"table": "Prediction"},
        ),
        classification="<results>/experiments/{experiment}/classification.tsv",
        roc="<results>/experiments/{experiment}/roc.tsv",
    log:
        "<logs>/predict/{experiment}.log",
    benchmark:
        "<benchmarks>/predict/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(120),
    params:
        settings=prediction_settings,
    shell:
        "python -m neurostrata predict --embeddings {input.embeddings:q} --baselines {input.baselines:q}"
        " --people {input.people:q} --covariates {input.covariates:q} --tables {input.tables:q} --scores {input.scores:q}"
        " --output {output.predictions:q} --summary {output.summary:q}"
        " --classification {output.classification:q} --roc {output.roc:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule relevance:
    """Say which regions and modalities count for each test person of a fold, and for the classifier."""
    input:
        model=rules.train.output.model,
        volumes=arrays,
        splits=rules.split.output,
        limits=rules.train.output.limits,
    output:
        people="<results>/experiments/{experiment}/fold-{fold}/relevance.tsv",
        weights="<results>/experiments/{experiment}/fold-{fold}/attention_weights.tsv",
    log:
        "<logs>/relevance/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/relevance/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=gigabytes(8),
        runtime=minutes(120),
        gpu=1,
    params:
        settings=experiment_settings("relevance", *MODEL_KEYS),
    shell:
        "python -m neurostrata relevance --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --fold {wildcards.fold}"
        " --output {output.people:q} --weights {output.weights:q} --threads {threads}"
        " --gpus {resources.gpu} --memory-mb {resources.mem_mb}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule explain:
    """Say which modalities tell two classes apart, and decode the difference of the classes' mean codes."""
    input:
        model=rules.train.output.model,
        volumes=arrays,
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
        embeddings=rules.embed.output,
        people="<results>/cohort/groups/targets-{experiment}.tsv",
    output:
        importance="<results>/experiments/{experiment}/fold-{fold}/importance.tsv",
        differences="<results>/experiments/{experiment}/fold-{fold}/group_differences.tsv",
        maps=directory("<results>/experiments/{experiment}/fold-{fold}/group_maps"),
    log:
        "<logs>/explain/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/explain/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=gigabytes(8),
        runtime=minutes(120),
        gpu=1,
    params:
        settings=explain_settings("explain", *MODEL_KEYS),
    shell:
        "python -m neurostrata explain --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q}"
        " --embeddings {input.embeddings:q} --people {input.people:q} --fold {wildcards.fold}"
        " --importance {output.importance:q} --differences {output.differences:q} --maps {output.maps:q}"
        " --threads {threads} --gpus {resources.gpu} --memory-mb {resources.mem_mb}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule summarise_explanation:
    """Rank an experiment's modalities by their importance over the folds, and gather the maps' correlations."""
    input:
        importance=lambda wildcards: expand(
            rules.explain.output.importance,
            experiment=wildcards.experiment,
            fold=folds(wildcards.experiment),
        ),
        differences=lambda wildcards: expand(
            rules.explain.output.differences,
            experiment=wildcards.experiment,
            fold=folds(wildcards.experiment),
        ),
    output:
        importance=report(
            "<results>/experiments/{experiment}/importance.tsv",
            caption="../report/importance.rst",
            category="Experiments",
            subcategory="{experiment}",
            labels={"table": "Importance of modalities"},
        ),
        differences="<results>/experiments/{experiment}/group_differences.tsv",
    log:
        "<logs>/summarise_explanation/{experiment}.log",
    benchmark:
        "<benchmarks>/summarise_explanation/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=explain_settings("summarise_explanation"),
    shell:
        "python -m neurostrata summarise-explanation --importance {input.importance:q}"
        " --differences {input.differences:q} --output {output.importance:q}"
        " --correlations {output.differences:q} --settings {params.settings:q} > {log:q} 2>&1"


rule map_codes:
    """Lay the final model's codes of all modalities out in two dimensions (t-SNE), for the eye only."""
    input:
        embeddings=rules.summarise_experiment.output.embeddings,
        people=classes_of,
    output:
        "<results>/experiments/{experiment}/code_map.tsv",
    log:
        "<logs>/map_codes/{experiment}.log",
    benchmark:
        "<benchmarks>/map_codes/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(60),
    params:
        settings=explain_settings("map_codes", "modalities"),
    shell:
        "python -m neurostrata map-codes --embeddings {input.embeddings:q} --people {input.people:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule generate:
    """Draw images from the final model's prior, and go from one person's codes to another's."""
    input:
        model="<results>/experiments/{experiment}/fold-all/model",
        volumes=arrays,
        splits=rules.split.output,
        limits="<results>/experiments/{experiment}/fold-all/limits.json",
        mask=rules.grid_mask.output,
    output:
        "<results>/experiments/{experiment}/generated.npz",
    log:
        "<logs>/generate/{experiment}.log",
    benchmark:
        "<benchmarks>/generate/{experiment}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=gigabytes(8),
        runtime=minutes(30),
    params:
        settings=experiment_settings("generate", *MODEL_KEYS),
    shell:
        "python -m neurostrata generate --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q} --output {output:q}"
        " --threads {threads} --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


# Seconds: not worth a job of its own on a cluster.
localrules:
    summarise_explanation,


PREDICTED = [
    e["name"]
    for e in CONFIG["experiments"]
    if e["analyses"]["prediction"] or e["label"]
]
HIDDEN = [e["name"] for e in CONFIG["experiments"] if e["analyses"]["robustness"]]
REGIONAL = [name for name in EXPERIMENTS if capability(name, "regions")]
EXPLAINED = [e for e in EXPERIMENTS if can_decode(e) and class_columns(STUDY, e)]
MAPPED = [name for name in EXPERIMENTS if capability(name, "modality_codes")]
GENERATED = [name for name in EXPERIMENTS if capability(name, "generates")]
SYNTHETIC = [name for name in EXPERIMENTS if capability(name, "synthesises")]


PREDICTION_OUTPUTS = (
    expand(rules.predict.output, experiment=PREDICTED)
    + expand(rules.summarise_synthesis.output, experiment=SYNTHETIC)
    + expand(rules.summarise_explanation.output, experiment=EXPLAINED)
    + expand(rules.map_codes.output, experiment=MAPPED)
    + expand(rules.generate.output, experiment=GENERATED)
    + of_folds(rules.robustness.output, HIDDEN)
    + of_folds(rules.relevance.output, REGIONAL)
)
