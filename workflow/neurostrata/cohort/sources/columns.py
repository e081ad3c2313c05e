"""Modalities from images that a column of the cohort sheet names: the images themselves, and dual regression."""

from __future__ import annotations

from neurostrata.cohort.sources.source import Config, Declaration, ModalitySource, SheetImage


class Column(ModalitySource):
    """Any image that a column of the cohort sheet names."""

    name = "column"
    space = "t1w"

    def sheet_image(self, declaration: Declaration) -> SheetImage:
        """Return what is expected of the image: the declared number of volumes; a lesion mask may be empty."""
        return SheetImage(
            declaration["column"],
            volumes=declaration.get("components") or 1,
            finite=self.space_of(declaration) != "mni",
            varies=declaration.get("kind") != "mask",
            mask=declaration.get("kind") == "mask",
        )


class DualRegression(ModalitySource):
    """A person's version of a group's spatial components, found in the person's BOLD series."""

    name = "dual_regression"
    rule = "dual_regression"
    output = "maps"

    def sheet_image(self, declaration: Declaration) -> SheetImage:
        """Return what is expected of the BOLD series: more volumes than the components and a mean use up."""
        return SheetImage(
            declaration["column"], volumes=None, finite=False, least=declaration["components"] + 2
        )

    def sentence(self, config: Config) -> str:
        """Return what the methods text says of the dual regression."""
        return (
            "Component maps of each person were found by dual regression of a group's spatial components on the person's BOLD "
            "series (Nickerson et al. 2017)."
        )
