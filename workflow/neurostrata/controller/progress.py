"""The progress of a study: which stages are at work, people and jobs done, and the time left.

Read from Snakemake's log by ``neurostrata progress``, and from its messages by the logger plugin that shows a run while it is
at work. Standard library only.
"""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from neurostrata.controller.plan import Plan, read_plan
from neurostrata.controller.state import controller_of, is_alive, logs
from neurostrata.core.errors import UserError
from neurostrata.core.wording import count
from neurostrata.stages import STAGES, TARGETS

_STAMP = re.compile(r"^\[(\w{3} \w{3} +\d+ \d+:\d+:\d+ \d{4})\]$")
_FINISHED = re.compile(r"^Finished jobid: (\d+) \(Rule: (\w+)\)$")
_TABLE = re.compile(r"^job +count\n[- ]+\n(.*?)^total +\d+", re.M | re.S)
_RULE = re.compile(r"^ *(?:local)?(?:rule|checkpoint) (\w+):$")
_FAILED = re.compile(r"^ *Error in rule \w+:$")
_DETAIL = re.compile(r"^ +(jobid|wildcards): (.*)$")

#: Benchmark files of earlier runs that are read for each rule: enough to know how long its jobs take.
ENOUGH = 30


# ------------------------------------------------------------------------------------------ words


def stage_words(rule: str) -> str:
    """Return what a rule is doing, for people; a rule that is no stage keeps its name."""
    return STAGES[rule].words if rule in STAGES else rule


def about(wildcards: Mapping[str, str]) -> str:
    """Return what a job is about: "sub-07, iteration 1", "jac, fold 2"; "" for what is done once."""
    words = []
    for name, text in wildcards.items():
        if name == "subject":
            words.append(f"sub-{text}")
        elif name == "fold" and text == "all":
            words.append("all people")
        elif name in ("fold", "iteration"):
            words.append(f"{name} {text}")
        elif name == "codes":
            words.append(f"{text} codes")
        else:
            words.append(text.replace("_", " ") if name == "finder" else text)
    return ", ".join(words)


def job_words(rule: str, wildcards: Mapping[str, str]) -> str:
    """Return what a job is doing: "registering to the template: sub-07"."""
    words = about(wildcards)
    return f"{stage_words(rule)}: {words}" if words else stage_words(rule)


