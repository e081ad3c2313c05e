"""Snakemake's own linter has nothing to say."""

from __future__ import annotations


def test_snakemake_lint_is_clean(study) -> None:
    run = study.snakemake("--lint")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Congratulations" in run.stdout + run.stderr
