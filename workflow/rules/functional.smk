"""Component maps of each person, from BOLD series in template space."""


rule dual_regression:
    """Find a person's version of a group's components in the person's BOLD series."""
    input:
        unpack(dual_regression_inputs),
    output:
        maps=subject_path("func", "space-template_desc-{declared}_components.nii.gz"),
        timeseries=subject_path("func", "desc-{declared}_timeseries.tsv"),
    log:
        "<logs>/dual_regression/{declared}/{subject}.log",
    benchmark:
        "<benchmarks>/dual_regression/{declared}/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        # a compressed series of 16-bit integers is some four times as large in memory, twice over
        mem_mb=gigabytes(2, per_input=10),
        runtime=minutes(30),
    params:
        settings=lambda wildcards: settings(
            "dual_regression",
            **{
                key: dual_regression_of(wildcards)[key]
                for key in ("components", "statistic", "normalise")
            },
        ),
    shell:
        "python -m neurostrata dual-regression --bold {input.bold:q} --components {input.components:q}"
        " --subject {wildcards.subject} --output {output.maps:q} --timeseries {output.timeseries:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
