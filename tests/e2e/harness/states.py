"""Watches the objects of all three kinds and keeps the first one seen in each state, as the API server had it."""

import json
import subprocess
import threading
from pathlib import Path

import yaml

from harness.kube import Kube, condition_of

KINDS = {"milvusbackups": "MilvusBackup", "milvusrestores": "MilvusRestore", "milvusbackuplocations": "MilvusBackupLocation"}
NOISE = ("managedFields", "annotations")


def state_of(o: dict) -> str:
    """What a waiter should see: the stage or the outcome, or that it was not looked at since a change, or goes away."""
    if o["metadata"].get("deletionTimestamp"):
        return "Deleting"
    if o.get("status", {}).get("observedGeneration") != o["metadata"]["generation"]:
        return "New" if o.get("status", {}).get("observedGeneration") == -1 else "Changed"
    kind = "Ready" if o["kind"] == "MilvusBackupLocation" else "Succeeded"
    said = condition_of(o, kind)
    return f"{said.get('reason')}.{said.get('status')}"


class States:
    def __init__(self, kube: Kube, folder: Path):
        self.kube, self.folder = kube, folder
        self.seen: dict[tuple[str, str], dict] = {}
        self.watches: list[subprocess.Popen] = []

    def __enter__(self) -> "States":
        for plural in KINDS:
            watch = subprocess.Popen(
                ["kubectl", "get", f"{plural}.backup.milvus.io", "-A", "-w", "-o", "json", "--output-watch-events"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.watches.append(watch)
            threading.Thread(target=self.read, args=(watch,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for watch in self.watches:
            watch.kill()
            watch.wait()

    def read(self, watch: subprocess.Popen) -> None:
        for line in watch.stdout:
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED"):
                self.take(event["object"])

    def take(self, o: dict) -> None:
        state = state_of(o)
        if (o["kind"], state) in self.seen:
            return
        for part in NOISE:
            o["metadata"].pop(part, None)
        self.seen[o["kind"], state] = o
        file = self.folder / o["kind"] / f"{state}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(o, sort_keys=False, allow_unicode=True))
