"""Corrupt real brains in six ways, and see who is found by the measures of quality, and who is flagged for nothing.

    python tests/real/evaluate_quality.py DATA FOLDER [--table docs/tables/quality-corrupted.tsv]

Everybody of IXI is registered twice: as scanned, and corrupted in one way (10 people each). Then ten cohorts of 60 people, in each
of which six are corrupted, one in every way, are compared as the workflow compares them. About ten seconds of a core for each of the
120 registrations; what is in FOLDER is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/fixtures"))

from template_steps import build_template

from neurostrata.core.config import section_defaults
from neurostrata.core.tables import read_table
from neurostrata.imaging.anatomy import commands as anatomy
from neurostrata.imaging.images.io import Grid, Image, read_image, write_image
from neurostrata.imaging.quality.commands import measure_quality
from neurostrata.imaging.quality.registry import find_measure
from neurostrata.imaging.registration import commands as registration
from neurostrata.quality.deviations import Rules, compare_everybody

#: People of the template, evenly over the list.
TEMPLATE_PEOPLE = 8


class Case(NamedTuple):
    """A person, as scanned or corrupted.

    Attributes
    ----------
    subject, kind
        Of whom, and how it is corrupted; "clean" is not at all.
    draw
        Number of the draw in which a corrupted person takes the place of the clean one; -1 for clean ones.
    other
        Whose brain mask is used, for the kind "mask".
    """

    subject: str
    kind: str
    draw: int
    other: str

    @property
    def name(self) -> str:
        """Name of the case's folder."""
        return self.subject if self.kind == "clean" else f"{self.subject}-{self.kind}"


def rotated(image: Image, rng: np.random.Generator, other: Image) -> tuple[Image, str]:
    """Turn the header's axes by 25 to 60 degrees about one of the world's axes."""
    axis, degrees = int(rng.integers(3)), float(rng.uniform(25, 60) * rng.choice([-1, 1]))
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(4)
    i, j = (k for k in range(3) if k != axis)
    turn[i, i], turn[j, j], turn[i, j], turn[j, i] = cosine, cosine, -sine, sine
    return Image(
        image.data, Grid(image.grid.shape, turn @ image.grid.affine)
    ), f"{'xyz'[axis]} {degrees:.0f} degrees"


def cropped(image: Image, rng: np.random.Generator, other: Image) -> tuple[Image, str]:
    """Cut 12 to 25 mm off the vertex, as a field of view that was placed too low does."""
    height, missing = image.grid.points()[..., 2], float(rng.uniform(12, 25))
    top = height[image.data > 0].max()
    return Image(np.where(height > top - missing, 0, image.data), image.grid), f"{missing:.0f} mm"


def noisy(image: Image, rng: np.random.Generator, other: Image) -> tuple[Image, str]:
    """Add Rician noise with 8 to 15% of white matter's intensity."""
    inside = image.data > 0
    share = float(rng.uniform(0.08, 0.15))
    real, imaginary = rng.normal(0, share * np.percentile(image.data[inside], 90), (2, *image.data.shape))
    return Image(np.hypot(image.data + real, imaginary) * inside, image.grid), f"{100 * share:.0f}%"


def masked(image: Image, rng: np.random.Generator, other: Image) -> tuple[Image, str]:
    """Extract the brain with another person's mask, moved to the same centre."""
    theirs = (other.data > 0).astype(float)
    shift = np.subtract(ndimage.center_of_mass(image.data > 0), ndimage.center_of_mass(theirs))
    kept = ndimage.shift(theirs, shift, order=1) > 0.5
    lost = 1 - (image.data[kept] > 0).sum() / (image.data > 0).sum()
    return Image(image.data * kept, image.grid), f"{100 * lost:.0f}% of the brain lost"


def blurred(image: Image, rng: np.random.Generator, other: Image) -> tuple[Image, str]:
    """Smooth by 4 to 6 mm (full width at half maximum)."""
    width = float(rng.uniform(4, 6))
    smooth = ndimage.gaussian_filter(image.data, width / 2.3548 / image.grid.spacing)
    return Image(smooth * (image.data > 0), image.grid), f"{width:.1f} mm"


