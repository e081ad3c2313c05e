"""How many small changes of the code do the unit tests notice? `make mutants PACKAGES="fusion/models"` runs this.

    python tests/mutants/run.py fusion/models fusion/layers     # packages or files of workflow/neurostrata
    python tests/mutants/run.py --survivors fusion/models       # those that nothing has noticed yet, once more
    python tests/mutants/run.py --list fusion/models            # print them; nothing is run

Each change (operators.py) is made in memory, never in a file: a forked process imports the changed module and runs the tests that call the
changed function, those of a test file named after the changed one first, then golden tests, then the fastest, until one fails. Which tests these are is measured once
(measure.py). Everything is kept in .mutants/, so a stopped run goes on where it was; a changed function's mutants are run again. The scores
go to docs/tables/mutants.tsv and docs/mutants.md. equivalent.tsv lists changes that make no difference that a test could or should see, with the reason.
"""

from __future__ import annotations

import argparse
import ast
import csv
import gc
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow" / "neurostrata"
STORE = ROOT / ".mutants"
TABLE = ROOT / "docs" / "tables" / "mutants.tsv"
PAGE = ROOT / "docs" / "mutants.md"
EQUIVALENT = Path(__file__).with_name("equivalent.tsv")
COLUMNS = ["file", "mutants", "run", "killed", "equivalent", "survived", "score"]
#: What a mutant may take beyond ten times its tests' processor time, seconds.
GRACE = 60


@dataclass
class Task:
    """A process that was forked off."""

    name: Any
    pid: int
    deadline: float
    folder: Path


class Workers:
    """Functions in forked processes, a few at once; each gets an empty folder and returns its exit status."""

    def __init__(self, number: int, done: Callable[[Any, int | None, Path, float], None]) -> None:
        self.number, self.done = number, done
        self.tasks: list[tuple[Task, float]] = []

    def start(self, name: Any, seconds: float, work: Callable[[Path], int]) -> None:
        """Run `work` in a process as soon as there is room; it is killed after so many seconds."""
        while len(self.tasks) >= self.number:
            self._collect()
        folder = Path(tempfile.mkdtemp(prefix="mutant-"))
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                os.setsid()
                output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
                for stream in (1, 2):
                    os.dup2(output, stream)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                status = int(work(folder))
                sys.stdout.flush()
            except BaseException as error:
                print(repr(error), flush=True)
            finally:
                os._exit(status)
        self.tasks.append((Task(name, pid, time.monotonic() + seconds, folder), time.monotonic()))

    def finish(self) -> None:
        """Wait for all."""
        while self.tasks:
            self._collect()

    def stop(self) -> None:
        """Kill all."""
        for task, _ in self.tasks:
            os.killpg(task.pid, signal.SIGKILL)
            os.waitpid(task.pid, 0)
            shutil.rmtree(task.folder, ignore_errors=True)

    def _collect(self) -> None:
        time.sleep(0.02)
        for entry in list(self.tasks):
            task, started = entry
            pid, status = os.waitpid(task.pid, os.WNOHANG)
            code: int | None = os.waitstatus_to_exitcode(status) if pid else None
            if not pid:
                if time.monotonic() < task.deadline:
                    continue
                os.killpg(task.pid, signal.SIGKILL)
                os.waitpid(task.pid, 0)
            self.tasks.remove(entry)
            self.done(task.name, code, task.folder, time.monotonic() - started)
            shutil.rmtree(task.folder, ignore_errors=True)


def pytest_in_fork(folder: Path, tests: Sequence[str], plugin: object) -> int:
    """Run tests here; return pytest's exit status."""
    import pytest

    sys.dont_write_bytecode = True
    os.chdir(ROOT)
    options = ["-q", "-x", "--tb=line", "--assert=plain", "--basetemp", str(folder / "pytest")]
    for name in ("cacheprovider", "xdist", "unraisableexception", "threadexception"):
        options += ["-p", f"no:{name}"]
    return int(pytest.main([*options, *tests], plugins=[plugin]))


