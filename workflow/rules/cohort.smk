"""Who takes part in what."""

# The sheets are not inputs, since a touched sheet would plan everything again; digests of their cells are tracked.


rule check_cohort:
    """Check everybody's files and write the tables of who takes part and who does not, and why."""
    output:
        subjects=tree.SUBJECTS,
        exclusions=tree.EXCLUSIONS,
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
        settings=settings("check_cohort"),
    shell:
        f"python -m neurostrata stage check-cohort --cache {in_command(tree.HEADERS)}"
        " --subjects {output.subjects:q} --exclusions {output.exclusions:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule list_people:
    """Write the people of a group, in order, for the stages that work on many of them."""
    output:
        tree.GROUP,
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
        settings=settings("list_people"),
    shell:
        "python -m neurostrata stage list-people --group {wildcards.group} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    check_cohort,
    list_people,
