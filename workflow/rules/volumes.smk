"""Every modality on one grid, as one memory-mapped array each."""


rule map_to_template:
    """Bring one map of one person to the fusion grid, with one interpolation."""
    input:
        unpack(by_wildcards(INPUTS.map_to_template)),
        template=rules.template_mask.output.mask,  # the grid is the template's, centred on its brain
    output:
        tree.MAP,
    log:
        "<logs>/map_to_template/{modality}/{subject}.log",
    benchmark:
        "<benchmarks>/map_to_template/{modality}/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("map_to_template"),
        runtime=REQUESTS.runtime("map_to_template"),
    params:
        settings=settings("map_to_template"),
    shell:
        "python -m neurostrata stage map-to-template --image {input.image:q} --template {input.template:q}"
        " --subject {wildcards.subject} --modality {wildcards.modality} --output {output:q}"
        " --affine {input.affine:q} --warp {input.warp:q} --alignment {input.alignment:q}"
        " --jacobian {input.jacobian:q} --fwf {input.fwf:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule grid_mask:
    """Bring the template's brain mask to the fusion grid."""
    input:
        mask=rules.template_mask.output.mask,
    output:
        tree.GRID_MASK,
    log:
        "<logs>/grid_mask.log",
    benchmark:
        "<benchmarks>/grid_mask.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("grid_mask"),
        runtime=REQUESTS.runtime("grid_mask"),
    params:
        settings=settings("grid_mask"),
    shell:
        "python -m neurostrata stage grid-mask --mask {input.mask:q} --template {input.mask:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule grid_regions:
    """Bring the brain's regions to the fusion grid: an atlas, or parcels of the mask."""
    input:
        mask=rules.grid_mask.output,
        template=rules.template_final.output.template,
        atlas=CONFIG["regions"]["image"] or [],
        names=CONFIG["regions"]["names"] or [],
    output:
        image=tree.REGIONS,
        table=tree.REGION_NAMES,
    log:
        "<logs>/grid_regions.log",
    benchmark:
        "<benchmarks>/grid_regions.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 4
    resources:
        mem_mb=REQUESTS.memory("grid_regions"),
        runtime=REQUESTS.runtime("grid_regions"),
    params:
        settings=settings("grid_regions"),
    shell:
        "python -m neurostrata stage grid-regions --mask {input.mask:q} --template {input.template:q}"
        " --atlas {input.atlas:q} --names {input.names:q} --output {output.image:q}"
        " --table {output.table:q} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule normalise:
    """Gather one modality of everybody in one array and find its intensity limits."""
    input:
        people=tree.group_table("modality-{modality}"),
        mask=rules.grid_mask.output,
        maps=by_wildcards(INPUTS.maps),
    output:
        array=tree.ARRAY,
        facts=tree.ARRAY_FACTS,
    log:
        "<logs>/normalise/{modality}.log",
    benchmark:
        "<benchmarks>/normalise/{modality}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("normalise"),
        runtime=REQUESTS.runtime("normalise"),
    params:
        settings=settings("normalise"),
    shell:
        "python -m neurostrata stage normalise --subjects {input.people:q}"
        f" --pattern {in_command(tree.MAP, modality='{wildcards.modality}')}"
        " --mask {input.mask:q} --modality {wildcards.modality} --output {output.array:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
