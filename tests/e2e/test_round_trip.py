"""The operator's main job: back up, lose, restore, and find every field of every row."""

from harness.kube import condition_of
from harness.objects import backup, restore


def test_dropped_collections_come_back_row_by_row(kube, milvus, prefix, name):
    specs = milvus.fill(prefix)
    databases = sorted({s.database for s in specs})
    wanted = milvus.rows(specs)

    kube.apply(backup(name, *databases))
    kube.succeeds("mbk", name)
    made = kube.get("mbk", name)
    assert made["status"]["artifact"]["manifestDigest"], made["status"]
    assert made["status"]["summary"]["collections"] == len(specs)

    milvus.drop(specs)
    kube.apply(restore(f"{name}-r", name))
    kube.succeeds("mrs", f"{name}-r", seconds=300)
    assert milvus.differences(wanted) == []


def test_a_suffix_restores_beside_what_is_there(kube, milvus, prefix, name):
    specs = milvus.fill(prefix, only=("all_types", "orders"))
    wanted = milvus.rows(specs)
    kube.apply(backup(name, *{s.database for s in specs}))
    kube.succeeds("mbk", name)

    kube.apply(restore(f"{name}-r", name, mapping={"suffix": "_copy"}))
    kube.succeeds("mrs", f"{name}-r", seconds=300)
    assert milvus.differences(wanted) == [], "what was there was touched"
    assert milvus.differences(wanted, suffix="_copy") == []


def test_without_a_location_the_backup_shares_its_fate_with_milvus_and_says_so(kube, milvus, prefix, name):
    specs = milvus.fill(prefix, only=("customers",))
    kube.apply(backup(name, *{s.database for s in specs}))
    kube.succeeds("mbk", name)
    shared = condition_of(kube.get("mbk", name), "SharedFate")
    assert shared["status"] == "True", shared
    assert shared["message"], shared
