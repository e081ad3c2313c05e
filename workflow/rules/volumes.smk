"""Every modality on one grid, one memory-mapped array each."""

GRID = {key: CONFIG["volumes"][key] for key in ("resolution_mm", "downsample", "shape")}


rule map_to_template:
    """Bring one map of one person to the fusion grid, with one interpolation."""
    input:
        unpack(map_inputs),
        template=rules.template_mask.output.mask,  # the grid is the template's, centred on its brain
    output:
        subject_path("fusion", "space-study_desc-{modality}_map.nii.gz"),
    log:
        "<logs>/map_to_template/{modality}/{subject}.log",
    benchmark:
        "<benchmarks>/map_to_template/{modality}/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(3),
        runtime=minutes(20),
    params:
        settings=lambda wildcards: settings(
            "map_to_template", **GRID, modality=STUDY.modalities[wildcards.modality]
        ),
    shell:
        "python -m neurostrata map-to-template --image {input.image:q} --template {input.template:q}"
        " --subject {wildcards.subject} --modality {wildcards.modality} --output {output:q}"
        " --affine {input.affine:q} --warp {input.warp:q} --alignment {input.alignment:q}"
        " --jacobian {input.jacobian:q} --fwf {input.fwf:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule grid_mask:
    """Bring the template's brain mask to the fusion grid."""
    input:
        mask=rules.template_mask.output.mask,
    output:
        "<results>/volumes/mask.nii.gz",
    log:
        "<logs>/grid_mask.log",
    benchmark:
        "<benchmarks>/grid_mask.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1),
        runtime=minutes(10),
    params:
        settings=settings("grid_mask", **GRID),
    shell:
        "python -m neurostrata grid-mask --mask {input.mask:q} --template {input.mask:q}"
        " --output {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule grid_regions:
    """Bring the brain's regions to the fusion grid: an atlas, or parcels of the mask."""
    input:
        mask=rules.grid_mask.output,
        template=rules.template_final.output.template,
        atlas=CONFIG["regions"]["image"] or [],
        names=CONFIG["regions"]["names"] or [],
    output:
        image="<results>/volumes/regions.nii.gz",
        table="<results>/volumes/regions.tsv",
    log:
        "<logs>/grid_regions.log",
    benchmark:
        "<benchmarks>/grid_regions.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 4
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(120),
    params:
        settings=settings("grid_regions", **region_settings()),
    shell:
        "python -m neurostrata grid-regions --mask {input.mask:q} --template {input.template:q}"
        " --atlas {input.atlas:q} --names {input.names:q} --output {output.image:q}"
        " --table {output.table:q} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule normalise:
    """Gather one modality of everybody in one array and find its intensity limits."""
    input:
        people="<results>/cohort/groups/modality-{modality}.tsv",
        mask=rules.grid_mask.output,
        maps=lambda wildcards: expand(
            rules.map_to_template.output,
            subject=STUDY.with_modality(wildcards.modality),
            modality=wildcards.modality,
        ),
    output:
        array="<results>/volumes/{modality}.npy",
        facts="<results>/volumes/{modality}.json",
    log:
        "<logs>/normalise/{modality}.log",
    benchmark:
        "<benchmarks>/normalise/{modality}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(120),
    params:
        settings=lambda wildcards: settings(
            "normalise",
            percentiles=CONFIG["volumes"]["percentiles"],
            **GRID,
            **{
                key: value
                for key, value in STUDY.modalities[wildcards.modality].items()
                if key == "kind"
            },
        ),
    shell:
        "python -m neurostrata normalise --subjects {input.people:q}"
        ' --pattern "$(dirname {output.array:q})/../derivatives/sub-{{subject}}/fusion/sub-{{subject}}_space-study_desc-{wildcards.modality}_map.nii.gz"'
        " --mask {input.mask:q} --modality {wildcards.modality} --output {output.array:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
