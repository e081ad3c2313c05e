"""Who takes part in what."""

COHORT_SHEETS = [path for path in (CONFIG["cohort"]["sheet"], CONFIG["qc"]) if path]


def selection_of(wildcards):
    """The part of the configuration that decides who is in a group, and a digest of the group itself."""
    kind, _, name = wildcards.group.partition("-")
    chosen = {key: SELECTION[key] for key in ("output", "cohort", "qc")}
    if kind == "experiment":
        chosen["experiments"] = [
            e for e in SELECTION["experiments"] if e["name"] == name
        ]
        chosen["experiments"][0] = {
            k: v for k, v in chosen["experiments"][0].items() if k != "validation"
        }
    used = STUDY.experiments[name]["modalities"] if kind == "experiment" else [name]
    chosen["modalities"] = {
        declared: {key: value for key, value in body.items() if key in SELECTING_KEYS}
        for declared, body in SELECTION["modalities"].items()
        if kind in ("experiment", "modality")
        and any(m.startswith(declared) for m in used)
    }
    digest = rows_digest(
        STUDY.group_rows(wildcards.group), STUDY.group(wildcards.group)[0]
    )
    return settings("list_people", config=chosen, digest=digest)


#: What a modality's declaration says about who has it; how it is measured or smoothed does not.
SELECTING_KEYS = ("from", "column", "space", "components")


rule check_cohort:
    """Check everybody's files and write the tables of who takes part and who does not, and why."""
    input:
        sheets=ancient(COHORT_SHEETS),
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
                )
                + ["modality", "decision", "reason"],
            ),
        ),
    shell:
        "python -m neurostrata check-cohort --cache {HEADER_CACHE:q} --subjects {output.subjects:q}"
        " --exclusions {output.exclusions:q} --settings {params.settings:q} > {log:q} 2>&1"


rule list_people:
    """Write the people of a group, in order, for the stages that work on many of them."""
    input:
        sheets=ancient(COHORT_SHEETS),
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
