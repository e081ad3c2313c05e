"""Modalities made from the T1-weighted image: the image, Jacobian determinants, tissue probabilities."""

from __future__ import annotations

from neurostrata.cohort.sources.source import Config, Declaration, Made, ModalitySource


class T1w(ModalitySource):
    """The bias-corrected T1-weighted image."""

    name = "t1w"
    space = "t1w"
    rule = "prepare_t1w"
    output = "t1w"


class Jacobian(ModalitySource):
    """The Jacobian determinant of the deformation, in template space."""

    name = "jacobian"
    columns = ("t1w",)
    rule = "jacobian"
    output = "{measure}"


class Tissue(ModalitySource):
    """The probability of a tissue."""

    name = "tissue"
    space = "t1w"
    rule = "segment_tissue"
    output = "{tissue}"

    def weights(self, declaration: Declaration) -> dict[str, Made]:
        """Return the absolute Jacobian where maps are modulated."""
        return {"jacobian": Made("jacobian", "absolute")} if declaration["modulate"] else {}

    def sentence(self, config: Config) -> str:
        """Return what the methods text says of the segmentation."""
        return "Grey matter, white matter and cerebrospinal fluid were segmented in each person's own space with template priors."

    def options(self, declaration: Declaration) -> list[str]:
        """Return words for modulation and smoothing."""
        smoothing = declaration["smooth_fwhm_mm"]
        return [
            *(["modulated"] if declaration["modulate"] else []),
            *([f"smoothed {smoothing:g} mm"] if smoothing else []),
        ]
