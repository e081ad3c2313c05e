"""All sources of modalities, each named by its block of modalities.schema.yaml, and what a declaration needs by its source."""

from __future__ import annotations

import importlib

from neurostrata.cohort.sources.source import Config, Declaration, Made, ModalitySource
from neurostrata.core.config import load_schema


def _sources() -> dict[str, ModalitySource]:
    """Return the source that each block of the schema names."""
    found = {}
    for block in load_schema("modalities")["additionalProperties"]["anyOf"]:
        module, cls = block["class"].split(":")
        found[block["properties"]["from"]["const"]] = getattr(importlib.import_module(module), cls)()
    return found


#: Value of `from` -> source, in the order of the methods text.
SOURCES = _sources()

_REGISTRATION = {"affine": Made("register", "affine"), "warp": Made("register", "warp")}
#: Space of an image -> inputs of ``map_to_template`` that bring it to the study template.
TRANSFORMS: dict[str, dict[str, Made]] = {
    "t1w": _REGISTRATION,
    "dwi": {**_REGISTRATION, "alignment": Made("align_diffusion")},
    "mni": {"affine": Made("template_to_mni", "affine"), "warp": Made("template_to_mni", "warp")},
    "template": {},
}


def source_of(declaration: Declaration) -> ModalitySource:
    """Return the source of a modality (a declaration of the section `modalities`)."""
    return SOURCES[declaration["from"]]


def required_columns(declaration: Declaration) -> tuple[str, ...]:
    """Return the columns of the cohort sheet that a person must have for a modality."""
    return source_of(declaration).required_columns(declaration)


def columns_read(declaration: Declaration, config: Config) -> set[str]:
    """Return the columns of the cohort sheet whose files are read for a modality, the T1w image's mask apart."""
    columns = {*required_columns(declaration), *source_of(declaration).further_columns(config)}
    return columns | {"dwi_mask"} if "dwi" in columns else columns


def map_files(declaration: Declaration, aligned: bool) -> dict[str, Made | None]:
    """Return the inputs of ``map_to_template`` for a modality; None for what is not needed.

    Parameters
    ----------
    declaration
        One modality.
    aligned
        Whether diffusion data are in T1w space already (`diffusion.space`).

    Returns
    -------
    dict
        ``affine``, ``warp``, ``alignment``, ``jacobian``, ``fwf`` and ``image``. An image of None is the one in the cohort
        sheet, in the declaration's column.
    """
    source = source_of(declaration)
    files: dict[str, Made | None] = dict.fromkeys(("affine", "warp", "alignment", "jacobian", "fwf"))
    files |= TRANSFORMS[source.space_of(declaration)]
    if aligned:
        files["alignment"] = None
    return {**files, **source.weights(declaration), "image": source.image(declaration)}
