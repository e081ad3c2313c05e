"""What is measured of each person's images: words, unit and bad side of every measure.

A measure is one number per person. :data:`MEASURES` has those of fixed names; measures of each modality's map have the modality in
their name (``map_mean_fa``) and are made by :func:`find_measure`. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Group = Literal["scan", "placement", "brain", "diffusion", "maps", "model"]
Side = Literal["low", "high", "both"]
#: 1.4826 times the median absolute deviation estimates the standard deviation of a normal distribution.
MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Measure:
    """One measure of a person's images.

    Attributes
    ----------
    name
        As in the tables.
    words
        One sentence: what it is and what an unusual value means.
    group
        What it is about: the scan itself, its placement on the template, the brain's size, diffusion data, maps on the fusion
        grid, or a model's view of the person.
    unit
        "1" for a number without a unit.
    bad
        The side on which quality is bad: "low", "high" or "both".
    logarithm
        Whether people are compared by the logarithm, since the values of good images are skewed. Such values are above 0, or at 0
        as low as can be.
    tolerance
        Differences from what is expected that are smaller than this are of no interest, however alike the others are; in the unit,
        or of the natural logarithm where people are compared by it.
    certain
        From this value on, in the unit, towards the bad side, images are in error whatever those of other people are; None where
        only others tell.
    """

    name: str
    words: str
    group: Group
    unit: str
    bad: Side
    logarithm: bool = False
    tolerance: float = 0.0
    certain: float | None = None


def _named(*measures: Measure) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


# fmt: off
#: Name -> measure, in the order of the tables.
MEASURES = _named(
    Measure("noise", "Standard deviation of the noise in homogeneous tissue, as a share of white matter's intensity; high in noisy scans.", "scan", "1", "high", True, 0.1),
    Measure("snr", "Intensity of white matter over its standard deviation there; low in noisy or uneven scans.", "scan", "1", "low", True, 0.1),
    Measure("cnr", "Difference of white and grey matter over their joint standard deviation; low where the tissues can hardly be told apart.", "scan", "1", "low", True, 0.1),
    Measure("cjv", "Sum of the standard deviations of grey and white matter over the difference of their means; high with noise, motion or an uneven field.", "scan", "1", "high", True, 0.1),
    Measure("sharpness", "How much finer detail there is than at 6 mm; low in blurred scans, for example after motion.", "scan", "1", "low", True, 0.02),
    Measure("ghosting", "How much a shifted copy of the brain stands out from chance inside the brain; high with ghosts of motion.", "scan", "standard deviations", "high", False, 0.5, certain=8.0),
    Measure("cut_off", "Area of the outermost 2 mm of the brain mask at its flattest end, as a share of its largest slice; high where the field of view cut the brain.", "scan", "1", "high", True, 0.2),
    Measure("bias_spread", "Spread of the bias field that was divided out, as standard deviation of its logarithm; high in unevenly received scans.", "scan", "1", "high", True, 0.1),
    Measure("similarity", "Correlation of the registered image with the template inside its mask; low after a failed registration.", "placement", "1", "low", False, 0.01),
    Measure("local_similarity", "Fifth percentile of the correlation with the template in neighbourhoods of 10 mm; low where a part of the brain is misplaced, damaged or missing.", "placement", "1", "low", False, 0.02),
    Measure("grey_overlap", "Dice overlap of the registered image's grey matter with the template's; low after a failed registration.", "placement", "1", "low", False, 0.01),
    Measure("white_overlap", "Dice overlap of the registered image's white matter with the template's; low after a failed registration.", "placement", "1", "low", False, 0.01),
    Measure("mask_overlap", "Dice overlap of the person's own brain mask with the template's, brought to the person; low where the brain was badly extracted or cut, or the registration failed.", "placement", "1", "low", False, 0.003),
    Measure("mask_cut", "Intensity of the template where the edge of the person's own brain mask lies deepest, as a share of the inside's; high where the mask cut off parts of the brain.", "placement", "1", "high", True, 0.02),
    Measure("mask_edge", "Intensity at the edge of the brain mask, as a share of white matter's; high where the mask cuts through the brain, low where it holds much else.", "placement", "1", "both", True, 0.05),
    Measure("rotation", "Angle by which the person's head is turned against the template; high with a wrong header.", "placement", "degrees", "high", False, 5.0),
    Measure("shear", "Largest over smallest stretch of the affine; high where it was distorted to fit.", "placement", "1", "high", True, 0.03),
    Measure("warp", "Median length of the deformation inside the brain; high where much had to be moved.", "placement", "mm", "high", True, 0.1),
    Measure("warp_spread", "Standard deviation of the logarithm of the Jacobian determinant; high where the deformation is rough.", "placement", "1", "high", True, 0.1),
    Measure("jacobian_low", "First percentile of the Jacobian determinant inside the brain; low where tissue was squeezed away.", "placement", "1", "low", True, 0.1),
    Measure("jacobian_high", "Ninety-ninth percentile of the Jacobian determinant inside the brain; high where tissue was blown up.", "placement", "1", "high", True, 0.1),
    Measure("folded", "Share of the brain in which the deformation folds; anything but almost none is an error.", "placement", "1", "high", False, 0.001),
    Measure("brain_volume", "Volume of the brain mask in the person's own space; unusual with a wrong mask or voxel size.", "brain", "ml", "both", True, 0.05),
    Measure("size", "Volume of the person's head relative to the template's, by the affine alone; unusual with a wrong voxel size.", "brain", "1", "both", True, 0.05),
    Measure("dwi_overlap", "Dice overlap of the brain masks of diffusion data and T1w image after their alignment; low where they are misaligned, of different people, or the diffusion data cover a part of the brain.", "diffusion", "1", "low", False, 0.005),
    Measure("dwi_information", "Mutual information of the image without diffusion weighting and the T1w image; low where they are misaligned.", "diffusion", "nats", "low", True, 0.05),
    Measure("fa_similarity", "Correlation of fractional anisotropy with the T1w image inside the brain; low where they are misaligned.", "diffusion", "1", "low", False, 0.02),
    Measure("dwi_movement", "Median distance by which the alignment moves the diffusion data; high where the headers of the two scans disagree.", "diffusion", "mm", "high", True, 1.0),
    Measure("dwi_snr", "Mean over standard deviation of the repeated volumes without diffusion weighting; low with noise and motion.", "diffusion", "1", "low", True, 0.1),
    Measure("dwi_residual", "Median misfit of the tensor, as a share of the signal without diffusion weighting; high with noise, motion, or gradients that do not belong to the data.", "diffusion", "1", "high", True, 0.05),
    Measure("dwi_outliers", "Share of the volumes that the tensor misses by far, or that lost the signal of slices; high with motion.", "diffusion", "1", "high", False, 0.02),
    Measure("direction_coherence", "How much better neighbouring fibre directions continue each other than with any axis of the gradients flipped or two swapped; below 0 the gradient table is wrong for these data.", "diffusion", "1", "low", False, 0.01),
    Measure("fibres_yy", "How far the fibre directions of the brain run from back to front (mean square of that component); unusual where the gradient table does not fit the image.", "diffusion", "1", "both", False, 0.02),
    Measure("fibres_zz", "How far the fibre directions of the brain run upwards (mean square of that component); unusual where the gradient table does not fit the image.", "diffusion", "1", "both", False, 0.02),
    Measure("fibres_xy", "How far the fibre directions of the brain turn outwards as they run forwards (mean product of the two components); unusual where the gradient table does not fit the image.", "diffusion", "1", "both", False, 0.02),
    Measure("fibres_xz", "How far the fibre directions of the brain turn outwards as they run upwards (mean product of the two components); unusual where the gradient table does not fit the image.", "diffusion", "1", "both", False, 0.02),
    Measure("fibres_yz", "How far the fibre directions of the brain turn forwards as they run upwards (mean product of the two components); unusual where the gradient table does not fit the image.", "diffusion", "1", "both", False, 0.02),
    Measure("dwi_volumes", "Number of diffusion volumes; unusual where a scan was cut short.", "diffusion", "volumes", "both", True, 0.02),
    Measure("dwi_shells", "Number of shells of b-values; unusual with another protocol.", "diffusion", "shells", "both", False, 0.5),
    Measure("dwi_smallest_shell", "Volumes of the smallest shell; unusual with another protocol or volumes that were taken out.", "diffusion", "volumes", "both", True, 0.02),
    Measure("noddi_residual", "Median misfit of NODDI, as a share of the signal without diffusion weighting; high with noise, motion, or maps that do not belong to the data.", "diffusion", "1", "high", True, 0.05),
)

#: Beginning of the names of measures of one modality's map -> measure, with the modality as {modality} in its words.
FAMILIES = _named(
    Measure("map_mean", "Mean of {modality} inside the brain on the fusion grid; unusual with another unit, a wrong fit or a failed registration.", "maps", "its own", "both", False, 0.0),
    Measure("map_spread", "Spread of {modality} inside the brain (robust standard deviation); unusual with noise or another unit.", "maps", "its own", "both", True, 0.05),
    Measure("map_unusual", "Share of the brain in which {modality} is outside its usual range; high with noise and failed fits.", "maps", "1", "high", False, 0.005),
    Measure("map_empty", "Share of the brain in which {modality} is 0 or missing; high where the field of view or the mask left out a part.", "maps", "1", "high", False, 0.01),
)
# fmt: on


def family_measure(family: str, modality: str) -> str:
    """Return the name of a family's measure of one modality."""
    return f"{family}_{modality}"


def find_measure(name: str) -> Measure:
    """Return a measure by its name, also one of a modality's map.

    Raises
    ------
    KeyError
        When there is no such measure.
    """
    if name in MEASURES:
        return MEASURES[name]
    family, _, modality = name.rpartition("_")
    found = FAMILIES[family]
    return replace(found, name=name, words=found.words.format(modality=modality.upper()))
