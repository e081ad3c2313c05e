"""The paper's cohort at its own size: simulated people in the layout of HCP S1200, to see what every rule takes.

    python tests/benchmarks/full_size.py make FOLDER [--people 6] [--t1w-mm 0.7]
    python tests/benchmarks/full_size.py table STUDY CONFIG ... [--t1w-mm 0.7]

`make` writes FOLDER/HCP_1200 (T1w images of 260x311x260 voxels of 0.7 mm; diffusion data of 145x174x145 voxels of 1.25 mm, 18 volumes without
weighting and 90 of each of the b-values 1000, 2000 and 3000, in T1w space) and two files with the 51 variables of 300 people, of whom the first
have images. Two minutes of a core, 8 GB of memory and 0.5 GB of disk for each person. The study is then run as a user would, with the paths of
config/hcp.yaml changed and full_size.yaml for fewer epochs, folds and iterations:

    snakemake -s Snakefile --directory STUDY --configfile config/config.yaml STUDY/hcp.yaml tests/benchmarks/full_size.yaml --cores 2

`table` compares what the jobs of each rule took (STUDY/benchmarks) with what resources/costs.yaml predicts and with what the rule asks for.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import yaml
from scipy import ndimage
from snakemake.utils import update_config

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "papers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real"))

import cohorts

from neurostrata.simulation.images.anatomy import Head, make_anatomy
from neurostrata.simulation.images.diffusion import make_diffusion, make_microstructure
from neurostrata.simulation.images.diffusion_signal import demo_scheme, format_fsl
from neurostrata.simulation.images.regions import make_regions
from neurostrata.simulation.images.t1w import make_t1w
from neurostrata.simulation.images.templates import load_templates
from neurostrata.simulation.people.effects import plant
from neurostrata.simulation.people.people import Settings, make_people

ROOT = Path(__file__).resolve().parents[2]
#: Grids of HCP S1200's files.
T1W_SHAPE_07, T1W_MM = (260, 311, 260), 0.7
DWI_SHAPE, DWI_MM = (145, 174, 145), 1.25
SHELLS, DIRECTIONS, UNWEIGHTED = (1000.0, 2000.0, 3000.0), 90, 18
#: People with questionnaires, with and without images.
ASKED = 300


def on_grid(data: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the image with its brain in the middle of a grid of that shape and of the same voxels, 0 elsewhere."""
    box = ndimage.find_objects((data.reshape(*data.shape[:3], -1)[..., 0] > 0).astype(np.uint8))[0]
    brain = data[box]
    before = [(wanted - side) // 2 for wanted, side in zip(shape, brain.shape)]
    if min(before) < 0:
        raise SystemExit(f"a brain of {brain.shape[:3]} voxels does not fit into {shape}")
    result = np.zeros((*shape, *data.shape[3:]), dtype=data.dtype)
    result[tuple(slice(first, first + side) for first, side in zip(before, brain.shape))] = brain
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [part.start - first for part, first in zip(box, before)]
    return result, moved


def write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


def make(folder: Path, people: int, t1w_mm: float) -> None:
    """Write the images of people who are not there yet, and the two files of variables."""
    settings = Settings(
        people=max(people, 3), resolution_mm=t1w_mm, dwi_resolution_mm=DWI_MM, directions=DIRECTIONS, seed=1
    )
    members = [
        dataclasses.replace(person, has_dwi=True, bad_scan=False) for person in make_people(settings)[:people]
    ]
    templates = load_templates()
    regions = make_regions(templates)
    head = Head(templates, regions, plant(regions, np.bincount([p.label for p in members], minlength=3), 1.0))
    common = make_microstructure(templates)
    bvals, bvecs = scheme = demo_scheme(DIRECTIONS, SHELLS, UNWEIGHTED)
    hcp = folder / "HCP_1200"
    ids = [str(100206 + 101 * number) for number in range(ASKED)]
    for person, subject in zip(members, ids):
        home, started = hcp / subject / "T1w", time.monotonic()
        if (home / "Diffusion/nodif_brain_mask.nii.gz").exists():
            continue
        anatomy = make_anatomy(person, settings.seed, head)
        image, mask, affine = make_t1w(person, settings, head, anatomy)
        shape = tuple(round(side * T1W_MM / t1w_mm) for side in T1W_SHAPE_07)
        for name, part in (("T1w_acpc_dc_restore", image.astype(np.float32)), ("brainmask_fs", mask)):
            write(home / f"{name}.nii.gz", *on_grid(part, affine, shape))
        scan = make_diffusion(person, settings, head, common, anatomy, scheme)
        # HCP's diffusion data are in the space of the T1w image, which their headers can say
        place = np.linalg.inv(scan.from_t1w) @ scan.affine
        write(home / "Diffusion/data.nii.gz", *on_grid(scan.dwi.astype(np.float32), place, DWI_SHAPE))
        for name, text in zip(("bvals", "bvecs"), format_fsl(bvals, bvecs * [-1.0, 1.0, 1.0] + 0.0)):
            (home / "Diffusion" / name).write_text(text, encoding="ascii")
        write(home / "Diffusion/nodif_brain_mask.nii.gz", *on_grid(scan.mask, place, DWI_SHAPE))
        print(f"{subject}: {time.monotonic() - started:.0f} s", flush=True)
    cohorts.dimitri(folder, pd.DataFrame({"subject": ids}))
    table = pd.read_csv(folder / "hcp_phenotypes.tsv", sep="\t").rename(columns={"subject": "Subject"})
    (folder / "hcp_phenotypes.tsv").unlink()
    which = pd.read_csv(ROOT / "resources/hcp_phenotypes.tsv", sep="\t").set_index("column")["hcp_file"]
    for file in ("unrestricted", "restricted"):
        table[["Subject", *which.index[which == file]]].to_csv(hcp / f"{file}.csv", index=False)


def table(study: Path, configs: list[Path], t1w_mm: float) -> list[str]:
    """Return rows of the table: of every stage on images, predicted, measured and asked for; of the others what was measured."""
    from evaluate_ixi import costs

    from neurostrata.core.config import fill_config
    from neurostrata.planning.cost import Images, Sizes, Work, amount, imagined, measured
    from neurostrata.planning.requests import Requests

    config: dict[str, Any] = {}
    for path in configs:
        update_config(config, yaml.safe_load(path.read_text()))
    people = len((study / "results/cohort/groups/people.tsv").read_text().splitlines()) - 1
    images = Images(t1w_mm, DWI_MM, UNWEIGHTED + DIRECTIONS * len(SHELLS))
    sizes = Sizes(imagined(fill_config(config | {"cohort": {"sheet": "cohort.tsv"}}), people), images)
    asked, rows = Requests(sizes), []
    asking = re.findall(
        r'REQUESTS.memory\("(\w+)"\)', "".join(p.read_text() for p in (ROOT / "workflow/rules").glob("*.smk"))
    )
    for rule, took in sorted(costs(study / "benchmarks").items(), key=lambda item: -item[1]["cpu_s"]):
        each = took["cpu_s"] / took["jobs"]
        if rule in asking:
            stage = measured()["stages"][rule]
            cpu, memory = (amount(stage[what], sizes.of(Work(rule))) for what in ("cpu_s", "memory_mb"))
            rows.append(
                f"| {rule} | {took['jobs']} | {cpu:.0f} | {each:.0f} | {memory:.0f} | {took['max_rss_mb']:.0f} "
                f"| {asked.memory(rule)(None, attempt=1):,} | {asked.runtime(rule)(None, attempt=1)} |"
            )
        elif each * took["jobs"] > 30 or took["max_rss_mb"] > 1000:
            rows.append(f"| {rule} | {took['jobs']} | | {each:.0f} | | {took['max_rss_mb']:.0f} | | |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("make")
    first.add_argument("folder", type=Path)
    first.add_argument("--people", type=int, default=6)
    first.add_argument("--t1w-mm", type=float, default=T1W_MM)
    second = commands.add_parser("table")
    second.add_argument("study", type=Path)
    second.add_argument("config", type=Path, nargs="+")
    second.add_argument("--t1w-mm", type=float, default=T1W_MM)
    arguments = parser.parse_args()
    if arguments.command == "table":
        print("\n".join(table(arguments.study, arguments.config, arguments.t1w_mm)))
        return
    make(arguments.folder, arguments.people, arguments.t1w_mm)


if __name__ == "__main__":
    main()
