"""The page of one person: scan with mask and diffusion, registration, Jacobian and maps, with room for the numbers."""

from __future__ import annotations

import numpy as np

from neurostrata.imaging.images.io import Image
from neurostrata.report.data.layout import relative_link
from neurostrata.report.figures.slices import display_range, try_image
from neurostrata.report.html.blocks import Section, Text, format_number
from neurostrata.report.html.page import Page
from neurostrata.report.html.strips import PersonFacts, Strips
from neurostrata.report.html.viewer import Layer, colour_bar
from neurostrata.report.people.montage import (
    Montage,
    paint,
    plan_montage,
    save_picture,
    values_on,
)
from neurostrata.report.people.mosaic import write_mosaic
from neurostrata.report.people.pictures import new_viewer, outline_of, try_matrix

#: Map -> short title, label with unit, window in the map's unit.
DIFFUSION_MAPS = {
    "model-tensor_param-fa_dwimap.nii.gz": ("FA", "Fractional anisotropy (no unit)", (0.0, 1.0)),
    "model-tensor_param-md_dwimap.nii.gz": ("MD", "Mean diffusivity (mm²/s)", None),
    "model-noddi_param-ndi_dwimap.nii.gz": ("NDI", "Neurite density index (no unit)", (0.0, 1.0)),
    "model-noddi_param-odi_dwimap.nii.gz": ("ODI", "Orientation dispersion index (no unit)", (0.0, 1.0)),
    "model-noddi_param-fwf_dwimap.nii.gz": ("FWF", "Free water fraction (no unit)", (0.0, 1.0)),
}
#: Fractional anisotropy along whose line white matter is outlined.
WHITE_MATTER_FA = 0.3
#: Probability along whose line the template's tissue is outlined.
TISSUE_EDGE = 0.5


def subject_sections(page: Page, subject: str) -> list[Section]:
    """Return the sections of a person's page and write its pictures; the last section lists what is missing.

    The cohort's numbers are not known yet when a person's pictures are made: blocks for them are left open, and the page's
    script fills them from the file that the report writes (:mod:`neurostrata.report.people.data`).
    """
    missing: list[str] = []
    first = Section("person", "This person")
    first.add(PersonFacts(subject, relative_link(page.study.tree.people_data, page.path)))
    sections = [
        first,
        _scan(page, subject, missing),
        _registration(page, subject, missing),
        _diffusion_maps(page, subject),
        _fusion_maps(page, subject),
    ]
    rest = Section("rest", "Everything else that is known")
    rest.add(Strips(groups=(), person=subject))
    sections.append(rest)
    write_mosaic(page.study.tree, subject, page.figures / f"sub-{subject}" / "mosaic.webp")
    if missing:
        sections.append(Section("missing", "Missing"))
        text = f"Not made, or not readable, for this person: {', '.join(missing)}."
        sections[-1].add(Text(text, kind="note"))
    return [section for section in sections if section.blocks]


def _layer(page: Page, subject: str, name: str, key: str, picture: np.ndarray, **more: object) -> Layer:
    path = save_picture(picture, page.figures / f"sub-{subject}" / f"{key}.webp")
    return Layer(name, page.href(path), **more)  # type: ignore[arg-type]


def _grey(
    montage: Montage, image: Image, inside: Image | None, matrix: np.ndarray | None = None
) -> np.ndarray:
    return paint(montage, values_on(montage, image, matrix), display_range(image, inside))


