"""Damage done to the intermediates of a finished study, and what the stage that reads them does.

python tests/workflow/damage.py STUDY     # STUDY: a finished one as tests/small_study.py makes it; it is copied
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "workflow")]

from small_study import StudyFolder  # noqa: E402

TABLE = HERE.parents[1] / "docs" / "tables" / "reliability-damage.tsv"
COLUMNS = ("damage", "kind", "file", "read by", "with a record", "without a record")
ANAT = "results/derivatives/sub-01/anat/sub-01_"
JAC = "results/experiments/jac"
RAW, ADJUSTED = f"{JAC}/strata/raw/mixture", f"{JAC}/strata/adjusted/mixture"

#: What kind of file, which one, the stage that reads it, and a word of that stage's command which tells it from others.
FLIPPED = (
    ("image", f"{ANAT}desc-preproc_T1w.nii.gz", "register", "sub-01"),
    ("mask", f"{ANAT}desc-brain_mask.nii.gz", "subject-page", "sub-01"),
    ("displacement field", f"{ANAT}from-T1w_to-study_desc-warp_xfm.nii.gz", "jacobian", "sub-01"),
    ("affine", f"{ANAT}from-T1w_to-study_desc-affine_xfm.mat", "jacobian", "sub-01"),
    ("sidecar of an affine", f"{ANAT}from-T1w_to-study_desc-affine_xfm.json", "describe-people", ""),
    ("sidecar of an image", f"{ANAT}desc-preproc_T1w.json", "template-start", ""),
    ("Jacobian map", f"{ANAT}space-study_desc-nonlinear_jacobian.nii.gz", "map-to-template", "sub-01"),
    (
        "map on the grid",
        "results/derivatives/sub-01/fusion/sub-01_space-study_desc-jac_map.nii.gz",
        "normalise",
        "",
    ),
    ("template", "results/template/template.nii.gz", "template-mask", ""),
    ("state of the building", "results/template/iter-1/state.json", "template-final", ""),
    ("list of people", "results/cohort/groups/people.tsv", "factor-phenotypes", ""),
    ("array of a modality", "results/volumes/jac.npy", "train", "fold-all"),
    ("description of an array", "results/volumes/jac.json", "train", "fold-0"),
    ("mask on the grid", "results/volumes/mask.nii.gz", "train", "fold-0"),
    ("regions", "results/volumes/regions.nii.gz", "baselines", ""),
    ("splits", f"{JAC}/splits.tsv", "train", "fold-0"),
    ("weights of a model", f"{JAC}/fold-0/model/weights.safetensors", "embed", "fold-0"),
    ("description of a model", f"{JAC}/fold-0/model/model.json", "embed", "fold-0"),
    ("limits of intensities", f"{JAC}/fold-0/limits.json", "embed", "fold-0"),
    ("codes of a fold", f"{JAC}/fold-all/embeddings.tsv", "summarise-experiment", ""),
    ("model that is handed on", f"{JAC}/fold-all/model/weights.safetensors", "summarise-experiment", ""),
    ("codes", f"{JAC}/embeddings.tsv", "adjust-codes", ""),
    ("sidecar of codes", f"{JAC}/embeddings.json", "cluster", "raw"),
    ("adjusted codes", f"{JAC}/strata/codes-adjusted.tsv", "cluster", "adjusted"),
    ("codes of a baseline", f"{JAC}/fold-all/baselines/regional_means.tsv", "continuous", ""),
    ("clusters", f"{ADJUSTED}/clusters.tsv", "compare-strata", ""),
    ("sidecar of clusters", f"{RAW}/clusters.json", "existence", "raw"),
    ("factor scores", "results/phenotypes/scores.tsv", "profile-strata", ""),
    ("model of phenotypes", "results/phenotypes/model.json", "factor-congruence", ""),
    ("characteristics", "results/cohort/characteristics.tsv", "composition", ""),
    ("repartition", f"{ADJUSTED}/repartition.tsv", "compare-strata", ""),
    ("null distribution", f"{ADJUSTED}/null.npz", "shuffle-links", ""),
    ("table of the report", f"{ADJUSTED}/stability.tsv", "report", ""),
    ("decoded examples", f"{JAC}/fold-0/examples.npz", "report", ""),
    ("image as it was given", "images/sub-01_T1w.nii.gz", "prepare-t1w", "sub-01"),
)
CUT = (
    ("factor scores", "results/phenotypes/scores.tsv", "profile-strata", ""),
    ("factor scores", "results/phenotypes/scores.tsv", "split-half", ""),
    ("factor scores", "results/phenotypes/scores.tsv", "continuous", ""),
    ("clusters", f"{ADJUSTED}/clusters.tsv", "profile-strata", ""),
    ("clusters", f"{ADJUSTED}/clusters.tsv", "composition", ""),
    ("splits", f"{JAC}/splits.tsv", "train", "fold-0"),
    ("characteristics", "results/cohort/characteristics.tsv", "composition", ""),
    ("characteristics", "results/cohort/characteristics.tsv", "adjust-codes", ""),
    ("families", "results/cohort/groups/families.tsv", "repartition-strata", ""),
    ("adjusted codes", f"{JAC}/strata/codes-adjusted.tsv", "existence", "adjusted"),
    ("codes of a baseline", f"{JAC}/fold-all/baselines/regional_means.tsv", "continuous", ""),
)


_DIRNAME = re.compile(r"\$\(dirname ([^)]*)\)")


def _folders(match: re.Match[str]) -> str:
    """Return what the shell makes of `dirname` of some paths."""
    return " ".join(str(Path(path).parent) for path in match.group(1).split())


def flip(path: Path) -> None:
    """Change the byte in the middle of a file; size and date stay."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    """Take the last line off a table."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))


