"""The command that begins a study."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neurostrata.beginning.configuration import (
    CORRECTED,
    RECOMMENDED,
    Phenotypes,
    choose_phenotypes,
    preset_text,
    presets,
    recommended_text,
)
from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.looking import look_at
from neurostrata.beginning.modalities import Diffusion, plan_experiments, read_diffusion
from neurostrata.beginning.options import read_filters, read_label
from neurostrata.beginning.study_folder import (
    CLONE,
    CONFIG,
    QUALITY,
    make_study_folder,
    refuse_folder,
    snakefile,
)
from neurostrata.cohort.sheet import IMAGES, QC_COLUMNS, Row
from neurostrata.cohort.sources.registry import required_columns, source_of
from neurostrata.cohort.study import Study
from neurostrata.core.config import check_config, overlaid, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG
from neurostrata.core.wording import count, join_words
from neurostrata.gate.headers import read_facts
from neurostrata.gate.membership import FEWEST_PEOPLE, member_problems
from neurostrata.gate.named_columns import column_problems
from neurostrata.gate.phenotype_tables import read_tables
from neurostrata.gate.problems import Problem
from neurostrata.planning.cost import Images, cost_of, in_words, jobs_of, total

#: Experiments that are listed.
_SHOWN = 8


def init(
    folder: Path,
    study: Path,
    *,
    preset: str = RECOMMENDED,
    participant_label: list[str] | None = None,
    session_label: str | None = None,
    run_label: str | None = None,
    filter_t1w: list[str] | None = None,
    filter_dwi: list[str] | None = None,
    path_t1w: str | None = None,
    path_dwi: str | None = None,
    derivatives: list[Path] | None = None,
    table: list[Path] | None = None,
    force: bool = False,
) -> None:
    """Begin a study: look at a folder with images, and write a short configuration for what is in it.

    Recognised are BIDS datasets (raw, fMRIPrep, sMRIPrep, QSIPrep, several side by side or inside each other), the layouts of HCP
    and UK Biobank, and loose images whose names hold the ids of a table or of people. What can be seen is not asked; what only
    you can decide is said, with the options that decide it, and nothing is written.

    Parameters
    ----------
    folder
        The folder with the images. It is only read.
    study
        The study's own folder: it is made, with config/config.yaml, and later holds all results.
    preset
        The settings: recommended, or a paper's (dimitri2022, geenjaar2021, chartsias2018, arco2023).
    participant_label
        The only people to take, with or without sub-.
    session_label
        The session of people with several: its label, first, last or all.
    run_label
        The run of people with several: its number, first or last.
    filter_t1w
        Which of several T1w images, by BIDS entities: acquisition=mprage. A value null means without this entity.
    filter_dwi
        Which of several diffusion series, by BIDS entities: direction=AP.
    path_t1w
        Where loose T1w images are, {subject} in the place of the id: '{subject}/anat/*_T1w.nii.gz'.
    path_dwi
        Where loose diffusion series are, in the same way.
    derivatives
        Further folders with BIDS derivatives, outside the folder.
    table
        Tables of questionnaires and tests outside the folder, a row per person.
    force
        Replace a configuration that is there; it is kept beside the new one.
    """
    if preset not in presets():
        close = difflib.get_close_matches(preset, presets(), n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"--preset {preset}: is not one of {', '.join(presets())}{hint}")
    refuse_folder(study, folder, force)
    filters = {"t1w": read_filters("t1w", filter_t1w or ()), "dwi": read_filters("dwi", filter_dwi or ())}
    wishes = Wishes(
        participants=[label.strip().removeprefix("sub-") for label in participant_label or ()],
        session=read_label("--session-label", session_label, "ses-"),
        run=read_label("--run-label", run_label, "run-"),
        filters={column: keys for column, keys in filters.items() if keys},
        patterns={c: text for c, text in (("t1w", path_t1w), ("dwi", path_dwi)) if text},
        tables=[str(path.resolve()) for path in table or ()],
    )
    for path in wishes.tables:
        if not Path(path).is_file():
            raise UserError(f"--table {path}: is not a file")
    findings = look_at(folder, study, wishes, derivatives or ())
    begun = _begin(findings, folder, preset)
    kept = make_study_folder(study, begun.files, force)
    print("\n".join(_summary(findings, begun, study, folder, kept)))


@dataclass
class _Begun:
    """A study as it will be written: files, its people and configuration, and what a person still has to decide."""

    files: dict[str, str]
    study: Study
    phenotypes: Phenotypes
    why: list[str]
    undecided: list[str]
    problems: list[str]


def _begin(findings: Findings, folder: Path, preset: str) -> _Begun:
    """Return the study's files, checked as every run checks a configuration."""
    recommended = read_yaml(DEFAULT_CONFIG)
    hcp = "hcp" in findings.cohort
    diffusion = read_diffusion(findings.rows)
    phenotypes = choose_phenotypes(findings, hcp)
    plan = plan_experiments(recommended, findings.rows, diffusion)
    if plan.people < FEWEST_PEOPLE:
        raise UserError(
            f"{folder}: {count(plan.people, 'person has', 'people have')} what an experiment needs; at least {FEWEST_PEOPLE} are needed"
            + "".join(f"\n  {line}" for line in [*findings.notes, *findings.unused, *diffusion.problems][:8])
        )
    origin = f"Begun by `neurostrata init {shlex.quote(str(folder.resolve()))}`"
    if preset == RECOMMENDED:
        header = [
            f"{origin}.",
            f"Here is only what differs from what is recommended: {CLONE}/config/config.yaml has every key with a comment, and a key from",
            "there takes effect when it is written here. `neurostrata run -n` shows what would then be run.",
        ]
        text = recommended_text(header, findings, phenotypes, plan)
    else:
        header = [f"{origin} with --preset {preset}: the paper's settings for this cohort."]
        text = preset_text(preset, header, findings, phenotypes, hcp)
    config = check_config(overlaid(recommended, yaml.safe_load(text)))
    study = Study(config, findings.rows)
    undecided = list(_undecided(study, findings, diffusion, preset, phenotypes.corrected is not None))
    if findings.sheet:  # columns that a paper needs, to be filled in
        needed = [column for column in _absent(study) if column not in findings.sheet]
        labels = [e["label"]["column"] for e in study.experiments.values() if e["label"]]
        findings.sheet += [c for c in dict.fromkeys([*needed, *labels]) if c not in findings.sheet]
    files = {CONFIG: text, QUALITY: "\t".join(QC_COLUMNS) + "\n", "Snakefile": snakefile()}
    if findings.sheet:
        files["config/cohort.tsv"] = _table(
            [findings.sheet, *([row.get(c, "") for c in findings.sheet] for row in findings.rows)]
        )
    if phenotypes.corrected:
        files[CORRECTED] = _table(phenotypes.corrected)
    return _Begun(
        files, study, phenotypes, plan.why if preset == RECOMMENDED else [], undecided, diffusion.problems
    )


