"""The charts as Helm renders them: every value has an effect, nothing unknown is taken, pods are restricted."""

import json
import tomllib

import pytest
import yaml
from rendering import CHART, CRD_CHART, ROOT

DIGEST = "sha256:" + "0" * 64

# One other setting for every value of values.yaml. A value that is missing here, or changes nothing, fails.
OTHER = {
    "image.repository": "registry.example/mbo",
    "image.tag": "9.9.9",
    "image.digest": DIGEST,
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "pull"}],
    "runner.image": "registry.example/runner:1",
    "runner.resources.requests.cpu": "300m",
    "runner.resources.requests.memory": "333Mi",
    "runner.resources.limits.memory": "3Gi",
    "replicas": 3,
    "leaderElection.enabled": False,
    "watchNamespaces": ["search"],
    "crds.install": False,
    "crds.keep": False,
    "crds.annotations": {"example.com/owner": "platform"},
    "rbac.aggregate": False,
    "metrics.port": 9000,
    "log.format": "text",
    "log.level": "debug",
    "clusterDomain": "example.internal",
    "resources.requests.cpu": "1",
    "resources.requests.memory": "99Mi",
    "resources.limits.memory": "2Gi",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "compatApi.enabled": True,
    "compatApi.port": 9000,
    "compatApi.namespace": "other",
    "compatApi.milvus": "other",
    "compatApi.location": "offsite",
    "compatApi.passwordSecretName": "login",
    "compatApi.tokenSecretName": "token",
    "compatApi.resources.requests.cpu": "300m",
    "compatApi.resources.requests.memory": "333Mi",
    "compatApi.resources.limits.memory": "3Gi",
}

API = {"compatApi": {"enabled": True, "namespace": "search", "milvus": "prod"}}

# What another value has to be so that one can take effect.
WITH = {path: API for path in OTHER if path.startswith("compatApi.")} | {
    "leaderElection.enabled": {"replicas": 1},
    "compatApi.enabled": {"compatApi": {"namespace": "search", "milvus": "prod"}},
}


def leaves(tree, path=""):
    for key, value in tree.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from leaves(value, here)
        else:
            yield here


