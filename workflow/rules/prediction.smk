"""Predictions and explanations from the embeddings of people whom no model has seen, compared with linear baselines."""


rule baselines:
    """Learn linear baselines from a fold's training people: three kinds of PCA, and the means of regions."""
    input:
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
        regions=rules.grid_regions.output.image,
    output:
        directory(tree.BASELINES),
    log:
        "<logs>/baselines/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/baselines/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 2
    resources:
        mem_mb=memory(8),
        runtime=minutes(240),
    params:
        settings=settings("baselines"),
    shell:
        "python -m neurostrata stage baselines --volumes {input.volumes:q} --splits {input.splits:q}"
        " --limits {input.limits:q} --mask {input.mask:q} --regions {input.regions:q}"
        " --fold {wildcards.fold} --output {output:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule predict:
    """Predict diagnosis, age or phenotypes of each fold's test people from their codes."""
    input:
        embeddings=of_folds(tree.FOLD_EMBEDDINGS),
        baselines=of_folds(tree.BASELINES),
        people=tree.group_table("targets-{experiment}"),
        covariates=by_wildcards(INPUTS.covariates),
        tables=TABLES,
        scores=by_wildcards(INPUTS.factor_scores),
    output:
        predictions=tree.PREDICTIONS,
        summary=report(
            tree.PREDICTION_SCORES,
            caption="../report/prediction.rst",
            category="Experiments",
            subcategory="{experiment}",
            labels={"table": "Prediction"},
        ),
        classification=tree.CLASSIFICATION,
        roc=tree.ROC,
    log:
        "<logs>/predict/{experiment}.log",
    benchmark:
        "<benchmarks>/predict/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(120),
    params:
        settings=settings("predict"),
    shell:
        "python -m neurostrata stage predict --embeddings {input.embeddings:q} --baselines {input.baselines:q}"
        " --people {input.people:q} --covariates {input.covariates:q} --tables {input.tables:q} --scores {input.scores:q}"
        " --output {output.predictions:q} --summary {output.summary:q}"
        " --classification {output.classification:q} --roc {output.roc:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule relevance:
    """Measure which regions and modalities matter for each test person of a fold, and for the classifier."""
    input:
        model=rules.train.output.model,
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=rules.train.output.limits,
    output:
        people=tree.RELEVANCE,
        weights=tree.ATTENTION_WEIGHTS,
    log:
        "<logs>/relevance/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/relevance/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(8),
        runtime=minutes(120),
        gpu=1,
    params:
        settings=settings("relevance"),
    shell:
        "python -m neurostrata stage relevance --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --fold {wildcards.fold}"
        " --output {output.people:q} --weights {output.weights:q} --threads {threads}"
        " --gpus {resources.gpu} --memory-mb {resources.mem_mb}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule explain:
    """Measure which modalities distinguish two classes, and decode the difference of the classes' mean codes."""
    input:
        model=rules.train.output.model,
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
        embeddings=rules.embed.output,
        people=tree.group_table("targets-{experiment}"),
    output:
        importance=tree.FOLD_IMPORTANCE,
        differences=tree.FOLD_DIFFERENCES,
        maps=directory(tree.GROUP_MAPS),
    log:
        "<logs>/explain/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/explain/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(8),
        runtime=minutes(120),
        gpu=1,
    params:
        settings=settings("explain"),
    shell:
        "python -m neurostrata stage explain --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q}"
        " --embeddings {input.embeddings:q} --people {input.people:q} --fold {wildcards.fold}"
        " --importance {output.importance:q} --differences {output.differences:q} --maps {output.maps:q}"
        " --threads {threads} --gpus {resources.gpu} --memory-mb {resources.mem_mb}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule summarise_explanation:
    """Rank an experiment's modalities by their importance over the folds, and gather the maps' correlations."""
    input:
        importance=of_folds(tree.FOLD_IMPORTANCE),
        differences=of_folds(tree.FOLD_DIFFERENCES),
    output:
        importance=report(
            tree.IMPORTANCE,
            caption="../report/importance.rst",
            category="Experiments",
            subcategory="{experiment}",
            labels={"table": "Importance of modalities"},
        ),
        differences=tree.DIFFERENCES,
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
        settings=settings("summarise_explanation"),
    shell:
        "python -m neurostrata stage summarise-explanation --importance {input.importance:q}"
        " --differences {input.differences:q} --output {output.importance:q}"
        " --correlations {output.differences:q} --settings {params.settings:q} > {log:q} 2>&1"


rule map_codes:
    """Project the final model's codes of all modalities to two dimensions (t-SNE), for a figure only."""
    input:
        embeddings=rules.summarise_experiment.output.embeddings,
        people=by_wildcards(INPUTS.classes),
    output:
        tree.CODE_MAP,
    log:
        "<logs>/map_codes/{experiment}.log",
    benchmark:
        "<benchmarks>/map_codes/{experiment}.tsv"
    conda:
        "../../envs/strata.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(60),
    params:
        settings=settings("map_codes"),
    shell:
        "python -m neurostrata stage map-codes --embeddings {input.embeddings:q} --people {input.people:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule generate:
    """Draw images from the final model's prior, and interpolate between the codes of two people."""
    input:
        model=tree.fill(tree.FOLD_MODEL, fold="all"),
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=tree.fill(tree.LIMITS, fold="all"),
        mask=rules.grid_mask.output,
    output:
        tree.GENERATED,
    log:
        "<logs>/generate/{experiment}.log",
    benchmark:
        "<benchmarks>/generate/{experiment}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(8),
        runtime=minutes(30),
    params:
        settings=settings("generate"),
    shell:
        "python -m neurostrata stage generate --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q} --output {output:q}"
        " --threads {threads} --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


# Seconds: not worth a job of its own on a cluster.
localrules:
    summarise_explanation,
