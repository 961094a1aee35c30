"""The cluster: kubectl to apply, delete and wait as users do; reads over a connection; what to look at when something fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import yaml

from harness.api import KINDS, Api

NAMESPACE = os.environ.get("MILVUS_TEST_NAMESPACE", "search")
OPERATOR_NAMESPACE = "milvus-backup-system"
OPERATOR = "app.kubernetes.io/name=milvus-backup-operator"
COMPAT_API = f"{OPERATOR}-compat-api"
POLL = 0.2


class KubectlError(Exception):
    """kubectl ended with another status than 0; the text is what it said."""


class TimedOut(AssertionError):
    """A deadline passed; the text says what was waited for and what was there instead."""


def until(what: str, seconds: float, look):
    """The first value of `look()` that is true; `TimedOut` with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimedOut(f"{what}: not after {seconds} s; last seen: {value!r}")
        time.sleep(POLL)


class Kube:
    def __init__(self, namespace: str = NAMESPACE):
        self.namespace = namespace
        config = os.environ.get("KUBECONFIG", "")
        self.api = Api.of(Path(config)) if config and os.pathsep not in config else None

    def run(self, *args: str, stdin: str | None = None, seconds: float = 60) -> str:
        done = subprocess.run(
            ["kubectl", *args], input=stdin, capture_output=True, text=True, timeout=seconds
        )
        if done.returncode:
            raise KubectlError(done.stderr.strip())
        return done.stdout

    def apply(self, *objects: dict | str) -> None:
        """Objects as dictionaries or YAML; `KubectlError` carries what the API server refused."""
        text = "\n---\n".join(o if isinstance(o, str) else json.dumps(o) for o in objects)
        self.run("-n", self.namespace, "apply", "-f", "-", stdin=text)

    def patch(self, kind: str, name: str, change: dict) -> None:
        self.run("-n", self.namespace, "patch", kind, name, "--type=merge", "-p", json.dumps(change))

    def get(self, kind: str, name: str) -> dict | None:
        """The object, or None where there is none."""
        if self.api and kind in KINDS:
            return self.api.get(kind, self.namespace, name)
        text = self.run("-n", self.namespace, "get", kind, name, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, selector: str = "", namespace: str = "") -> list[dict]:
        if self.api and kind in KINDS:
            return self.api.list(kind, namespace or self.namespace, selector)
        more = ["-l", selector] if selector else []
        return json.loads(self.run("-n", namespace or self.namespace, "get", kind, *more, "-o", "json"))["items"]

    def delete(self, kind: str, name: str, seconds: float = 60) -> None:
        """Returns when it is gone, finalizers and all."""
        self.run(
            "-n", self.namespace, "delete", kind, name, "--ignore-not-found", f"--timeout={int(seconds)}s",
            seconds=seconds + 10,
        )  # fmt: skip

    def wait(self, kind: str, name: str, what: str, seconds: float, good) -> dict:
        """The object once `good(object)` is true."""
        seen = {}

        def look():
            seen["object"] = self.get(kind, name)
            return seen["object"] if seen["object"] and good(seen["object"]) else None

        try:
            return until(f"{kind}/{name} {what}", seconds, look)
        except TimedOut as error:
            status = (seen["object"] or {}).get("status", {})
            raise TimedOut(f"{error}\nconditions: {conditions_text(status)}\nattempts: {status.get('attempts')}") from None

    def wait_condition(self, kind: str, name: str, condition: str, status: str = "True", seconds: float = 120) -> dict:
        return self.wait(
            kind, name, f"{condition}={status}", seconds, lambda o: condition_of(o, condition).get("status") == status
        )

    def wait_finished(self, kind: str, name: str, seconds: float = 180) -> dict:
        """The condition Succeeded once it is True or False; a test says which it wants."""
        done = self.wait(
            kind, name, "finished", seconds, lambda o: condition_of(o, "Succeeded").get("status") in ("True", "False")
        )
        return condition_of(done, "Succeeded")

    def succeeds(self, kind: str, name: str, seconds: float = 180) -> dict:
        """The status, once it has ended and well."""
        done = self.wait_finished(kind, name, seconds)
        status = self.get(kind, name)["status"]
        assert done["status"] == "True", f"{kind}/{name}: {done}\nattempts: {status.get('attempts')}"
        return status

    def wait_stage(self, kind: str, name: str, *stages: str, seconds: float = 60) -> dict:
        """The object once its stage (the reason of Succeeded) is one of `stages`."""
        return self.wait(
            kind, name, f"in stage {' or '.join(stages)}", seconds, lambda o: condition_of(o, "Succeeded").get("reason") in stages
        )

    def refused(self, *objects: dict | str) -> str:
        """What `kubectl apply` says when the API server refuses; fails if it does not."""
        try:
            self.apply(*objects)
        except KubectlError as error:
            return str(error)
        raise AssertionError("kubectl apply was not refused")

    def events(self, name: str) -> list[dict]:
        """The Events about an object of that name."""
        return [e for e in self.list("events") if e["involvedObject"]["name"] == name]

    # ------------------------------------------------------------------------------------------ pods and processes
    def jobs_of(self, name: str) -> dict[str, str]:
        """Name and UID of the Jobs that an object owns."""
        return {
            j["metadata"]["name"]: j["metadata"]["uid"]
            for j in self.list("jobs")
            if any(o["name"] == name for o in j["metadata"].get("ownerReferences", []))
        }

    def pods_of(self, name: str) -> list[dict]:
        """The pods of a run's Jobs, by the Jobs' owner."""
        jobs = self.jobs_of(name)
        return [p for p in self.list("pods") if p["metadata"].get("labels", {}).get("job-name") in jobs]

    def running_pod_of(self, name: str, seconds: float = 60) -> dict:
        def look():
            return next((p for p in self.pods_of(name) if p["status"].get("phase") == "Running"), None)

        return until(f"a running pod of {name}", seconds, look)

    def delete_pod(self, pod: dict) -> None:
        """As a drained or lost node does it: at once, without a grace period."""
        meta = pod["metadata"]
        self.run("-n", meta["namespace"], "delete", "pod", meta["name"], "--grace-period=0", "--force", "--wait=false")

    def kill_process(self, pod: dict, by: int = signal.SIGKILL) -> int:
        """SIGKILL to the process in a pod, as the kernel's OOM killer does it; the pod stays. How many were hit."""
        uid = pod["metadata"]["uid"]
        hit = 0
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                mine = uid in proc.joinpath("cgroup").read_text() or uid.replace("-", "_") in proc.joinpath("cgroup").read_text()
                if mine and os.readlink(proc / "exe").endswith("/milvus-backup"):
                    os.kill(int(proc.name), by)
                    hit += 1
            except (OSError, ProcessLookupError):
                continue  # it ended while we looked, or is a kernel thread
        return hit

    def operator_pods(self) -> list[dict]:
        return self.list("pods", OPERATOR, OPERATOR_NAMESPACE)

    def kill_operator(self) -> None:
        """All its pods at once, without a grace period; the Deployment makes new ones."""
        for pod in self.operator_pods():
            self.delete_pod(pod)

    def wait_operator(self, seconds: float = 60) -> None:
        self.run(
            "-n", OPERATOR_NAMESPACE, "wait", "deployment", "-l", OPERATOR, "--for=condition=Available",
            f"--timeout={int(seconds)}s", seconds=seconds + 10,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------------- evidence
    def save_evidence(self, folder: Path) -> None:
        """What a person would ask for when a test failed: objects, events, logs."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {
            "objects.yaml": ["-n", self.namespace, "get", "mbk,mrs,jobs,pods", "-o", "yaml"],
            "events.txt": ["-n", self.namespace, "get", "events", "--sort-by=.lastTimestamp"],
            "operator.log": ["-n", OPERATOR_NAMESPACE, "logs", "-l", OPERATOR, "--tail=-1", "--prefix"],
            "compat-api.log": ["-n", OPERATOR_NAMESPACE, "logs", "-l", COMPAT_API, "--tail=-1"],
        }
        for pod in self.list("pods"):
            name = pod["metadata"]["name"]
            wanted[f"pod-{name}.log"] = ["-n", self.namespace, "logs", name, "--tail=2000"]
        for file, args in wanted.items():
            try:
                folder.joinpath(file).write_text(self.run(*args))
            except (KubectlError, subprocess.TimeoutExpired) as error:
                folder.joinpath(file).write_text(f"{error}\n")


def condition_of(o: dict, kind: str) -> dict:
    return next((c for c in o.get("status", {}).get("conditions", []) if c["type"] == kind), {})


def conditions_text(status: dict) -> str:
    return "; ".join(
        f"{c['type']}={c['status']}/{c.get('reason')}: {c.get('message', '')}" for c in status.get("conditions", [])
    )


def sample(file: str, **changes) -> dict:
    """A sample of deploy/samples as a dictionary, with another name if given."""
    path = Path(__file__).resolve().parents[3] / "deploy/samples" / file
    loaded = yaml.safe_load(path.read_text())
    if "name" in changes:
        loaded["metadata"]["name"] = changes["name"]
    return loaded


def safe_name(text: str) -> str:
    """A DNS label of at most 40 characters."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[-40:].strip("-")
