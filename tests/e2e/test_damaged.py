"""Damaged backups: what is wrong is named before Milvus reads a byte of it, and nothing is left behind.

The cases are those that a 2.3.5 server answers with lost rows, with deleted rows that are back, or by falling over.
"""

import json

import pytest
from harness.damage import Artifact
from harness.kube import condition_of
from harness.objects import backup, of_artifact, restore
from pymilvus import Collection, db

VECTOR = 112  # the id of its field; the scalar ones are 100 to 111
DAMAGE = {
    "a binlog is missing": lambda a, c: a.remove(a.logs("insert", c, 100)[0]),
    "a segment is missing": lambda a, c: a.remove(*segment(a.logs("insert", c), 0)),
    "a delta log is missing": lambda a, c: a.remove(a.logs("delta", c)[0]),
    "a binlog is cut": lambda a, c: a.cut(a.logs("insert", c, 101)[0]),
    "a binlog is empty": lambda a, c: a.empty(a.logs("insert", c, 101)[0]),
    "a bit is flipped in a vector": lambda a, c: a.flip(a.logs("insert", c, VECTOR)[0]),
    "a bit is flipped in a delta log": lambda a, c: a.flip(a.logs("delta", c)[0]),
    "two binlogs of a field are swapped": lambda a, c: a.swap(*a.logs("insert", c, VECTOR)[:2]),
}


def segment(logs: list[str], number: int) -> list[str]:
    """All binlogs of one segment."""
    folder = [log.rsplit("/", 2)[0] for log in logs]
    return [log for log, of in zip(logs, folder) if of == sorted(set(folder))[number]]


@pytest.fixture(scope="module")
def whole(kube, milvus_server, data):
    """A backup of `all_types`, which has several segments and deletes: its artifact and the collection's id."""
    kube.delete("mbk", "whole")
    kube.apply(backup("whole", selection=data.pattern("all_types")))
    kube.succeeds("mbk", "whole")
    spec = data.named("all_types")
    db.using_database(spec.database)
    return kube.get("mbk", "whole")["status"]["artifact"]["name"], Collection("all_types").describe()["collection_id"]


@pytest.fixture
def target(data, prefix) -> dict:
    """A mapping into a database that does not exist."""
    return {"databases": [{"from": data.named("all_types").database, "to": f"{prefix}target"}]}


def refused(kube, milvus, name: str, artifact: str, target: dict) -> str:
    """What the restore says, having left nothing and touched nothing."""
    kube.apply(of_artifact(name, artifact, mapping=target, retry={"maxAttempts": 1}))
    done = kube.wait_finished("mrs", name)
    assert done["status"] == "False", done
    assert milvus.alive(), "Milvus is gone"
    database = target["databases"][0]["to"]
    assert database not in db.list_database() or milvus.collections(database) == [], "a collection is left"
    return done["message"]


# a flipped bit in a delta log may change no value and then does no harm: without a tag nothing shows it
CASES = [(what, tool) for what in DAMAGE for tool in ("ours", "of the Go tool") if (what, tool) != ("a bit is flipped in a delta log", "of the Go tool")]


@pytest.mark.parametrize(("what", "tool"), CASES, ids=[f"{what}, {tool}" for what, tool in CASES])
def test_damage_is_named_before_milvus_reads_it(kube, milvus, s3, bucket, whole, target, name, what, tool):
    artifact = Artifact(s3, bucket, whole[0], f"damaged_{name.replace('-', '_')}", of_the_go_tool=tool != "ours")
    hit = DAMAGE[what](artifact, whole[1])

    said = refused(kube, milvus, name, artifact.name, target)

    assert f"backup {artifact.name} is damaged, nothing was restored" in said, said
    named = [key for key in hit if key.removeprefix(artifact.prefix) in said]
    assert len(named) >= min(len(hit), 5), f"{hit} were hit, {said}"
    artifact.clear()


def test_a_backup_of_a_newer_format_is_refused_with_both_versions(kube, milvus, s3, bucket, whole, target, name):
    artifact = Artifact(s3, bucket, whole[0], "from_the_future")
    key = f"{artifact.prefix}operator/manifest.json"
    manifest = json.loads(artifact.read(key))
    manifest["formatVersion"] += 1
    artifact.write(key, json.dumps(manifest).encode())

    said = refused(kube, milvus, name, artifact.name, target)

    assert f"version {manifest['formatVersion']}" in said and str(manifest["formatVersion"] - 1) in said, said
    artifact.clear()


def test_a_backup_that_never_ended_is_refused(kube, milvus, s3, bucket, whole, target, name):
    artifact = Artifact(s3, bucket, whole[0], "half_made")
    artifact.remove(f"{artifact.prefix}operator/manifest.json")
    said = refused(kube, milvus, name, artifact.name, target)
    assert "half_made" in said and "was never finished" in said, said
    artifact.clear()


def test_a_backup_that_was_replaced_is_not_the_one_that_was_pinned(kube, milvus, s3, bucket, data, whole, target, name):
    """A restore by backupRef keeps to the manifest that the backup recorded."""
    artifact = Artifact(s3, bucket, whole[0], "aside")
    key = f"backup/{whole[0]}/operator/manifest.json"
    body = artifact.read(key)
    try:
        artifact.write(key, body.replace(b'"engineVersion"', b' "engineVersion"', 1))
        kube.apply(restore(name, "whole", mapping=target, retry={"maxAttempts": 1}))
        done = kube.wait_finished("mrs", name)
    finally:
        artifact.write(key, body)
        artifact.clear()
    assert done["status"] == "False", done
    assert "is not the one this restore was pinned to" in done["message"], done
    assert condition_of(kube.get("mrs", name), "Stalled")["status"] == "True"


def test_what_is_whole_can_still_be_restored(kube, milvus, s3, bucket, data, whole, target, prefix, name):
    """The proof that the tests above were refused for the damage alone: the same, undamaged, as the Go tool leaves it."""
    artifact = Artifact(s3, bucket, whole[0], "undamaged", of_the_go_tool=True)
    kube.apply(of_artifact(name, artifact.name, mapping=target))
    kube.succeeds("mrs", name)
    new = {data.named("all_types").database: f"{prefix}target"}
    assert milvus.differences(data.rows_of("all_types"), databases=new) == []
    artifact.clear()