def duration(seconds: float) -> str:
    """Return a duration for people: "3 h 20 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 1440:.1f} days"


# -------------------------------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Job:
    """A job that is running: its rule, its wildcards, and when it began (seconds since the epoch)."""

    rule: str
    wildcards: Mapping[str, str]
    begun: float


@dataclass(frozen=True)
class AtWork:
    """A stage of which jobs are running.

    Attributes
    ----------
    stage
        Its name.
    done, of
        People for whom it is done, and all people; jobs, where it is not done for people one by one.
    people
        Whether people are counted.
    now
        What its running jobs are about.
    """

    stage: str
    done: int
    of: int
    people: bool
    now: tuple[str, ...]

    @property
    def count(self) -> str:
        """How far it is: "12 of 40 people"; "" for a stage of one job."""
        if self.of <= 1 and not self.people:
            return ""
        return f"{self.done} of {self.of} {'people' if self.people else 'jobs'}"


@dataclass
class Run:
    """A run of Snakemake, as far as its log or its messages tell.

    Attributes
    ----------
    planned : dict
        Rule -> number of jobs.
    finished : list of (float, str)
        When (seconds since the epoch) a job was finished, and its rule.
    begun : float
        When the run began.
    running : dict
        Id of a job -> the job.
    plan : Plan
        The people of the run.
    """

    planned: dict[str, int] = field(default_factory=dict)
    finished: list[tuple[float, str]] = field(default_factory=list)
    begun: float = 0.0
    running: dict[int, Job] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    done: Counter[str] = field(default_factory=Counter)

    def plan_jobs(self, jobs: Mapping[str, int]) -> None:
        """Take down what is planned: rule -> jobs."""
        self.planned = {rule: number for rule, number in jobs.items() if rule not in TARGETS}

    def begin(self, number: int, rule: str, wildcards: Mapping[str, str], when: float) -> None:
        """Take down that a job was started, or handed to the cluster."""
        self.begun = self.begun or when
        if rule not in TARGETS:
            self.running[number] = Job(rule, wildcards, when)

    def end(self, number: int, when: float, rule: str = "") -> Job | None:
        """Take down that a job was finished, and return it if it is known."""
        job = self.running.pop(number, None)
        rule = job.rule if job else rule
        if not rule or rule in TARGETS:
            return None
        self.finished.append((when, rule))
        self.done[rule] += 1
        waiting = self.plan.waiting.get(rule)
        person = job.wildcards.get("subject", "") if job else ""
        if waiting and person in waiting:
            waiting[person] -= 1
            if waiting[person] <= 0:
                del waiting[person]
        return job

    def fail(self, number: int) -> Job | None:
        """Take down that a job has failed, and return it if it is known."""
        return self.running.pop(number, None)

    @property
    def total(self) -> int:
        """Number of jobs planned."""
        return sum(self.planned.values())

    def left(self) -> dict[str, int]:
        """Return rule -> jobs that are not finished."""
        return {rule: max(0, number - self.done[rule]) for rule, number in self.planned.items()}

    def how_far(self, rule: str) -> AtWork:
        """Return how far a stage is."""
        now = tuple(about(job.wildcards) for job in self.running.values() if job.rule == rule)
        everybody = self.plan.everybody.get(rule)
        if everybody:
            return AtWork(rule, everybody - len(self.plan.waiting.get(rule, ())), everybody, True, now)
        return AtWork(rule, self.done[rule], max(self.planned.get(rule, 0), self.done[rule]), False, now)

    def at_work(self) -> list[AtWork]:
        """Return the stages of which jobs are running, in the order of the work."""
        order = {stage: place for place, stage in enumerate(STAGES)}
        rules = {job.rule for job in self.running.values()}
        return [self.how_far(rule) for rule in sorted(rules, key=lambda rule: (order.get(rule, -1), rule))]

    def remaining(self, each: Mapping[str, float], now: float) -> float | None:
        """Return how many seconds are left (:func:`seconds_left`)."""
        running = [(job.rule, now - job.begun) for job in self.running.values()]
        return seconds_left(self.left(), each, self.done, now - self.begun, running)


def read_run(log: Path, plan: Plan | None = None) -> Run:
    """Read a log of Snakemake.

    Parameters
    ----------
    log
        The file.
    plan
        The people of a run, if it is this run.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    run = Run(plan=plan if plan is not None and plan.log == log.name else Plan())
    table = _TABLE.search(text)
    if table:
        run.plan_jobs({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table.group(1), re.M)})
    now, rule, number, failing = 0.0, "", -1, False
    for line in text.splitlines():
        if stamp := _STAMP.match(line):
            now = time.mktime(time.strptime(stamp.group(1)))
            run.begun = run.begun or now
        elif done := _FINISHED.match(line):
            run.end(int(done.group(1)), now, done.group(2))
        elif started := _RULE.match(line):
            rule, number, failing = started.group(1), -1, False
        elif _FAILED.match(line):
            failing = True
        elif detail := _DETAIL.match(line):
            what, words = detail.groups()
            if what == "jobid" and failing:
                run.fail(int(words))
                failing = False
            elif what == "jobid" and rule:
                number = int(words)
                run.begin(number, rule, {}, now)
            elif what == "wildcards" and number in run.running:
                pairs = (pair.partition("=") for pair in words.split(", "))
                run.begin(number, rule, {name: value for name, _, value in pairs}, now)
    return run


# -------------------------------------------------------------------------------------------- time


