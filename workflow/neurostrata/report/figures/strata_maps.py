"""Figures of where strata differ: effect sizes on the template, means and spreads, decoded centres.

Effects are drawn in two ways. Dual-coded, colour says the effect and opacity its size, and a line runs round what reaches the
threshold, so that nothing is hidden (Taylor et al. 2023, "Highlight results, don't hide them", NeuroImage 274:120138);
thresholded, only what reaches it is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from neurostrata.report.figures.film import SIGNED, Bar, Cut, Layer, Panel, Placed, box_of, draw_film

#: Strata in one figure at most.
ROWS = 6
#: Height of the cuts that all figures share, as a share of the brain's extent: axial from below, coronal from behind.
_FIXED = ((2, 0.6), (1, 0.45))
#: Effects are coloured by this power of their size, so that those near the threshold are no darker than the template.
_POWER = 0.6
EFFECT_LABEL = "Hedges’ g: cluster minus all others"


@dataclass(frozen=True)
class Ground:
    """What maps are drawn on.

    Attributes
    ----------
    template
        The template, NaN outside the brain.
    mask
        Brain mask on the fusion grid.
    """

    template: Placed
    mask: Placed

    @property
    def box(self) -> list[tuple[float, float]]:
        """Range in mm that is shown."""
        return box_of(self.mask)

    def layer(self) -> Layer:
        """Return the template in grey."""
        values = self.template.data[np.isfinite(self.template.data)]
        low, high = (float(v) for v in np.percentile(values, [1, 99.5])) if values.size else (0.0, 1.0)
        if high <= low:  # the mask, where there is no template
            low = high - 1
        # darker than it is, so that colours stand out
        return Layer(self.template, "gray", low, low + 1.5 * (high - low))

    def fixed(self) -> list[Cut]:
        """Return the cuts that all figures share."""
        box = box_of(self.mask, 0)
        return [Cut(axis, box[axis][0] + share * (box[axis][1] - box[axis][0])) for axis, share in _FIXED]


def ground(template: Placed | None, brain: Placed | None, mask: Placed) -> Ground:
    """Return the ground: the template inside its brain mask, or the mask on the fusion grid where there is no template."""
    if template is None:
        template, brain = Placed((mask.data > 0).astype(np.float32), mask.affine), mask
    data = template.data
    if brain is not None and brain.data.shape == data.shape:
        data = np.where(brain.data > 0, data, np.nan)
    return Ground(Placed(data, template.affine), mask)


def scale_of(effects: Sequence[Placed]) -> float:
    """Return the effect at which all maps' colours end: the 99.5th percentile of sizes, at least 1, in steps of 0.5."""
    values = np.concatenate([np.abs(e.data[e.data != 0]) for e in effects]) if effects else np.array([])
    return float(max(1.0, np.ceil(2 * np.percentile(values, 99.5)) / 2)) if values.size else 1.0


def strongest(effect: Placed, sign: int) -> list[Cut]:
    """Return an axial, a coronal and a sagittal cut through the strongest effect of one sign.

    The map is smoothed by a voxel first: noise is large in single voxels.
    """
    smooth = ndimage.gaussian_filter(np.nan_to_num(effect.data) * sign, 1.0)
    index = np.unravel_index(int(np.argmax(np.where(effect.data != 0, smooth, -np.inf))), smooth.shape)
    return [Cut(axis, effect.position(axis, int(index[axis]))) for axis in (2, 1, 0)]


def effect_layer(effect: Placed, threshold: float, high: float, *, hidden: bool = False) -> Layer:
    """Return an effect map: faint below the threshold and with a line round the rest, or (`hidden`) the rest alone."""
    size = np.abs(np.nan_to_num(effect.data))
    shown = size >= threshold
    opacity = shown.astype(float) if hidden else np.where(shown, 1.0, 0.75 * (size / threshold) ** 1.5)
    lines = () if hidden else (threshold, -threshold)
    return Layer(effect, SIGNED, -high, high, _POWER, opacity, lines)


def effect_bar(threshold: float, high: float) -> Bar:
    """Return the colour bar of effects."""
    return Bar(SIGNED, -high, high, EFFECT_LABEL, (-high, -threshold, threshold, high), _POWER)


def effect_figure(effect: Placed, under: Ground, threshold: float, high: float) -> Figure:
    """Draw one stratum's effects in one modality, dual-coded: cuts through the strongest of both signs, and fixed ones.

    Parameters
    ----------
    effect
        Hedges' g, 0 outside the mask.
    under
        What it is drawn on.
    threshold
        Effects of at least this size are opaque and have a line round them.
    high
        Effect at which colours end, of all strata.
    """
    fixed = under.fixed()
    rows = []
    for number, sign in enumerate((1, -1)):
        cuts = [*strongest(effect, sign), fixed[number]]
        layers = (under.layer(), effect_layer(effect, threshold, high))
        rows.append([Panel(cut, layers, cut.words) for cut in cuts])
    return draw_film(
        rows,
        under.box,
        names=["Through the largest positive effect", "Through the largest negative effect"],
        bars=[effect_bar(threshold, high)],
    )


