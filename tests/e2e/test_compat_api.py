"""The REST API of milvus-backup as the chart runs it: a client that was written for the Go tool works with objects of the operator."""

import base64
import json
import secrets
import subprocess
from pathlib import Path

import pytest
import urllib3
from harness.kube import COMPAT_API, OPERATOR_NAMESPACE, KubectlError, condition_of, until

CHART = Path(__file__).resolve().parents[2] / "charts/milvus-backup-operator"
RELEASE = "milvus-backup-operator"
API = f"{RELEASE}-compat-api"  # its Service, account and Deployment
TOKEN = "compat-api-token"
NAME_ANNOTATION = "backup.milvus.io/api-name"
DONE = 2  # state_code: 0 accepted, 1 running, 2 done, 3 failed
ENFORCE = "pod-security.kubernetes.io/enforce"
OURS = ["-n", OPERATOR_NAMESPACE]


class Client:
    """Speaks HTTP as clients of the Go tool do, to the Service and with the token."""

    def __init__(self, address: str, token: str):
        self.address, self.token, self.pool = address, token, urllib3.PoolManager(timeout=60, retries=False)

    def ask(self, method: str, path: str, body: dict | None = None, token: str | None = None, **headers: str):
        """Status and body; `token` other than the right one, or empty for none."""
        token = self.token if token is None else token
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.pool.request(method, f"{self.address}/api/v1{path}", json=body, headers=headers)
        return answer.status, answer.data.decode()

    def greeted(self) -> bool:
        """Whether it can be reached: a Service takes a moment longer than its pod."""
        try:
            return self.ask("GET", "/hello", token="")[0] == 200
        except urllib3.exceptions.HTTPError:
            return False

    def does(self, method: str, path: str, body: dict | None = None, **headers: str):
        """What an answer carries; fails unless it was what was asked for: `code` is absent on success."""
        status, text = self.ask(method, path, body, **headers)
        said = json.loads(text)
        assert status == 200 and "code" not in said, (method, path, status, text)
        return said.get("data")

    def ended(self, path: str, seconds: float = 180) -> dict:
        """Asked again and again, as such clients do, until it is done or failed."""
        answer = until(f"{path} has ended", seconds, lambda: (d := self.does("GET", path))["state_code"] >= DONE and d)
        assert answer["state_code"] == DONE, answer
        return answer


