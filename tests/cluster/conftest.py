"""A Slurm cluster on this machine for the tests that ask for one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from local_slurm import LocalSlurm, missing_programs


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    """A running cluster; skipped where Slurm or munge is not installed (Debian: slurm-wlm, munge)."""
    missing = missing_programs()
    if missing:
        message = f"not installed: {', '.join(missing)} (Debian: slurm-wlm, munge)"
        if os.environ.get("NEUROSTRATA_REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    slurm = LocalSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