def _scan(page: Page, subject: str, missing: list[str]) -> Section:
    section = Section("scan", "Scan and brain mask")
    tree = page.study.tree
    t1w_path = tree.anatomy(subject, "desc-preproc_T1w.nii.gz")
    mask_path = tree.anatomy(subject, "desc-brain_mask.nii.gz")
    t1w, mask = try_image(t1w_path), try_image(mask_path)
    if t1w is None:
        missing.append("T1-weighted image")
        return section
    sources = [t1w_path, mask_path]
    caption = f"In the scan's own space, {_voxels(t1w)}."
    if mask is None:
        missing.append("brain mask")
    else:
        millilitres = float((mask.data > 0).sum()) * mask.grid.voxel_volume / 1000
        caption += f" The brain mask holds {format_number(millilitres)} ml."
    montage = plan_montage(mask or t1w)
    layers = [_layer(page, subject, "T1w", "t1w", _grey(montage, t1w, mask))]
    lines = [outline_of(montage, "mask", "brain mask", mask, 0.5)] if mask is not None else []
    matrix_path = tree.diffusion(subject, "from-dwi_to-T1w_xfm.mat")
    matrix = try_matrix(matrix_path)
    b0_path, fa_path = (
        tree.diffusion(subject, name)
        for name in ("desc-mean_b0.nii.gz", "model-tensor_param-fa_dwimap.nii.gz")
    )
    b0, fa = try_image(b0_path), try_image(fa_path)
    if b0 is not None:
        dwi_mask = try_image(tree.diffusion(subject, "desc-brain_mask.nii.gz"))
        layers.append(_layer(page, subject, "b = 0", "b0", _grey(montage, b0, dwi_mask, matrix)))
        sources.append(b0_path)
    if fa is not None:
        picture = paint(montage, values_on(montage, fa, matrix), (0.0, 0.9))
        layers.append(_layer(page, subject, "FA", "fa-t1w", picture))
        name = f"white matter of the diffusion data (FA {WHITE_MATTER_FA:g})"
        lines.append(outline_of(montage, "diffusion", name, fa, WHITE_MATTER_FA, matrix))
        sources.append(fa_path)
        caption += (
            " The line of white matter comes from the diffusion data: it should follow the bright white matter of the "
            "T1w image, and the mask's line the brain's edge in all layers."
        )
    if b0 is not None or fa is not None:
        section.title = "Scan, brain mask and diffusion"
        sources.append(matrix_path)
        if matrix is None:
            caption += " There is no alignment: the diffusion data lie where their headers place them."
    section.add(
        new_viewer(
            page,
            montage,
            "scan-viewer",
            "The scan",
            caption,
            layers,
            lines,
            sources,
            alt=f"Slices of the T1-weighted image of sub-{subject} with outlines",
        ),
        Strips(groups=("scan", "brain"), person=subject),
    )
    return section


def _registration(page: Page, subject: str, missing: list[str]) -> Section:
    section = Section("registration", "Registration to the template")
    tree = page.study.tree
    warped_path = tree.anatomy(subject, "space-study_desc-preproc_T1w.nii.gz")
    jacobian_path = tree.anatomy(subject, "space-study_desc-nonlinear_jacobian.nii.gz")
    template_path, mask_path = tree.template("template.nii.gz"), tree.template("mask.nii.gz")
    white_path = tree.template("label-WM_probseg.nii.gz")
    warped, jacobian = try_image(warped_path), try_image(jacobian_path)
    mask, template, white = try_image(mask_path), try_image(template_path), try_image(white_path)
    ground = mask or template or warped or jacobian
    if ground is None:
        missing.append("registered T1-weighted image")
        return section
    montage = plan_montage(ground)
    edges = [
        outline_of(montage, key, name, image, level)
        for key, name, image, level in (
            ("white", "white matter of the template", white, TISSUE_EDGE),
            ("mask", "mask of the template", mask, 0.5),
        )
        if image is not None
    ]
    if warped is None:
        missing.append("registered T1-weighted image")
    else:
        layers = [_layer(page, subject, "person", "registered", _grey(montage, warped, mask))]
        if template is not None:
            layers.append(_layer(page, subject, "template", "template", _grey(montage, template, mask)))
        section.add(
            new_viewer(
                page,
                montage,
                "registration-viewer",
                "The person in template space, on the template",
                "The same slices of both; the lines are the template's. They should follow the edge of the person's white "
                "matter and brain.",
                layers,
                edges,
                [warped_path, template_path, white_path, mask_path],
                alt=f"Slices of sub-{subject} in template space and of the template, with the template's edges",
            )
        )
    if jacobian is None:
        missing.append("Jacobian determinant")
    else:
        inside = values_on(montage, mask, order=0) if mask is not None else None
        values = [np.log2(np.maximum(part, 2.0**-6)) for part in values_on(montage, jacobian)]
        shown = [part > 0 for part in inside] if inside is not None else None
        bar = colour_bar("log₂ J", "RdBu_r", ("−1", "0", "1"))
        picture = paint(montage, values, (-1.0, 1.0), "RdBu_r", shown)
        section.add(
            new_viewer(
                page,
                montage,
                "jacobian-viewer",
                "Jacobian determinant of the non-linear deformation",
                "Red: the person's region is larger than the template's (1: twice as large); blue: smaller.",
                [_layer(page, subject, "Jacobian", "jacobian", picture, bar=bar)],
                edges[:1],
                [jacobian_path],
                alt=f"Slices of the Jacobian determinant of sub-{subject}",
                lines_shown=False,
            )
        )
    section.add(Strips(groups=("placement",), person=subject))
    return section