def _table(lines: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(cells) + "\n" for cells in lines)


def _absent(study: Study) -> dict[str, list[str]]:
    """Return columns that experiments need and nobody has -> the modalities that need them."""
    absent: dict[str, list[str]] = {}
    for modality in study.used_modalities():
        for column in required_columns(study.modalities[modality]):
            if not any(row.get(column) for row in study.rows.values()):
                absent.setdefault(column, []).append(study.declared(modality))
    return absent


def _undecided(
    study: Study, findings: Findings, diffusion: Diffusion, preset: str, corrected: bool
) -> Iterable[str]:
    """Yield what is missing before the study can be planned."""
    absent = _absent(study)
    needed = [column for column in ("t1w", "dwi", "bval", "bvec") if column in absent]
    if needed:
        raise UserError(
            f"--preset {preset}: needs {join_words(needed)} of people, and nobody has them here "
            f"({'; '.join(findings.unused[:2]) or findings.layout}). Choose another preset: {', '.join(presets())}"
        )
    shells = [m for m in study.used_modalities() if source_of(study.modalities[m]).several_shells]
    if shells and diffusion.several_shells < diffusion.people:
        alone = diffusion.people - diffusion.several_shells
        yield (
            f"{join_words(shells)}: {alone} of {count(diffusion.people, 'person', 'people')} with diffusion data have one shell, and two are needed; "
            "leave out the experiments with it, or these people (config/qc.tsv)"
        )
    for column, modalities in absent.items():
        names = join_words(list(dict.fromkeys(modalities)))
        if findings.sheet:
            yield f"images for {names}: fill in the column {column} of config/cohort.tsv"
        elif "bids" in findings.cohort:
            there = f" (suffixes here: {', '.join(findings.suffixes)})" if findings.suffixes else ""
            yield (
                f"images for {names}: say which files the column {column} holds, in config/config.yaml: "
                f"cohort: {{filters: {{{column}: {{suffix: SUFFIX}}}}}}{there}"
            )
        else:
            yield f"images for {names}: there are none in this layout; write a sheet (cohort.sheet) with a column {column}"
    problems: list[Problem] = []
    if not corrected:
        problems += column_problems(study, read_tables(study, problems))
    if not absent:
        problems += member_problems(study)
    # of several experiments with the same problem one is named
    once = {re.sub("^experiment [^:]*: ", "", problem.text): problem.text for problem in problems}
    yield from once.values()
    if "bids" in findings.cohort and any("is not a column of" in text for text in once):
        yield "columns of participants.tsv are taken with cohort: {columns: {NAME: COLUMN}} in config/config.yaml"
    for key in ("image", "names"):
        path = study.config["regions"][key]
        if path and not Path(path).exists():
            yield f"regions.{key} in config/config.yaml: {path} is the paper's; write where it is here"


