"""Definitions and samples by both ways of `kubectl apply`, and the first thing the API server makes of an object."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
SAMPLES = sorted((ROOT / "deploy/samples").glob("*.yaml"))
WAYS = {"client side": [], "server side": ["--server-side"]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", CRDS, ids=lambda p: p.stem)
def test_a_definition_can_be_applied(kubectl, file, way):
    name = yaml.safe_load(file.read_text())["metadata"]["name"]
    kubectl("delete", "crd", name, "--ignore-not-found", "--timeout=60s")
    kubectl("apply", *WAYS[way], "-f", str(file))
    kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
    conditions = kubectl.json("get", "crd", name)["status"]["conditions"]
    assert [c for c in conditions if c["type"] == "NonStructuralSchema"] == []


@pytest.mark.parametrize("file", CRDS, ids=lambda p: p.stem)
def test_a_definition_stays_below_the_limit_of_client_side_apply(file):
    assert len(file.read_bytes()) < 100_000


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", SAMPLES, ids=lambda p: p.stem)
def test_applying_a_sample_again_changes_nothing(kubectl, definitions, namespace, file, way):
    sample = yaml.safe_load(file.read_text())
    for _ in range(2):
        kubectl("-n", namespace, "apply", *WAYS[way], "-f", str(file))
        made = kubectl.json("-n", namespace, "get", sample["kind"], sample["metadata"]["name"])
        assert made["metadata"]["generation"] == 1  # so a controller sees no new wish


@pytest.mark.parametrize("file", SAMPLES, ids=lambda p: p.stem)
def test_a_new_object_is_not_observed_yet(kubectl, definitions, namespace, file):
    """kstatus takes an object whose observedGeneration lags behind for one that is being worked on."""
    sample = yaml.safe_load(file.read_text())
    kubectl("-n", namespace, "apply", "-f", str(file))
    made = kubectl.json("-n", namespace, "get", sample["kind"], sample["metadata"]["name"])
    assert made["status"]["observedGeneration"] == -1


def test_the_kinds_answer_to_their_short_names_and_category(kubectl, definitions, namespace):
    kubectl("-n", namespace, "apply", "-f", "deploy/samples/backup.yaml", "-f", "deploy/samples/restore.yaml")
    assert "before-upgrade" in kubectl("-n", namespace, "get", "mbk")
    assert "back-again" in kubectl("-n", namespace, "get", "mrs")


def test_a_wrong_field_is_refused_by_name(kubectl, definitions, namespace):
    wrong = yaml.safe_load((ROOT / "deploy/samples/backup.yaml").read_text())
    wrong["spec"]["sauce"] = {}
    done = kubectl.attempt("-n", namespace, "apply", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(wrong))
    assert done.returncode != 0
    assert "sauce" in done.stderr


def test_what_may_not_change_is_refused_with_a_sentence(kubectl, definitions, namespace):
    kubectl("-n", namespace, "apply", "-f", "deploy/samples/backup.yaml")
    change = '{"spec": {"source": {"milvusRef": {"name": "another"}}}}'
    done = kubectl.attempt("-n", namespace, "patch", "mbk", "before-upgrade", "--type=merge", "-p", change)
    assert done.returncode != 0
    assert "source" in done.stderr