@dataclass
class Damaged:
    """A copy of a finished study whose stages are called in this process."""

    study: StudyFolder

    def __post_init__(self) -> None:
        run = self.study.snakemake("-n", "-p", "--forceall")
        marker = "python -m neurostrata stage "
        self.commands = [
            shlex.split(_DIRNAME.sub(_folders, line[line.index(marker) + len(marker) :].split(" > ")[0]))
            for line in run.stdout.splitlines()
            if marker in line
        ]

    def command(self, stage: str, word: str) -> list[str]:
        """Return the arguments of the first command of a stage in which a word occurs."""
        return next(c for c in self.commands if c[0] == stage and any(word in part for part in c))

    def outputs(self) -> dict[str, bytes]:
        """Return the content of everything below results but records and what says how long something took."""
        return {
            str(path): path.read_bytes()
            for path in sorted((self.study.folder / "results").rglob("*"))
            if path.is_file()
            and ".sha256" not in path.parts
            and path.name not in (".snakemake_timestamp", "history.tsv", "index.html")
        }

    def outcome(self, name: str, stage: str, word: str, damage: Callable[[Path], None], record: bool) -> str:
        """Damage a file, run the stage, mend everything; say what happened."""
        from neurostrata.cli import main

        path = self.study.folder / name
        records = path.parent / ".sha256"
        hidden = records.with_name(".kept")
        content, before = path.read_bytes(), self.outputs()
        if not record and records.exists():
            records.rename(hidden)
        errors = io.StringIO()
        try:
            damage(path)
            with contextlib.chdir(self.study.folder), contextlib.redirect_stderr(errors):
                status = main(["stage", *self.command(stage, word)])
        finally:
            if hidden.exists():
                shutil.rmtree(records, ignore_errors=True)
                hidden.rename(records)
            path.write_bytes(content)
            after = self.outputs()
            for other, old in before.items():  # a stage may take away what it is about to make again
                if after.get(other) != old:
                    Path(other).parent.mkdir(parents=True, exist_ok=True)
                    Path(other).write_bytes(old)
        said = errors.getvalue().strip().splitlines()
        if status == 2:
            stem = path.name.split(".")[0]
            return "refused" if stem in said[-1] else f"refused without its name: {said[-1]}"
        return "same results" if after == before else "other results"


def try_all(study: StudyFolder, without: bool = True) -> list[dict[str, str]]:
    """Return a row of the table for each kind of file."""
    damaged = Damaged(study)
    rows = []
    for kind, name, stage, word in FLIPPED:
        # Pages go on without an image that cannot be read and say so.
        compressed = name.endswith(".nii.gz") and stage != "subject-page"
        rows.append(
            {
                "damage": "one byte changed",
                "kind": kind,
                "file": name,
                "read by": stage,
                "with a record": damaged.outcome(name, stage, word, flip, True)
                if "results" in name
                else "n/a",
                "without a record": damaged.outcome(name, stage, word, flip, False)
                if compressed and without
                else "n/a",
            }
        )
    for kind, name, stage, word in CUT:
        rows.append(
            {
                "damage": "last line gone",
                "kind": kind,
                "file": name,
                "read by": stage,
                "with a record": damaged.outcome(name, stage, word, cut, True),
                "without a record": damaged.outcome(name, stage, word, cut, False) if without else "n/a",
            }
        )
    return rows


def read_table() -> list[dict[str, str]]:
    """Return the rows that docs show."""
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def main(folder: Path) -> None:
    """Try everything on a copy of a study and write the table."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(folder, Path(place) / "study", symlinks=True)
        rows = try_all(StudyFolder(Path(place) / "study"))
    with TABLE.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(
            row["damage"],
            row["file"],
            row["read by"],
            row["with a record"],
            row["without a record"],
            sep="  ",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
