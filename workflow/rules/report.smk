"""The report: a page for each person, the record of what was run, and the main page."""


rule subject_page:
    """Show one person's images, mask and maps on a page."""
    input:
        by_wildcards(INPUTS.maps_of_person),
        rules.template_final.output.template,
        rules.template_mask.output.mask,
        rules.grid_mask.output,
    output:
        tree.SUBJECT_PAGE,
    log:
        "<logs>/subject_page/{subject}.log",
    benchmark:
        "<benchmarks>/subject_page/{subject}.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(15),
    params:
        settings=settings("subject_page"),
    shell:
        f"python -m neurostrata stage subject-page --results {in_command(tree.ROOT)}"
        " --subject {wildcards.subject}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule provenance:
    """Record the versions, seeds, settings and inputs of the study."""
    input:
        rules.check_cohort.output,
        STRATA_OUTPUTS,
        PREDICTION_OUTPUTS,
        expand(rules.summarise_experiment.output, experiment=EXPERIMENTS),
        rules.template_final.output,
    output:
        tree.PROVENANCE,
    log:
        "<logs>/provenance.log",
    benchmark:
        "<benchmarks>/provenance.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=settings("provenance"),
    shell:
        f"python -m neurostrata stage provenance --results {in_command(tree.ROOT)}"
        " --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule report:
    """Write the report: the findings, or that there are none, with all their tables and figures."""
    input:
        # In a partial study: what is there, without making anything or waiting for it.
        []
        if CONFIG["report"]["partial"]
        else [
            rules.check_cohort.output,
            rules.template_final.output,
            rules.template_mask.output,
            expand(rules.subject_page.output, subject=STUDY.registered()),
            expand(rules.summarise_experiment.output, experiment=EXPERIMENTS),
            STRATA_OUTPUTS,
            PREDICTION_OUTPUTS,
            rules.provenance.output,
        ],
    output:
        page=tree.REPORT,
        figures=report(
            directory(tree.REPORT_FIGURES),
            patterns=["{part}/{figure}.png"],  # each SVG has its PNG
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{part}",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(60),
    params:
        settings=settings("report"),
    shell:
        "mkdir -p {output.figures:q};"
        f" python -m neurostrata stage report --results {in_command(tree.ROOT)}"
        " --output {output.page:q} --benchmarks benchmarks"
        " --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    provenance,
