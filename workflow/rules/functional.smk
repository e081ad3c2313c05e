"""Component maps of each person, from BOLD series in template space."""


rule dual_regression:
    """Find a person's version of a group's components in the person's BOLD series."""
    input:
        unpack(by_wildcards(INPUTS.dual_regression)),
    output:
        maps=tree.COMPONENT_MAPS,
        timeseries=tree.COMPONENT_TIMESERIES,
    log:
        "<logs>/dual_regression/{declared}/{subject}.log",
    benchmark:
        "<benchmarks>/dual_regression/{declared}/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        # a compressed series of 16-bit integers is some four times as large in memory, twice over
        mem_mb=memory(2, per_input=10),
        runtime=minutes(30),
    params:
        settings=settings("dual_regression"),
    shell:
        "python -m neurostrata stage dual-regression --bold {input.bold:q} --components {input.components:q}"
        " --subject {wildcards.subject} --output {output.maps:q} --timeseries {output.timeseries:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