def nested(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def merged(base, change):
    both = {key: merged(base[key], change[key]) for key in base.keys() & change.keys()
            if isinstance(base[key], dict) and isinstance(change[key], dict)}
    return base | change | both


def defaults(chart=CHART):
    return yaml.safe_load((chart / "values.yaml").read_text())


def pod(helm, values=None):
    return helm.one("Deployment", values)["spec"]["template"]["spec"]


def env(helm, values=None):
    return {e["name"]: e.get("value") for e in pod(helm, values)["containers"][0]["env"]}


def name(o):
    return o["metadata"]["name"]


def definitions(objects):
    return [o for o in objects if o["kind"] == "CustomResourceDefinition"]


def test_every_value_has_another_setting_in_this_file():
    assert sorted(leaves(defaults())) == sorted(OTHER)


@pytest.mark.parametrize("path", OTHER)
def test_every_value_changes_the_manifest(helm, path):
    base = WITH.get(path, {})
    assert helm.text(merged(base, nested(path, OTHER[path]))) != helm.text(base)


@pytest.mark.parametrize("path", ["crds.keep", "crds.annotations"])
def test_every_value_of_the_definitions_chart_changes_its_manifest(helm, path):
    assert sorted(leaves(defaults(CRD_CHART))) == ["crds.annotations", "crds.keep"]
    assert helm.text(nested(path, OTHER[path]), CRD_CHART) != helm.text(chart=CRD_CHART)


@pytest.mark.parametrize(
    "path",
    ["replica", "image.registry", "runner.tag", "leaderElection.lease", "crds.enabled", "rbac.create", "metrics.path",
     "log.colour", "resources.claims", "compatApi.replicas"],
)
def test_an_unknown_key_is_refused_by_name(helm, path):
    done = helm.attempt(nested(path, "x"))
    assert done.returncode != 0
    assert path.rsplit(".", 1)[-1] in done.stderr


@pytest.mark.parametrize(
    ("path", "value"),
    [("image.digest", "latest"), ("image.pullPolicy", "Sometimes"), ("replicas", "two"), ("log.format", "xml"),
     ("metrics.port", 80), ("compatApi.port", 80), ("compatApi.milvus", "Upper"), ("watchNamespaces", ["Upper"]), ("imagePullSecrets", ["bare"])],
)
def test_a_wrong_setting_is_refused(helm, path, value):
    assert helm.attempt(nested(path, value)).returncode != 0


def test_two_replicas_without_an_election_are_refused_with_the_reason(helm):
    done = helm.attempt({"leaderElection": {"enabled": False}})
    assert done.returncode != 0
    assert "leaderElection.enabled" in done.stderr


def test_an_older_kubernetes_is_refused(helm):
    assert helm.attempt(kube_version="1.30.9").returncode != 0
    assert helm.attempt(kube_version="1.31.0").returncode == 0


def test_the_pod_keeps_to_the_restricted_profile(helm):
    spec = pod(helm)
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"} & spec.keys()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all("hostPort" not in port for port in container["ports"])


def test_the_probes_ask_the_port_that_is_served(helm):
    for port in (8080, 9000):
        (container,) = pod(helm, {"metrics": {"port": port}})["containers"]
        assert container["ports"] == [{"name": "http", "containerPort": port}]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_a_digest_replaces_the_tag(helm):
    values = {"image": {"repository": "registry.example/mbo", "tag": "1", "digest": DIGEST}}
    assert pod(helm, values)["containers"][0]["image"] == f"registry.example/mbo@{DIGEST}"


def test_the_jobs_run_the_operators_image_unless_another_is_named(helm):
    values = {"image": {"repository": "registry.example/mbo", "tag": "7"}}
    assert "registry.example/mbo:7" in env(helm, values).values()
    named = env(helm, values | {"runner": {"image": "registry.example/runner:1"}})
    assert "registry.example/runner:1" in named.values()
    assert "registry.example/mbo:7" not in named.values()


def test_every_setting_reaches_the_controller_under_its_own_name(helm):
    settings = env(helm, {
        "watchNamespaces": ["b", "a"], "imagePullSecrets": [{"name": "x"}, {"name": "y"}], "metrics": {"port": 9000},
        "leaderElection": {"enabled": False}, "replicas": 1, "clusterDomain": "example.internal",
        "runner": {"image": "registry.example/runner:1", "resources": {"limits": {"memory": "1Gi"}}},
        "log": {"format": "text", "level": "debug"},
    })
    assert json.loads(settings.pop("MILVUS_BACKUP_RUNNER_RESOURCES"))["limits"]["memory"] == "1Gi"
    assert settings == {
        "POD_NAME": None, "POD_NAMESPACE": None,
        "MILVUS_BACKUP_LISTEN": "0.0.0.0:9000",
        "MILVUS_BACKUP_LOG_FORMAT": "text",
        "MILVUS_BACKUP_LOG": "debug",
        "MILVUS_BACKUP_LEADER_ELECTION": "false",
        "MILVUS_BACKUP_LEASE_NAME": "mbo-milvus-backup-operator",
        "MILVUS_BACKUP_CLUSTER_DOMAIN": "example.internal",
        "MILVUS_BACKUP_WATCH_NAMESPACES": "b,a",
        "MILVUS_BACKUP_RUNNER_IMAGE": "registry.example/runner:1",
        "MILVUS_BACKUP_RUNNER_PULL_POLICY": "IfNotPresent",
        "MILVUS_BACKUP_RUNNER_PULL_SECRETS": "x,y",
        "MILVUS_BACKUP_RUNNER_LOG": "debug",
    }


def test_the_program_knows_every_setting_the_chart_gives_it(helm):
    given = {key for key in env(helm, {"watchNamespaces": ["a"], "imagePullSecrets": [{"name": "x"}]})}
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    assert not {key for key in given if f'"{key}"' not in source}


def test_listed_namespaces_get_a_role_each_and_no_cluster_role_is_made(helm):
    objects = helm.objects({"watchNamespaces": ["search", "prod"], "rbac": {"aggregate": False}})
    assert not [o for o in objects if o["kind"].startswith("ClusterRole")]
    for kind in ("Role", "RoleBinding"):
        where = [o["metadata"]["namespace"] for o in objects
                 if o["kind"] == kind and not o["metadata"]["name"].endswith("own-namespace")]
        assert where == ["search", "prod"]


def test_the_rights_are_the_same_in_both_scopes(helm):
    rules = yaml.safe_load((CHART / "files/rules.yaml").read_text())
    (cluster,) = [o for o in helm.objects() if o["kind"] == "ClusterRole" and "aggregate" not in str(o["metadata"])]
    (role,) = [o for o in helm.objects({"watchNamespaces": ["search"]})
               if o["kind"] == "Role" and o["metadata"]["namespace"] == "search"]
    assert cluster["rules"] == role["rules"] == rules


def test_no_role_of_the_chart_reads_a_secret_or_a_config_map(helm):
    rules = [r for o in helm.objects(API) if o["kind"] in ("Role", "ClusterRole") for r in o["rules"]]
    assert rules
    for rule in rules:
        assert not {"secrets", "configmaps", "*"} & set(rule["resources"])
        assert "*" not in rule["verbs"] + rule["apiGroups"]
        assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"])


def test_every_binding_names_a_role_and_an_account_of_the_chart(helm):
    for values in ({}, {"watchNamespaces": ["search"]}, API):
        objects = helm.objects(values)
        have = {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects}
        for binding in (o for o in objects if o["kind"] in ("RoleBinding", "ClusterRoleBinding")):
            ref, (subject,) = binding["roleRef"], binding["subjects"]
            assert (ref["kind"], binding["metadata"].get("namespace"), ref["name"]) in have
            assert ("ServiceAccount", subject["namespace"], subject["name"]) in have


def test_restores_and_locations_take_the_admin_role(helm):
    roles = {o["metadata"]["name"].rsplit("-", 1)[-1]: o for o in helm.objects()
             if o["kind"] == "ClusterRole" and "aggregate" in str(o["metadata"])}
    assert sorted(roles) == ["admin", "edit", "view"]
    may = {name: {res: set(rule["verbs"]) for rule in role["rules"] for res in rule["resources"]}
           for name, role in roles.items()}
    assert may["view"] == dict.fromkeys(
        ["milvusbackups", "milvusrestores", "milvusbackuplocations"], {"get", "list", "watch"})
    assert set(may["edit"]) == {"milvusbackups"}
    assert set(may["admin"]) == {"milvusrestores", "milvusbackuplocations"}
    for name, role in roles.items():
        assert role["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{name}"] == "true"


def test_the_service_selects_the_pod(helm):
    service, deployment = helm.one("Service"), helm.one("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]


def rest_api(helm, change=None):
    objects = helm.objects(merged(API, {"compatApi": change or {}}))
    return {o["kind"]: o for o in objects if o["metadata"]["name"].endswith("-compat-api")}


def test_the_rest_api_is_there_only_when_it_is_switched_on(helm):
    assert "compat-api" not in helm.text()
    assert sorted(rest_api(helm)) == ["Deployment", "Role", "RoleBinding", "Service", "ServiceAccount"]


@pytest.mark.parametrize("missing", ["namespace", "milvus"])
def test_the_rest_api_without_its_milvus_is_refused_by_name(helm, missing):
    done = helm.attempt(merged(API, {"compatApi": {missing: ""}}))
    assert done.returncode != 0
    assert f"compatApi.{missing}" in done.stderr


def test_the_rest_api_in_a_namespace_nobody_watches_is_refused(helm):
    done = helm.attempt(API | {"watchNamespaces": ["elsewhere"]})
    assert done.returncode != 0
    assert "watchNamespaces" in done.stderr
    assert helm.attempt(API | {"watchNamespaces": ["elsewhere", "search"]}).returncode == 0


def test_the_rest_api_has_its_rights_in_the_namespace_of_its_milvus_only(helm):
    made = rest_api(helm)
    assert made["Role"]["metadata"]["namespace"] == made["RoleBinding"]["metadata"]["namespace"] == "search"
    assert made["Role"]["rules"] == yaml.safe_load((CHART / "files/compat-api-rules.yaml").read_text())
    assert made["ServiceAccount"]["metadata"]["namespace"] == "milvus-backup-system"


def test_the_pod_of_the_rest_api_keeps_to_the_restricted_profile(helm):
    spec = rest_api(helm, {"tokenSecretName": "t"})["Deployment"]["spec"]["template"]["spec"]
    operator = pod(helm)
    assert spec["securityContext"] == operator["securityContext"]
    assert [c["securityContext"] for c in spec["containers"]] == [operator["containers"][0]["securityContext"]]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    assert [set(volume) for volume in spec["volumes"]] == [{"name", "secret"}]


def test_the_rest_api_and_the_operator_do_not_select_each_others_pods(helm):
    objects = helm.objects(API)
    deployments = [o for o in objects if o["kind"] == "Deployment"]
    selectors = [o["spec"]["selector"]["matchLabels"] for o in deployments]
    selectors += [o["spec"]["selector"] for o in objects if o["kind"] == "Service"]
    assert (len(deployments), len(selectors)) == (2, 4)
    for deployment in deployments:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert sum(selector.items() <= labels.items() for selector in selectors) == 2


def test_the_settings_of_the_rest_api_reach_its_command_line(helm):
    change = {"location": "offsite", "passwordSecretName": "login", "tokenSecretName": "t", "port": 9000}
    made = rest_api(helm, change)
    (container,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [
        "server", "--kubernetes", "--namespace=search", "--milvus=prod", "--location=offsite", "--password-secret=login",
        "--token-file=/etc/milvus-backup/token/token", "--address=0.0.0.0", "--port=9000",
    ]
    assert container["volumeMounts"][0]["mountPath"] == "/etc/milvus-backup/token"
    assert made["Service"]["spec"]["ports"] == [{"name": "http", "port": 9000, "targetPort": "http"}]
    assert container["ports"] == [{"name": "http", "containerPort": 9000}]
    source = (ROOT / "src/cli/server.rs").read_text()
    flags = [flag.split("=")[0] for flag in container["args"] if flag.startswith("--")]
    assert not [flag for flag in flags if f"    {flag[2:].replace('-', '_')}: " not in source]


def test_the_definitions_are_the_repositorys_own(helm):
    sources = {p.name: p.read_text() for p in (ROOT / "crds").glob("*.yaml")}
    assert sources
    for chart in (CHART, CRD_CHART):
        assert {p.name: p.read_text() for p in (chart / "files/crds").glob("*.yaml")} == sources
        rendered = definitions(helm.objects({"crds": {"keep": False}}, chart))
        wanted = [yaml.safe_load(text) for text in sources.values()]
        assert sorted(rendered, key=name) == sorted(wanted, key=name)


def test_the_definitions_are_left_out_when_another_chart_brings_them(helm):
    assert definitions(helm.objects())
    assert not definitions(helm.objects({"crds": {"install": False}}))


@pytest.mark.parametrize("chart", [CHART, CRD_CHART], ids=["operator", "definitions"])
def test_the_definitions_are_kept_unless_told_otherwise(helm, chart):
    policy = "helm.sh/resource-policy"
    for crd in definitions(helm.objects(chart=chart)):
        assert crd["metadata"]["annotations"][policy] == "keep"
    for crd in definitions(helm.objects({"crds": {"keep": False, "annotations": {"a": "b"}}}, chart)):
        assert crd["metadata"]["annotations"] == {"a": "b"}


def test_the_chart_lists_the_kinds_it_brings(helm):
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    listed = {(c["name"], c["kind"]) for c in yaml.safe_load(annotations["artifacthub.io/crds"])}
    assert listed == {(name(c), c["spec"]["names"]["kind"]) for c in definitions(helm.objects())}
    examples = {e["kind"] for e in yaml.safe_load(annotations["artifacthub.io/crdsExamples"])}
    assert examples == {kind for _, kind in listed}


def test_both_charts_carry_the_crates_version():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    for chart in (CHART, CRD_CHART):
        head = yaml.safe_load((chart / "Chart.yaml").read_text())
        assert head["appVersion"] == head["version"] == version


def test_helm_lint_has_nothing_to_say(helm):
    for chart in (CHART, CRD_CHART):
        done = helm.run("lint", "--strict", str(chart))
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_category_hides_a_kind(helm):
    # kubectl looks for a category first: one that is also a kind's name makes `kubectl get <kind> <name>` fail.
    names = [crd["spec"]["names"] for crd in definitions(helm.objects())]
    assert names
    taken = {n for entry in names for n in [entry["plural"], entry["singular"], *entry["shortNames"]]}
    assert not taken & {category for entry in names for category in entry.get("categories", [])}
