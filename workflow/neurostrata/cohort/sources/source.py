"""What the workflow must know of one source of modalities. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Declaration = Mapping[str, Any]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """An output of a rule: the rule, and the name of the output ("" for the only one)."""

    rule: str
    output: str = ""


@dataclass(frozen=True)
class SheetImage:
    """What the gate expects of the image in a column of the cohort sheet that a declaration names.

    Attributes
    ----------
    column
        Name of the column.
    volumes
        Number of volumes; None for a series.
    finite
        Whether NaN and infinite voxels are refused.
    varies
        Whether an image with one value everywhere, or the same image for two people, is refused.
    mask
        Whether it is a mask, whose values are from 0 to 1.
    least
        Of a series: its fewest volumes.
    """

    column: str
    volumes: int | None
    finite: bool
    varies: bool = True
    mask: bool = False
    least: int = 2


class ModalitySource:
    """One source of modalities: the value of `from` in a declaration of the section `modalities`.

    A further source is a subclass, and a block in ``modalities.schema.yaml`` with the subclass as `class` and its keys. A source whose images are made by the workflow also needs the rule that makes them.
    """

    #: The value of `from`.
    name: str
    #: Where the image is, unless the declaration has a `space`: t1w, dwi, template or mni.
    space: str = "template"
    #: Columns of the cohort sheet that a person must have, beside `t1w` where the image is in T1w or dwi space.
    columns: tuple[str, ...] = ()
    #: The rule that makes the image; None where the cohort sheet names the image.
    rule: str | None = None
    #: The name of the rule's output with the image, keys of the declaration in braces.
    output: str = ""
    #: Whether the gate checks that the diffusion data have several shells.
    several_shells: bool = False

    def space_of(self, declaration: Declaration) -> str:
        """Return where the image of a declaration is: t1w, dwi, template or mni."""
        return declaration.get("space", self.space)

    def required_columns(self, declaration: Declaration) -> tuple[str, ...]:
        """Return the columns of the cohort sheet that a person must have."""
        t1w = ("t1w",) if self.space_of(declaration) in ("t1w", "dwi") else ()
        image = self.sheet_image(declaration)
        return (*t1w, *self.columns, *([image.column] if image else []))

    def further_columns(self, config: Config) -> tuple[str, ...]:
        """Return the columns that are used where a person has them, beside the masks of T1w and dwi."""
        return ()

    def sheet_image(self, declaration: Declaration) -> SheetImage | None:
        """Return what is expected of the image that the declaration's own column holds, None without such a column."""
        return None

    def image(self, declaration: Declaration) -> Made | None:
        """Return what makes the image; None where the cohort sheet names the image."""
        return Made(self.rule, self.output.format_map(declaration)) if self.rule else None

    def weights(self, declaration: Declaration) -> dict[str, Made]:
        """Return further images that the map is weighted by: inputs `jacobian` and `fwf` of ``map_to_template``."""
        return {}

    def engine(self, config: Config) -> str | None:
        """Return which engine makes the image, None where there is no choice."""
        return None

    def environment(self, config: Config) -> str | None:
        """Return the environment (``envs/NAME.yaml``) of the rule where the engine decides it, else None."""
        return None

    def sentence(self, config: Config) -> str:
        """Return what the methods text says of the image, "" for nothing."""
        return ""

    def options(self, declaration: Declaration) -> list[str]:
        """Return words for the options of a declaration that change its maps."""
        return []

    def note(self, declaration: Declaration) -> str:
        """Return what a person should know of the maps where a model does not scale each volume by itself, "" for nothing."""
        return ""

    def words(self, declaration: Declaration) -> list[str]:
        """Return words for what a modality is made from."""
        words = [
            self.name,
            *(declaration[key] for key in ("measure", "tissue", "column") if key in declaration),
        ]
        if "component" in declaration:
            words.append(f"component {declaration['component'] + 1}")
        return [*words, *self.options(declaration)]
