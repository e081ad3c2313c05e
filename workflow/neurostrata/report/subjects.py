"""The page of one person: scan with mask, registration, Jacobian and maps."""

from __future__ import annotations

from neurostrata.report.figures.slices import Volume, try_volume
from neurostrata.report.html.blocks import Section, Text, format_number
from neurostrata.report.html.page import Page

#: Map -> title, unit, window in the map's unit.
DIFFUSION_MAPS = {
    "model-tensor_param-fa_dwimap.nii.gz": ("Fractional anisotropy (FA)", "FA (no unit)", (0.0, 1.0)),
    "model-tensor_param-md_dwimap.nii.gz": ("Mean diffusivity (MD)", "MD (mm²/s)", None),
    "model-noddi_param-ndi_dwimap.nii.gz": ("Neurite density index (NDI)", "NDI (no unit)", (0.0, 1.0)),
    "model-noddi_param-odi_dwimap.nii.gz": (
        "Orientation dispersion index (ODI)",
        "ODI (no unit)",
        (0.0, 1.0),
    ),
    "model-noddi_param-fwf_dwimap.nii.gz": ("Free water fraction (FWF)", "FWF (no unit)", (0.0, 1.0)),
}


def subject_sections(page: Page, subject: str) -> list[Section]:
    """Return the sections of a person's page; what is not there is named on it."""
    from neurostrata.report.figures.images import display_range, slice_rows

    tree = page.study.tree
    folder = f"sub-{subject}"
    sections = []
    missing: list[str] = []

    scan = Section("scan", "T1-weighted scan and brain mask")
    t1w_path, mask_path = (
        tree.anatomy(subject, "desc-preproc_T1w.nii.gz"),
        tree.anatomy(subject, "desc-brain_mask.nii.gz"),
    )
    t1w, mask = try_volume(t1w_path), try_volume(mask_path)
    if t1w is None:
        missing.append("T1-weighted image")
    else:
        caption = f"Own space, {_voxels(t1w)}."
        if mask is not None and mask.data.shape == t1w.data.shape:
            millilitres = float((mask.data > 0).sum()) * mask.zooms[0] * mask.zooms[1] * mask.zooms[2] / 1000
            caption += f" Orange: the brain mask ({format_number(millilitres)} ml)."
        else:
            mask = None
            missing.append("brain mask")
        scan.add(
            page.figure(
                slice_rows(t1w, outline=mask),
                f"{folder}/t1w.png",
                "Prepared T1-weighted image",
                caption,
                t1w_path,
                mask_path,
            )
        )
        sections.append(scan)

    study_mask = try_volume(tree.template("mask.nii.gz"))
    registered = Section("registration", "Registration to the template")
    warped_path, template_path = (
        tree.anatomy(subject, "space-study_desc-preproc_T1w.nii.gz"),
        tree.template("template.nii.gz"),
    )
    warped, template = try_volume(warped_path), try_volume(template_path)
    if warped is None:
        missing.append("registered T1-weighted image")
    else:
        same = template is not None and template.data.shape == warped.data.shape
        outline = (
            study_mask if study_mask is not None and study_mask.data.shape == warped.data.shape else None
        )
        registered.add(
            page.figure(
                slice_rows(
                    warped,
                    outline=outline,
                    beside=template if same else None,
                    names=["person", "template"] if same else ["person"],
                ),
                f"{folder}/registered.png",
                "The person in template space, above the template",
                "The same slices of both; orange: the template's mask. The outlines should follow both brains.",
                warped_path,
                template_path,
                tree.template("mask.nii.gz"),
            )
        )
    jacobian_path = tree.anatomy(subject, "space-study_desc-nonlinear_jacobian.nii.gz")
    jacobian = try_volume(jacobian_path)
    if jacobian is None:
        missing.append("Jacobian determinant")
    else:
        outline = (
            study_mask if study_mask is not None and study_mask.data.shape == jacobian.data.shape else None
        )
        registered.add(
            page.figure(
                slice_rows(
                    jacobian,
                    outline=outline,
                    colours="RdBu_r",
                    window=(-1, 1),
                    logarithmic=True,
                    label="log₂ J",
                ),
                f"{folder}/jacobian.png",
                "Jacobian determinant of the non-linear deformation",
                "Red: the person's region is larger than the template's (1: twice as large); blue: smaller.",
                jacobian_path,
            )
        )
    if registered.blocks:
        sections.append(registered)

    maps = Section("maps", "Diffusion maps")
    dwi_mask = try_volume(tree.diffusion(subject, "desc-brain_mask.nii.gz"))
    for name, (title, label, window) in DIFFUSION_MAPS.items():
        path = tree.diffusion(subject, name)
        volume = try_volume(path)
        if volume is None:
            continue
        outline = dwi_mask if dwi_mask is not None and dwi_mask.data.shape == volume.data.shape else None
        low, high = window if window is not None else display_range(volume, outline.data if outline else None)
        maps.add(
            page.figure(
                slice_rows(volume, outline=outline, colours="viridis", window=(low, high), label=label),
                f"{folder}/{name.split('_')[1].removeprefix('param-')}.png",
                title,
                f"In the diffusion data's own space, {_voxels(volume)}.",
                path,
            )
        )
    if maps.blocks:
        sections.append(maps)

    fusion = Section("fusion", "Maps as the models see them")
    grid_mask = try_volume(tree.volume("mask.nii.gz"))
    for path in tree.fusion_maps(subject):
        volume = try_volume(path)
        if volume is None:
            continue
        outline = grid_mask if grid_mask is not None and grid_mask.data.shape == volume.data.shape else None
        modality = path.name.split("_desc-")[1].removesuffix("_map.nii.gz")
        fusion.add(
            page.figure(
                slice_rows(
                    volume,
                    outline=outline,
                    window=display_range(volume, outline.data if outline is not None else None),
                    inside_only=True,
                ),
                f"{folder}/fusion-{modality}.png",
                f"{modality.upper()} on the fusion grid",
                f"{_voxels(volume)}, before scaling to [0, 1].",
                path,
            )
        )
    if fusion.blocks:
        sections.append(fusion)
    if missing:
        lead = Section("missing", "Not there")
        lead.add(Text("Not made, or not readable, for this person: " + ", ".join(missing) + ".", kind="note"))
        sections.append(lead)
    return sections


def _voxels(volume: Volume) -> str:
    size = " × ".join(str(n) for n in volume.data.shape)
    return f"{size} voxels of {' × '.join(format_number(zoom) for zoom in volume.zooms)} mm"