def benchmark_seconds(path: Path) -> list[float]:
    """Return the wall seconds in a job's benchmark file; none where it cannot be read."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            return [float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # is just being written


def job_seconds(benchmarks: Path, enough: int | None = None) -> dict[str, list[float]]:
    """Return rule -> wall seconds of its jobs, from the benchmark files of a study.

    Parameters
    ----------
    benchmarks
        Their folder.
    enough
        Number of jobs of each rule that are looked at; None for all.
    """
    found: dict[str, list[float]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")) if benchmarks.is_dir() else []:
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        if enough is None or len(found.get(rule, ())) < enough:
            found.setdefault(rule, []).extend(benchmark_seconds(path))
    return found


def seconds_left(
    left: Mapping[str, int],
    each: Mapping[str, float],
    finished: Mapping[str, int],
    elapsed: float,
    running: Iterable[tuple[str, float]] = (),
) -> float | None:
    """Return how long the jobs that are left will take at this run's pace.

    The work left, in seconds of jobs, is divided by how many jobs ran in parallel so far: a thousand short jobs
    that are done say little about long jobs that are not.

    Parameters
    ----------
    left
        Rule -> jobs that are left.
    each
        Rule -> mean wall seconds of its finished jobs. A rule without finished jobs counts as average; one of its jobs that is
        running for longer than that is taken to be halfway.
    finished
        Rule -> jobs that this run has finished.
    elapsed
        Seconds since the run began.
    running
        Rule and seconds so far of the jobs that are running; they are among those that are left.

    Returns
    -------
    float or None
        None before anything is known.
    """
    if not each:
        return None
    typical = mean(each.values())
    done = sum(number * each.get(rule, 0.0) for rule, number in finished.items())
    work = sum(number * each.get(rule, typical) for rule, number in left.items())
    if done <= 0 or elapsed <= 0:
        return None
    for rule, so_far in running:
        usual = each.get(rule, typical)
        done += so_far
        late = so_far > usual
        work += (so_far if rule not in each else 0.0) - usual if late else -so_far
    return max(0.0, work) / (done / elapsed)


# ----------------------------------------------------------------------------------------- command


def overall(done: int, total: int, left: float | None) -> str:
    """Return how far a run is: "431 of 866 jobs done (49%), about 4 min left"."""
    if left is None:
        time_left = "too early to say how long"
    else:
        time_left = f"{'' if left < 30 else 'about '}{duration(left)} left"
    return f"{done} of {total} jobs done ({percent(done, total)}%), {time_left}"


def percent(done: int, total: int) -> int:
    """Return whole percents; 100 only when all is done."""
    return 100 * done // max(1, total)


def stage_line(stage: AtWork, most: int = 4) -> list[str]:
    """Return the parts of a line about a stage at work: words, how far it is, what is running.

    Parameters
    ----------
    stage
        At work.
    most
        Running jobs that are named; others are counted.
    """
    names = [name for name in stage.now if name]
    if len(names) > most:
        names = [*names[:most], f"{count(len(names) - most, 'other')}"]
    return [part for part in (stage_words(stage.stage), stage.count, ", ".join(names)) if part]


def progress(*, directory: Path = Path(), window_minutes: int = 60) -> None:
    """Print how many jobs of a running study are done, how many it does in an hour, and the time left.

    Parameters
    ----------
    directory
        The study's folder.
    window_minutes
        The rate is measured over these last minutes.
    """
    if window_minutes <= 0:
        raise UserError(f"--window-minutes {window_minutes}: give a number above 0")
    plan = read_plan(directory)
    runs = (read_run(log, plan) for log in reversed(logs(directory)))
    run = next((run for run in runs if run.planned), None)
    if run is None:
        raise UserError(f"{directory.resolve()}: no run of Snakemake has left a log here (see --directory)")
    facts = controller_of(directory)
    running = facts is not None and is_alive(facts) is not False
    now = time.time() if running else max([run.begun, *(when for when, _ in run.finished)])
    total, done = run.total, sum(run.done.values())
    window = min(window_minutes * 60, max(1.0, now - run.begun))
    rate = sum(when >= now - window for when, _ in run.finished) / window * 3600
    each = {rule: mean(seconds) for rule, seconds in job_seconds(directory / "benchmarks").items() if seconds}
    if running:
        print(f"{overall(done, total, run.remaining(each, now))}; {rate:.0f} jobs an hour lately")
        for stage in run.at_work():
            print(f"  {' · '.join(stage_line(stage))}")
    else:
        ended = "nobody is running this study now" if done < total else "finished"
        print(f"{done} of {total} jobs done ({percent(done, total)}%); {ended}")
    rows = [("stage", "jobs done", "left", "minutes each")]
    left = run.left()
    for rule in sorted(run.planned, key=lambda rule: list(STAGES).index(rule) if rule in STAGES else 99):
        minutes = f"{each[rule] / 60:.1f}" if rule in each else "not yet run"
        rows.append((stage_words(rule), str(run.done[rule]), str(left[rule]), minutes))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for row in rows:
        print("  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))]))