def _image_sizes(rows: Sequence[Row]) -> Images:
    """Return what the images are like, by the headers of the first that can be read; of others what is usual."""
    sizes: dict[str, Any] = {}
    for column in ("t1w", "dwi"):
        for row in rows[:5]:
            path = row.get(column)
            if not path or not Path(path).is_file():
                continue
            facts = read_facts(path, Path(path).stat().st_size)
            if "problem" in facts:
                continue
            sides = [sum(facts["affine"][i][j] ** 2 for i in range(3)) ** 0.5 for j in range(3)]
            sizes[f"{column}_mm"] = (sides[0] * sides[1] * sides[2]) ** (1 / 3)
            if column == "dwi" and len(facts["shape"]) > 3:
                sizes["dwi_volumes"] = facts["shape"][3]
            break
    return Images(**sizes)


def _summary(
    findings: Findings, begun: _Begun, study: Path, folder: Path, kept: Sequence[str]
) -> Iterable[str]:
    """Yield what a person wants to know: found, not used, the study, what to do next."""
    yield f"found in {folder}"
    yield f"  {findings.layout}"
    if "bids" not in findings.cohort:  # where the notes say it, with the datasets
        yield f"  {_images(findings.rows)}"
    for note in findings.notes:
        yield f"  {note}"
    for table in begun.phenotypes.tables:
        yield f"  phenotypes: {table.path} ({len(table.matched)} people, {count(len(table.variables), 'variable')})"
    for table in begun.phenotypes.candidates:
        yield f"  a table, perhaps phenotypes: {table.path} ({len(table.matched)} people, {count(len(table.variables), 'variable')})"
    unused = [*findings.unused, *begun.problems]
    if unused:
        yield "not used"
        yield from (f"  {line}" for line in unused[:10])
        if len(unused) > 10:
            yield f"  ... and {len(unused) - 10} more"
    yield f"the study, {study / CONFIG}"
    experiments = list(begun.study.experiments.items())
    for name, experiment in experiments[:_SHOWN]:
        members = len(begun.study.experiment_members(name))
        yield f"  experiment {name}: {experiment['model']} on {', '.join(_shortened(experiment['modalities']))}, {count(members, 'person', 'people')}"
    if len(experiments) > _SHOWN:
        yield f"  ... and {count(len(experiments) - _SHOWN, 'more experiment')}"
    yield from (f"  {reason}" for reason in begun.why)
    if not begun.phenotypes.tables:
        yield "  no table of phenotypes: strata are found, but not compared (phenotypes.tables)"
    cost = total(cost_of(begun.study, jobs_of(begun.study), _image_sizes(findings.rows)))
    yield f"  {in_words(cost)}"
    if kept:
        yield f"kept from before: {', '.join(kept)}"
    place = shlex.quote(str(study))
    if begun.undecided:
        yield "only you can decide, before it is planned"
        yield from (f"  {line}" for line in begun.undecided)
    yield "next"
    yield f"  neurostrata run {place} -n    # what would be done"
    yield f"  neurostrata run {place}       # do it"
    yield f"or, after cd {place}: snakemake -n; snakemake --cores 8; snakemake --profile slurm"


def _shortened(names: Sequence[str]) -> list[str]:
    return [*names] if len(names) < 7 else [*names[:2], "...", names[-1]]


def _images(rows: Sequence[Row]) -> str:
    there = dict.fromkeys(column for row in rows for column, cell in row.items() if cell.startswith("/"))
    columns = [c for c in (*IMAGES, *(c for c in there if c not in IMAGES)) if c in there]
    numbers = [f"{column} {sum(bool(row.get(column)) for row in rows)}" for column in columns]
    persons = len({row.get("person", row["subject"]) for row in rows})
    scans = f" in {len(rows)} scans" if len(rows) != persons else ""
    return f"{count(persons, 'person', 'people')}{scans}: {', '.join(numbers)}"
