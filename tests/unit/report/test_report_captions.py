"""The captions for Snakemake's own report: they render, and say what ran."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import report_fixture
from jinja2 import Environment, StrictUndefined

from neurostrata.core.config import fill_config
from neurostrata.core.locations import REPOSITORY

CAPTIONS = REPOSITORY / "workflow" / "report"
FILES = sorted(CAPTIONS.glob("*.rst"))


class Wildcards(dict[str, str]):
    __getattr__ = dict.__getitem__


def render(name: str, config: dict[str, Any]) -> str:
    wildcards = Wildcards(
        experiment="jac-ndi",
        subject="01",
        figure="clusters",
        part="jac-ndi",
        codes="adjusted",
        finder="affinity_propagation",
    )
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    return environment.from_string((CAPTIONS / name).read_text()).render(
        snakemake=SimpleNamespace(config=fill_config(config), wildcards=wildcards)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("config", [{}, report_fixture.make_config(["p.tsv"])], ids=["empty", "full"])
def test_captions_are_valid_rst(path: Path, config: dict[str, Any]) -> None:
    core = pytest.importorskip("docutils.core")
    text = render(path.name, config)
    assert len(text.strip()) > 40
    html = core.publish_parts(
        text, writer_name="html", settings_overrides={"halt_level": 2, "report_level": 2}
    )
    assert "{{" not in html["body"]


def test_every_caption_of_a_rule_exists() -> None:
    rules = CAPTIONS.parent / "rules"
    named = {
        line.split('"')[1].split("/")[-1]
        for path in rules.glob("*.smk")
        for line in path.read_text().splitlines()
        if "caption=" in line
    }
    assert named <= {path.name for path in FILES}


def test_workflow_description_names_what_ran() -> None:
    text = render("workflow.rst", report_fixture.make_config(["p.tsv"]))
    assert "greedy" in text
    assert "**jac-ndi**" in text
    assert "without skip connections" in text
    assert "500 random repartitions" in text
    assert "looked for by mixture, affinity propagation" in " ".join(text.split())
    assert "no phenotypes were configured" not in text.lower()
    assert "No phenotypes were configured" in render("workflow.rst", {})
