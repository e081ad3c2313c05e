"""Every rule says what it is, what it needs and where it logs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_study import REPOSITORY
from snakemake.api import (
    ConfigSettings,
    OutputSettings,
    ResourceSettings,
    SnakemakeApi,
    StorageSettings,
)

from neurostrata.planning import results as tree
from neurostrata.planning.cost import Sizes
from neurostrata.stages import STAGES, TARGETS, command_of

#: Rules that run a finder.
SEARCHES = {"cluster", "existence", "stability", "split_half"}


@pytest.fixture
def parsed(study, monkeypatch):
    """The workflow, parsed for a study whose report has been made."""
    methods = study.folder / "results" / "report" / "methods.rst"
    methods.parent.mkdir(parents=True)
    methods.write_text("**Anatomy.** By hand.\n")
    monkeypatch.chdir(study.folder)
    with SnakemakeApi(OutputSettings()) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(),
            storage_settings=StorageSettings(),
            snakefile=REPOSITORY / "Snakefile",
            workdir=study.folder,
        )
        yield workflow._workflow


@pytest.fixture
def rules(parsed):
    return list(parsed.rules)


def test_snakemakes_report_shows_the_methods_and_no_setting_has_them(parsed) -> None:
    known = parsed.globals
    assert known["config"]["methods_text"] == "**Anatomy.** By hand.\n"
    assert "methods_text" not in known["CONFIG"]


def test_every_rule_is_documented_logged_measured_and_bounded(rules) -> None:
    assert len(rules) > 25
    for rule in rules:
        if rule.name in TARGETS:
            continue
        assert rule.docstring, f"{rule.name}: docstring"
        assert list(rule.log), f"{rule.name}: log"
        assert rule.benchmark, f"{rule.name}: benchmark"
        assert rule.conda_env, f"{rule.name}: conda"
        assert rule.resources.get("_cores"), f"{rule.name}: threads"
        for resource in ("mem_mb", "runtime"):
            assert rule.resources.get(resource) is not None, f"{rule.name}: {resource}"
        assert list(rule.params.keys()) == ["settings"], f"{rule.name}: one tracked parameter"
        assert (Path(__file__).parents[2] / "envs").joinpath(Path(str(rule.conda_env)).name).is_file()
    gpu = {rule.name for rule in rules if "gpu" in dict(rule.resources) and dict(rule.resources)["gpu"].value}
    assert gpu == {"train", "embed", "evaluate", "robustness", "relevance", "explain", "synthesise"}


def test_each_rule_has_its_stage_and_each_stage_its_rule(rules) -> None:
    assert {rule.name for rule in rules} - TARGETS == set(STAGES)
    for rule in rules:
        if rule.name not in TARGETS:
            assert f"python -m neurostrata stage {command_of(rule.name)} " in rule.shellcmd, rule.name


def test_outputs_are_paths_of_the_results_tree(rules) -> None:
    patterns = {p for p in vars(tree).values() if isinstance(p, str) and p.startswith("<results>/")}
    # of what is done before the first job (the check, the search for images, the description of the dataset), and those beside the report that no rule declares
    beside = {tree.REPORT_METHODS, tree.PEOPLE_DATA, tree.REVIEW_PAGE}
    no_outputs = {tree.GATE, tree.HEADERS, tree.SOURCES, tree.DATASET} | beside
    paths = {tree.path_in("results", pattern) for pattern in patterns - no_outputs}
    constraint = re.compile(r"\{(\w+),[^{}]*\}")
    made = {constraint.sub(r"{\1}", str(output)) for rule in rules for output in rule.output}
    first = {tree.fill(path, iteration=0) for path in paths if path.startswith("results/template/iter-")}
    assert paths <= made <= paths | first


def test_rule_files_only_wire() -> None:
    """Functions, loops and branches belong into the library, where they are tested as Python."""
    logic = re.compile(r"^\s*(def|return|for|if|elif|else|try|except|with|while|raise)\b")
    files = [REPOSITORY / "Snakefile", *(REPOSITORY / "workflow" / "rules").glob("*.smk")]
    lines = [line for path in files for line in path.read_text().splitlines() if logic.match(line)]
    assert len(lines) <= 25, lines


def test_memory_and_time_suffice_for_a_cluster_and_double_at_each_attempt(
    parsed, rules, tmp_path: Path
) -> None:
    with open(tmp_path / "image", "wb") as file:
        file.truncate(100 * 2**20)
    job = SimpleNamespace(
        experiment=next(iter(parsed.globals["STUDY"].experiments)), finder="affinity_propagation", subject=""
    )
    for rule in rules:
        if rule.name in TARGETS:
            continue
        for resource, least in (("mem_mb", 500), ("runtime", 10)):
            asked = rule.resources[resource]._value
            if not callable(asked):
                assert asked >= least, f"{rule.name}: {resource}"
                continue
            known = {"input": [tmp_path / "image"], "threads": 8}
            given = {name: known[name] for name in known if name in inspect.signature(asked).parameters}
            first, second = (asked(job, attempt=attempt, **given) for attempt in (1, 2))
            assert first >= least, f"{rule.name}: {resource}"
            assert abs(second - 2 * first) <= 1, f"{rule.name}: {resource}"


def test_searches_for_clusters_ask_for_the_memory_that_their_people_take(
    parsed, rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = next(iter(parsed.globals["STUDY"].experiments))
    job = SimpleNamespace(experiment=experiment, finder="affinity_propagation")
    of = {rule.name: rule.resources["mem_mb"]._value for rule in rules if rule.name in SEARCHES}
    assert set(of) == SEARCHES
    few = {name: asked(job, attempt=1, threads=8) for name, asked in of.items()}
    monkeypatch.setattr(Sizes, "_people", lambda self, work: 40_000)
    for name, asked in of.items():
        assert asked(job, attempt=1, threads=8) > 10 * few[name], name


def test_planning_imports_nothing_heavy(study) -> None:
    """Global code runs twice per job: pandas, ants or torch there would cost every job seconds."""
    code = (
        "import sys; sys.path.insert(0, 'workflow'); import neurostrata.controller.session, neurostrata.core.config, "
        "neurostrata.planning.gate, neurostrata.planning.inputs, neurostrata.planning.targets; "
        "print([m for m in ('numpy', 'pandas', 'ants', 'torch', 'nibabel') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"


def test_folders_of_results_may_have_blanks(rules) -> None:
    """`$(dirname ...)` without quotation marks gives several paths, one a line; a blank in one does not divide it."""
    from snakemake.shell import shell

    commands = [rule.shellcmd for rule in rules if rule.shellcmd]
    unquoted = [command for command in commands if re.search(r'(?<!")\$\(dirname', command)]
    assert unquoted  # else this can go
    snippet = shell._process_prefix + "printf '%s|' $(dirname 'my results/a/x' 'my results/b/y')"
    done = subprocess.run(["bash", "-c", snippet], capture_output=True, text=True, check=True)
    assert done.stdout == "my results/a|my results/b|"
