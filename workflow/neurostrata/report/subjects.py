"""The page of one person: scan with mask, registration, Jacobian and maps."""

from __future__ import annotations

from neurostrata.report.figures.slices import Volume, on_grid_of, try_volume
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
    """Return the sections of a person's page; the last one lists what is missing."""
    missing: list[str] = []
    sections = [
        _scan(page, subject, missing),
        _registration(page, subject, missing),
        _diffusion_maps(page, subject),
        _fusion_maps(page, subject),
    ]
    if missing:
        sections.append(Section("missing", "Missing"))
        text = f"Not made, or not readable, for this person: {', '.join(missing)}."
        sections[-1].add(Text(text, kind="note"))
    return [section for section in sections if section.blocks]


def _scan(page: Page, subject: str, missing: list[str]) -> Section:
    from neurostrata.report.figures.images import slice_rows

    section = Section("scan", "T1-weighted scan and brain mask")
    tree = page.study.tree
    t1w_path = tree.anatomy(subject, "desc-preproc_T1w.nii.gz")
    mask_path = tree.anatomy(subject, "desc-brain_mask.nii.gz")
    t1w = try_volume(t1w_path)
    if t1w is None:
        missing.append("T1-weighted image")
        return section
    caption = f"In the scan's own space, {_voxels(t1w)}."
    mask = on_grid_of(t1w, try_volume(mask_path))
    if mask is None:
        missing.append("brain mask")
    else:
        millilitres = float((mask.data > 0).sum()) * mask.zooms[0] * mask.zooms[1] * mask.zooms[2] / 1000
        caption += f" Orange: the brain mask ({format_number(millilitres)} ml)."
    section.add(
        page.figure(
            slice_rows(t1w, outline=mask),
            f"sub-{subject}/t1w.png",
            "Preprocessed T1-weighted image",
            caption,
            t1w_path,
            mask_path,
        )
    )
    return section


def _registration(page: Page, subject: str, missing: list[str]) -> Section:
    from neurostrata.report.figures.images import slice_rows

    section = Section("registration", "Registration to the template")
    tree = page.study.tree
    warped_path = tree.anatomy(subject, "space-study_desc-preproc_T1w.nii.gz")
    jacobian_path = tree.anatomy(subject, "space-study_desc-nonlinear_jacobian.nii.gz")
    template_path, mask_path = tree.template("template.nii.gz"), tree.template("mask.nii.gz")
    warped, jacobian, mask = try_volume(warped_path), try_volume(jacobian_path), try_volume(mask_path)
    if warped is None:
        missing.append("registered T1-weighted image")
    else:
        template = on_grid_of(warped, try_volume(template_path))
        section.add(
            page.figure(
                slice_rows(
                    warped,
                    outline=on_grid_of(warped, mask),
                    compared=template,
                    names=["person", "template"] if template is not None else ["person"],
                ),
                f"sub-{subject}/registered.png",
                "The person in template space, above the template",
                "The same slices of both; orange: the template's mask. The outline should follow both brains.",
                warped_path,
                template_path,
                mask_path,
            )
        )
    if jacobian is None:
        missing.append("Jacobian determinant")
    else:
        section.add(
            page.figure(
                slice_rows(
                    jacobian,
                    outline=on_grid_of(jacobian, mask),
                    colours="RdBu_r",
                    window=(-1, 1),
                    logarithmic=True,
                    label="log₂ J",
                ),
                f"sub-{subject}/jacobian.png",
                "Jacobian determinant of the non-linear deformation",
                "Red: the person's region is larger than the template's (1: twice as large); blue: smaller.",
                jacobian_path,
            )
        )
    return section


def _diffusion_maps(page: Page, subject: str) -> Section:
    from neurostrata.report.figures.images import display_range, slice_rows

    section = Section("maps", "Diffusion maps")
    tree = page.study.tree
    mask = try_volume(tree.diffusion(subject, "desc-brain_mask.nii.gz"))
    for name, (title, label, window) in DIFFUSION_MAPS.items():
        path = tree.diffusion(subject, name)
        volume = try_volume(path)
        if volume is None:
            continue
        outline = on_grid_of(volume, mask)
        window = window or display_range(volume, outline.data if outline is not None else None)
        section.add(
            page.figure(
                slice_rows(volume, outline=outline, colours="viridis", window=window, label=label),
                f"sub-{subject}/{name.split('_')[1].removeprefix('param-')}.png",
                title,
                f"In the diffusion data's own space, {_voxels(volume)}.",
                path,
            )
        )
    return section


def _fusion_maps(page: Page, subject: str) -> Section:
    from neurostrata.report.figures.images import slice_rows

    section = Section("fusion", "The maps that the models use")
    tree = page.study.tree
    mask = try_volume(tree.volume("mask.nii.gz"))
    for path in tree.fusion_maps(subject):
        volume = try_volume(path)
        if volume is None:
            continue
        modality = path.name.split("_desc-")[1].removesuffix("_map.nii.gz")
        section.add(
            page.figure(
                slice_rows(volume, outline=on_grid_of(volume, mask), inside_only=True),
                f"sub-{subject}/fusion-{modality}.png",
                f"{modality.upper()} on the fusion grid",
                f"{_voxels(volume)}, before scaling to [0, 1].",
                path,
            )
        )
    return section


def _voxels(volume: Volume) -> str:
    size = " × ".join(str(n) for n in volume.data.shape)
    return f"{size} voxels of {' × '.join(format_number(zoom) for zoom in volume.zooms)} mm"
