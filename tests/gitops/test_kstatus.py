"""The truth table: what a waiter that knows nothing of our kinds makes of each state they can be in."""

from pathlib import Path

import pytest
import yaml
from kstatus import kstatus

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "deploy/argocd/resource_customizations/backup.milvus.io"

TABLE = {
    "MilvusBackup": {
        "new": "InProgress",
        "queued": "InProgress",
        "retrying": "InProgress",
        "running": "InProgress",
        "changed": "InProgress",
        "completed": "Current",
        "failed": "Failed",
        "partially-failed": "Failed",
        "cancelled": "Failed",
        "rejected": "Failed",
        "start-deadline-exceeded": "Failed",
        "run-deadline-exceeded": "Failed",
        "stalled": "Failed",
        "deleting": "Terminating",
    },
    "MilvusRestore": {
        "new": "InProgress",
        "queued": "InProgress",
        "running": "InProgress",
        "completed": "Current",
        "preflight-passed": "Current",
        "failed": "Failed",
        "conflict-found": "Failed",
        "target-uid-mismatch": "Failed",
        "row-count-mismatch": "Failed",
        "version-too-old": "Failed",
        "cancelled": "Failed",
        "rejected": "Failed",
        "deleting": "Terminating",
    },
    "MilvusBackupLocation": {
        "new": "InProgress",
        "probing": "InProgress",
        "ready": "Current",
        "access-denied": "Failed",
        "deleting": "Terminating",
    },
}

CASES = [pytest.param(kind, state, want, id=f"{kind}-{state}")
         for kind, states in TABLE.items() for state, want in states.items()]


def sample(kind, state):
    return yaml.safe_load((SAMPLES / kind / "testdata" / f"{state}.yaml").read_text())


@pytest.mark.parametrize(("kind", "state", "want"), CASES)
def test_a_waiter_reads_the_state(kind, state, want):
    assert kstatus(sample(kind, state)) == want


def test_every_sample_is_in_the_table():
    found = {kind.name: {path.stem for path in (kind / "testdata").glob("*.yaml")} for kind in SAMPLES.iterdir()}
    assert found == {kind: set(states) for kind, states in TABLE.items()}


def test_an_object_the_operator_has_not_seen_yet_is_in_progress():
    crds = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]
    assert {crd["spec"]["names"]["kind"] for crd in crds} == set(TABLE)
    for crd in crds:
        (version,) = crd["spec"]["versions"]
        default = version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
        assert default["observedGeneration"] == -1
        assert kstatus({"metadata": {"generation": 1}, "status": default}) == "InProgress"


def test_an_object_that_says_nothing_would_count_as_done():
    assert kstatus({"metadata": {"generation": 1}}) == "Current"


@pytest.mark.parametrize(
    ("conditions", "want"),
    [
        ({"Reconciling": "True", "Stalled": "True"}, "InProgress"),
        ({"Stalled": "True", "Ready": "True"}, "Failed"),
        ({"Ready": "Unknown"}, "InProgress"),
        ({"Reconciling": "False", "Stalled": "False", "Ready": "True"}, "Current"),
    ],
)
def test_the_rules_apply_in_their_order(conditions, want):
    listed = [{"type": type_, "status": status} for type_, status in conditions.items()]
    obj = {"metadata": {"generation": 3}, "status": {"observedGeneration": 3, "conditions": listed}}
    assert kstatus(obj) == want
    assert kstatus(obj | {"metadata": {"generation": 4}}) == "InProgress"
    assert kstatus(obj | {"metadata": {"generation": 3, "deletionTimestamp": "2026-08-22T02:11:50Z"}}) == "Terminating"
