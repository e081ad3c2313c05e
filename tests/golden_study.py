"""A tiny study, stage by stage, whose numbers are recorded: results change only together with a stage's version.

``python tests/golden_study.py`` records them anew. It refuses where a stage's results changed and its version (`stages.py`)
did not; ``--settings`` says that only defaults or the input of this study changed, which plans studies anew by itself.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
RECORDED = REPOSITORY / "tests" / "reference" / "golden_study.json"
COMMAND = "PYTHONPATH=workflow python tests/golden_study.py"
PEOPLE = 48

#: What stages wrote: "stage: file" -> column -> cells, or name of a fact -> its values.
Results = dict[str, dict[str, list[Any]]]

#: Columns that no version stands for: wall time.
NOT_RESULTS = {"seconds"}
#: Parts of sidecars that are words, settings or digests of files whose paths differ.
NOT_FACTS = {"Columns", "settings", "Settings", "inputs", "GeneratedBy", "Description", "warnings"}
#: How far numbers may be apart, as a share of the column's largest, where machines round differently.
TOLERANCE = 1e-5
#: The same for what a network trained in single precision gives: Adam's first steps enlarge rounding. Measured with
#: another instruction set: 7e-4.
TRAINED, TRAINED_TOLERANCE = "separable_autoencoder", 1e-2


class GoldenStudy:
    """Runs stages on files of one folder, and knows which stage wrote which file.

    Attributes
    ----------
    results
        What was written.
    reads
        "stage: file" -> the stages whose files its job read, itself not among them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: Results = {}
        self.reads: dict[str, set[str]] = {}
        self._writer: dict[Path, str] = {}

    def run(self, stage: str, settings: Mapping[str, Any], **arguments: Any) -> None:
        """Run one job of a stage; paths that are there are read, the others are written."""
        from neurostrata.stages import STAGES

        module, function = STAGES[stage].function.split(":")
        paths = [
            path
            for value in arguments.values()
            for path in (value if isinstance(value, list) else [value])
            if isinstance(path, Path)
        ]
        reads = {self._writer[path] for path in paths if path in self._writer}
        written = [path for path in paths if not path.exists()]
        getattr(importlib.import_module(f"neurostrata.{module}"), function)(
            **arguments, settings=dict(settings)
        )
        for path in written:
            self._writer[path] = stage
            if path.suffix == ".tsv":
                self._keep(f"{stage}: {path.relative_to(self.folder)}", cells_of(path), reads - {stage})
                sidecar = path.with_suffix(".json")
                self._keep(f"{stage}: {sidecar.relative_to(self.folder)}", facts_of(sidecar), reads - {stage})

    def _keep(self, name: str, cells: dict[str, list[Any]], reads: set[str]) -> None:
        self.results[name], self.reads[name] = cells, reads


def cells_of(path: Path) -> dict[str, list[Any]]:
    """Return a table as column -> cells: numbers to 7 digits, None where there is none, else text; ids are text."""
    table = pd.read_csv(path, sep="\t", dtype=str, na_values=["n/a"], keep_default_na=False)
    columns: dict[str, list[Any]] = {}
    for name in table.columns.difference(NOT_RESULTS, sort=False):
        columns[name] = [None if pd.isna(cell) else cell for cell in table[name]]
        if name != "subject":
            with contextlib.suppress(ValueError):
                columns[name] = [cell and float(f"{float(cell):.7g}") for cell in columns[name]]
    return columns


def facts_of(sidecar: Path) -> dict[str, list[Any]]:
    """Return what a sidecar says in numbers and names, and the names of all that it says."""
    known = json.loads(sidecar.read_text())
    facts: dict[str, list[Any]] = {"has": sorted(known), "describes": list(known["Columns"])}
    for name, value in known.items():
        if name not in NOT_FACTS:
            facts |= flat(name, value)
    return facts


def flat(name: str, value: Any) -> dict[str, list[Any]]:
    """Return values below each other as name.name -> list; sentences are left out, for no version stands for words."""
    if isinstance(value, dict):
        return {key: cells for inner in value for key, cells in flat(f"{name}.{inner}", value[inner]).items()}
    cells = []
    for cell in value if isinstance(value, list) else [value]:
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            cells.append(float(f"{cell:.7g}"))
        elif not (isinstance(cell, str) and " " in cell):
            cells.append(cell)
    return {name: cells}


