"""Synthesis of modalities from every subset of the others, compared with simpler methods."""


rule synthesise:
    """Measure how well a fold's test people's modalities are synthesised from every subset of inputs."""
    input:
        model=rules.train.output.model,
        volumes=by_wildcards(INPUTS.arrays),
        splits=rules.split.output,
        limits=rules.train.output.limits,
        mask=rules.grid_mask.output,
    output:
        table=tree.FOLD_SYNTHESIS,
        examples=tree.SYNTHESIS_EXAMPLES,
    log:
        "<logs>/synthesise/{experiment}/{fold}.log",
    benchmark:
        "<benchmarks>/synthesise/{experiment}/{fold}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 4
    resources:
        mem_mb=memory(16),
        runtime=minutes(480),
        gpu=1,
    params:
        settings=settings("synthesise"),
    shell:
        "python -m neurostrata stage synthesise --model {input.model:q} --volumes {input.volumes:q}"
        " --splits {input.splits:q} --limits {input.limits:q} --mask {input.mask:q}"
        " --fold {wildcards.fold} --output {output.table:q} --examples {output.examples:q}"
        " --threads {threads} --gpus {resources.gpu}"
        " --memory-mb {resources.mem_mb} --settings {params.settings:q} > {log:q} 2>&1"


rule summarise_synthesis:
    """Gather the folds' tables of synthesised modalities and compare the model with each baseline."""
    input:
        tables=of_folds(tree.FOLD_SYNTHESIS),
        people=tree.group_table("experiment-{experiment}"),
    output:
        table=tree.SYNTHESIS,
        comparisons=tree.SYNTHESIS_COMPARISONS,
    log:
        "<logs>/summarise_synthesis/{experiment}.log",
    benchmark:
        "<benchmarks>/summarise_synthesis/{experiment}.tsv"
    conda:
        "../../envs/fusion.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        settings=settings("summarise_synthesis"),
    shell:
        "python -m neurostrata stage summarise-synthesis --tables {input.tables:q} --people {input.people:q}"
        " --output {output.table:q} --comparisons {output.comparisons:q} --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    summarise_synthesis,
