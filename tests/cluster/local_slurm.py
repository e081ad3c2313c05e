"""A Slurm cluster of one node on the loopback interface, with a private configuration, for the tests.

munged, slurmctld and slurmd are started by hand in the foreground and taken down by process id; nothing
outside the given folder is written, no service of the machine is touched.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"
#: Snakemake's executor asks 10 s later each time it has heard that none of its jobs has ended. Its question is known
#: by its last words, --name RUN, and is answered when another job has ended (after 50 s at the latest).
_PATIENT_SQUEUE = """
case "$*" in *" --states=all "*" --name "*) ;; *) exec "$real" "$@" ;; esac
for run; do :; done
for _ in $(seq 100); do
    answer=$("$real" "$@") || exit
    ended=$(echo "$answer" | grep -Ev '[|](PENDING|CONFIGURING|RUNNING|COMPLETING)$' | sort)
    [ "$ended" = "$(cat "$folder/ended.$run" 2> /dev/null)" ] || break
    sleep 0.5
done
echo "$ended" > "$folder/ended.$run"
echo "$answer"
"""


def missing_programs() -> list[str]:
    """Return what of Slurm and munge this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class LocalSlurm:
    """One node with more CPUs than there are, one GPU that is /dev/null, memory limits that kill.

    Attributes
    ----------
    folder
        Configuration, state, logs, sockets.
    cpus, memory_mb
        What the node says it has.
    """

    folder: Path
    cpus: int = 16
    memory_mb: int = 64000
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a user of this cluster."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}:{_SBIN}"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "PYTHONPATH"))}
        return {**inherited, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def _configure(self) -> None:
        for name in ("bin", "state", "spool", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        host, user = socket.gethostname().split(".")[0], getpass.getuser()
        self.host = host
        (self.folder / "slurm.conf").write_text(
            f"""ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={_free_port()}
SlurmdPort={_free_port()}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.socket
CredType=cred/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/log/slurmctld.log
SlurmdLogFile={self.folder}/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,defer=no
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MinJobAge=3600
KillWait=5
OverTimeLimit=0
InactiveLimit=0
SlurmdTimeout=20
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={self.cpus} RealMemory={self.memory_mb} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        )
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        # The executor plugin strips SLURM_CONF from what runs inside a job; its srun finds it here again.
        self._install("srun", 'SLURM_CONF="$folder/slurm.conf" exec "$real" "$@"\n')
        self._install("squeue", _PATIENT_SQUEUE)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)

    def _install(self, program: str, script: str) -> None:
        """Put a script in front of a program of Slurm."""
        wrapper = self.folder / "bin" / program
        real = shutil.which(program, path=f"{os.environ['PATH']}:{_SBIN}")
        wrapper.write_text(f"#!/bin/sh\nreal={real} folder={self.folder}\n{script}")
        wrapper.chmod(0o755)

    def _launch(self, name: str, *command: str) -> None:
        log = open(self.folder / "log" / f"{name}.out", "ab")  # noqa: SIM115 (lives as long as the process)
        self.processes[name] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        self._configure()
        state = self.folder
        self._launch(
            "munged", "munged", "--foreground", "--force", f"--socket={state}/munge.socket",
            f"--key-file={state}/munge.key", f"--pid-file={state}/munged.pid",
            f"--log-file={state}/log/munged.log", f"--seed-file={state}/munged.seed",
        )  # fmt: skip
        self._wait(lambda: (state / "munge.socket").exists(), "munged", 20)
        self._launch("slurmctld", "slurmctld", "-D", "-c")
        self.start_node()

    def start_node(self) -> None:
        """Start the node's daemon (again)."""
        self._launch("slurmd", "slurmd", "-D", "-N", self.host)
        self._wait(
            lambda: self.say("sinfo", "-h", "-o", "%t").strip() in ("idle", "mix", "alloc"), "node", 60
        )

    def _wait(self, ready, what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            if dead:
                break
            if ready():
                return
            time.sleep(0.2)
        logs = "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted((self.folder / "log").glob("*"))
        )
        raise RuntimeError(f"{what} did not come up\n{logs}")

    def say(self, *command: str) -> str:
        """Run a Slurm command as a user and return what it printed."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return Slurm's own records of all jobs that it still remembers."""
        records = []
        for block in self.say("scontrol", "--oneliner", "show", "job").splitlines():
            fields = dict(part.split("=", 1) for part in block.split() if "=" in part)
            if "JobId" in fields:
                records.append(fields)
        return records

    def kill_node(self) -> None:
        """Let the node die: its daemon and all that it was running."""
        process = self.processes.pop("slurmd")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for step in self._steps():
            children = subprocess.run(["pgrep", "-P", str(step)], capture_output=True, text=True)
            for number in (step, *map(int, children.stdout.split())):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)

    def _steps(self) -> list[int]:
        """Return the processes that supervise this cluster's jobs, and no other cluster's."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if not (entry / "cmdline").read_bytes().startswith(b"slurmstepd"):
                    continue
                opened = [str(link.readlink()) for link in (entry / "fd").iterdir()]
                opened.append(str((entry / "cwd").readlink()))
            except OSError:
                continue
            if any(path.startswith(str(self.folder)) for path in opened):
                found.append(int(entry.name))
        return found

    def stop(self) -> None:
        """Cancel everything and take the daemons down by process id, in reverse order."""
        if "slurmctld" in self.processes:
            self.say("scancel", f"--user={getpass.getuser()}")
            deadline = time.monotonic() + 15
            while self.say("squeue", "-h").strip() and time.monotonic() < deadline:
                time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            process = self.processes.pop(name, None)
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