def _diffusion_maps(page: Page, subject: str) -> Section:
    section = Section("maps", "Diffusion maps")
    tree = page.study.tree
    found = {name: tree.diffusion(subject, name) for name in DIFFUSION_MAPS}
    images = {name: image for name, path in found.items() if (image := try_image(path)) is not None}
    if not images:
        return section
    mask = try_image(tree.diffusion(subject, "desc-brain_mask.nii.gz"))
    first = next(iter(images.values()))
    montage = plan_montage(mask or first)
    inside = [part > 0.5 for part in values_on(montage, mask)] if mask is not None else None
    layers = []
    for name, image in images.items():
        title, label, window = DIFFUSION_MAPS[name]
        window = window or display_range(image, mask)
        key = name.split("_")[1].removeprefix("param-")
        picture = paint(montage, values_on(montage, image), window, "viridis", inside)
        ticks = [format_number(value) for value in (window[0], sum(window) / 2, window[1])]
        layers.append(_layer(page, subject, title, key, picture, bar=colour_bar(label, "viridis", ticks)))
    section.add(
        new_viewer(
            page,
            montage,
            "maps-viewer",
            "Maps fitted to the diffusion data",
            f"In the diffusion data's own space, {_voxels(first)}.",
            layers,
            [],
            [found[name] for name in images],
            compare=False,
            alt=f"Slices of the diffusion maps of sub-{subject}",
        ),
        Strips(groups=("diffusion",), person=subject),
    )
    return section


def _fusion_maps(page: Page, subject: str) -> Section:
    section = Section("fusion", "The maps that the models use")
    tree = page.study.tree
    mask = try_image(tree.volume("mask.nii.gz"))
    found = {path: image for path in tree.fusion_maps(subject) if (image := try_image(path)) is not None}
    if not found:
        return section
    first = next(iter(found.values()))
    montage = plan_montage(mask or first)
    inside = [part > 0 for part in values_on(montage, mask, order=0)] if mask is not None else None
    layers = []
    for path, image in found.items():
        modality = path.name.split("_desc-")[1].removesuffix("_map.nii.gz")
        low, high = window = display_range(image, mask)
        picture = paint(montage, values_on(montage, image, order=0), window, "gray", inside)
        ticks = [format_number(value) for value in (low, (low + high) / 2, high)]
        layers.append(
            _layer(
                page,
                subject,
                modality.upper(),
                f"fusion-{modality}",
                picture,
                bar=colour_bar("the map's own values", "gray", ticks),
            )
        )
    section.add(
        new_viewer(
            page,
            montage,
            "fusion-viewer",
            "Maps on the fusion grid",
            f"{_voxels(first)}, before scaling to [0, 1].",
            layers,
            [],
            list(found),
            compare=False,
            alt=f"Slices of the fusion maps of sub-{subject}",
        ),
        Strips(groups=("maps", "model"), person=subject),
    )
    return section


def _voxels(image: Image) -> str:
    size = " × ".join(str(n) for n in image.grid.shape)
    return f"{size} voxels of {' × '.join(format_number(round(float(side), 4)) for side in image.grid.spacing)} mm"
