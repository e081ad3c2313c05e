"""Modalities made from the T1-weighted image: the image, Jacobian determinants, tissue probabilities."""

from __future__ import annotations

from neurostrata.cohort.sources.source import Config, Declaration, Made, ModalitySource
from neurostrata.core.wording import join_words


def _used(config: Config, source: str) -> dict[str, Declaration]:
    """Return the modalities of a source that experiments use."""
    names = {modality for experiment in config["experiments"] for modality in experiment["modalities"]}
    return {name: d for name, d in config["modalities"].items() if d["from"] == source and name in names}


class T1w(ModalitySource):
    """The bias-corrected T1-weighted image."""

    name = "t1w"
    space = "t1w"
    rule = "prepare_t1w"
    output = "t1w"

    def options(self, declaration: Declaration) -> list[str]:
        """Say whether the map is relative to the brain's mean."""
        return ["relative to the brain's mean"] if declaration.get("intensity") == "brain" else []

    def note(self, declaration: Declaration) -> str:
        """Say that the scanners' units count, unless the study chose that."""
        if "intensity" in declaration:
            return ""
        return (
            "the images keep their scanners' units, so that a brighter scan counts as a difference between people; "
            "'intensity: brain' divides each by its brain's mean, 'intensity: none' leaves them so without this note"
        )


class Jacobian(ModalitySource):
    """The Jacobian determinant of the deformation, in template space."""

    name = "jacobian"
    columns = ("t1w",)
    rule = "jacobian"
    output = "{measure}"

    def sentence(self, config: Config) -> str:
        """Return what the methods text says of the Jacobian determinants."""
        parts = {
            "nonlinear": "of the non-linear part of the last deformation",
            "absolute": "of the whole last deformation, its affine part included",
        }
        said = [f"{name.upper()} {parts[d['measure']]}" for name, d in _used(config, self.name).items()]
        return (
            f"Jacobian determinants are in template space ({join_words(said)}); values above 1 mean that the person's region is "
            "larger than the template's."
        )


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
        text = "Grey matter, white matter and cerebrospinal fluid were segmented in each person's own space with template priors."
        for name, declaration in _used(config, self.name).items():
            done = []
            if declaration["modulate"]:
                done.append("multiplied by the Jacobian determinant of the whole deformation (modulated)")
            if declaration["smooth_fwhm_mm"]:
                done.append(
                    f"smoothed with a Gaussian of {declaration['smooth_fwhm_mm']:g} mm full width at half maximum"
                )
            if done:
                text += f" {name.upper()} was {join_words(done)}."
        return text

    def options(self, declaration: Declaration) -> list[str]:
        """Return words for modulation and smoothing."""
        smoothing = declaration["smooth_fwhm_mm"]
        return [
            *(["modulated"] if declaration["modulate"] else []),
            *([f"smoothed {smoothing:g} mm"] if smoothing else []),
        ]
