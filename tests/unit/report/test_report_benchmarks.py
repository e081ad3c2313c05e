"""The table of time and memory, from benchmark files with known numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurostrata.report.data.benchmarks import COLUMNS, resource_table

HEADER = "s\th:m:s\tmax_rss\tcpu_time\tthreads\tparams\tresources\n"


def test_what_was_used_beside_what_was_asked_for(tmp_path: Path) -> None:
    asked = "{'tmpdir': '/tmp', 'mem_mb': 3000, 'runtime': 60, 'gpu': 1}"
    (tmp_path / "register").mkdir()
    for name, seconds, memory, cpu in (("01", 600, 1000, 1100), ("02", 1200, 2410, 2300)):
        row = f"{seconds}\tx\t{memory}\t{cpu}\t2\t{{'settings': '{{}}'}}\t{asked}\n"
        (tmp_path / "register" / f"{name}.tsv").write_text(HEADER + row)
    (tmp_path / "report.tsv").write_text("s\th:m:s\tmax_rss\tcpu_time\n0.4\tx\tNA\tNA\n")
    (tmp_path / "broken.tsv").write_bytes(b"\xff\xfe\x00")
    table = resource_table(tmp_path)
    assert table is not None
    assert list(table.columns) == list(COLUMNS)
    assert list(table["rule"]) == ["register", "report"]  # most CPU time first
    first = table.iloc[0]
    assert (first["jobs"], first["minutes_median"], first["minutes_max"]) == (2, 15, 20)
    assert (first["minutes_asked"], first["memory_max"], first["memory_asked"]) == (60, 2410, 3000)
    assert first["threads"] == 2
    np.testing.assert_allclose([first["busy"], first["cpu_hours"]], [3400 / 1800, 3400 / 3600])
    assert (first["memory_suggested"], first["minutes_suggested"]) == (3700, 40)
    second = table.iloc[1]
    assert second["memory_suggested"] == 500  # never less, and nothing is known
    assert np.isnan(second["memory_asked"])
    assert resource_table(tmp_path / "nowhere") is None
