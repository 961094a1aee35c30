"""The program under test: `milvus-backup run`, with tasks as the controller writes them."""

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from servers import HOST, ROOT, S3

OK, RETRYABLE, CONFIGURATION, DATA, CANCELLED, LOST_LOCK = 0, 10, 20, 30, 40, 50

PREFIX = "backup/of-tests"  # in Milvus' own bucket, outside its rootPath


def build() -> Path:
    """The binary named by the environment, or one built from this work tree."""
    given = os.environ.get("MILVUS_BACKUP_BIN_UNDER_TEST")
    if given:
        return Path(given).resolve()
    command = ["cargo", "build", "--bin", "milvus-backup", "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    built = [json.loads(line).get("executable") for line in done.stdout.splitlines()]
    return Path(next(path for path in built if path))


@dataclass
class Outcome:
    """How a run ended."""

    code: int
    report: dict
    progress: list[dict]
    log: str
    seconds: float

    def __iter__(self):
        return iter((self.code, self.report, self.progress))

    @property
    def message(self) -> str:
        return self.report.get("message", "")

    @property
    def reason(self) -> str:
        return self.report.get("reason", "")

    def expect(self, code: int, *words: str) -> "Outcome":
        """Fails, with everything the run said, unless it ended with this code and its message has these words."""
        missing = [word for word in words if word not in self.message]
        assert self.code == code and not missing, (
            f"ended with {self.code} in place of {code}, missing in its message: {missing}\n{self.reason}: {self.message}\n{self.log}"
        )
        return self


class Run:
    """A started program."""

    def __init__(self, binary: Path, task: dict, directory: Path):
        self.directory = directory
        self.task = task
        (directory / "task.json").write_text(json.dumps(task))
        self.report_file = directory / "report.json"
        settings = {"MILVUS_BACKUP_REPORT": str(self.report_file), "MILVUS_BACKUP_LOG": "info,milvus_backup_operator=debug"}
        self.started = time.monotonic()
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                [binary, "run", "--task", directory / "task.json"],
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.decode())

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def wait(self, seconds: float = 240) -> Outcome:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
            raise AssertionError(f"still runs after {seconds} s\n{self.log()}") from None
        took = time.monotonic() - self.started
        self.reader.join()
        report = json.loads(self.report_file.read_text()) if self.report_file.exists() else {}
        progress = [json.loads(line)["progress"] for line in self.lines if line.startswith('{"progress"')]
        return Outcome(code, report, progress, self.log(), took)

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-8000:]


class Program:
    """Starts runs against one Milvus; what a test does not say is as in a default installation."""

    def __init__(self, binary: Path, directory: Path, s3: S3, bucket: str, root: str, port: int):
        self.binary, self.directory, self.s3 = binary, directory, s3
        self.bucket, self.root, self.port = bucket, root, port
        self.runs = 0

    def store(self, bucket: str | None = None, prefix: str = PREFIX, s3: S3 | None = None, endpoint: str | None = None) -> dict:
        s3 = s3 or self.s3
        return {
            "endpoint": endpoint or s3.endpoint,
            "bucket": bucket or self.bucket,
            "prefix": prefix,
            "credentials": {"files": self.keys(s3.key, s3.secret)},
        }

    def keys(self, key: str, secret: str) -> dict:
        folder = self.directory / "secrets" / f"{key}-{abs(hash(secret))}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "accesskey").write_text(key)
        (folder / "secretkey").write_text(secret)
        return {"access_key": str(folder / "accesskey"), "secret_key": str(folder / "secretkey")}

    def milvus(self, endpoint: str | None = None, **other) -> dict:
        return {"host": HOST, "port": self.port, "store": self.store(prefix=self.root, endpoint=endpoint), **other}

    def task(self, kind: str, *, uid: str | None = None, attempt: int = 1, endpoint: str | None = None, **work) -> dict:
        """A task with defaults: all servers of the environment; `endpoint` puts a proxy before S3."""
        if kind == "backup":
            defaults = {"milvus": self.milvus(endpoint), "destination": self.store(endpoint=endpoint)}
        elif kind == "restore":
            defaults = {"target": self.milvus(endpoint), "source": self.store(endpoint=endpoint)}
        else:
            defaults = {"location": self.store(endpoint=endpoint)}
        return {
            "version": 1,
            "run": {"uid": uid or str(uuid.uuid4()), "attempt": attempt},
            "work": {kind: {**defaults, **work}},
        }

    def start(self, kind: str, **more) -> Run:
        self.runs += 1
        directory = self.directory / f"{self.runs:03}-{kind}"
        directory.mkdir(parents=True)
        return Run(self.binary, self.task(kind, **more), directory)

    def run_task(self, kind: str, **more) -> Outcome:
        """Exit code, report and progress lines of a whole run."""
        return self.start(kind, **more).wait()


def include(*names: str) -> dict:
    """A selection of `database.collection`s."""
    return {"include": [{"database": n.split(".")[0], "collections": [n.split(".")[1]]} for n in names]}
