"""Pods of the operator and of its Jobs satisfy the restricted Pod Security profile, and hold no more than they need."""

import json
import os

import pytest
from harness.kube import OPERATOR, OPERATOR_NAMESPACE, KubectlError

ENFORCE = "pod-security.kubernetes.io/enforce"


def pod(name: str, spec: dict) -> dict:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {**spec, "serviceAccountName": "default"}}


def admitted(kube, o: dict) -> str:
    return kube.run("-n", kube.namespace, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(o))


def test_a_namespace_that_enforces_the_restricted_profile_admits_every_pod(kube, milvus, shared_backup):
    namespace = json.loads(kube.run("get", "namespace", kube.namespace, "-o", "json"))
    assert namespace["metadata"]["labels"][ENFORCE] == "restricted"
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        admitted(kube, pod("unsafe", {"containers": [{"name": "a", "image": "a:1"}]}))

    (run,) = kube.pods_of(shared_backup)  # it ran there
    assert run["status"]["phase"] == "Succeeded"
    (operator,) = kube.list("deployments", OPERATOR, OPERATOR_NAMESPACE)
    admitted(kube, pod("operator", operator["spec"]["template"]["spec"]))


def test_the_runner_holds_no_token_and_reads_no_more_than_it_was_given(kube, milvus, shared_backup):
    (run,) = kube.pods_of(shared_backup)
    assert run["spec"]["automountServiceAccountToken"] is False
    mounts = {m["mountPath"] for c in run["spec"]["containers"] for m in c["volumeMounts"]}
    assert not [m for m in mounts if "serviceaccount" in m], mounts
    named = {v["secret"]["secretName"] for v in run["spec"]["volumes"] if "secret" in v}
    assert named == {"prod-s3"}, named
    text = json.dumps(run)
    assert "minioadmin" not in text, "a key in the pod"


def test_the_operator_may_read_no_secret_and_no_config_map(kube):
    account = kube.list("deployments", OPERATOR, OPERATOR_NAMESPACE)[0]["spec"]["template"]["spec"]["serviceAccountName"]
    who = f"--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{account}"
    for verb in ("get", "list", "watch"):
        for kind in ("secrets", "configmaps"):
            with pytest.raises(KubectlError):  # `can-i` answers no with status 1
                kube.run("auth", "can-i", verb, kind, who, "-n", kube.namespace)
    kube.run("auth", "can-i", "list", "milvusbackups.backup.milvus.io", who, "-n", kube.namespace)


def test_no_key_is_in_any_log_object_or_event(kube, milvus, shared_backup):
    secret = os.environ["S3_TEST_SECRET_KEY"]
    logs = [kube.run("-n", OPERATOR_NAMESPACE, "logs", "-l", OPERATOR, "--tail=-1")]
    logs += [kube.run("-n", kube.namespace, "logs", p["metadata"]["name"]) for p in kube.pods_of(shared_backup)]
    objects = kube.run("-n", kube.namespace, "get", "mbk,mrs,mbl,jobs,pods,events", "-o", "json")
    for text in (*logs, objects):
        assert secret not in text
