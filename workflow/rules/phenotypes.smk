"""Phenotype factors."""


rule factor_phenotypes:
    """Reduce the questionnaires and tests to factors: principal components, varimax, regression scores."""
    input:
        people="<results>/cohort/groups/people.tsv",
        tables=CONFIG["phenotypes"]["tables"],
    output:
        eigenvalues="<results>/phenotypes/eigenvalues.tsv",
        loadings="<results>/phenotypes/loadings.tsv",
        scores="<results>/phenotypes/scores.tsv",
        descriptives="<results>/phenotypes/descriptives.tsv",
        model="<results>/phenotypes/model.json",
    log:
        "<logs>/factor_phenotypes.log",
    benchmark:
        "<benchmarks>/factor_phenotypes.tsv"
    conda:
        "../../envs/phenotypes.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(30),
    params:
        settings=settings("factor_phenotypes", **CONFIG["phenotypes"]),
    shell:
        "python -m neurostrata factor-phenotypes --tables {input.tables:q} --subjects {input.people:q}"
        " --eigenvalues {output.eigenvalues:q} --loadings {output.loadings:q} --scores {output.scores:q}"
        " --descriptives {output.descriptives:q} --model {output.model:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
