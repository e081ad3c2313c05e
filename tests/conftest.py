"""Shared fixtures."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

# ITK reads it when it loads; with one thread the same seed gives the same bits.
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

REPOSITORY = Path(__file__).resolve().parents[1]
REQUIRE_ALL = os.environ.get("NEUROSTRATA_REQUIRE_ALL") == "1"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Open real data; tests that use it are skipped where NEUROSTRATA_REAL_DATA does not name it."""
    folder = os.environ.get("NEUROSTRATA_REAL_DATA")
    if not folder:
        pytest.skip("NEUROSTRATA_REAL_DATA is not set")
    return Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add to the file that `make test` prints at its end what was skipped, a line for each reason."""
    file = os.environ.get("NEUROSTRATA_SKIPS")
    if hasattr(terminalreporter.config, "workerinput"):
        return  # a process of several; the first one reports
    skipped = Counter(
        (Path(report.nodeid.partition("::")[0]).as_posix(), str(report.longrepr[2]).removeprefix("Skipped: "))
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if file and skipped:
        with open(file, "a", encoding="utf-8") as stream:
            stream.writelines(f"SKIPPED {path}: {n} ({why})\n" for (path, why), n in skipped.items())
