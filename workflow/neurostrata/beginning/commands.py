"""The command that begins a study."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from neurostrata.beginning.configuration import (
    CORRECTED,
    RECOMMENDED,
    choose_phenotypes,
    preset_text,
    presets,
    recommended_text,
)
from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.lacking import absent_columns, undecided_in
from neurostrata.beginning.looking import look_at
from neurostrata.beginning.modalities import plan_experiments, read_diffusion
from neurostrata.beginning.options import read_filters, read_label
from neurostrata.beginning.study_folder import (
    CLONE,
    CONFIG,
    QUALITY,
    make_study_folder,
    refuse_folder,
    snakefile,
)
from neurostrata.beginning.summary import Begun, summary
from neurostrata.cohort.sheet import QC_COLUMNS
from neurostrata.cohort.study import Study
from neurostrata.core.config import check_config, overlaid, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG
from neurostrata.core.wording import count, nearest
from neurostrata.gate.membership import FEWEST_PEOPLE
from neurostrata.gate.phenotype_notes import covariate_note
from neurostrata.gate.phenotype_tables import read_tables

#: People with unusable gradients who are listed.
_MOST = 5


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
        raise UserError(
            f"--preset {preset}: is not one of {', '.join(presets())}{nearest(preset, presets())}"
        )
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
    print("\n".join(summary(findings, begun, study, folder, kept)))


def _begin(findings: Findings, folder: Path, preset: str) -> Begun:
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
        text = preset_text(preset, header, findings, phenotypes)
    config = check_config(overlaid(recommended, yaml.safe_load(text)))
    study = Study(config, findings.rows)
    undecided = list(undecided_in(study, findings, diffusion, preset, phenotypes.corrected is not None))
    if diffusion.problems:
        undecided += [
            *diffusion.problems[:_MOST],
            "correct these, or leave the people out: neurostrata check --exclude",
        ]
    if not phenotypes.corrected and (note := covariate_note(study, read_tables(study, []))):
        findings.notes.append(note)
    if findings.sheet:  # columns that a paper needs, to be filled in
        needed = [column for column in absent_columns(study) if column not in findings.sheet]
        labels = [e["label"]["column"] for e in study.experiments.values() if e["label"]]
        findings.sheet += [c for c in dict.fromkeys([*needed, *labels]) if c not in findings.sheet]
    files = {CONFIG: text, QUALITY: "\t".join(QC_COLUMNS) + "\n", "Snakefile": snakefile()}
    if findings.sheet:
        files["config/cohort.tsv"] = _table(
            [findings.sheet, *([row.get(c, "") for c in findings.sheet] for row in findings.rows)]
        )
    if phenotypes.corrected:
        files[CORRECTED] = _table(phenotypes.corrected)
    return Begun(files, study, phenotypes, plan.why if preset == RECOMMENDED else [], undecided)


def _table(lines: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(cells) + "\n" for cells in lines)