# ------------------------------------------------------------------------------------ what tests call
def digest(*paths: Path) -> str:
    """Return a digest of files."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def test_files(packages: Sequence[str]) -> list[Path]:
    """Return the unit tests of these packages; tests/unit mirrors them."""
    rooms = sorted({package.split("/")[0] for package in packages})
    return [path for room in rooms for path in sorted((ROOT / "tests" / "unit" / room).rglob("test_*.py"))]


def measured(packages: Sequence[str], fresh: bool, jobs: int) -> dict[str, dict[str, Any]]:
    """Run every test file once unless it was measured as it is now; return what is known of each."""
    from measure import Calls

    record = STORE / "tests.json"
    known: dict[str, dict[str, Any]] = {}
    if record.exists():
        known = json.loads(record.read_text())
        preload(known)  # else the first test of each file seems slow
    if fresh:
        known = {}

    def done(name: str, code: int | None, folder: Path, seconds: float) -> None:
        try:
            found = json.loads((folder / "calls.json").read_text())
        except OSError:
            print(f"{name}: not measured (exit status {code})", flush=True)
            return
        known[name] = {"digest": digest(ROOT / name), **found}
        print(f"measured {name}: {len(found['tests'])} tests, {seconds:.0f} s", flush=True)
        record.write_text(json.dumps(known))

    workers = Workers(jobs, done)
    files = test_files(packages)
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        if known.get(name, {}).get("digest") != digest(path):
            workers.start(
                name,
                1800,
                lambda folder, name=name: pytest_in_fork(
                    folder, [name, "--maxfail=1000"], Calls(folder / "calls.json")
                ),  # type: ignore[misc]
            )
    workers.finish()
    return {name: known[name] for path in files if (name := path.relative_to(ROOT).as_posix()) in known}


def preload(known: dict[str, dict[str, Any]]) -> None:
    """Import what the tests import from other projects, once for all mutants."""
    names = {name: None for entry in known.values() for name in entry["modules"]}
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:
            continue
    assert not any(name.split(".")[0] == "neurostrata" for name in sys.modules)
    gc.collect()
    gc.freeze()  # a collection in a forked process need not look at these


def order(tests: dict[str, dict[str, Any]], file: str) -> list[str]:
    """Return tests in the order in which they are run: those named after the file, golden ones, then the fastest."""
    stem = Path(file).stem

    def place(name: str) -> tuple[bool, bool, float, str]:
        own = stem in Path(name.split("::")[0]).stem
        return not own, "/golden/" not in name, tests[name]["seconds"], name

    return sorted(tests, key=place)


def choose(mutant: Mutant, tests: dict[str, dict[str, Any]], budget: float) -> list[str]:
    """Return the tests that call the function a mutant is in; of import-time code, those that call anything of the file or are named after it."""
    scope = mutant.function
    while scope:
        wanted = f"{mutant.file}\t{scope}"
        found = {name: entry for name, entry in tests.items() if wanted in entry["functions"]}
        if found or ".<locals>." not in scope:
            break
        scope = scope.rsplit(".<locals>.", 1)[0]  # compiled functions are not seen
    if not scope:
        stem, prefix = Path(mutant.file).stem, f"{mutant.file}\t"
        found = {
            name: entry
            for name, entry in tests.items()
            if stem in Path(name.split("::")[0]).stem or any(f.startswith(prefix) for f in entry["functions"])
        }
    chosen, total = [], 0.0
    for name in order(found, mutant.file):
        if chosen and total + tests[name]["seconds"] > budget:
            break
        chosen.append(name)
        total += tests[name]["seconds"]
    return chosen


# --------------------------------------------------------------------------------------- one mutant
class Changed(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Imports one module from a changed tree."""

    def __init__(self, file: Path, tree: ast.Module) -> None:
        parts = file.relative_to(LIBRARY.parent).with_suffix("").parts
        self.package = parts[-1] == "__init__"
        self.module = ".".join(parts[:-1] if self.package else parts)
        self.file = file
        self.code = compile(ast.fix_missing_locations(tree), str(file), "exec", dont_inherit=True)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(
            name,
            self.file,
            loader=self,
            submodule_search_locations=[str(self.file.parent)] if self.package else None,
        )

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(self.code, module.__dict__)


def run_mutant(mutant: Mutant, tree: ast.Module, tests: Sequence[str], folder: Path) -> int:
    """Run the tests on the changed module; in a process of its own."""
    from measure import FirstFailure

    mutant.apply()
    sys.meta_path.insert(0, Changed(LIBRARY / mutant.file, tree))
    if "numba" in sys.modules and "numba" in (LIBRARY / mutant.file).read_text():
        sys.modules["numba"].config.CACHE_DIR = str(
            folder / "numba"
        )  # compiled code is kept by file, not by content
    return pytest_in_fork(folder, tests, FirstFailure(folder / "failed"))


