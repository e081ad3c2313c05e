"""What Snakemake does not compute anew for each job."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake.api  # before its parts, which import each other
import snakemake.common
from snakemake.dag import DAG
from snakemake.exceptions import ChildIOException
from snakemake.io import IOFile
from snakemake.iocontainers import InputFiles

from neurostrata.controller.shortcuts import _folders_by_name, _followers_once, _inputs_by_name, _names_in
from neurostrata.planning.jobs import by_wildcards, memory, minutes


def test_snakemake_is_told_the_parameters_of_functions_that_it_calls_for_each_job() -> None:
    """When this fails, Snakemake looks them up in another way; see `per_job`."""
    for function, names in (
        (memory(1), ["wildcards", "attempt"]),
        (memory(1, per_input=1), ["wildcards", "input", "attempt"]),
        (minutes(1), ["wildcards", "attempt"]),
        (by_wildcards(lambda subject: subject), ["wildcards"]),
    ):
        found = snakemake.common.get_function_params(function)
        assert list(found) == names
        assert found is function._overwrite_params


def test_many_inputs_are_looked_up_by_name(monkeypatch) -> None:
    monkeypatch.setattr(InputFiles, "__contains__", list.__contains__, raising=False)
    _inputs_by_name(None)
    files = InputFiles([IOFile(f"{n}.txt") for n in range(100)])
    assert all(file in files for file in ("7.txt", IOFile("99.txt")))
    assert not any(file in files for file in ("100.txt", IOFile("a")))
    files.append(IOFile("100.txt"))
    assert "100.txt" in files
    assert not list(files.keys())  # what is remembered is no named input


def test_only_commands_of_what_jobs_have_are_formatted_here() -> None:
    assert _names_in("a {input.image:q} {output[0]} {wildcards.subject} 'x{{subject}}'") == {
        *("input", "output", "wildcards"),
    }
    for other in ("{config[a]}", "{input!r}", "{rule}", "{input:{threads}}", "{}"):
        assert _names_in(other) is None, other


def test_what_follows_from_several_jobs_is_gone_through_once(monkeypatch) -> None:
    followers = {"a": ["mean"], "b": ["mean"], "mean": ["page"], "page": [], "c": ["page"]}
    dag = SimpleNamespace(depending={job: dict.fromkeys(after) for job, after in followers.items()})

    async def update_needrun(dag: SimpleNamespace) -> None:
        dag.found = [list(DAG.bfs(dag, dag.depending, job)) for job in ("a", "b", "c")]

    monkeypatch.setattr(DAG, "bfs", DAG.bfs)
    monkeypatch.setattr(DAG, "update_needrun", update_needrun)
    _followers_once(None)
    for _ in range(2):  # each plan anew
        asyncio.run(DAG.update_needrun(dag))
        assert dag.found == [["a", "mean", "page"], ["b"], ["c"]]
    assert list(DAG.bfs(dag, dag.depending, "b")) == ["b", "mean", "page"]


@pytest.mark.parametrize(("other", "asks"), [("a/b", True), ("a/b.txt", False), ("a/b/../b/e.txt", True)])
def test_an_output_inside_another_is_still_refused(monkeypatch, other: str, asks: bool) -> None:
    class Job(SimpleNamespace):
        __hash__ = object.__hash__
        __lt__ = object.__lt__

    jobs = [
        Job(output=[name], rule=SimpleNamespace(name=name, lineno=1, snakefile="Snakefile"))
        for name in ("a/b/c.txt", other)
    ]
    monkeypatch.setattr(DAG, "check_directory_outputs", DAG.check_directory_outputs)
    _folders_by_name(None)
    refused = pytest.raises(ChildIOException) if other == "a/b" else contextlib.nullcontext()
    with refused:
        DAG.check_directory_outputs(SimpleNamespace(jobs=jobs))
    asked: list[bool] = []
    monkeypatch.setattr(DAG, "check_directory_outputs", lambda dag: asked.append(True))
    _folders_by_name(None)
    DAG.check_directory_outputs(SimpleNamespace(jobs=jobs))
    assert bool(asked) == asks  # Snakemake itself, where there may be a mistake


def test_a_plan_is_left_as_it_is_when_the_process_ends(tmp_path: Path, repository: Path) -> None:
    """Taking it apart takes a quarter of the time of a dry run. What is registered for the end is done all the same."""
    ending = f"""
import sys, tempfile
sys.path.insert(0, {str(repository / "workflow")!r})
from neurostrata.controller.shortcuts import leave_the_plan

class Job:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("taken apart", flush=True)

job, folder = Job(), tempfile.TemporaryDirectory(dir={str(tmp_path)!r})
if sys.argv[1:]:
    leave_the_plan()
"""
    for given, said in (((), "taken apart\n"), (("leave",), "")):
        run = subprocess.run(
            [sys.executable, "-c", ending, *given], capture_output=True, text=True, check=True
        )
        assert run.stdout == said
        assert not list(tmp_path.iterdir())
