"""Diffusion maps, fitted in the native space of the data."""


rule fit_tensor:
    """Fit the diffusion tensor to the low shells: FA, MD, mean b0 and brain mask."""
    input:
        dwi=sheet("dwi"),
        bval=sheet("bval"),
        bvec=sheet("bvec"),
        dwi_mask=sheet("dwi_mask"),
    output:
        fa=tree.FA,
        md=tree.MD,
        b0=tree.B0,
        mask=tree.DWI_MASK,
    log:
        "<logs>/fit_tensor/{subject}.log",
    benchmark:
        "<benchmarks>/fit_tensor/{subject}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("fit_tensor"),
        runtime=REQUESTS.runtime("fit_tensor"),
    params:
        settings=settings("fit_tensor"),
    shell:
        "python -m neurostrata stage fit-tensor --dwi {input.dwi:q} --bval {input.bval:q} --bvec {input.bvec:q}"
        " --dwi-mask {input.dwi_mask:q} --subject {wildcards.subject} --fa {output.fa:q}"
        " --md {output.md:q} --b0 {output.b0:q} --mask {output.mask:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule fit_noddi:
    """Fit NODDI to all shells: neurite density, orientation dispersion, free-water fraction."""
    input:
        dwi=sheet("dwi"),
        bval=sheet("bval"),
        bvec=sheet("bvec"),
        mask=rules.fit_tensor.output.mask,
        grad_dev=by_wildcards(INPUTS.gradient_deviations),
    output:
        ndi=tree.NDI,
        odi=tree.ODI,
        fwf=tree.FWF,
    log:
        "<logs>/fit_noddi/{subject}.log",
    benchmark:
        "<benchmarks>/fit_noddi/{subject}.tsv"
    conda:
        f"../../envs/{noddi_environment(CONFIG)}.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("fit_noddi"),
        runtime=REQUESTS.runtime("fit_noddi"),
    params:
        settings=settings("fit_noddi"),
    shell:
        "python -m neurostrata stage fit-noddi --dwi {input.dwi:q} --bval {input.bval:q} --bvec {input.bvec:q}"
        " --mask {input.mask:q} --grad-dev {input.grad_dev:q} --subject {wildcards.subject} --ndi {output.ndi:q}"
        " --odi {output.odi:q} --fwf {output.fwf:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule align_diffusion:
    """Align a person's diffusion data rigidly with the T1w image; only for data that are not in its space yet."""
    input:
        b0=rules.fit_tensor.output.b0,
        mask=rules.fit_tensor.output.mask,
        t1w=rules.prepare_t1w.output.t1w,
        t1w_mask=rules.register.output.mask,
    output:
        tree.DWI_ALIGNMENT,
    log:
        "<logs>/align_diffusion/{subject}.log",
    benchmark:
        "<benchmarks>/align_diffusion/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("align_diffusion"),
        runtime=REQUESTS.runtime("align_diffusion"),
    params:
        settings=settings("align_diffusion"),
    shell:
        "python -m neurostrata stage align-diffusion --b0 {input.b0:q} --t1w {input.t1w:q} --mask {input.mask:q}"
        " --t1w-mask {input.t1w_mask:q} --subject {wildcards.subject} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