class Results:
    """Outcomes, appended to a file as they come."""

    def __init__(self) -> None:
        self.path = STORE / "results.jsonl"
        self.known: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                row = json.loads(line)
                self.known[row["key"]] = row

    def add(self, row: dict[str, Any]) -> None:
        """Keep one."""
        self.known[row["key"]] = row
        with open(self.path, "a") as stream:
            stream.write(json.dumps(row) + "\n")

    def of(self, mutant: Mutant, source: str) -> dict[str, Any] | None:
        """Return the outcome of a mutant of a function as it is now."""
        row = self.known.get(mutant.key)
        return row if row and row["source"] == source else None


def sources(tree: ast.Module) -> dict[str, str]:
    """Return a digest of the code of each function by its qualified name; of the rest by ''."""
    found: dict[str, str] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                found[f"{prefix}{child.name}"] = ast.dump(child)
                visit(child, f"{prefix}{child.name}.<locals>.")
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(tree, "")
    found[""] = ""
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in found.items()}


def equivalent() -> dict[str, str]:
    """Return the reasons of mutants that need not be noticed, by key; `*` as operator stands for a whole function."""
    return {"\t".join(list(row.values())[:6]): row["reason"] for row in read(EQUIVALENT)}


def files(packages: Sequence[str]) -> list[Path]:
    """Return the Python files of packages (folders or files, relative to workflow/neurostrata)."""
    found: list[Path] = []
    for package in packages:
        path = LIBRARY / package
        if not path.exists():
            sys.exit(f"no such package or file: workflow/neurostrata/{package}")
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [path for path in dict.fromkeys(found) if path.name != "__init__.py"]


