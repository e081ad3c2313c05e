"""Every row of the table in docs/reruns.md, dry: exactly the jobs that it names."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import conda_stand_in
import pytest
import yaml
from planned_study import make_planned_study, save_images
from small_study import REPOSITORY, StudyFolder


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The study of the table, at its end."""
    study = make_planned_study(tmp_path_factory.mktemp("planned") / "study")
    run = study.snakemake()
    assert run.returncode == 0, run.stderr[-4000:]
    return study


@pytest.fixture
def study(planned: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of it, moved to another folder."""
    shutil.copytree(planned.folder, tmp_path / "study", symlinks=True)
    return StudyFolder(tmp_path / "study", planned.environment)


def setting(key: str, value: object) -> Callable[[StudyFolder], None]:
    """A change of the configuration; a number in the key is a place in a list."""

    def change(study: StudyFolder) -> None:
        path = study.folder / "config" / "config.yaml"
        config = yaml.safe_load(path.read_text())
        *way, last = [int(part) if part.isdigit() else part for part in key.split(".")]
        place = config
        for part in way:
            place = place[part] if isinstance(part, int) else place.setdefault(part, {})
        place[last] = value
        path.write_text(yaml.safe_dump(config, sort_keys=False))

    return change


def cell(row: int, column: int, value: str, sheet: str = "cohort.tsv") -> Callable[[StudyFolder], None]:
    """A change of one cell of a sheet."""
    return lambda study: study.edit_sheet(lambda cells: cells[row].__setitem__(column, value), sheet)


def line(sheet: str, *cells: str) -> Callable[[StudyFolder], None]:
    """A new last line of a sheet."""
    return lambda study: study.edit_sheet(lambda rows: rows.append(list(cells)), sheet)


def person(template: str) -> Callable[[StudyFolder], None]:
    """A ninth person."""

    def change(study: StudyFolder) -> None:
        images = study.folder / "images"
        save_images(images / "sub-09")
        files = ("images/sub-09_T1w.nii", "images/sub-09_dwi.nii", "images/dwi.bval", "images/dwi.bvec")
        line("cohort.tsv", "09", *files, template, "f9", "")(study)

    return change


def mni_experiment(study: StudyFolder) -> None:
    """A third experiment, of images in MNI152 space that everybody has."""

    def add(cells: list[list[str]]) -> None:
        cells[0].append("pet")
        for row in cells[1:]:
            row.append(row[1])

    study.edit_sheet(add)
    path = study.folder / "config" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["modalities"] = {"pet": {"from": "column", "column": "pet", "space": "mni"}}
    config["experiments"].append({**config["experiments"][1], "name": "pet", "modalities": ["pet"]})
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def another_file(name: str) -> Callable[[StudyFolder], None]:
    """Another file of the same name with an older date, as `mv`, `cp -p` and `rsync -a` leave it."""

    def change(study: StudyFolder) -> None:
        path = study.folder / name
        date = path.stat().st_mtime_ns - 10**12
        path.write_bytes(path.read_bytes() + b"\n")
        os.utime(path, ns=(date, date))

    return change


def finder_added(study: StudyFolder) -> None:
    """The second finder, to a study that was finished without it."""
    setting("strata.finders", ["mixture"])(study)
    run = study.snakemake()
    assert run.returncode == 0, run.stderr[-4000:]
    for folder in (study.folder / "results/experiments").glob("*/strata/*/affinity_propagation"):
        shutil.rmtree(folder)
    setting("strata.finders", ["mixture", "affinity_propagation"])(study)


#: Row of the table -> how that is done here.
CHANGES: dict[str, Callable[[StudyFolder], None]] = {
    "damping grid": setting("strata.affinity_propagation.damping.steps", 5),
    "starts of the mixture": setting("strata.mixture.starts", 20),
    "what the codes are adjusted by": setting("strata.adjust.columns", ["age"]),
    "finder taken away": setting("strata.finders", ["mixture"]),
    "finder added": finder_added,
    "draws of the test of existence": setting("strata.existence.draws", 299),
    "number of factors": setting("phenotypes.n_factors", 2),
    "percentile limits": setting("volumes.percentiles", [1, 99]),
    "dropout of one experiment": setting("experiments.0.options.dropout", 0.2),
    "seed": setting("seed", 2),
    "seed of the registrations": setting("imaging_seed", 2),
    "seed of one experiment": setting("experiments.0.seed", 3),
    "template iterations 4 to 5": setting("template.iterations", 5),
    "template tolerance": setting("template.tolerance", 0.01),
    "3 people in early iterations": setting("template.early_people", 3),
    "NODDI engine or its options": setting("diffusion.noddi.likelihood", "gaussian"),
    "report title": setting("report.title", "Another"),
    "note column": cell(1, 7, "was late"),
    "phenotype value": cell(2, 1, "0.5", "phenotypes.tsv"),
    "age in the phenotype table": cell(2, 4, "50", "phenotypes.tsv"),
    "family": cell(3, 6, "f1"),
    "person added, `template` no": person("no"),
    "person added, `template` yes": person("yes"),
    "person excluded in qc.tsv": line("qc.tsv", "03", "", "exclude", "motion"),
    "modality excluded in qc.tsv": line("qc.tsv", "03", "ndi", "exclude", "misaligned"),
    "person kept in qc.tsv": line("qc.tsv", "03", "", "keep", "looked at"),
    "limit of quality": setting("quality.limit", 4.0),
    "`dwi` cell cleared": lambda study: study.edit_sheet(
        lambda cells: cells[4].__setitem__(slice(2, 5), [""] * 3)
    ),
    "diffusion image replaced": another_file("images/sub-03_dwi.nii"),
    "experiment added with images in MNI152 space": mni_experiment,
}


def documented() -> dict[str, dict[str, int]]:
    """The rows of the table: change -> rule -> number of jobs. A name in bold stands for the jobs in the table before it."""
    rows, named = {}, {}
    for text in (REPOSITORY / "docs" / "reruns.md").read_text().splitlines():
        cells = [part.strip() for part in text.strip("|").split("|")]
        jobs = {rule: int(n) for rule, n in re.findall(r"(\w+) (\d+)", cells[-1])}
        if len(cells) == 2 and cells[0].startswith("**"):
            named[cells[0].strip("*")] = jobs
        elif len(cells) == 3 and cells[0] in CHANGES:
            rows[cells[0]] = jobs
            for name in re.findall(r"\*\*([\w ]+)\*\*", cells[2]):
                assert not jobs.keys() & named[name].keys(), f"{cells[0]}: {name}"
                jobs |= named[name]
    return rows


def test_the_table_has_every_row() -> None:
    assert list(documented()) == list(CHANGES)


@pytest.mark.parametrize("row", CHANGES)
def test_exactly_these_jobs(study: StudyFolder, row: str) -> None:
    CHANGES[row](study)
    jobs = study.planned()
    text = ", ".join(f"{rule} {number}" for rule, number in jobs.items())
    assert jobs == documented().get(row), f"| {row} | | {text} |"


def test_a_phenotype_table_with_an_older_date_is_noticed(study: StudyFolder) -> None:
    """As `mv`, `cp -p`, `rsync -a` and `unzip` leave it: the table is older than what was made of the one it replaces."""
    path = study.folder / "phenotypes.tsv"
    date = path.stat().st_mtime_ns
    CHANGES["phenotype value"](study)
    os.utime(path, ns=(date, date))
    said = study.snakemake("-n")
    assert study.planned() == documented()["phenotype value"]
    assert "the phenotype tables have changed  (factor_phenotypes 1" in said.stdout + said.stderr


def test_a_moved_study_plans_nothing(study: StudyFolder) -> None:
    assert study.planned() == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set-threads", "register=7", "train=2"),
        ("--set-resources", "register:mem_mb=9000", "train:gpu=2", "train:runtime=5"),
    ],
    ids=["threads", "resources"],
)
def test_where_and_with_what_it_runs_plans_nothing(study: StudyFolder, arguments: tuple[str, ...]) -> None:
    assert study.planned(*arguments) == {}


def test_the_slurm_profile_after_a_local_run_plans_nothing(study: StudyFolder, tmp_path: Path) -> None:
    programs = conda_stand_in.install(tmp_path / "conda")
    study.environment = {**study.environment, "PATH": f"{programs}:{study.environment['PATH']}"}
    assert study.planned("--profile", str(REPOSITORY / "slurm")) == {}


def test_what_only_the_other_noddi_engine_reads_plans_no_map(study: StudyFolder) -> None:
    setting("diffusion.noddi.lambda1", 0.4)(study)
    assert study.planned() == {"provenance": 1, "report": 1}
    setting("diffusion.noddi.engine", "amico")(study)
    assert study.planned()["fit_noddi"] == 8


def test_a_dry_run_ends_with_what_would_be_done_and_why(study: StudyFolder) -> None:
    setting("strata.existence.draws", 99)(study)
    said = study.snakemake("-n", "--quiet", "rules").stdout
    assert "leave --cleanup-metadata aside" in said.partition("snakemake --cleanup-metadata")[2]
    end = [" ".join(line.split()) for line in said.strip().splitlines()[-9:]]
    assert end == [
        "This would be done:",
        "testing whether clusters exist 8 jobs less than a CPU minute",
        "mapping where the strata differ 2 jobs less than a CPU minute",
        "decoding the centres of the strata 1 job less than a CPU minute",
        "recording provenance 1 job less than a CPU minute",
        "writing the report 1 job less than a CPU minute",
        "In all 13 jobs: less than a CPU minute, about 30 MB on the disk (estimates: docs/scaling.md).",
        "Changed since the results were made (what follows from it is planned too):",
        "strata.existence.draws: 199 -> 99 (existence 8)",
    ]


def test_removed_records_make_the_study_forget(study: StudyFolder) -> None:
    """docs/reruns.md, Keeping results."""
    tables = [str(path) for path in (study.folder / "results").rglob("existence*.tsv")]
    relative = [str(Path(path).relative_to(study.folder)) for path in tables]
    assert study.snakemake("--cleanup-metadata", *relative).returncode == 0
    setting("strata.existence.draws", 99)(study)
    # the tests are kept as they are, and the record and the report have settings that they were not made with
    assert study.planned() == {"provenance": 1, "report": 1}
    run = study.snakemake("-n")
    assert (
        "8 finished jobs (existence) have no record of the settings that they were made with"
        in run.stdout + run.stderr
    )
    assert study.planned("--forcerun", "existence") == {
        **{"existence": 8, "map_strata": 2, "decode_strata": 1, "provenance": 1, "report": 1}
    }


def test_results_that_moved_without_their_records_are_said(study: StudyFolder) -> None:
    """Otherwise a changed setting would be met by "every result is there and up to date"."""
    sentence = "have no record of the settings that they were made with"
    whole = study.snakemake("-n")
    assert sentence not in whole.stdout + whole.stderr
    (study.folder / "results").rename(study.folder / "elsewhere")
    setting("output", "elsewhere")(study)
    moved = study.snakemake("-n")
    assert sentence in moved.stdout + moved.stderr
    (study.folder / "results").symlink_to("elsewhere")  # as the message says
    setting("output", "results")(study)
    assert study.planned() == {}


def test_phenotypes_of_people_who_are_not_in_the_study_change_no_strata(study: StudyFolder) -> None:
    """A table of a whole centre grows; only what reads the tables by their dates is made again."""
    table = study.folder / "phenotypes.tsv"
    _, first, *_ = table.read_text().splitlines()
    with table.open("a") as stream:
        stream.write("\t".join(["99", *first.split("\t")[1:]]) + "\n")
    jobs = study.planned()
    assert jobs["factor_phenotypes"] == 1
    assert not {"describe_people", "adjust_codes", "cluster", "existence"} & set(jobs)


def test_a_comment_plans_nothing(study: StudyFolder) -> None:
    path = study.folder / "config" / "config.yaml"
    path.write_text("# a comment\n" + path.read_text())
    assert study.planned() == {}


@pytest.fixture
def other_clone(tmp_path: Path) -> Path:
    """The code in another folder, to be changed."""
    kept = ("Snakefile", "workflow", "config", "envs", "profiles", "resources", "slurm")
    for name in kept:
        source = REPOSITORY / name
        target = tmp_path / "clone" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    return tmp_path / "clone"


def test_new_code_plans_nothing_without_a_new_version(study: StudyFolder, other_clone: Path) -> None:
    for module in (other_clone / "workflow" / "neurostrata").rglob("*.py"):
        module.write_text(module.read_text() + "\n# a new line\n")
    rules = other_clone / "workflow" / "rules" / "strata.smk"
    quoted = rules.read_text().replace("python -m neurostrata stage", "exec python -m neurostrata stage")
    assert quoted != rules.read_text()
    rules.write_text(quoted)
    snakefile = str(other_clone / "Snakefile")
    assert study.planned("--snakefile", snakefile) == {}
    versions = other_clone / "workflow" / "neurostrata" / "stages.py"
    changed = re.sub(r'("profile_strata": .*version=)\d+', r"\g<1>99", versions.read_text())
    assert changed != versions.read_text()
    versions.write_text(changed)
    assert study.planned("--snakefile", snakefile) == {"profile_strata": 4, "provenance": 1, "report": 1}