def write_people(folder: Path) -> None:
    """Write codes of three groups, their people, phenotypes and factors that follow the groups, and linear baselines."""
    from neurostrata.core.tables import write_table

    generator = np.random.default_rng(18)
    subjects = [f"{number:02d}" for number in range(PEOPLE)]
    group = np.repeat(np.arange(3), [20, 16, 12])
    age = 40 + 5 * group + generator.normal(0, 6, PEOPLE)
    people = pd.DataFrame(
        {
            "subject": subjects,
            "family": [f"f{number // 2}" if number % 16 < 6 else "" for number in range(PEOPLE)],
            "diagnosis": np.where(generator.random(PEOPLE) < 0.3, "patient", "control"),
            "site": np.where(generator.random(PEOPLE) < 0.5, "1", "2"),
            "age": age.round(1),
            "sex": np.where(generator.random(PEOPLE) < 0.5, "F", "M"),
            "head_size": generator.normal(1, 0.1, PEOPLE),
            "image_quality": generator.normal(0.9, 0.02, PEOPLE),
        }
    )
    people.loc[5, "image_quality"] = np.nan
    write_table(folder / "people.tsv", people, {})
    centres = 3.5 * generator.normal(size=(3, 6))
    codes = centres[group] + generator.normal(size=(PEOPLE, 6)) + 0.03 * (age[:, None] - age.mean())
    write_codes(folder / "codes.tsv", subjects, codes)
    baselines = folder / "baselines"
    baselines.mkdir()
    for name, width in (("pca_stacked", 4), ("regional_means", 6), ("pca_modalities", 3)):
        write_codes(baselines / f"{name}.tsv", subjects, generator.normal(size=(PEOPLE, width)))
    latent = generator.normal(size=(PEOPLE, 3))
    latent[:, 0] += 1.5 * group
    items = np.repeat(latent, 4, axis=1) + 0.6 * generator.normal(size=(PEOPLE, 12))
    phenotypes = pd.DataFrame(items.round(3), columns=[f"v{number}" for number in range(12)])
    phenotypes["v12"] = generator.integers(0, 4, PEOPLE)  # few values: ordinal
    phenotypes.iloc[3:6, 2] = np.nan
    phenotypes.insert(0, "subject", subjects)
    phenotypes.drop(index=10).to_csv(folder / "phenotypes.tsv", sep="\t", index=False)
    factors = pd.DataFrame(latent, columns=[f"factor_{number}" for number in (1, 2, 3)])
    factors.loc[10] = np.nan
    factors.insert(0, "subject", subjects)
    write_table(folder / "scores_of_strata.tsv", factors, {})


def write_codes(path: Path, subjects: list[str], codes: np.ndarray) -> None:
    """Write codes as a model's are written."""
    from neurostrata.core.tables import write_table

    frame = pd.DataFrame(codes, columns=[f"z{number + 1:04d}" for number in range(codes.shape[1])])
    frame.insert(0, "subject", subjects)
    write_table(path, frame, {})


def run_phenotypes(study: GoldenStudy) -> None:
    """Factors of a table with gaps, and their congruence in halves."""
    from neurostrata.core.config import section_defaults

    folder = study.folder
    write_people(folder)
    settings = {**section_defaults("phenotypes"), "seed": 1, "missing": "median"}
    shared = {"tables": [folder / "phenotypes.tsv"], "model": folder / "model.json"}
    tables = {name: folder / f"{name}.tsv" for name in ("eigenvalues", "loadings", "scores", "descriptives")}
    study.run("factor_phenotypes", settings, subjects=folder / "people.tsv", **tables, **shared)
    study.run(
        "factor_congruence",
        settings,
        families=folder / "people.tsv",
        loadings=tables["loadings"],
        scores=tables["scores"],
        output=folder / "congruence.tsv",
        **shared,
    )


#: Less work than the defaults, and a different kind of partition each.
FINDERS: dict[str, dict[str, Any]] = {
    "affinity_propagation": {
        "damping": {"min": 0.5, "max": 0.9, "steps": 3},
        "preference": {"low": 1, "high": 99, "steps": 12},
    },
    "mixture": {"starts": 5, "reference_draws": 5, "components": [2, 4], "max_clusters": 4},
    "consensus": {"resamples": 10, "reference_draws": 5, "components": [4], "max_clusters": 4},
}