def ghosted(image: Image, rng: np.random.Generator, other: Image) -> tuple[Image, str]:
    """Add copies on both sides along one axis, each 7.5 to 15% as strong as the brain; they are seen in the brain alone."""
    axis, strength, shift = int(rng.integers(2)), float(rng.uniform(0.15, 0.3)), int(rng.integers(15, 42))
    copies = 0.5 * (np.roll(image.data, shift, axis) + np.roll(image.data, -shift, axis))
    ghost = (image.data + strength * copies) * (image.data > 0)
    return Image(ghost, image.grid), f"axis {axis}, {shift} voxels, 2 x {50 * strength:.0f}%"


KINDS: dict[str, Callable[[Image, np.random.Generator, Image], tuple[Image, str]]] = {
    "rotated header": rotated,
    "cropped vertex": cropped,
    "added noise": noisy,
    "other person's mask": masked,
    "blurred": blurred,
    "ghosted": ghosted,
}


def cases(data: Path, seed: int = 1) -> list[Case]:
    """Return everybody as scanned, and everybody once more, corrupted: ten draws of six people, one of each kind."""
    people = sorted(pd.read_csv(data / "ixi/participants.tsv", sep="\t", dtype=str)["subject"])
    rng = np.random.default_rng(seed)
    order = rng.permutation(people)
    found = [Case(subject, "clean", -1, "") for subject in people]
    for number, subject in enumerate(order):
        other = str(rng.choice([one for one in people if one != subject]))
        found.append(Case(str(subject), list(KINDS)[number % len(KINDS)], number // len(KINDS), other))
    return found


def _read(data: Path, subject: str) -> Image:
    return read_image(data / "ixi/t1w" / f"{subject}_T1w.nii.gz", subject=subject)


def _common() -> dict[str, int]:
    return {"seed": 1, "version": 1}


def template(data: Path, folder: Path) -> Path:
    """Build the template of some of the people as scanned, unless it is there, and return its folder."""
    home = folder / "template"
    if (home / "csf.json").exists():
        return home
    home.mkdir(parents=True, exist_ok=True)
    people = sorted({case.subject for case in cases(data)})
    chosen = [people[int(i)] for i in np.linspace(0, len(people) - 1, TEMPLATE_PEOPLE)]
    settings = {
        **section_defaults("template"),
        **_common(),
        "registration": section_defaults("registration"),
        "tolerance": None,
        "resolution_mm": 2.0,
        "coarse_iterations": 1,
    }
    for subject in chosen:
        anatomy.prepare_t1w(
            t1w=data / f"ixi/t1w/{subject}_T1w.nii.gz",
            subject=subject,
            output=home / f"{subject}_t1w.nii.gz",
            mask=home / f"{subject}_initial.nii.gz",
            settings={**section_defaults("anatomy"), **_common()},
        )
    build_template(home, chosen, settings, iterations=3)
    return home


def register(data: Path, folder: Path, case: Case, home: Path) -> Path:
    """Run the stages of one person, unless they have run, and return the folder with their results."""
    place = folder / "people" / case.name.replace(" ", "_").replace("'", "")
    if (place / "absolute.json").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    image, how = _read(data, case.subject), ""
    if case.kind != "clean":
        seed = [int(case.subject.removeprefix("IXI")), list(KINDS).index(case.kind)]
        other = _read(data, case.other)
        image, how = KINDS[case.kind](image, np.random.default_rng(seed), other)
    write_image(place / "raw.nii.gz", image.data, image.grid)
    (place / "how.txt").write_text(how, encoding="utf-8")
    anatomy.prepare_t1w(
        t1w=place / "raw.nii.gz",
        subject=case.subject,
        output=place / "t1w.nii.gz",
        mask=place / "initial.nii.gz",
        settings={**section_defaults("anatomy"), **_common()},
    )
    registration.register(
        t1w=place / "t1w.nii.gz",
        initial_mask=place / "initial.nii.gz",
        template=home / "template.nii.gz",
        template_mask=home / "mask.nii.gz",
        subject=case.subject,
        affine=place / "affine.mat",
        warp=place / "warp.nii.gz",
        inverse_warp=place / "inverse.nii.gz",
        warped=place / "warped.nii.gz",
        mask=place / "mask.nii.gz",
        settings={**section_defaults("registration"), **_common()},
    )
    anatomy.jacobian(
        affine=place / "affine.mat",
        warp=place / "warp.nii.gz",
        subject=case.subject,
        nonlinear=place / "nonlinear.nii.gz",
        absolute=place / "absolute.nii.gz",
        settings=_common(),
    )
    return place


def in_turn(found: list[Case]) -> list[Case]:
    """Return clean and corrupted people alternately, so that a part of them already says something."""
    half = len(found) // 2
    return [case for pair in zip(found[:half], found[half:]) for case in pair]


def measure(place: Path, home: Path) -> pd.Series:
    """Return a person's measures, taken unless they are there."""
    table = place / "quality.tsv"
    if not table.exists():
        measure_quality(
            subject=place.name,
            output=table,
            template=home / "template.nii.gz",
            template_mask=home / "mask.nii.gz",
            grey=home / "gm.nii.gz",
            white=home / "wm.nii.gz",
            fluid=home / "csf.nii.gz",
            raw=place / "raw.nii.gz",
            t1w=place / "t1w.nii.gz",
            mask=place / "mask.nii.gz",
            affine=place / "affine.mat",
            warp=place / "warp.nii.gz",
            inverse_warp=place / "inverse.nii.gz",
            warped=place / "warped.nii.gz",
            jacobian=place / "nonlinear.nii.gz",
            settings={},
        )
    return read_table(table).set_index("measure")["value"]


def flags(measured: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Return whom which measure flags in a cohort, by the rules of the workflow: subject, measure, z."""
    tables = [
        one.table()
        for one in compare_everybody(
            measured,
            {name: find_measure(name) for name in measured},
            people,
            Rules.of(section_defaults("quality")),
        )
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[table["flagged"] == "true"]


def evaluate(found: list[Case], values: dict[Case, pd.Series], people: pd.DataFrame) -> pd.DataFrame:
    """Return what is found in the draws: a row per corrupted person, and one per draw for the others."""
    clean = {case.subject: case for case in found if case.kind == "clean" and case in values}
    rows = []
    for draw in [-1, *sorted({case.draw for case in found if case.kind != "clean"})]:
        corrupted = {
            case.subject: case
            for case in found
            if case.draw == draw and case.kind != "clean" and case in values
        }
        cohort = pd.DataFrame({s: values[case] for s, case in {**clean, **corrupted}.items()}).T
        flagged = flags(cohort, people)
        for subject, case in corrupted.items():
            mine = flagged[flagged["subject"] == subject]
            worst = mine.loc[(mine["z"].abs() / mine["limit"]).sort_values().index[::-1], "measure"]
            rows.append(
                {
                    "draw": draw,
                    "kind": case.kind,
                    "subject": subject,
                    "people": 1,
                    "flagged": int(len(mine) > 0),
                    "measures": " ".join(worst),
                }
            )
        others = flagged[~flagged["subject"].isin(corrupted)]
        rows.append(
            {
                "draw": draw,
                "kind": "as scanned",
                "subject": " ".join(sorted(set(others["subject"]))),
                "people": len(cohort) - len(corrupted),
                "flagged": others["subject"].nunique(),
                "measures": " ".join(sorted(set(others["measure"]))),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with ixi/")
    parser.add_argument("folder", type=Path, help="what was made is kept here, and not made again")
    parser.add_argument(
        "--part", default="1/1", help="of the people: 2/3 is the second of three parts, for several machines"
    )
    parser.add_argument("--table", type=Path, help="where to write what was found")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    home = template(arguments.data, arguments.folder)
    part, parts = map(int, arguments.part.split("/"))
    found = in_turn(cases(arguments.data))
    values = {}
    for number, case in enumerate(found):
        if number % parts != part - 1:
            continue
        values[case] = measure(register(arguments.data, arguments.folder, case, home), home)
        print(f"{number + 1} of {len(found)}: {case.name}", flush=True)
    if parts > 1:
        return
    people = pd.read_csv(arguments.data / "ixi/participants.tsv", sep="\t", dtype={"subject": str}).set_index(
        "subject"
    )
    table = evaluate(found, values, people)
    every = table[table["draw"] >= 0].groupby("kind", sort=False)[["people", "flagged"]].sum()
    every["share"] = every["flagged"] / every["people"]
    print(every.to_string())
    if arguments.table:
        table.to_csv(arguments.table, sep="\t", index=False)


if __name__ == "__main__":
    main()
