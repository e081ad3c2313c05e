"""From T1-weighted images to the study template, deformations, Jacobians and tissue maps."""

ITERATIONS = CONFIG["template"]["iterations"]
# SyN gains nothing beyond 4 threads, greedy is quick on one: many small jobs beat few wide ones.
REGISTRATION_THREADS = 4 if CONFIG["registration"]["engine"] == "ants" else 1
# What counts is the template's grid, not the person's file: SyN at 1.25 mm stays below 6 GB.
REGISTRATION_MEMORY = gigabytes(1 + 10 / CONFIG["template"]["resolution_mm"] ** 3)
# The number of iterations is in the file names; as a setting it would redo those already there.
TEMPLATE = {
    key: value for key, value in CONFIG["template"].items() if key != "iterations"
}


rule prepare_t1w:
    """Correct the bias field of a T1w image and find (or take over) its brain mask."""
    input:
        t1w=sheet("t1w"),
        t1w_mask=sheet("t1w_mask"),
    output:
        t1w=subject_path("anat", "desc-preproc_T1w.nii.gz"),
        mask=subject_path("anat", "desc-initial_mask.nii.gz"),
    log:
        "<logs>/prepare_t1w/{subject}.log",
    benchmark:
        "<benchmarks>/prepare_t1w/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(1.5, per_input=0.1),
        runtime=minutes(60),
    params:
        settings=settings("prepare_t1w", **CONFIG["anatomy"]),
    shell:
        "python -m neurostrata prepare-t1w --t1w {input.t1w:q} --t1w-mask {input.t1w_mask:q}"
        " --subject {wildcards.subject} --output {output.t1w:q} --mask {output.mask:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_start:
    """Average the images, aligned by their centres of mass."""
    input:
        people="<results>/cohort/groups/template.tsv",
        t1w=expand(rules.prepare_t1w.output.t1w, subject=STUDY.template_members()),
    output:
        template="<results>/template/iter-0/template.nii.gz",
        state="<results>/template/iter-0/state.json",
    log:
        "<logs>/template_start.log",
    benchmark:
        "<benchmarks>/template_start.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(240),
    params:
        settings=settings("template_start", **TEMPLATE),
    shell:
        "python -m neurostrata template-start --subjects {input.people:q} --output {output.template:q}"
        ' --pattern "$(dirname {output.template:q})/../../derivatives/sub-{{subject}}/anat/sub-{{subject}}_desc-preproc_T1w.nii.gz"'
        " --state {output.state:q} --settings {params.settings:q} > {log:q} 2>&1"