def thresholded_figure(effects: Mapping[str, Placed], under: Ground, threshold: float, high: float) -> Figure:
    """Draw several strata's effects in one modality, only those of at least the threshold, on the same cuts.

    Parameters
    ----------
    effects
        Name of the stratum -> Hedges' g.
    under, threshold, high
        As in :func:`effect_figure`.
    """
    first = next(iter(effects.values()))
    together = Placed(np.max([np.abs(e.data) for e in effects.values()], axis=0), first.affine)
    cuts = [*strongest(together, 1), under.fixed()[0]]
    rows = [
        [
            Panel(
                cut,
                (under.layer(), effect_layer(effect, threshold, high, hidden=True)),
                cut.words if last else "",
            )
            for cut in cuts
        ]
        for effect, last in zip(effects.values(), [False] * (len(effects) - 1) + [True])
    ]
    return draw_film(rows, under.box, names=list(effects), bars=[effect_bar(threshold, high)])


def _window(images: Sequence[Placed], mask: Placed) -> tuple[float, float]:
    values = np.concatenate([image.data[mask.data > 0] for image in images])
    low, high = (float(v) for v in np.percentile(values, [1, 99]))
    return (low, high) if high > low else (low, low + 1.0)


def _inside(image: Placed, mask: Placed) -> Placed:
    return Placed(np.where(mask.data > 0, image.data, np.nan), image.affine)


def means_figure(
    means: Mapping[str, Placed], spreads: Mapping[str, Placed], under: Ground, unit: str
) -> Figure:
    """Draw several strata's mean images and standard deviations in one modality, on the same cuts and scales.

    Parameters
    ----------
    means, spreads
        Name of the stratum -> image on the fusion grid.
    under
        Its mask and cuts.
    unit
        What the values are, for the colour bars.
    """
    low, high = _window(list(means.values()), under.mask)
    least, most = _window(list(spreads.values()), under.mask) if spreads else (0.0, 1.0)
    cuts = under.fixed()
    rows = []
    for position, (name, mean) in enumerate(means.items()):
        row = [Panel(cut, (Layer(_inside(mean, under.mask), "viridis", low, high),),
                     title="mean" if position == 0 else "") for cut in cuts]  # fmt: skip
        if name in spreads:
            spread = _inside(spreads[name], under.mask)
            row += [Panel(cut, (Layer(spread, "magma", least, most),), title="standard deviation" if position == 0 else "")
                    for cut in cuts]  # fmt: skip
        rows.append(row)
    bars = [Bar("viridis", low, high, f"mean, {unit}")]
    bars += [Bar("magma", least, most, f"standard deviation, {unit}")] if spreads else []
    return draw_film(rows, under.box, names=list(means), bars=bars)


def decoded_figure(
    means: Mapping[str, Placed], decoded: Mapping[str, Placed], cuts: Mapping[str, Cut], under: Ground
) -> Figure:
    """Draw each stratum's mean image, its decoded centre, and their difference, in one modality.

    Parameters
    ----------
    means, decoded
        Name of the stratum -> image, scaled as the model saw it.
    cuts
        Name -> where it is cut.
    under
        Its mask.
    """
    low, high = _window(list(means.values()), under.mask)
    apart = {name: Placed(decoded[name].data - mean.data, mean.affine) for name, mean in means.items()}
    values = np.concatenate([np.abs(image.data[under.mask.data > 0]) for image in apart.values()])
    most = float(np.percentile(values, 99)) or 1e-6
    rows = []
    for position, (name, mean) in enumerate(means.items()):
        layers = {
            "mean image": Layer(_inside(mean, under.mask), "viridis", low, high),
            "decoded centre": Layer(_inside(decoded[name], under.mask), "viridis", low, high),
            "decoded − mean": Layer(_inside(apart[name], under.mask), SIGNED, -most, most),
        }
        rows.append(
            [
                Panel(
                    cuts[name],
                    (layer,),
                    cuts[name].words if kind == "decoded centre" else "",
                    title=kind if position == 0 else "",
                )
                for kind, layer in layers.items()
            ]
        )
    bars = [Bar("viridis", low, high, "scaled intensity"), Bar(SIGNED, -most, most, "decoded − mean")]
    return draw_film(rows, under.box, names=list(means), bars=bars)


def overview_figure(
    effects: Mapping[str, Mapping[str, Placed]], under: Ground, threshold: float, high: float
) -> Figure:
    """Draw the strata of an experiment in one small picture: a row for each modality, an axial cut for each stratum.

    A single stratum is cut in all three planes.

    Parameters
    ----------
    effects
        Modality -> name of the stratum -> Hedges' g.
    under, threshold, high
        As in :func:`effect_figure`.
    """
    rows = []
    for position, strata in enumerate(effects.values()):
        row = []
        for name, effect in strata.items():
            sizes = Placed(np.abs(effect.data), effect.affine)
            cuts = strongest(sizes, 1)
            if len(strata) == 1:  # there is room for all three
                layers = (under.layer(), effect_layer(effect, threshold, high))
                titles = ["", name, ""] if position == 0 else [""] * 3
                row += [Panel(cut, layers, title=title) for cut, title in zip(cuts, titles)]
                continue
            cut = cuts[0]
            row.append(
                Panel(
                    cut,
                    (under.layer(), effect_layer(effect, threshold, high)),
                    title=name if position == 0 else "",
                )
            )
        rows.append(row)
    return draw_film(rows, under.box, names=list(effects), bars=[effect_bar(threshold, high)], width=4.2)
