"""From T1-weighted images to the study template, deformations, Jacobians and tissue maps."""


rule prepare_t1w:
    """Correct the bias field of a T1w image and find its brain mask or use the one given."""
    input:
        t1w=sheet("t1w"),
        t1w_mask=sheet("t1w_mask"),
    output:
        t1w=tree.T1W,
        mask=tree.INITIAL_MASK,
    log:
        "<logs>/prepare_t1w/{subject}.log",
    benchmark:
        "<benchmarks>/prepare_t1w/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("prepare_t1w"),
        runtime=REQUESTS.runtime("prepare_t1w"),
    params:
        settings=settings("prepare_t1w"),
    shell:
        "python -m neurostrata stage prepare-t1w --t1w {input.t1w:q} --t1w-mask {input.t1w_mask:q}"
        " --subject {wildcards.subject} --output {output.t1w:q} --mask {output.mask:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_start:
    """Average the images, aligned by their centres of mass."""
    input:
        people=tree.group_table("template"),
        t1w=expand(rules.prepare_t1w.output.t1w, subject=STUDY.template_members()),
    output:
        template=tree.fill(tree.ITERATION_TEMPLATE, iteration=0),
        state=tree.fill(tree.ITERATION_STATE, iteration=0),
    log:
        "<logs>/template_start.log",
    benchmark:
        "<benchmarks>/template_start.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("template_start"),
        runtime=REQUESTS.runtime("template_start"),
    params:
        settings=settings("template_start"),
    shell:
        "python -m neurostrata stage template-start --subjects {input.people:q} --output {output.template:q}"
        f" --pattern {in_command(tree.T1W)}"
        " --state {output.state:q} --settings {params.settings:q} > {log:q} 2>&1"


