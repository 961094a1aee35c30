"""What the documents and samples show is what the definitions take, and what they link to is there."""

import re

import pytest
import yaml
from rendering import CHART, ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SCHEMAS = {}
for _crd in map(yaml.safe_load, (path.read_text() for path in (ROOT / "crds").glob("*.yaml"))):
    for _version in _crd["spec"]["versions"]:
        _key = (f"{_crd['spec']['group']}/{_version['name']}", _crd["spec"]["names"]["kind"])
        SCHEMAS[_key] = _version["schema"]["openAPIV3Schema"]


def manifests():
    for document in DOCUMENTS:
        text = document.read_text()
        blocks = re.findall(r"```yaml\n(.*?)```", text, re.S) + re.findall(r"<<YAML\n(.*?)YAML\n", text, re.S)
        for obj in (o for block in blocks for o in yaml.safe_load_all(block)):
            if obj.get("apiVersion", "").startswith("backup.milvus.io/"):
                metadata = obj["metadata"]
                yield f"{document.name}-{metadata.get('name') or metadata['generateName']}", obj
    for sample in sorted((ROOT / "deploy/samples").glob("*.yaml")):
        for obj in yaml.safe_load_all(sample.read_text()):
            if obj["apiVersion"].startswith("backup.milvus.io/"):
                yield f"{sample.name}-{obj['metadata']['name']}", obj
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    for obj in yaml.safe_load(annotations["artifacthub.io/crdsExamples"]):
        yield f"Chart.yaml-{obj['metadata']['name']}", obj


CASES = [pytest.param(obj, id=name) for name, obj in manifests()]


def faults(schema, value, path=""):
    """Unknown and missing fields, wrong types and wrong choices: what `kubectl apply` would refuse before any rule."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    kind = schema.get("type")
    if kind and not isinstance(value, kinds[kind]) or kind == "integer" and isinstance(value, bool):
        return [f"{path}: not of type {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value} is none of {schema['enum']}"]
    found = []
    if isinstance(value, dict):
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
        found += [f"{path}.{key}: missing" for key in schema.get("required", []) if key not in value]
        for key, member in value.items():
            if key in properties:
                found += faults(properties[key], member, f"{path}.{key}")
            elif extra is None and not schema.get("x-kubernetes-preserve-unknown-fields"):
                found.append(f"{path}.{key}: unknown")
            elif isinstance(extra, dict):
                found += faults(extra, member, f"{path}.{key}")
    if isinstance(value, list):
        found += [f for i, item in enumerate(value) for f in faults(schema["items"], item, f"{path}[{i}]")]
    return found


@pytest.mark.parametrize("obj", CASES)
def test_a_manifest_in_the_documents_fits_its_definition(obj):
    schema = SCHEMAS[obj["apiVersion"], obj["kind"]]
    assert not faults(schema["properties"]["spec"], obj["spec"], "spec")


def test_the_documents_show_every_kind():
    assert {(case.values[0]["apiVersion"], case.values[0]["kind"]) for case in CASES} == set(SCHEMAS)


def test_a_fault_in_a_manifest_is_found():
    schema = SCHEMAS["backup.milvus.io/v1alpha1", "MilvusBackup"]["properties"]["spec"]
    spec = {"source": {"milvusRef": {"name": "prod"}}}
    assert not faults(schema, spec)
    assert faults(schema, {}) == [".source: missing"]
    assert faults(schema, spec | {"verify": "Maybe"})
    assert faults(schema, spec | {"cancel": "yes"})
    assert faults(schema, spec | {"selection": {"include": [{"database": "a", "collection": "b"}]}}) == [
        ".selection.include[0].collection: unknown"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


def test_the_documents_name_every_condition_and_no_reason_that_is_none():
    text = (ROOT / "docs/backup-and-restore.md").read_text()
    constant = re.compile(r'^pub const [A-Z_]+: &str = "(\w+)"', re.M)
    conditions = constant.findall((ROOT / "src/api/conditions/mod.rs").read_text())
    assert "Succeeded" in conditions
    assert not [name for name in conditions if f"`{name}`" not in text]
    reasons = set(constant.findall((ROOT / "src/api/conditions/reason.rs").read_text()))
    rows = re.findall(r"^\| (?:Unknown|True|False) \| (.*) \|$", text, re.M)
    assert len(rows) == 3
    named = {word for row in rows for word in re.findall(r"\b[A-Z]\w+", row)}
    assert named <= reasons, named - reasons
