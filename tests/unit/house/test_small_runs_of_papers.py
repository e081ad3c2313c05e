"""The small runs with the papers' presets (tests/papers): valid, and smaller than the papers in nothing but size."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest
import yaml

from neurostrata.core.config import check_config, read_configuration
from neurostrata.core.locations import REPOSITORY
from neurostrata.report.data.papers import paper_tables
from neurostrata.report.text.departures import departures
from neurostrata.simulation.people.people import Settings

SIZE = {"volumes.resolution_mm", "volumes.shape", "validation.folds"}
#: Paper -> the settings in which its small run departs from it.
DEPARTURES = {
    "arco2023": SIZE | {"regions.image", "training.epochs"},
    "chartsias2018": SIZE | {"options.channels", "options.decoder_channels"},
    "dimitri2022": SIZE
    | {"template.resolution_mm", "template.iterations", "registration.engine", "volumes.downsample"}
    | {"diffusion.space", "strata.affinity_propagation.preference", "strata.repartition.draws"}
    | {"training.epochs", "training.batch_size"},
    "geenjaar2021": SIZE | {"modalities.icn.components", "modalities", "options.channels"},
}


@pytest.fixture(scope="module")
def small() -> ModuleType:
    spec = importlib.util.spec_from_file_location("small_runs", REPOSITORY / "tests/papers/run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_paper_has_a_small_run(small: ModuleType) -> None:
    assert list(paper_tables()) == list(small.PAPERS) == sorted(DEPARTURES)


@pytest.mark.parametrize("paper", DEPARTURES)
def test_a_small_run_departs_only_in_size(small: ModuleType, tmp_path: Any, paper: str) -> None:
    run = small.small_run(paper)
    Settings(**run["simulate"] | {"contrasts": tuple(run["simulate"].get("contrasts", ()))}).check()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(small.settings_over_preset(paper, run)))
    files = [REPOSITORY / "config/config.yaml", small.preset(paper), tmp_path / "study.yaml"]
    config = check_config(read_configuration(files))
    assert {row.key for row in departures(paper_tables()[paper], config)} == DEPARTURES[paper]
    assert [experiment["name"] for experiment in config["experiments"]] == run["keep"]