def run_strata(study: GoldenStudy) -> None:
    """Adjusted codes, three finders, and every comparison of the mixture's clusters.

    The t-SNE map is not here: it is for display only, and its steps enlarge rounding.
    """
    from neurostrata.core.config import section_defaults

    folder, strata = study.folder, section_defaults("strata")
    write_people(folder)
    people, scores, codes = folder / "people.tsv", folder / "scores_of_strata.tsv", folder / "adjusted.tsv"
    study.run(
        "adjust_codes",
        {"adjust": strata["adjust"], "seed": 1},
        embeddings=folder / "codes.tsv",
        people=people,
        output=codes,
    )
    found = {}
    for name, options in FINDERS.items():
        place = folder / "experiments" / "toy" / "strata" / "adjusted" / name
        place.mkdir(parents=True)
        finder = {"finder": name, "options": {**strata[name], **options}, "seed": 1}
        found[name] = place / "clusters.tsv"
        study.run(
            "cluster",
            {**finder, "small_clusters": strata["small_clusters"], "outliers": strata["outliers"]},
            embeddings=codes,
            search=place / "search.tsv",
            clusters=found[name],
        )
        study.run(
            "existence",
            {**finder, "existence": {**strata["existence"], "draws": 5}},
            embeddings=codes,
            clusters=found[name],
            people=people,
            output=place / "existence.tsv",
            null=place / "existence_null.tsv",
        )
        study.run(
            "stability",
            {**finder, "stability": {"draws": 3}},
            embeddings=codes,
            clusters=found[name],
            folds=[],
            people=people,
            output=place / "stability.tsv",
        )
    study.run(
        "agreement",
        {"seed": 1},
        clusters=list(found.values()),
        output=folder / "agreement.tsv",
        crosstabs=folder / "crosstabs.tsv",
    )
    run_comparisons(study, strata, found["mixture"])
    study.run(
        "continuous",
        {"continuous": {**strata["continuous"], "permutations": 5}, "adjust": strata["adjust"], "seed": 1},
        embeddings=codes,
        baselines=folder / "baselines",
        clusters=list(found.values()),
        scores=scores,
        people=people,
        output=folder / "continuous.tsv",
        added=folder / "added.tsv",
    )


def run_comparisons(study: GoldenStudy, strata: Mapping[str, Any], clusters: Path) -> None:
    """Everything that is asked of one partition."""
    folder, place = study.folder, clusters.parent
    people, both = folder / "people.tsv", {"clusters": clusters, "scores": folder / "scores_of_strata.tsv"}
    study.run(
        "repartition_strata",
        {"repartition": {**strata["repartition"], "draws": 200}, "seed": 1},
        **both,
        subjects=people,
        output=place / "repartition.tsv",
        null=place / "null.npz",
    )
    study.run(
        "compare_strata",
        {"comparisons": strata["comparisons"], "seed": 1},
        **both,
        repartition=place / "repartition.tsv",
        output=place / "comparisons.tsv",
    )
    study.run("profile_strata", {"seed": 1}, **both, output=place / "profiles.tsv")
    permutations = {"draws": 99, "confidence": 0.95, "seed": 1}
    study.run(
        "composition",
        permutations,
        clusters=clusters,
        people=people,
        output=place / "composition.tsv",
        tests=place / "composition_tests.tsv",
    )
    study.run(
        "compare_adjusted",
        {**permutations, "families": True, "splines": "auto"},
        **both,
        people=people,
        output=place / "comparisons_adjusted.tsv",
    )
    study.run(
        "shuffle_links",
        {"shuffles": 20, "alpha": 0.05, "families": True, "seed": 1},
        **both,
        people=people,
        null=place / "null.npz",
        output=place / "shuffles.tsv",
    )
    finder = {"finder": "mixture", "options": {**strata["mixture"], **FINDERS["mixture"]}, "seed": 1}
    study.run(
        "split_half",
        {**finder, "split_half": {"splits": 2}, "comparisons": {"alpha": 0.05}},
        embeddings=folder / "adjusted.tsv",
        scores=both["scores"],
        people=people,
        output=place / "split_half.tsv",
        factors=place / "split_half_factors.tsv",
    )


def run_models(study: GoldenStudy) -> None:
    """Folds, and two models of them: one whose numbers are linear algebra, one that is trained."""
    from fusion_toy import toy_settings, toy_volumes

    for model, side, options in (("pca", 16, {}), (TRAINED, 32, {"skip_connections": False})):
        place = study.folder / model
        volumes = toy_volumes(place / "volumes", people=6, side=side)
        settings = toy_settings(model, options=options, epochs=1, batch_size=3)
        fold = place / "fold-0"
        splits = place / "splits.tsv"
        study.run("split", settings, subjects=place / "volumes" / "subjects.tsv", output=splits)
        shared = {"volumes": volumes, "splits": splits, "fold": "0", "model": fold / "model"}
        shared |= {"limits": fold / "limits.json"}
        mask = place / "volumes" / "mask.nii.gz"
        made = {"history": fold / "history.tsv", "checkpoints": fold / "checkpoints"}
        study.run("train", settings, **shared, **made, mask=mask)
        study.run("embed", settings, **shared, output=fold / "embeddings.tsv")
        study.run(
            "evaluate",
            settings,
            **shared,
            mask=mask,
            output=fold / "reconstruction.tsv",
            examples=fold / "examples.npz",
        )


