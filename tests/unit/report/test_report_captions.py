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
from neurostrata.report.text.methods import methods_paragraphs, restructured_text

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
    filled = fill_config(config)
    methods = {"methods_text": restructured_text(methods_paragraphs(filled))}  # as common.smk adds it
    return environment.from_string((CAPTIONS / name).read_text()).render(
        snakemake=SimpleNamespace(config=filled | methods, wildcards=wildcards)
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


def test_workflow_description_is_the_methods_of_the_report() -> None:
    config = report_fixture.make_config(["p.tsv"])
    text = render("workflow.rst", config).replace("\\_", "_")
    for heading, paragraph in methods_paragraphs(fill_config(config)):
        assert f"**{heading}.** {paragraph}" in text
    assert "No experiment's codes were clustered" in render("workflow.rst", {})


def test_names_are_no_markup_in_the_methods() -> None:
    core = pytest.importorskip("docutils.core")
    text = restructured_text([("Experiment pca_", "Column site_ of *all* |people|, `codes` and a\\b.")])
    html = core.publish_parts(text, writer_name="html", settings_overrides={"halt_level": 2})["body"]
    assert "<strong>Experiment pca_.</strong> Column site_ of *all* |people|, `codes` and a\\b." in html