def write_table(done: dict[str, dict[str, Any]]) -> None:
    """Put the rows of these files into the table; those of others stay."""
    rows: dict[str, dict[str, Any]] = {}
    if TABLE.exists():
        with open(TABLE, newline="", encoding="utf-8") as stream:
            rows = {row["file"]: row for row in csv.DictReader(stream, delimiter="\t")}
    rows.update(done)
    with open(TABLE, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for name, row in sorted(rows.items()) if (LIBRARY / name).exists())


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def page(text: str) -> str:
    """Return the page with the tables as they are now, each between its two comments."""

    def put(name: str, lines: list[list[str]]) -> None:
        nonlocal text
        rows = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
        first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(first)
        text = f"{before}{first}\n" + "\n".join(rows) + f"\n{last}{rest.split(last)[1]}"

    scores = read(TABLE)
    totals: dict[str, list[int]] = {}
    for row in scores:
        folder = row["file"].rpartition("/")[0]
        parts = folder.split("/")
        for name in ["/".join(parts[: i + 1]) for i in range(len(parts))]:
            total = totals.setdefault(name, [0] * 5)
            for i, column in enumerate(COLUMNS[1:6]):
                total[i] += int(row[column])
    head = ["package", *COLUMNS[1:]]
    share = {name: f"{100 * t[2] / t[1]:.0f} %" if t[1] else "" for name, t in totals.items()}
    put("packages", [head, ["---"] * 7, *([n, *map(str, totals[n]), share[n]] for n in sorted(totals))])
    return text


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "packages",
        nargs="*",
        help="folders or files, relative to workflow/neurostrata; none: only write docs/mutants.md anew",
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="at most N mutants of each file, drawn at random"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (default 1)")
    parser.add_argument(
        "--slowest", type=float, default=10, help="leave out tests that take more seconds (default 10)"
    )
    parser.add_argument(
        "--budget", type=float, default=60, help="seconds of tests for each mutant (default 60)"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what tests call")
    parser.add_argument("--survivors", action="store_true", help="run survivors again, and nothing else")
    parser.add_argument("--list", action="store_true", help="print survivors; run nothing")
    return parser.parse_args()


def survivors(
    found: Sequence[Mutant], results: Results, source: dict[str, str], reasons: dict[str, str]
) -> Iterator[Mutant]:
    """Yield what was run and not noticed."""
    for mutant in found:
        row = results.of(mutant, source[mutant.function])
        if row and row["status"] == "survived" and mutant.key not in reasons:
            yield mutant


def main() -> None:
    """Run the mutants that were not run yet, then write the table."""
    options = arguments()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # before numpy and torch are imported: threads do not survive a fork
    STORE.mkdir(exist_ok=True)
    (STORE / ".gitignore").write_text("*\n")
    results, listed = Results(), equivalent()
    found = {path: mutants(path, LIBRARY) for path in files(options.packages)}
    reasons = {
        mutant.key: listed[key]
        for _, every in found.values()
        for mutant in every
        for key in (mutant.key, f"{mutant.file}\t{mutant.function}\t*\t\t\t")
        if key in listed
    }
    source = {path: sources(tree) for path, (tree, _) in found.items()}
    drawn: dict[Path, list[Mutant]] = {}
    for path, (_, every) in found.items():
        chosen = every
        if options.sample is not None and len(every) > options.sample:
            name = path.relative_to(LIBRARY).as_posix()
            numbers = list(range(len(every)))
            random.Random(f"{options.seed} {name}").shuffle(
                numbers
            )  # a larger sample has the smaller one in it
            chosen = [every[i] for i in sorted(numbers[: options.sample])]
        if options.survivors or options.list:
            chosen = list(survivors(every, results, source[path], reasons))
        drawn[path] = chosen
    if options.list:
        for chosen in drawn.values():
            for mutant in chosen:
                print(
                    f"{mutant.file}:{mutant.line} {mutant.function}  [{mutant.operator} {mutant.number}]\n    {mutant.before}\n -> {mutant.after}"
                )
        return

    known = measured(options.packages, options.fresh, options.jobs)
    tests = {
        name: entry
        for of_file in known.values()
        for name, entry in of_file["tests"].items()
        if entry["passed"] and entry["seconds"] <= options.slowest
    }
    preload(known)

    def done(name: tuple[Mutant, str], code: int | None, folder: Path, seconds: float) -> None:
        mutant, text = name
        status = {0: "survived", None: "killed", 1: "killed", 2: "killed"}.get(code, "killed")
        by = "time" if code is None else ""
        if (folder / "failed").exists():
            by = (folder / "failed").read_text()
        elif code not in (0, None):
            by = f"exit status {code}: " + (folder / "output").read_text(errors="replace").strip()[-200:]
        results.add(
            {
                "key": mutant.key,
                "line": mutant.line,
                "source": text,
                "status": status,
                "by": by,
                "seconds": round(seconds, 1),
            }
        )
        print(
            f"{status:9}{seconds:6.1f} s  {mutant.file}:{mutant.line}  {mutant.before[:60]} -> {mutant.after[:60]}",
            flush=True,
        )

    workers = Workers(options.jobs, done)
    try:
        for path, chosen in drawn.items():
            tree = found[path][0]
            for mutant in chosen:
                text = source[path][mutant.function]
                if mutant.key in reasons or (results.of(mutant, text) and not options.survivors):
                    continue
                names = choose(mutant, tests, options.budget)
                if not names:
                    results.add(
                        {
                            "key": mutant.key,
                            "line": mutant.line,
                            "source": text,
                            "status": "survived",
                            "by": "no test",
                            "seconds": 0,
                        }
                    )
                    continue
                limit = GRACE + 10 * sum(tests[name]["seconds"] for name in names)
                workers.start(
                    (mutant, text),
                    limit,
                    lambda folder, m=mutant, t=tree, n=names: run_mutant(m, t, n, folder),
                )  # type: ignore[misc]
        workers.finish()
    except KeyboardInterrupt:
        workers.stop()
        print("stopped; the same command goes on")
    table = {}
    for path, (_, every) in found.items():
        rows = [results.of(m, source[path][m.function]) for m in every if m.key not in reasons]
        run = [row for row in rows if row]
        killed = sum(row["status"] == "killed" for row in run)
        name = path.relative_to(LIBRARY).as_posix()
        if every:
            table[name] = {
                "file": name,
                "mutants": len(every),
                "run": len(run),
                "killed": killed,
                "equivalent": sum(m.key in reasons for m in every),
                "survived": len(run) - killed,
                "score": f"{killed / len(run):.2f}" if run else "",
            }
    write_table(table)
    PAGE.write_text(page(PAGE.read_text()))
    for row in table.values():
        print("\t".join(str(value) for value in row.values()))


if __name__ == "__main__":
    main()
