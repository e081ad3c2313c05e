"""What a run asks before it makes results of former defaults again, on plans made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from neurostrata.controller import session
from neurostrata.controller.former_defaults import given_settings, question
from neurostrata.core.config import read_yaml, section_defaults
from neurostrata.core.locations import DEFAULT_CONFIG, FORMER_DEFAULTS
from neurostrata.core.settings import settings_text
from neurostrata.planning.changes import changed_values
from neurostrata.planning.options import same_results

ENGINE = {"registration.engine": ("ants", "torch")}


class Plan:
    """Stands for Snakemake's graph: stage -> values of the configuration that differ from when its results were made."""

    def __init__(self, *jobs: tuple[str, dict[str, Any]], deployment: tuple[str, ...] = ()) -> None:
        self.jobs = [(SimpleNamespace(rule=SimpleNamespace(name=name)), values) for name, values in jobs]
        self.workflow = SimpleNamespace(
            persistence=SimpleNamespace(params_changed=lambda job: False),
            deployment_settings=SimpleNamespace(deployment_method=set(deployment)),
        )

    def needrun_jobs(self, exclude_finished: bool) -> Iterator[Any]:
        assert not exclude_finished
        return (job for job, _ in self.jobs)

    def reason(self, job: Any) -> Any:
        (values,) = (values for other, values in self.jobs if other is job)
        return SimpleNamespace(params_changed=SimpleNamespace(values=values))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_made_the_results_is_asked_for() -> None:
    text = question(Plan(("register", ENGINE), ("register", ENGINE), ("report", ENGINE)), {})
    assert "registration.engine: made with ants, recommended now is torch  (register 2)" in text
    keep, again = (
        yaml.safe_load(line) for line in text.splitlines() if line.startswith("    registration: ")
    )
    assert (keep, again) == ({"registration": {"engine": "ants"}}, {"registration": {"engine": "torch"}})


def test_an_option_that_was_added_later_is_asked_for_where_its_former_value_was_at_work() -> None:
    added = changed_values("register", *recorded_settings(None, 0.03), {})
    assert added == {"registration.torch.contrast_at_half_weight": (0, 0.03)}
    text = question(Plan(("register", added)), {"registration": {"engine": "torch"}})
    assert "contrast_at_half_weight: made with 0, recommended now is 0.03  (register 1)" in text
    assert "registration: {torch: {contrast_at_half_weight: 0}}" in text
    assert "registration: {torch: {contrast_at_half_weight: 0.03}}" in text
    assert "--forcerun template_start" in text
    # The answer that keeps the results plans nothing.
    assert same_results("register", *recorded_settings(None, 0))
    assert not same_results("register", *recorded_settings(0.03, 0))


def test_a_key_of_the_template_that_was_added_later_is_asked_for() -> None:
    """It has a default that is not what earlier releases did."""
    before = ("template_update", 1, {"shape_step": 1.0, "sharpening": 0, "tolerance": None})
    now = (*before[:2], {**before[2], "hold_pose": True})
    added = changed_values("template_update", settings_text(*before), settings_text(*now), {})
    assert added == {"template.hold_pose": (False, True)}
    text = question(Plan(("template_update", added)), {})
    assert "template.hold_pose: made with False, recommended now is True  (template_update 1)" in text
    assert "template: {hold_pose: false}" in text
    kept = (*before[:2], {**before[2], "hold_pose": False})
    assert same_results("template_update", settings_text(*before), settings_text(*kept))
    assert not same_results("template_update", settings_text(*now), settings_text(*kept))
    # Other stages of the template do not read it.
    others = [
        settings_text("template_final", 1, {"resolution_mm": 2, "tolerance": None, **more})
        for more in ({}, {"hold_pose": True})
    ]
    assert same_results("template_final", *others)


def recorded_settings(*contrasts: float | None) -> Iterator[str]:
    """Yield the settings of registrations by `torch`, of a release without the option where it is None."""
    for contrast in contrasts:
        section = section_defaults("registration")
        options = {k: v for k, v in section["torch"].items() if k != "contrast_at_half_weight"}
        if contrast is not None:
            options["contrast_at_half_weight"] = contrast
        yield settings_text("register", 1, {**section, "torch": options})


@pytest.mark.parametrize(
    ("plan", "given"),
    [
        (Plan(("register", ENGINE)), {"registration": {"engine": "torch"}}),  # the study says so
        (Plan(("register", {"registration.engine": ("greedy", "torch")})), {}),  # was never a default
        (Plan(("register", {"registration.ants.cc_radius": (4, 3)})), {}),  # nor has this one changed
        (Plan(("provenance", ENGINE), ("report", ENGINE)), {}),  # they record what is not used too
        (Plan(("register", {})), {}),
        (Plan(), {}),
    ],
)
def test_nothing_is_asked(plan: Plan, given: dict[str, Any]) -> None:
    assert question(plan, given) == ""


def test_models_are_asked_for_as_one() -> None:
    plan = Plan(("train", {"experiments[jac-ndi].model": ("separable_autoencoder", "residual_autoencoder")}))
    text = question(plan, {"registration": {"engine": "ants"}})
    assert "experiments: other ones than before  (train 1)" in text
    assert f"experiments: as in {FORMER_DEFAULTS}" in text
    assert f"experiments: as in {DEFAULT_CONFIG}" in text
    assert question(plan, {"experiments": [{"name": "jac-ndi"}]}) == ""


def test_what_a_study_sets_itself(folder: Path) -> None:
    settings = SimpleNamespace(overwrite_config={"seed": 3})
    main = SimpleNamespace(is_main_snakefile=lambda: True)
    workflow = SimpleNamespace(modifier=main, config_settings=settings)
    assert given_settings(workflow, {"registration": {}}) == {"seed": 3}
    (folder / "config" / "config.yaml").write_text("registration: {engine: ants}\nseed: 2\n")
    assert given_settings(workflow, {}) == {"registration": {"engine": "ants"}, "seed": 3}
    module = SimpleNamespace(modifier=SimpleNamespace(is_main_snakefile=lambda: False))
    assert given_settings(module, {"seed": 5}) == {"seed": 5}


def test_in_the_clone_the_command_line_decides(folder: Path) -> None:
    """Its file is the default: what stands there was decided by nobody."""
    (folder / "config" / "config.yaml").symlink_to(DEFAULT_CONFIG)
    main = SimpleNamespace(is_main_snakefile=lambda: True)
    workflow = SimpleNamespace(modifier=main, config_settings=SimpleNamespace(overwrite_config={}))
    assert given_settings(workflow, read_yaml(DEFAULT_CONFIG)) == {}
    text = question(Plan(("register", ENGINE)), {})
    assert "To make them again: --config 'registration={engine: torch}'" in text


def test_amico_is_asked_for_where_it_has_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    amico = {"diffusion": {"noddi": section_defaults("diffusion")["noddi"] | {"engine": "amico"}}}
    plan = Plan(("fit_noddi", {}))
    assert "make env-amico" in session.missing_amico(amico, plan)
    assert session.missing_amico({"diffusion": section_defaults("diffusion")}, plan) == ""
    assert session.missing_amico(amico, Plan(("train", {}))) == ""
    assert session.missing_amico(amico, Plan(("fit_noddi", {}), deployment=("conda",))) == ""
    monkeypatch.setattr(session, "find_spec", lambda name: object())
    assert session.missing_amico(amico, plan) == ""
