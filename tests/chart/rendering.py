"""The charts, and Helm to render them."""

import json
import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/milvus-backup-operator"
CRD_CHART = ROOT / "charts/milvus-backup-operator-crds"
KUBE = ROOT / "tests/env/kube/kube"


class Helm:
    """`helm template` with Kubernetes 1.35's version and no cluster."""

    def run(self, *args, stdin=None):
        command = [os.environ["HELM"]] if os.environ.get("HELM") else [str(KUBE), "helm"]
        return subprocess.run([*command, *args], input=stdin, capture_output=True, text=True, cwd=ROOT)

    def text(self, values=None, chart=CHART, kube_version="1.35.4"):
        done = self.attempt(values, chart, kube_version)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def attempt(self, values=None, chart=CHART, kube_version="1.35.4"):
        args = ["template", "mbo", str(chart), "--namespace", "milvus-backup-system", "--kube-version", kube_version]
        return self.run(*args, "--values", "-", stdin=json.dumps(values or {}))

    def objects(self, values=None, chart=CHART):
        return [o for o in yaml.safe_load_all(self.text(values, chart)) if o]

    def one(self, kind, values=None, chart=CHART):
        found = [o for o in self.objects(values, chart) if o["kind"] == kind]
        assert len(found) == 1, f"{len(found)} objects of kind {kind}"
        return found[0]
