"""Files for contributors say what the project really does."""

import re
from pathlib import Path

import yaml


def test_pre_commit_runs_what_lint_runs(repository: Path) -> None:
    hooks = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (repository / "Makefile").read_text()
    [line] = re.findall(r"timed,lint,(.*)\)", makefile)
    # files are handed over by pre-commit
    commands = {re.sub(r"( \.| Snakefile workflow/rules)$", "", part) for part in line.split(" && ")}
    assert commands == {hook["entry"].removeprefix(".venv/bin/") for hook in hooks}


def test_catalog_entry_is_complete(repository: Path) -> None:
    usage = yaml.safe_load((repository / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"]["conda"] is True
    assert (repository / "config" / "README.md").is_file()  # the catalog shows it


def test_contributing_names_targets_of_the_makefile(repository: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (repository / "Makefile").read_text(), re.M))
    text = (repository / "CONTRIBUTING.md").read_text()
    named = {t for command in re.findall(r"`make ([\w -]+)`", text) for t in command.split()}
    assert named <= targets
    assert len(named) >= 7
