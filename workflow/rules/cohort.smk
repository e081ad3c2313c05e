"""Who takes part in what."""

# The sheets are not inputs: the first appearance of one would plan everything again. Digests are tracked.


rule check_cohort:
    """Check everybody's files and write the tables of who takes part and who does not, and why."""
    output:
        subjects="<results>/cohort/subjects.tsv",
        exclusions="<results>/cohort/exclusions.tsv",
    log:
        "<logs>/check_cohort.log",
    benchmark:
        "<benchmarks>/check_cohort.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        settings=lambda wildcards: settings(
            "check_cohort",
            config=SELECTION,
            digest=rows_digest(
                [*STUDY.rows.values(), *STUDY.decisions],
                sorted(
                    {column for row in STUDY.rows.values() for column in row}
                    - {"note"}
                    - UNUSED_COLUMNS
                )
                + ["modality", "decision", "reason"],
            ),
        ),
    shell:
        'python -m neurostrata check-cohort --cache "$(dirname {output.subjects:q})/headers.json"'
        " --subjects {output.subjects:q} --exclusions {output.exclusions:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule list_people:
    """Write the people of a group, in order, for the stages that work on many of them."""
    output:
        "<results>/cohort/groups/{group}.tsv",
    log:
        "<logs>/list_people/{group}.log",
    benchmark:
        "<benchmarks>/list_people/{group}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        settings=selection_of,
    shell:
        "python -m neurostrata list-people --group {wildcards.group} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    check_cohort,
    list_people,
