"""Who is timed: our engine as the controller starts it, and the Go tool where there is one. Each run is a process of its own.

A run is timed from its start to its end as its parent sees it; its memory is the peak (VmHWM), looked at every 20 ms.
"""

import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from program import Program, Run
from servers import S3
from shell import Place, configuration, plain

SUFFIX = "_again"  # of restored collections
LIMIT = 1800  # seconds for one run; the Go tool needs 323 for a restore of 160 small segments
STAGES = ("Preflight", "Flushing", "CopyingMetadata", "CopyingData", "Verifying", "Finalizing")


class Failed(Exception):
    """A run did not do its work."""


@dataclass
class Took:
    """What a run cost."""

    seconds: float
    mib: float
    stages: dict[str, float] = field(default_factory=dict)
    report: dict = field(default_factory=dict)


def ended(process: subprocess.Popen, started: float) -> tuple[float, float]:
    """Waits without looking again and again, as `Popen.wait` with a limit does: seconds, and MiB at its peak."""
    watchdog, over, peak = threading.Timer(LIMIT, process.kill), threading.Event(), [0.0]
    # getrusage would count what this process had when it forked
    watcher = threading.Thread(target=watch, args=(process.pid, over, peak), daemon=True)
    watchdog.start()
    watcher.start()
    try:
        process.wait()
        seconds = time.monotonic() - started
    finally:
        watchdog.cancel()
        over.set()
    watcher.join()
    return seconds, peak[0]


def watch(pid: int, over: threading.Event, peak: list[float]) -> None:
    while not over.wait(0.02):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            peak[0] = int(status.split("VmHWM:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            return  # it has ended


class Timed(Run):
    """A started engine."""

    def took(self) -> Took:
        seconds, mib = ended(self.process, self.started)
        outcome = self.wait()
        if outcome.code:
            raise Failed(f"our engine ended with {outcome.code}: {outcome.message}\n{outcome.log}")
        return Took(seconds, mib, self.stages(), outcome.report)

    def stages(self) -> dict[str, float]:
        """Seconds of each stage by the log: each goes on until the next one begins."""
        lines = (self.directory / "log").read_text(errors="replace").splitlines()
        found = [(m[2], moment(m[1])) for m in map(re.compile(r"(\S+Z) .*: stage stage=(\w+)").match, lines) if m]
        ends = [begun for _, begun in found[1:]] + [moment(lines[-1].split()[0])] if found else []
        return {name: end - begun for (name, begun), end in zip(found, ends)}


def moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return float("nan")


class Ours(Program):
    """Our engine; artifacts are in Milvus' own bucket, so that copies are server-side and a restore needs no staging."""

    name = "ours"

    def begin(self, kind: str, **more) -> Timed:
        self.runs += 1
        directory = self.directory / f"{self.runs:03}-{kind}"
        directory.mkdir(parents=True)
        return Timed(self.binary, self.task(kind, **more), directory)

    def backup(self, database: str, artifact: str, **more) -> Took:
        return self.begin("backup", artifact=artifact, selection={"include": [{"database": database}]}, **more).took()

    def restore(self, artifact: str) -> Took:
        done = self.begin("restore", artifact=artifact, mapping={"suffix": SUFFIX}).took()
        counts = done.report["rowCounts"]
        if counts["expected"] != counts["actual"]:
            raise Failed(f"our engine restored {counts['actual']} of {counts['expected']} rows")
        return done


class Peer:
    """The Go tool, by its command line and `configs/backup.yaml`."""

    name = "go"
    prefix = "backup/of-peer"

    def __init__(self, binary: Path, ours: Ours, management: str, to: S3 | None = None, bucket: str = ""):
        """With `to`, its backups are in a bucket of another server, which it streams to."""
        self.binary, self.ours, self.management = binary, ours, management
        self.directory = ours.directory / ("peer-elsewhere" if to else "peer")
        (self.directory / "configs").mkdir(parents=True)
        data, backups = Place(ours.s3, ours.bucket, ours.root), Place(to or ours.s3, bucket or ours.bucket, self.prefix)
        settings = configuration(data, backups, ours.port, management, streams=bool(to))
        (self.directory / "configs" / "backup.yaml").write_text(settings)

    def into(self, to: S3, bucket: str) -> "Peer":
        """The same program, whose backups are elsewhere."""
        return Peer(self.binary, self.ours, self.management, to, bucket)

    def backup(self, database: str, artifact: str) -> Took:
        return self.run("create", "-n", artifact, "--filter", f"{database}.*")

    def restore(self, artifact: str) -> Took:
        return self.run("restore", "-n", artifact, "-s", SUFFIX)

    def run(self, *arguments: str) -> Took:
        with open(self.directory / "output", "w+b") as output:
            command = [self.binary, *arguments]
            started = time.monotonic()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.directory, env=plain())
            seconds, mib = ended(process, started)
            output.seek(0)
            said = output.read().decode(errors="replace")[-4000:]
        if process.returncode:
            raise Failed(f"{' '.join(arguments)}: the Go tool ended with {process.returncode}\n{said}")
        return Took(seconds, mib)