def upgrade(*settings: str) -> None:
    """The chart once more, with these values changed (docs/installing.md); returns when all it runs is ready."""
    command = ["helm", "upgrade", RELEASE, CHART, "--namespace", OPERATOR_NAMESPACE, "--reset-then-reuse-values", "--wait", "--timeout=120s"]
    done = subprocess.run([*command, *(part for one in settings for part in ("--set", one))], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def api(kube, milvus_server) -> Client:
    """Switched on by the chart, in a namespace that enforces the restricted profile; the operator's own pods stay as they are."""
    operator = {pod["metadata"]["uid"] for pod in kube.operator_pods()}
    token = secrets.token_hex(32)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": TOKEN}, "stringData": {"token": token}}
    kube.run(*OURS, "apply", "-f", "-", stdin=json.dumps(secret))
    kube.run("label", "namespace", OPERATOR_NAMESPACE, f"{ENFORCE}=restricted", "--overwrite")
    try:
        wanted = {"enabled": "true", "namespace": kube.namespace, "milvus": "prod", "tokenSecretName": TOKEN}
        upgrade(*(f"compatApi.{key}={value}" for key, value in wanted.items()))
        assert {pod["metadata"]["uid"] for pod in kube.operator_pods()} == operator, "the operator was started anew"
        address = kube.run(*OURS, "get", "service", API, "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
        client = Client(f"http://{address}", token)
        until("a greeting of the API", 30, client.greeted)
        yield client
    finally:
        upgrade("compatApi.enabled=false")
        kube.run(*OURS, "delete", "secret", TOKEN, "--ignore-not-found")
        kube.run("label", "namespace", OPERATOR_NAMESPACE, f"{ENFORCE}-")


def test_a_client_of_the_go_tool_backs_up_restores_and_deletes(kube, milvus, s3, bucket, api, prefix, name):
    (spec,) = specs = milvus.fill(prefix, only=("customers",))
    wanted = milvus.rows(specs)
    called, request = name.replace("-", "_"), f"{name}-1"

    body = {"async": True, "backup_name": called, "collection_names": [f"{spec.database}.{spec.name}"]}
    assert api.does("POST", "/create", body, request_id=request) is None
    backup = api.ended(f"/get_backup?backup_name={called}")
    assert (backup["name"], backup["id"]) == (called, request) and backup["size"] > 0, backup

    # the same backup, as kubectl shows it
    (made,) = [o for o in kube.list("mbk") if o["metadata"].get("annotations", {}).get(NAME_ANNOTATION) == called]
    assert condition_of(made, "Succeeded")["status"] == "True", made["status"]
    assert made["spec"]["source"]["milvusRef"]["name"] == "prod"
    assert made["status"]["summary"]["collections"] == 1
    listed = {one["name"]: one for one in api.does("GET", "/list")}
    assert (listed[called]["id"], listed[called]["size"]) == (request, made["status"]["summary"]["sizeBytes"])

    body = {"async": True, "id": f"{name}-2", "backup_name": called, "collection_suffix": "_api", "restoreIndex": True}
    assert api.does("POST", "/restore", body)["id"] == f"{name}-2"
    restored = api.ended(f"/get_restore?id={name}-2")
    targets = {(one["target_db_name"], one["target_collection_name"]) for one in restored["collection_restore_tasks"]}
    assert targets == {(spec.database, f"{spec.name}_api")}
    assert milvus.differences(wanted, suffix="_api") == []

    # a second one of that name is refused, whatever the Go tool does
    status, text = api.ask("POST", "/create", {"backup_name": called})
    assert (status, json.loads(text)["code"]) == (200, 3) and called in text, text

    folder = made["status"]["artifact"]["uri"].removeprefix(f"s3://{bucket}/") + "/"
    assert s3.list_objects_v2(Bucket=bucket, Prefix=folder)["KeyCount"] > 10
    api.does("DELETE", f"/delete?backup_name={called}")
    assert kube.get("mbk", made["metadata"]["name"]) is None
    assert s3.list_objects_v2(Bucket=bucket, Prefix=folder)["KeyCount"] == 0
    assert called not in [one["name"] for one in api.does("GET", "/list")]


def test_a_backup_made_by_kubectl_is_listed_for_such_clients(kube, milvus, api, shared_backup):
    made = kube.get("mbk", shared_backup)
    (found,) = [one for one in api.does("GET", "/list") if one["id"] == made["metadata"]["uid"]]
    assert found["name"] == made["status"]["artifact"]["name"]
    assert api.does("GET", f"/get_backup?backup_name={shared_backup}")["id"] == found["id"]


def test_without_the_token_there_is_only_the_greeting(kube, api):
    assert api.greeted()
    before = {o["metadata"]["uid"] for o in kube.list("mbk")}
    asked = [("GET", "/list", None), ("GET", "/check", None), ("POST", "/create", {"async": True, "backup_name": "uninvited"})]
    asked += [("DELETE", "/delete?backup_name=uninvited", None), ("POST", "/restore", {"backup_name": "uninvited"})]
    for method, path, body in asked:
        for token in ("", api.token[:-1], api.token.upper()):
            status, text = api.ask(method, path, body, token=token)
            assert status == 401 and api.token not in text, (method, path, status, text)
    assert {o["metadata"]["uid"] for o in kube.list("mbk")} == before
    assert api.ask("GET", "/check")[1].endswith("Success!\n")


def test_its_pod_fits_the_restricted_profile_and_tells_its_token_to_nobody(kube, api):
    unsafe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "unsafe"}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        kube.run(*OURS, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(unsafe))
    (pod,) = kube.list("pods", COMPAT_API, OPERATOR_NAMESPACE)  # it came to be where that one cannot
    assert pod["status"]["phase"] == "Running" and pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume] == [TOKEN]
    said = json.dumps(pod) + kube.run(*OURS, "logs", pod["metadata"]["name"])
    assert api.token not in said and base64.b64encode(api.token.encode()).decode() not in said


def test_its_account_may_do_no_more_than_its_work_and_read_no_secret(kube, api):
    who = f"--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{API}"

    def may(namespace: str) -> dict[str, set[str]]:
        """Verbs by resource, without what every account may ask about itself."""
        lines = kube.run("auth", "can-i", "--list", "--no-headers", who, "-n", namespace).splitlines()
        rights = {line.split()[0]: set(line[line.rindex("[") + 1 : line.rindex("]")].split()) for line in lines if line[:1].isalpha()}
        return {resource: verbs for resource, verbs in rights.items() if not resource.startswith("selfsubject")}

    assert may(kube.namespace) == {
        "milvusbackups.backup.milvus.io": {"get", "list", "watch", "create", "patch", "delete"},
        "milvusrestores.backup.milvus.io": {"get", "list", "watch", "create", "patch"},
        "milvuses.milvus.io": {"get"},
    }
    assert may(OPERATOR_NAMESPACE) == {}, "its token is a mounted file"
