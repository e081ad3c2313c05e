"""Fusion models: splits, training, embeddings, reconstruction."""


rule split:
    """Divide the people of an experiment into training and test sets; families stay together."""
    input:
        people=tree.group_table("experiment-{experiment}"),
    output:
        tree.SPLITS,
    log:
        "<logs>/split/{experiment}.log",
    benchmark:
        "<benchmarks>/split/{experiment}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=settings("split"),
    shell:
        "python -m neurostrata stage split --subjects {input.people:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule train:
    """Train a model on the training people of a fold (`all`: everybody)."""
    input:
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        mask=rules.grid_mask.output,
        labels=by_wildcards(INPUTS.training_labels),
        regions=by_wildcards(INPUTS.regions),
        people=by_wildcards(INPUTS.stratified_people),
    output:
        model=directory(tree.FOLD_MODEL),
        history=tree.HISTORY,
        limits=tree.LIMITS,
    log:
        "<logs>/train/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/train/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 8
    resources:
        mem_mb=memory(16),
        runtime=minutes(2880),  # the paper: 10 folds in about two weeks on a Titan V
        gpu=1,
    params:
        settings=settings("train"),
    shell:
        "python -m neurostrata stage train --volumes {input.volumes:q} --splits {input.splits:q}"
        " --mask {input.mask:q} --labels {input.labels:q} --regions {input.regions:q}"
        " --people {input.people:q} --fold {wildcards.fold} --model {output.model:q}"
        " --history {output.history:q} --limits {output.limits:q}"
        ' --checkpoints "$(dirname {output.history:q})/checkpoints"'
        " --threads {threads} --gpus {resources.gpu}"
        " --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


rule embed:
    """Compute everybody's embedding with the model of a fold."""
    input:
        model=rules.train.output.model,
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=rules.train.output.limits,
    output:
        tree.FOLD_EMBEDDINGS,
    log:
        "<logs>/embed/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/embed/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(8),
        runtime=minutes(120),
        gpu=1,
    params:
        settings=settings("embed"),
    shell:
        "python -m neurostrata stage embed --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --fold {wildcards.fold}"
        " --output {output:q} --threads {threads} --gpus {resources.gpu}"
        " --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


rule evaluate:
    """Measure how well a fold's test people are decoded, compared with the mean image and PCA."""
    input:
        model=rules.train.output.model,
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
    output:
        table=tree.FOLD_RECONSTRUCTION,
        examples=tree.EXAMPLES,
    log:
        "<logs>/evaluate/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/evaluate/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(16),
        runtime=minutes(240),
        gpu=1,
    params:
        settings=settings("evaluate"),
    shell:
        "python -m neurostrata stage evaluate --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q}"
        " --fold {wildcards.fold} --output {output.table:q} --examples {output.examples:q}"
        " --threads {threads} --gpus {resources.gpu}"
        " --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


rule robustness:
    """Hide each modality of a fold's test people in turn, and measure how codes and decoded images change."""
    input:
        model=rules.train.output.model,
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
    output:
        tree.ROBUSTNESS,
    log:
        "<logs>/robustness/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/robustness/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(16),
        runtime=minutes(240),
        gpu=1,
    params:
        settings=settings("robustness"),
    shell:
        "python -m neurostrata stage robustness --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q}"
        " --fold {wildcards.fold} --output {output:q} --threads {threads} --gpus {resources.gpu}"
        " --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


rule summarise_experiment:
    """Gather the folds' tables, and copy the final model and its embeddings."""
    input:
        tables=by_wildcards(partial(INPUTS.decoded_folds, tree.FOLD_RECONSTRUCTION)),
        model=tree.fill(tree.FOLD_MODEL, fold="all"),
        embeddings=tree.fill(tree.FOLD_EMBEDDINGS, fold="all"),
    output:
        reconstruction=report(
            tree.RECONSTRUCTION,
            caption="../report/reconstruction.rst",
            category="Experiments",
            subcategory="{experiment}",
            labels={"table": "Reconstruction"},
        ),
        embeddings=tree.EMBEDDINGS,
        model=directory(tree.MODEL),
    log:
        "<logs>/summarise_experiment/{experiment}.log",
    benchmark:
        "<benchmarks>/summarise_experiment/{experiment}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        settings=settings("summarise_experiment"),
    shell:
        "python -m neurostrata stage summarise-experiment --folds $(dirname {input.tables:q})"
        " --final $(dirname {input.embeddings:q}) --reconstruction {output.reconstruction:q}"
        " --embeddings {output.embeddings:q} --model {output.model:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


# Seconds even for a thousand people: not worth a job of their own on a cluster.
localrules:
    split,
    summarise_experiment,
