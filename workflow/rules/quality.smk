"""The quality of each person's images: one table of numbers per person."""


rule measure_quality:
    """Measure the quality of a person's images, registration, diffusion data and maps, as far as there are any."""
    input:
        unpack(by_wildcards(INPUTS.quality)),
        template=rules.template_final.output.template,
        template_mask=rules.template_mask.output.mask,
        grey=rules.template_mask.output.gm,
        white=rules.template_mask.output.wm,
        fluid=rules.template_mask.output.csf,
        grid_mask=rules.grid_mask.output,
    output:
        tree.PERSON_QUALITY,
    log:
        "<logs>/measure_quality/{subject}.log",
    benchmark:
        "<benchmarks>/measure_quality/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("measure_quality"),
        runtime=REQUESTS.runtime("measure_quality"),
    params:
        settings=settings("measure_quality"),
    shell:
        "python -m neurostrata stage measure-quality --subject {wildcards.subject} --raw {input.raw:q}"
        " --t1w {input.t1w:q} --mask {input.mask:q} --affine {input.affine:q} --warp {input.warp:q}"
        " --inverse-warp {input.inverse_warp:q} --warped {input.warped:q} --jacobian {input.jacobian:q}"
        " --dwi {input.dwi:q} --bval {input.bval:q} --bvec {input.bvec:q} --b0 {input.b0:q} --fa {input.fa:q}"
        " --dwi-mask {input.dwi_mask:q} --alignment {input.alignment:q} --ndi {input.ndi:q} --odi {input.odi:q}"
        " --fwf {input.fwf:q} --template {input.template:q} --template-mask {input.template_mask:q}"
        " --grey {input.grey:q} --white {input.white:q} --fluid {input.fluid:q} --grid-mask {input.grid_mask:q}"
        " --maps {input.maps:q} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
