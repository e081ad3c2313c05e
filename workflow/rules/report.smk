"""The report: a page for each person, what was run and with what, and the one page for all."""

# The seed is in every rule's settings; what the environments come in alters no result.
UNREPORTED = ("seed", "container")
RECORDED = {key: value for key, value in CONFIG.items() if key not in UNREPORTED} | {
    "phenotypes": phenotype_settings()
}
PARTIAL = CONFIG["report"]["partial"]
REPORT_SETTINGS = settings(
    "report",
    **RECORDED,
    **({"state": results_state(RESULTS)} if PARTIAL else {}),
)


rule subject_page:
    """Show one person's images, mask and maps on a page."""
    input:
        maps_of_person,
        rules.template_final.output.template,
        rules.template_mask.output.mask,
        rules.grid_mask.output,
    output:
        "<results>/report/subjects/sub-{subject}.html",
    log:
        "<logs>/subject_page/{subject}.log",
    benchmark:
        "<benchmarks>/subject_page/{subject}.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(15),
    params:
        settings=settings("subject_page"),
    shell:
        'python -m neurostrata subject-page --results "$(dirname {output:q})/../.." --subject {wildcards.subject}'
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
        "<results>/provenance.json",
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
        settings=settings(
            "provenance",
            **{key: value for key, value in RECORDED.items() if key != "report"},
        ),
    shell:
        'python -m neurostrata provenance --results "$(dirname {output:q})" --output {output:q}'
        " --settings {params.settings:q} > {log:q} 2>&1"


rule report:
    """Write the report: what was found, or that nothing was, with every table and figure behind it."""
    input:
        # In a partial study: whatever is there, without making (or being kept from it by) anything.
        []
        if PARTIAL
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
        page="<results>/report/index.html",
        figures=report(
            directory("<results>/report/figures"),
            patterns=["{part}/{figure}.svg", "{part}/{figure}.png"],
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
        mem_mb=gigabytes(2),
        runtime=minutes(60),
    params:
        settings=REPORT_SETTINGS,
    shell:
        'mkdir -p {output.figures:q}; python -m neurostrata report --results "$(dirname {output.page:q})/.."'
        " --output {output.page:q} --benchmarks benchmarks"
        " --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    provenance,