rule template_register:
    """Register one person to the template of the iteration before; a marker once that has converged."""
    input:
        t1w=rules.prepare_t1w.output.t1w,
        template=previous("template.nii.gz"),
        state=previous("state.json"),
    output:
        temp(directory("<results>/template/iter-{iteration}/sub-{subject}")),
    log:
        "<logs>/template_register/{iteration}/{subject}.log",
    benchmark:
        "<benchmarks>/template_register/{iteration}/{subject}.tsv"
    wildcard_constraints:
        iteration="[1-9][0-9]*",
    conda:
        "../../envs/anatomy.yaml"
    threads: REGISTRATION_THREADS
    resources:
        mem_mb=REGISTRATION_MEMORY,
        runtime=minutes(600),  # the paper: 4.5 CPU hours a registration
    params:
        settings=settings(
            "template_register", registration=CONFIG["registration"], **TEMPLATE
        ),
    shell:
        "python -m neurostrata template-register --t1w {input.t1w:q} --template {input.template:q}"
        " --state {input.state:q} --subject {wildcards.subject} --output {output:q}"
        " --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule template_update:
    """Average the registered images and bring the average to the mean shape."""
    input:
        people="<results>/cohort/groups/template.tsv",
        template=previous("template.nii.gz"),
        state=previous("state.json"),
        registrations=expand(
            rules.template_register.output,
            subject=STUDY.template_members(),
            allow_missing=True,
        ),
    output:
        template="<results>/template/iter-{iteration}/template.nii.gz",
        state="<results>/template/iter-{iteration}/state.json",
    log:
        "<logs>/template_update/{iteration}.log",
    benchmark:
        "<benchmarks>/template_update/{iteration}.tsv"
    wildcard_constraints:
        iteration="[1-9][0-9]*",
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(240),
    params:
        settings=settings("template_update", **TEMPLATE),
    shell:
        "python -m neurostrata template-update --subjects {input.people:q}"
        ' --pattern "$(dirname {output.template:q})/sub-{{subject}}"'
        " --template {input.template:q} --previous-state {input.state:q}"
        " --iteration {wildcards.iteration} --output {output.template:q} --state {output.state:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_final:
    """Take over the last iteration's template; table and figure of how the building converged."""
    input:
        template=f"<results>/template/iter-{ITERATIONS}/template.nii.gz",
        states=expand(
            "<results>/template/iter-{iteration}/state.json",
            iteration=range(ITERATIONS + 1),
        ),
    output:
        template="<results>/template/template.nii.gz",
        convergence="<results>/template/convergence.tsv",
        figure=report(
            "<results>/template/convergence.png",
            caption="../report/template_convergence.rst",
            category="Template",
            labels={"figure": "Convergence"},
        ),
    log:
        "<logs>/template_final.log",
    benchmark:
        "<benchmarks>/template_final.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(30),
    params:
        settings=settings("template_final", **TEMPLATE),
    shell:
        "python -m neurostrata template-final --template {input.template:q} --states {input.states:q}"
        " --output {output.template:q} --convergence {output.convergence:q} --figure {output.figure:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_mask:
    """Bring the MNI152 brain mask and tissue maps to the template."""
    input:
        template=rules.template_final.output.template,
    output:
        mask="<results>/template/mask.nii.gz",
        gm="<results>/template/label-GM_probseg.nii.gz",
        wm="<results>/template/label-WM_probseg.nii.gz",
        csf="<results>/template/label-CSF_probseg.nii.gz",
    log:
        "<logs>/template_mask.log",
    benchmark:
        "<benchmarks>/template_mask.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: REGISTRATION_THREADS
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(600),
    params:
        settings=settings(
            "template_mask", registration=CONFIG["registration"], **TEMPLATE
        ),
    shell:
        "python -m neurostrata template-mask --template {input.template:q} --output {output.mask:q}"
        " --gm {output.gm:q} --wm {output.wm:q} --csf {output.csf:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_to_mni:
    """Find the transform that brings images in MNI152 space to the template; only where there are such images."""

    # not an output of template_mask: the first modality in MNI space would then redo all that follows from the mask
    input:
        template=rules.template_final.output.template,
    output:
        affine="<results>/template/from-MNI152_to-study_desc-affine_xfm.mat",
        warp="<results>/template/from-MNI152_to-study_desc-warp_xfm.nii.gz",
    log:
        "<logs>/template_to_mni.log",
    benchmark:
        "<benchmarks>/template_to_mni.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: REGISTRATION_THREADS
    resources:
        mem_mb=gigabytes(4),
        runtime=minutes(600),
    params:
        settings=settings("template_to_mni", registration=CONFIG["registration"]),
    shell:
        "python -m neurostrata template-to-mni --template {input.template:q} --affine {output.affine:q}"
        " --warp {output.warp:q} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule register:
    """Register one person to the final template."""
    input:
        t1w=rules.prepare_t1w.output.t1w,
        initial_mask=rules.prepare_t1w.output.mask,
        template=rules.template_final.output.template,
        template_mask=rules.template_mask.output.mask,
    output:
        affine=subject_path("anat", "from-T1w_to-study_desc-affine_xfm.mat"),
        warp=subject_path("anat", "from-T1w_to-study_desc-warp_xfm.nii.gz"),
        inverse_warp=subject_path("anat", "from-study_to-T1w_desc-warp_xfm.nii.gz"),
        warped=subject_path("anat", "space-study_desc-preproc_T1w.nii.gz"),
        mask=subject_path("anat", "desc-brain_mask.nii.gz"),
    log:
        "<logs>/register/{subject}.log",
    benchmark:
        "<benchmarks>/register/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: REGISTRATION_THREADS
    resources:
        mem_mb=REGISTRATION_MEMORY,
        runtime=minutes(600),
    params:
        settings=settings("register", **CONFIG["registration"]),
    shell:
        "python -m neurostrata register --t1w {input.t1w:q} --initial-mask {input.initial_mask:q}"
        " --template {input.template:q} --template-mask {input.template_mask:q}"
        " --subject {wildcards.subject} --affine {output.affine:q} --warp {output.warp:q}"
        " --inverse-warp {output.inverse_warp:q} --warped {output.warped:q} --mask {output.mask:q}"
        " --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule jacobian:
    """Map how much larger (> 1) or smaller each place of a person is than in the template."""
    input:
        affine=rules.register.output.affine,
        warp=rules.register.output.warp,
    output:
        nonlinear=subject_path("anat", "space-study_desc-nonlinear_jacobian.nii.gz"),
        absolute=subject_path("anat", "space-study_desc-absolute_jacobian.nii.gz"),
    log:
        "<logs>/jacobian/{subject}.log",
    benchmark:
        "<benchmarks>/jacobian/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(2),
        runtime=minutes(20),
    params:
        settings=settings("jacobian"),
    shell:
        "python -m neurostrata jacobian --affine {input.affine:q} --warp {input.warp:q}"
        " --subject {wildcards.subject} --nonlinear {output.nonlinear:q}"
        " --absolute {output.absolute:q} --settings {params.settings:q} > {log:q} 2>&1"


rule segment_tissue:
    """Segment grey matter, white matter and cerebrospinal fluid in a person's own space."""
    input:
        t1w=rules.prepare_t1w.output.t1w,
        mask=rules.register.output.mask,
        affine=rules.register.output.affine,
        inverse_warp=rules.register.output.inverse_warp,
        gm=rules.template_mask.output.gm,
        wm=rules.template_mask.output.wm,
        csf=rules.template_mask.output.csf,
    output:
        gm=subject_path("anat", "label-GM_probseg.nii.gz"),
        wm=subject_path("anat", "label-WM_probseg.nii.gz"),
        csf=subject_path("anat", "label-CSF_probseg.nii.gz"),
    log:
        "<logs>/segment_tissue/{subject}.log",
    benchmark:
        "<benchmarks>/segment_tissue/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=gigabytes(3, per_input=0.1),
        runtime=minutes(120),
    params:
        settings=settings("segment_tissue", **CONFIG["tissue"]),
    shell:
        "python -m neurostrata segment-tissue --t1w {input.t1w:q} --mask {input.mask:q}"
        " --affine {input.affine:q} --inverse-warp {input.inverse_warp:q} --gm-prior {input.gm:q}"
        " --wm-prior {input.wm:q} --csf-prior {input.csf:q} --subject {wildcards.subject}"
        " --gm {output.gm:q} --wm {output.wm:q} --csf {output.csf:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    template_final,