rule template_register:
    """Register one person to the template of the previous iteration; after convergence only write a marker."""
    input:
        t1w=rules.prepare_t1w.output.t1w,
        template=previous(tree.ITERATION_TEMPLATE),
        state=previous(tree.ITERATION_STATE),
    output:
        temp(directory(tree.ITERATION_REGISTRATION)),
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
        mem_mb=REQUESTS.memory("template_register"),
        runtime=REQUESTS.runtime("template_register"),
    params:
        settings=settings("template_register"),
    shell:
        "python -m neurostrata stage template-register --t1w {input.t1w:q} --template {input.template:q}"
        " --state {input.state:q} --subject {wildcards.subject} --output {output:q}"
        " --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule template_update:
    """Average the registered images of the iteration's people and move the average to the mean shape."""
    input:
        people=tree.group_table("template"),
        template=previous(tree.ITERATION_TEMPLATE),
        state=previous(tree.ITERATION_STATE),
        registrations=by_wildcards(INPUTS.template_registrations),
    output:
        template=tree.ITERATION_TEMPLATE,
        state=tree.ITERATION_STATE,
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
        mem_mb=REQUESTS.memory("template_update"),
        runtime=REQUESTS.runtime("template_update"),
    params:
        settings=settings("template_update"),
    shell:
        "python -m neurostrata stage template-update --subjects {input.people:q}"
        " --pattern "
        + in_command(tree.ITERATION_REGISTRATION, iteration="{wildcards.iteration}")
        + ""
        " --template {input.template:q} --previous-state {input.state:q}"
        " --iteration {wildcards.iteration} --output {output.template:q} --state {output.state:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_final:
    """Copy the last iteration's template, and show how the iterations converged in a table and a figure."""
    input:
        template=tree.fill(tree.ITERATION_TEMPLATE, iteration=ITERATIONS),
        states=expand(
            tree.ITERATION_STATE,
            iteration=range(ITERATIONS + 1),
        ),
    output:
        template=tree.TEMPLATE,
        convergence=tree.CONVERGENCE,
        figure=report(
            tree.CONVERGENCE_FIGURE,
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
        mem_mb=REQUESTS.memory("template_final"),
        runtime=REQUESTS.runtime("template_final"),
    params:
        settings=settings("template_final"),
    shell:
        "python -m neurostrata stage template-final --template {input.template:q} --states {input.states:q}"
        " --output {output.template:q} --convergence {output.convergence:q} --figure {output.figure:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_mask:
    """Bring the MNI152 brain mask and tissue maps to the template."""
    input:
        template=rules.template_final.output.template,
    output:
        mask=tree.TEMPLATE_MASK,
        gm=tree.TEMPLATE_GM,
        wm=tree.TEMPLATE_WM,
        csf=tree.TEMPLATE_CSF,
    log:
        "<logs>/template_mask.log",
    benchmark:
        "<benchmarks>/template_mask.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: REGISTRATION_THREADS
    resources:
        mem_mb=REQUESTS.memory("template_mask"),
        runtime=REQUESTS.runtime("template_mask"),
    params:
        settings=settings("template_mask"),
    shell:
        "python -m neurostrata stage template-mask --template {input.template:q} --output {output.mask:q}"
        " --gm {output.gm:q} --wm {output.wm:q} --csf {output.csf:q} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule template_to_mni:
    """Find the transform that brings images in MNI152 space to the template; only planned when there are such images."""

    # not an output of template_mask: the first modality in MNI space would then redo all that follows from the mask
    input:
        template=rules.template_final.output.template,
    output:
        affine=tree.MNI_AFFINE,
        warp=tree.MNI_WARP,
    log:
        "<logs>/template_to_mni.log",
    benchmark:
        "<benchmarks>/template_to_mni.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: REGISTRATION_THREADS
    resources:
        mem_mb=REQUESTS.memory("template_to_mni"),
        runtime=REQUESTS.runtime("template_to_mni"),
    params:
        settings=settings("template_to_mni"),
    shell:
        "python -m neurostrata stage template-to-mni --template {input.template:q} --affine {output.affine:q}"
        " --warp {output.warp:q} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule register:
    """Register one person to the final template."""
    input:
        t1w=rules.prepare_t1w.output.t1w,
        initial_mask=rules.prepare_t1w.output.mask,
        template=rules.template_final.output.template,
        template_mask=rules.template_mask.output.mask,
    output:
        affine=tree.T1W_AFFINE,
        warp=tree.T1W_WARP,
        inverse_warp=tree.T1W_INVERSE_WARP,
        warped=tree.WARPED_T1W,
        mask=tree.BRAIN_MASK,
    log:
        "<logs>/register/{subject}.log",
    benchmark:
        "<benchmarks>/register/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: REGISTRATION_THREADS
    resources:
        mem_mb=REQUESTS.memory("register"),
        runtime=REQUESTS.runtime("register"),
    params:
        settings=settings("register"),
    shell:
        "python -m neurostrata stage register --t1w {input.t1w:q} --initial-mask {input.initial_mask:q}"
        " --template {input.template:q} --template-mask {input.template_mask:q}"
        " --subject {wildcards.subject} --affine {output.affine:q} --warp {output.warp:q}"
        " --inverse-warp {output.inverse_warp:q} --warped {output.warped:q} --mask {output.mask:q}"
        " --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"


rule jacobian:
    """Map how much larger (> 1) or smaller each region of a person is than in the template."""
    input:
        affine=rules.register.output.affine,
        warp=rules.register.output.warp,
    output:
        nonlinear=tree.NONLINEAR_JACOBIAN,
        absolute=tree.ABSOLUTE_JACOBIAN,
    log:
        "<logs>/jacobian/{subject}.log",
    benchmark:
        "<benchmarks>/jacobian/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("jacobian"),
        runtime=REQUESTS.runtime("jacobian"),
    params:
        settings=settings("jacobian"),
    shell:
        "python -m neurostrata stage jacobian --affine {input.affine:q} --warp {input.warp:q}"
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
        gm=tree.GM,
        wm=tree.WM,
        csf=tree.CSF,
    log:
        "<logs>/segment_tissue/{subject}.log",
    benchmark:
        "<benchmarks>/segment_tissue/{subject}.tsv"
    conda:
        "../../envs/anatomy.yaml"
    threads: 1
    resources:
        mem_mb=REQUESTS.memory("segment_tissue"),
        runtime=REQUESTS.runtime("segment_tissue"),
    params:
        settings=settings("segment_tissue"),
    shell:
        "python -m neurostrata stage segment-tissue --t1w {input.t1w:q} --mask {input.mask:q}"
        " --affine {input.affine:q} --inverse-warp {input.inverse_warp:q} --gm-prior {input.gm:q}"
        " --wm-prior {input.wm:q} --csf-prior {input.csf:q} --subject {wildcards.subject}"
        " --gm {output.gm:q} --wm {output.wm:q} --csf {output.csf:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


localrules:
    template_final,
