"""Diffusion maps, fitted in the space the data come in."""

DIFFUSION = CONFIG["diffusion"]
TENSOR = {key: DIFFUSION[key] for key in ("b0_max", "tensor_b_max", "shell_gap")}
NODDI = {key: DIFFUSION[key] for key in ("b0_max", "shell_gap", "noddi")}


rule fit_tensor:
    """Fit the diffusion tensor to the low shells: FA, MD, mean b0 and brain mask."""
    input:
        dwi=sheet("dwi"),
        bval=sheet("bval"),
        bvec=sheet("bvec"),
        dwi_mask=sheet("dwi_mask"),
    output:
        fa=subject_path("dwi", "model-tensor_param-fa_dwimap.nii.gz"),
        md=subject_path("dwi", "model-tensor_param-md_dwimap.nii.gz"),
        b0=subject_path("dwi", "desc-mean_b0.nii.gz"),
        mask=subject_path("dwi", "desc-brain_mask.nii.gz"),
    log:
        "<logs>/fit_tensor/{subject}.log",
    benchmark:
        "<benchmarks>/fit_tensor/{subject}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2, per_input=0.008),
        runtime=minutes(60),
    params:
        settings=settings("fit_tensor", **TENSOR),
    shell:
        "python -m neurostrata fit-tensor --dwi {input.dwi:q} --bval {input.bval:q} --bvec {input.bvec:q}"
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
        grad_dev=deviations_of,
    output:
        ndi=subject_path("dwi", "model-noddi_param-ndi_dwimap.nii.gz"),
        odi=subject_path("dwi", "model-noddi_param-odi_dwimap.nii.gz"),
        fwf=subject_path("dwi", "model-noddi_param-fwf_dwimap.nii.gz"),
    log:
        "<logs>/fit_noddi/{subject}.log",
    benchmark:
        "<benchmarks>/fit_noddi/{subject}.tsv"
    conda:
        NODDI_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=gigabytes(3, per_input=0.008),
        runtime=minutes(120),
    params:
        settings=settings("fit_noddi", **NODDI),
    shell:
        "python -m neurostrata fit-noddi --dwi {input.dwi:q} --bval {input.bval:q} --bvec {input.bvec:q}"
        " --mask {input.mask:q} --grad-dev {input.grad_dev:q} --subject {wildcards.subject} --ndi {output.ndi:q}"
        " --odi {output.odi:q} --fwf {output.fwf:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule align_diffusion:
    """Align a person's diffusion data rigidly with the T1w image; only for data not already there."""
    input:
        b0=rules.fit_tensor.output.b0,
        mask=rules.fit_tensor.output.mask,
        t1w=rules.prepare_t1w.output.t1w,
        t1w_mask=rules.register.output.mask,
    output:
        subject_path("dwi", "from-dwi_to-T1w_xfm.mat"),
    log:
        "<logs>/align_diffusion/{subject}.log",
    benchmark:
        "<benchmarks>/align_diffusion/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(3),
        runtime=minutes(60),
    params:
        settings=settings("align_diffusion", alignment=DIFFUSION["alignment"]),
    shell:
        "python -m neurostrata align-diffusion --b0 {input.b0:q} --t1w {input.t1w:q} --mask {input.mask:q}"
        " --t1w-mask {input.t1w_mask:q} --subject {wildcards.subject} --output {output:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
