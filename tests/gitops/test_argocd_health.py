"""The Argo CD health checks, run as Argo CD runs them: Lua 5.1 with the object as `obj`, a table as the answer."""

import subprocess
from pathlib import Path

import pytest
import yaml
from argocd import ARGOCD, health

KINDS = sorted(path.parent for path in ARGOCD.glob("resource_customizations/*/*/health.lua"))


def cases():
    for kind in KINDS:
        for test in yaml.safe_load((kind / "health_test.yaml").read_text())["tests"]:
            yield pytest.param(kind, test, id=f"{kind.name}-{Path(test['inputPath']).stem}")


@pytest.mark.parametrize(("kind", "test"), list(cases()))
def test_the_health_is_the_documented_one(kind, test):
    answer = health(kind.name, yaml.safe_load((kind / test["inputPath"]).read_text()))
    assert {"status": answer.status, "message": answer.message} == test["healthStatus"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_sample_is_tested_and_is_of_its_kind(kind):
    tested = {test["inputPath"] for test in yaml.safe_load((kind / "health_test.yaml").read_text())["tests"]}
    samples = sorted((kind / "testdata").glob("*.yaml"))
    assert tested == {f"testdata/{sample.name}" for sample in samples}
    for sample in samples:
        obj = yaml.safe_load(sample.read_text())
        assert obj["kind"] == kind.name
        assert obj["apiVersion"].split("/")[0] == kind.parent.name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_object_without_a_status_is_progressing(kind):
    obj = {"kind": kind.name, "metadata": {"name": "x", "generation": 1}}
    assert health(kind.name, obj).status == "Progressing"
    assert health(kind.name, obj | {"status": {}}).status == "Progressing"
    assert health(kind.name, obj | {"status": {"observedGeneration": 1}}).status == "Progressing"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_health_has_a_message(kind):
    condition = {"type": "Succeeded", "status": "True", "reason": "Completed"}
    for type_ in ("Succeeded", "Ready"):
        for message in ({}, {"message": ""}):
            status = {"observedGeneration": 1, "conditions": [condition | {"type": type_} | message]}
            assert health(kind.name, {"metadata": {"generation": 1}, "status": status}).message


def test_the_patch_for_argocds_configuration_holds_the_same_lua():
    data = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())["data"]
    assert data == {f"resource.customizations.health.{kind.parent.name}_{kind.name}": (kind / "health.lua").read_text()
                    for kind in KINDS}
    assert subprocess.run([ARGOCD / "generate.sh", "--check"], check=False).returncode == 0
