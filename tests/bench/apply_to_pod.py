"""What the operator costs: time from `kubectl apply` to a running pod, and resident memory of operator and runners.

    make bench ARGS="operator [--runs 20]"

Milvus holds a small data set; the image is on the node. All times are by the clock of this machine: "stored" is when the
object appeared in a watch; "runs" is the time of the first line that the program in the pod wrote, as the container runtime
stamped it; "reported" is when a watch saw the pod's phase as Running, which its kubelet looks at once a second and so tells
up to a second later. Memory is the peak (VmHWM) of the process itself, from the machine's /proc. A figure that misses its target is printed as such; only what does
not work makes this end with 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from harness.kube import OPERATOR, OPERATOR_NAMESPACE, Kube, until  # noqa: E402
from harness.milvus import Milvus  # noqa: E402
from harness.objects import backup, restore  # noqa: E402

TARGET_SECONDS = 1.0
TARGET_MIB = 64


class Watch:
    """Calls `see(object)` for every version of the objects of a kind."""

    def __init__(self, kube: Kube, kind: str, see):
        self.process = subprocess.Popen(
            ["kubectl", "-n", kube.namespace, "get", kind, "-w", "-o", "json", "--output-watch-events"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.see = see
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout:
            event = json.loads(line)
            if event["type"] != "DELETED":
                self.see(event["object"])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Memory:
    """The highest peak of the processes in these pods, by their first argument, looked at ten times a second."""

    def __init__(self, kube: Kube):
        self.peaks: dict[str, float] = {}
        self.pods = {p["metadata"]["uid"] for p in kube.list("pods", OPERATOR, OPERATOR_NAMESPACE)}
        self.watched = Watch(kube, "pods", lambda pod: self.pods.add(pod["metadata"]["uid"]))
        self.ended = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        while not self.ended.wait(0.1):
            for proc in Path("/proc").glob("[0-9]*"):
                try:
                    if not os.readlink(proc / "exe").endswith("/milvus-backup"):
                        continue
                    group = proc.joinpath("cgroup").read_text()
                    if not any(uid in group for uid in [*self.pods]):
                        continue
                    what = proc.joinpath("cmdline").read_bytes().split(b"\0")[1].decode()
                    status = proc.joinpath("status").read_text()
                    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
                    self.peaks[what] = max(self.peaks.get(what, 0), peak)
                except (OSError, IndexError):
                    continue  # it ended while it was looked at


def leases(kube: Kube) -> list[str]:
    """The Milvus that are taken."""
    names = [lease["metadata"]["name"] for lease in kube.list("leases", namespace=OPERATOR_NAMESPACE)]
    return [name for name in names if name.removeprefix("milvus-backup-") != name and name != "milvus-backup-operator"]


def timed(kube: Kube, runs: int, databases: list[str]) -> dict[str, list[float]]:
    """Seconds of each run: `kubectl apply` until the object was stored; from there until its pod ran, and was reported to."""
    stored: dict[str, float] = {}
    running: dict[str, float] = {}
    pods: dict[str, str] = {}

    def see_backup(o: dict) -> None:
        stored.setdefault(o["metadata"]["name"], time.time())

    def see_pod(pod: dict) -> None:
        if pod["status"].get("phase") in ("Running", "Succeeded"):
            run = pod["metadata"].get("annotations", {}).get("backup.milvus.io/object", "").removeprefix("MilvusBackup/")
            running.setdefault(run, time.time())
            pods[run] = pod["metadata"]["name"]

    for i in range(runs):
        kube.delete("mbk", f"bench-{i}")
    watches = [Watch(kube, "mbk", see_backup), Watch(kube, "pods", see_pod)]
    took: dict[str, list[float]] = {"stored": [], "runs": [], "reported": []}
    try:
        for i in range(runs):
            name = f"bench-{i}"
            start = time.time()
            kube.apply(backup(name, *databases))
            until(f"a running pod of {name}", 60, lambda name=name: name in running and name in stored)
            took["stored"].append(stored[name] - start)
            took["reported"].append(running[name] - stored[name])
            done = kube.wait_finished("mbk", name)
            assert done["status"] == "True", done
            took["runs"].append(first_line(kube, pods[name]) - stored[name])
            # the next one would stand in line until the operator has seen the pod of this one end
            until("the Milvus is free", 60, lambda: not leases(kube))
    finally:
        for watch in watches:
            watch.stop()
    for i in range(runs):
        kube.delete("mbk", f"bench-{i}")
    return took


def first_line(kube: Kube, pod: str) -> float:
    """When the program of a pod wrote its first line, by the container runtime's stamp."""
    line = kube.run("-n", kube.namespace, "logs", pod, "--timestamps").split("\n")[0]
    stamp, _, fraction = line.split(" ")[0].removesuffix("Z").partition(".")
    whole = datetime.fromisoformat(stamp).replace(tzinfo=timezone.utc).timestamp()
    return whole + float(f"0.{fraction or 0}")


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--runs", type=int, default=20)
    args = p.parse_args()
    kube, milvus = Kube(), Milvus(os.environ["MILVUS_TEST_URI"])
    kube.wait_operator()
    specs = milvus.fill("bench_", scale=0.1)
    memory = Memory(kube)
    took = timed(kube, args.runs, sorted({s.database for s in specs}))
    for name in ("mbk", "mrs"):
        kube.delete(name, "bench-memory")
    kube.apply(backup("bench-memory", *{s.database for s in specs}))
    assert kube.wait_finished("mbk", "bench-memory")["status"] == "True"
    milvus.drop(specs)
    kube.apply(restore("bench-memory", "bench-memory"))
    done = kube.wait_finished("mrs", "bench-memory", seconds=300)
    assert done["status"] == "True", done
    memory.ended.set()
    memory.watched.stop()
    milvus.drop(specs)
    operators = len(kube.list("pods", OPERATOR, OPERATOR_NAMESPACE))

    figures = [
        ("stored object to a pod that runs", took["runs"], "s", TARGET_SECONDS),
        ("stored object to a pod reported as Running", took["reported"], "s", TARGET_SECONDS),
        ("kubectl apply until the object is stored", took["stored"], "s", None),
        (f"resident memory, operator (highest of {operators})", [memory.peaks.get("controller", 0)], "MiB", TARGET_MIB),
        ("resident memory, runner", [memory.peaks.get("run", 0)], "MiB", TARGET_MIB),
    ]
    print(f"{'figure':<48}{'median':>9}{'least':>9}{'most':>9}        target ({args.runs} runs)")
    for what, values, unit, target in figures:
        numbers = "".join(f"{value:>9.2f}" for value in (statistics.median(values), min(values), max(values)))
        met = "" if target is None else f"below {target:g}: {'met' if statistics.median(values) < target else 'NOT MET'}"
        print(f"{what:<48}{numbers} {unit:<6} {met}")
    for what, values, _, _ in figures:
        assert min(values) > 0, f"{what}: nothing was measured"


if __name__ == "__main__":
    main()
