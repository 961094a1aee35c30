"""Locations: tried by a probe, used by backups and restores, in another bucket and on another server."""

import os

from harness.kube import condition_of
from harness.milvus_resource import store_secret
from harness.objects import backup, location, of_artifact, renamed, restore


def judged(kube, name: str) -> dict:
    """The location once it was tried."""
    return kube.wait("mbl", name, "tried", 60, lambda o: condition_of(o, "Ready").get("reason") not in (None, "Pending", "NotYet", "Probing") and o["status"]["observedGeneration"] == o["metadata"]["generation"])


def test_a_location_is_ready_once_its_probe_has_passed(kube, s3, bucket, name):
    kube.apply(store_secret(f"{name}-keys"), location(name, bucket, prefix="probed", secret=f"{name}-keys"))
    o = kube.wait_condition("mbl", name, "Ready", seconds=60)
    for condition in ("Reachable", "Writable", "CredentialsValid"):
        assert condition_of(o, condition)["status"] == "True", o["status"]["conditions"]
    assert o["status"]["lastCheckTime"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="probed/")["KeyCount"] == 0, "the probe left something"


def test_a_location_that_cannot_be_used_says_why(kube, bucket, name):
    wrong = store_secret(f"{name}-wrong", secret="not-the-secret")
    kube.apply(
        store_secret(f"{name}-keys"), wrong,
        location(f"{name}-1", "no-such-bucket", secret=f"{name}-keys"),
        location(f"{name}-2", bucket, secret=f"{name}-wrong"),
        location(f"{name}-3", bucket, secret=f"{name}-none"),
        location(f"{name}-4", bucket, secret=f"{name}-keys", endpoint="http://no-such-host.search.svc:9000"),
    )  # fmt: skip
    wanted = {
        f"{name}-1": ("BucketNotFound", "no-such-bucket"),
        f"{name}-2": ("AccessDenied", "check the credentials"),
        f"{name}-3": ("SecretNotFound", f"key accesskey of Secret {name}-none does not exist"),
        f"{name}-4": ("DNSFailure", "no-such-host.search.svc"),
    }
    for one, (reason, said) in wanted.items():
        ready = condition_of(judged(kube, one), "Ready")
        assert (ready["status"], ready["reason"]) == ("False", reason), (one, ready)
        assert said in ready["message"], ready
        assert "not-the-secret" not in str(kube.get("mbl", one)), "a key in the object"


def test_a_backup_waits_for_its_location_to_be_put_right(kube, milvus, data, bucket, name):
    kube.apply(store_secret(f"{name}-keys"), location(name, "no-such-bucket", secret=f"{name}-keys"))
    judged(kube, name)
    kube.apply(backup(name, locationRef={"name": name}, selection=data.pattern("orders")))
    o = kube.wait("mbk", name, "names the location", 60, lambda o: condition_of(o, "LocationAvailable").get("reason") == "NotReady")
    assert f"MilvusBackupLocation search/{name} cannot be used" in condition_of(o, "LocationAvailable")["message"]
    kube.apply(location(name, bucket, prefix="righted", secret=f"{name}-keys"))
    kube.succeeds("mbk", name)


def test_a_backup_in_another_bucket_is_restored_from_it(kube, milvus, data, s3, bucket, another_bucket, prefix, name):
    kube.apply(store_secret(f"{name}-keys"), location(name, another_bucket, prefix="search", secret=f"{name}-keys"))
    kube.apply(backup(name, locationRef={"name": name}, selection=data.pattern("customers")))
    kube.succeeds("mbk", name)
    status = kube.get("mbk", name)["status"]
    assert status["artifact"]["uri"].startswith(f"s3://{another_bucket}/search/"), status["artifact"]
    assert condition_of(kube.get("mbk", name), "SharedFate")["status"] == "False"

    new = data.into(prefix)
    kube.apply(restore(f"{name}-r", name, mapping=renamed(new)))
    kube.succeeds("mrs", f"{name}-r")
    assert milvus.differences(data.rows_of("customers"), databases=new, ignore=("aliases",)) == []
    staged = s3.list_objects_v2(Bucket=bucket, Prefix="milvus-backup-staging/")
    assert staged["KeyCount"] == 0, [o["Key"] for o in staged["Contents"]]


def test_a_backup_on_another_server_is_restored_by_its_name_alone(kube, milvus, data, other_s3, prefix, name):
    keys = store_secret(f"{name}-keys", os.environ["EXTRA_S3_ACCESS_KEY"], os.environ["EXTRA_S3_SECRET_KEY"])
    kube.apply(keys, location(name, os.environ["EXTRA_S3_BUCKET"], endpoint=os.environ["EXTRA_S3_ENDPOINT"], secret=f"{name}-keys"))
    lifecycle = {"deletionPolicy": "Delete"}
    kube.apply(backup(name, locationRef={"name": name}, selection=data.pattern("all_types"), lifecycle=lifecycle))
    kube.succeeds("mbk", name)
    artifact = kube.get("mbk", name)["status"]["artifact"]["name"]
    there = other_s3.list_objects_v2(Bucket=os.environ["EXTRA_S3_BUCKET"], Prefix=artifact)
    assert there["KeyCount"] > 20

    new = data.into(prefix)
    kube.apply(of_artifact(f"{name}-r", artifact, location=name, mapping=renamed(new)))
    kube.succeeds("mrs", f"{name}-r")
    assert milvus.differences(data.rows_of("all_types"), databases=new) == []

    kube.delete("mbk", name)
    assert other_s3.list_objects_v2(Bucket=os.environ["EXTRA_S3_BUCKET"], Prefix=artifact)["KeyCount"] == 0


def test_the_default_location_is_used_where_none_is_named(kube, milvus, data, s3, bucket, name):
    kube.apply(store_secret(f"{name}-keys"), location(name, bucket, prefix="by-default", secret=f"{name}-keys", default=True))
    try:
        kube.apply(backup(name, selection=data.pattern("empty")))
        kube.succeeds("mbk", name)
        assert kube.get("mbk", name)["status"]["locationName"] == name
    finally:
        kube.delete("mbl", name)
