"""Synthesis of modalities from others: every subset of inputs, beside simpler methods."""


rule synthesise:
    """Measure how well a fold's test people's modalities are synthesised from every subset of inputs."""
    input:
        model=rules.train.output.model,
        volumes=arrays,
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
    output:
        table="<results>/experiments/{experiment}/fold-{fold}/synthesis.tsv",
        examples="<results>/experiments/{experiment}/fold-{fold}/synthesis_examples.npz",
    log:
        "<logs>/synthesise/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/synthesise/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=gigabytes(16),
        runtime=minutes(480),
        gpu=1,
    params:
        settings=synthesis_settings("synthesise", *MODEL_KEYS),
    shell:
        "python -m neurostrata synthesise --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q}"
        " --fold {wildcards.fold} --output {output.table:q} --examples {output.examples:q}"
        " --threads {threads} --gpus {resources.gpu}"
        " --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


rule summarise_synthesis:
    """Gather the folds' tables of synthesised modalities and compare the model with each baseline."""
    input:
        lambda wildcards: expand(
            rules.synthesise.output.table,
            experiment=wildcards.experiment,
            fold=folds(wildcards.experiment),
        ),
    output:
        table="<results>/experiments/{experiment}/synthesis.tsv",
        comparisons="<results>/experiments/{experiment}/synthesis_comparisons.tsv",
    log:
        "<logs>/summarise_synthesis/{experiment}.log",
    benchmark:
        "<benchmarks>/summarise_synthesis/{experiment}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1),
        runtime=minutes(10),
    params:
        settings=experiment_settings("summarise_synthesis", "model"),
    shell:
        "python -m neurostrata summarise-synthesis --tables {input:q} --output {output.table:q}"
        " --comparisons {output.comparisons:q} --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    summarise_synthesis,