#: Parts of the study; none reads what another wrote.
PARTS: dict[str, Callable[[GoldenStudy], None]] = {
    "phenotypes": run_phenotypes,
    "strata": run_strata,
    "fusion": run_models,
}


def run_part(part: str, folder: Path) -> GoldenStudy:
    """Run one part in an empty folder."""
    study = GoldenStudy(folder)
    PARTS[part](study)
    return study


def recorded(part: str) -> dict[str, Any]:
    """Return what is recorded of a part."""
    found: dict[str, Any] = json.loads(RECORDED.read_text())[part]
    return found


def stage_of(name: str) -> str:
    """Return the stage in "stage: file"."""
    return name.split(":")[0]


def difference(name: str, known: Mapping[str, list[Any]], found: Mapping[str, list[Any]]) -> str | None:
    """Return where two tables differ by more than rounding, in words; None where they do not."""
    if list(known) != list(found):
        return f"columns {', '.join(found)}; recorded: {', '.join(known)}"
    share = TRAINED_TOLERANCE if TRAINED in name else TOLERANCE
    for column, cells in known.items():
        if len(cells) != len(found[column]):
            return f"{len(found[column])} rows; recorded: {len(cells)}"
        scale = max([abs(cell) for cell in cells if isinstance(cell, float)], default=0.0)
        for row, (was, now) in enumerate(zip(cells, found[column], strict=True)):
            if isinstance(was, float) and isinstance(now, float):
                if abs(was - now) > share * scale:
                    return f"{column}, row {row + 1}: {now}; recorded: {was}"
            elif was != now:
                return f"{column}, row {row + 1}: {now}; recorded: {was}"
    return None


def changed(known: Mapping[str, Any], study: GoldenStudy) -> dict[str, str]:
    """Return "stage: file" -> how it differs, for stages that changed by themselves.

    A stage is left out where what it read has changed: its own version does not stand for that.
    """
    tables = known["results"]
    differ = {}
    for name in study.results.keys() | tables.keys():
        if name not in tables or name not in study.results:
            differ[name] = "is new" if name not in tables else "is no longer written"
        elif (text := difference(name, tables[name], study.results[name])) is not None:
            differ[name] = text
    stages = {stage_of(name) for name in differ}
    return {name: text for name, text in sorted(differ.items()) if not study.reads.get(name, set()) & stages}


def problems(known: Mapping[str, Any], study: GoldenStudy) -> list[str]:
    """Return a sentence for every stage whose results and version did not change together."""
    from neurostrata.stages import STAGES

    found, said = changed(known, study), []
    for name, text in found.items():
        stage = stage_of(name)
        if known["versions"].get(stage) == STAGES[stage].version:
            said.append(
                f"the results of {stage} changed, its version did not ({name}: {text}). Not meant: repair it. Meant: "
                f"raise its version in stages.py, then {COMMAND}"
            )
    for stage, version in known["versions"].items():
        if STAGES[stage].version != version:
            said.append(
                f"the version of {stage} is {STAGES[stage].version}, recorded: {version}. Record its results: {COMMAND}"
            )
    return said


def record(study: GoldenStudy) -> dict[str, Any]:
    """Return what is written down of a study."""
    from neurostrata.stages import STAGES

    stages = sorted({stage_of(name) for name in study.results})
    return {
        "versions": {stage: STAGES[stage].version for stage in stages},
        "results": study.results,
    }


def written(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return JSON with a line for each column."""
    lines = []
    for part, known in parts.items():
        tables = ",\n".join(
            f"   {json.dumps(name)}: {{\n"
            + ",\n".join(f"    {json.dumps(column)}: {json.dumps(cells)}" for column, cells in table.items())
            + "\n   }"
            for name, table in known["results"].items()
        )
        versions = json.dumps(known["versions"])
        lines.append(
            f' {json.dumps(part)}: {{\n  "versions": {versions},\n  "results": {{\n{tables}\n  }}\n }}'
        )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: list[str]) -> None:
    """Record the results anew."""
    parts, wrong = {}, []
    for part in PARTS:
        with tempfile.TemporaryDirectory() as folder:
            study = run_part(part, Path(folder))
        parts[part] = record(study)
        if RECORDED.exists() and "--settings" not in arguments:
            wrong += [text for text in problems(recorded(part), study) if "did not" in text]
    if wrong:
        sys.exit("\n".join(wrong))
    RECORDED.write_text(written(parts))


if __name__ == "__main__":
    for place in ("workflow", "tests/fixtures"):
        sys.path.insert(0, str(REPOSITORY / place))
    main(sys.argv[1:])
