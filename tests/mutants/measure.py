"""Which functions each test calls and how much processor time it takes: pytest plugins that run in a process of their own."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

LIBRARY = str(Path(__file__).resolve().parents[2] / "workflow" / "neurostrata") + "/"


class Calls:
    """Notes for each test the library's functions that it and its fixtures call, its seconds and its outcome."""

    def __init__(self, record: Path) -> None:
        self.record = record
        self.tests: dict[str, dict[str, Any]] = {}
        self.fixtures: dict[tuple[str, str], tuple[set[str], float]] = {}
        self.called: set[str] = set()

    def _profile(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            code = frame.f_code
            if code.co_filename.startswith(LIBRARY):
                self.called.add(f"{code.co_filename[len(LIBRARY) :]}\t{code.co_qualname}")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        before, self.called = self.called, set()
        started = time.process_time()
        yield
        key = (fixturedef.argname, fixturedef.baseid)
        called, seconds = self.fixtures.get(key, (set(), float("inf")))
        # the least: the first time imports are in it
        self.fixtures[key] = (called | self.called, min(seconds, time.process_time() - started))
        self.called |= before

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Any:
        self.called = set()
        started = time.process_time()
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        yield
        sys.setprofile(None)
        threading.setprofile(None)
        seconds = time.process_time() - started
        fixtures = [value for (name, _), value in self.fixtures.items() if name in item.fixturenames]
        entry = self.tests.setdefault(item.nodeid, {"passed": False})
        entry["seconds"] = round(
            max([seconds, *(own for _, own in fixtures)]), 3
        )  # shared ones are made anew
        entry["functions"] = sorted(set.union(self.called, *(called for called, _ in fixtures)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            self.tests.setdefault(report.nodeid, {})["passed"] = report.passed

    def pytest_sessionfinish(self) -> None:
        modules = [
            name
            for name in sys.modules
            if (getattr(sys.modules[name], "__file__", "") or "").count("site-packages")
        ]
        self.record.write_text(json.dumps({"tests": self.tests, "modules": modules}))


class FirstFailure:
    """Writes the name of the first test that fails."""

    def __init__(self, record: Path) -> None:
        self.record = record

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.record.exists():
            self.record.write_text(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.record.exists():
            self.record.write_text(report.nodeid or "collection")
