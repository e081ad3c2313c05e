"""Phenotype factors."""


rule factor_phenotypes:
    """Reduce the questionnaires and tests to factors: principal components, varimax, regression scores."""
    input:
        people=tree.group_table("people"),
        tables=TABLES,
    output:
        eigenvalues=tree.EIGENVALUES,
        loadings=tree.LOADINGS,
        scores=tree.FACTOR_SCORES,
        descriptives=tree.DESCRIPTIVES,
        model=tree.FACTOR_MODEL,
    log:
        "<logs>/factor_phenotypes.log",
    benchmark:
        "<benchmarks>/factor_phenotypes.tsv"
    conda:
        "../../envs/phenotypes.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=minutes(30),
    params:
        settings=settings("factor_phenotypes"),
    shell:
        "python -m neurostrata stage factor-phenotypes --tables {input.tables:q} --subjects {input.people:q}"
        " --eigenvalues {output.eigenvalues:q} --loadings {output.loadings:q} --scores {output.scores:q}"
        " --descriptives {output.descriptives:q} --model {output.model:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
