"""Cancel, wait in line, throttling, deletion, hold, expiry, the end of a namespace."""

import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.kube import Kube, condition_of, until
from harness.milvus_resource import HOST, STORE, add_milvus, remove_milvus
from harness.objects import backup, renamed, restore
from harness.s3_proxy import Rule, S3Proxy
from pymilvus import Collection, db


def objects_of(s3, bucket: str, status: dict) -> int:
    """How many objects of the backup are in the bucket."""
    prefix = status["artifact"]["uri"].removeprefix(f"s3://{bucket}/") + "/"
    return s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"]


@pytest.fixture(scope="module", autouse=True)
def expiring(kube, milvus_server, data):
    """A backup that is to go a minute after its end; the last test here looks for it."""
    kube.delete("mbk", "expiring")
    kube.apply(backup("expiring", selection=data.pattern("empty"), lifecycle={"expireAfterSeconds": 60, "deletionPolicy": "Delete"}))
    kube.succeeds("mbk", "expiring")
    return kube.get("mbk", "expiring")


@pytest.fixture(scope="module", autouse=True)
def stopped(kube, data):
    """A backup whose runner shows no sign of life; it takes a while until that is noticed, and the last but one test looks."""
    host, port = STORE.split(":")
    with S3Proxy((host, int(port)), host=host) as proxy:
        add_milvus(kube, "stopped", store=proxy.address)
        proxy.rules.append(held := Rule(copies=True, hold=threading.Event()))
        kube.delete("mbk", "stopped")
        spec = {"deadlines": {"stallSeconds": 30}, "retry": {"maxAttempts": 1}}
        kube.apply(backup("stopped", milvus="stopped", selection=data.pattern("orders"), **spec))
        assert held.met.wait(60), "it did not come to copying"
        pod = kube.running_pod_of("stopped")
        kube.wait_stage("mbk", "stopped", "CopyingData")
        assert kube.kill_process(pod, signal.SIGSTOP) == 1
        yield "stopped"
        kube.kill_process(pod)
        remove_milvus(kube, "stopped")


def test_a_cancelled_backup_ends_in_order(kube, milvus, data, s3, bucket, s3_proxy, milvus_through, name):
    half = Rule(copies=True, after=20, hold=threading.Event())
    s3_proxy.rules.append(half)
    kube.apply(backup(name, milvus=milvus_through, selection=data.pattern("articles"), limits={"concurrency": 2}))
    assert half.met.wait(60), "it did not come to copying"
    asked = time.monotonic()
    kube.patch("mbk", name, {"spec": {"cancel": True}})

    done = kube.wait_finished("mbk", name, seconds=90)

    assert time.monotonic() - asked < 90
    assert (done["status"], done["reason"]) == ("False", "Cancelled"), done
    o = kube.get("mbk", name)
    assert [a["exitClass"] for a in o["status"]["attempts"]] == ["Cancelled"], o["status"]["attempts"]
    assert condition_of(o, "Ready")["status"] == "False" and condition_of(o, "Stalled")["status"] == "True"
    assert not [p for p in kube.pods_of(name) if p["status"]["phase"] == "Running"], "a pod is left"
    with pytest.raises(s3.exceptions.ClientError):
        s3.head_object(Bucket=bucket, Key=f"backup/{o['status']['artifact']['name']}/operator/manifest.json")


def test_a_cancelled_restore_ends_in_order(kube, milvus, data, shared_backup, prefix, name):
    new = data.into(prefix)
    mapping = renamed(new)
    kube.apply(restore(name, shared_backup, selection=data.pattern("readings", "orders"), mapping=mapping))
    kube.wait("mrs", name, "imports", 90, lambda o: o["status"].get("progress", {}).get("percent", 0) >= 10)
    kube.patch("mrs", name, {"spec": {"cancel": True}})
    done = kube.wait_finished("mrs", name, seconds=90)
    assert (done["status"], done["reason"]) == ("False", "Cancelled"), done
    assert milvus.alive()
    # A 2.3.5 has no call to take an import back. A task whose collection is dropped is tried for half a minute, and all that
    # come after it wait.
    milvus.wait_imports()


def test_a_throttling_store_slows_a_backup_down_and_does_not_fail_it(kube, milvus, data, s3_proxy, milvus_through, prefix, name):
    burst = Rule(copies=True, after=5, times=30, status=503)
    lists = Rule(method="GET", path="list-type", times=3, status=503)
    s3_proxy.rules += [burst, lists]
    kube.apply(backup(name, milvus=milvus_through, selection=data.pattern("articles")))
    kube.succeeds("mbk", name)
    assert burst.acted >= 5 and lists.acted == 3, (burst.acted, lists.acted)
    assert len(kube.get("mbk", name)["status"]["attempts"]) == 1
    copies = kube.get("mbk", name)["status"]["summary"]["objects"]
    asked = s3_proxy.count(copy=True)
    assert asked < 3 * copies, f"{asked} requests for {copies} copies: it hammers"


def test_a_store_that_is_away_for_a_while_is_tried_again(kube, milvus, data, s3_proxy, another_milvus, name):
    """Nothing listens at its address until the second attempt: each attempt has given up by itself."""
    with socket.create_server((HOST, 0)) as unused:
        port = unused.getsockname()[1]
    through = another_milvus("away", store=f"{HOST}:{port}")
    kube.apply(backup(name, milvus=through, selection=data.pattern("orders"), retry={"backoffSeconds": 4}))
    kube.wait_stage("mbk", name, "Retrying", seconds=90)
    o = kube.get("mbk", name)
    assert "next attempt at" in condition_of(o, "Succeeded")["message"], o["status"]["conditions"]
    assert o["status"]["attempts"][0]["exitClass"] == "Retry" and o["status"]["attempts"][0]["nextRetryAt"], o["status"]["attempts"]
    with S3Proxy(s3_proxy.server, host=HOST, port=port):
        status = kube.succeeds("mbk", name)
    assert [a["exitClass"] for a in status["attempts"]] == ["Retry", "Succeeded"], status["attempts"]
    assert "BackupRetrying" in {e["reason"] for e in kube.events(name)}


def test_deadlines_end_a_run_that_cannot_start_or_takes_too_long(kube, milvus, data, s3_proxy, milvus_through, name):
    s3_proxy.rules.append(Rule(copies=True, hold=threading.Event()))
    kube.apply(
        backup(f"{name}-s", milvus="not-there", deadlines={"startSeconds": 2}),
        backup(f"{name}-r", milvus=milvus_through, selection=data.pattern("orders"), deadlines={"startSeconds": 5, "runSeconds": 5}),
    )
    start = kube.wait_finished("mbk", f"{name}-s")
    assert (start["status"], start["reason"]) == ("False", "StartDeadlineExceeded"), start
    assert "there is no Milvus search/not-there" in start["message"], start
    run = kube.wait_finished("mbk", f"{name}-r")
    assert (run["status"], run["reason"]) == ("False", "RunDeadlineExceeded"), run


def test_a_collection_that_cannot_be_copied_is_named_and_the_others_are_kept(kube, milvus, data, s3, bucket, prefix, name):
    """An object of every segment was removed from Milvus' own bucket: of every one, for a segment may be compacted away meanwhile."""
    specs = milvus.fill(prefix, only=("orders", "customers"))
    database = specs[0].database
    db.using_database(database)
    folder = f"{os.environ['MILVUS_TEST_ROOT_PATH']}/insert_log/{Collection('orders').describe()['collection_id']}/"
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix=folder)["Contents"]]
    first_of_each = {key.rsplit("/", 2)[0]: key for key in reversed(keys)}  # folder of the segment -> a log of a field
    for lost in first_of_each.values():
        s3.delete_object(Bucket=bucket, Key=lost)

    kube.apply(backup(f"{name}-f", database), backup(f"{name}-c", database, onCollectionError="Continue"))
    failed = kube.wait_finished("mbk", f"{name}-f")
    assert failed["status"] == "False" and f"{database}.orders" in failed["message"], failed
    partial = kube.wait_finished("mbk", f"{name}-c")
    assert (partial["status"], partial["reason"]) == ("False", "PartiallyFailed"), partial
    o = kube.get("mbk", f"{name}-c")
    assert condition_of(o, "Ready")["reason"] == "PartiallyRestorable", o["status"]["conditions"]
    assert o["status"]["failedCollectionsTotal"] == 1 and f"{database}.orders" in o["status"]["failedCollections"][0], o["status"]

    kube.apply(restore(f"{name}-r", f"{name}-c", mapping={"suffix": "_copy"}))
    assert kube.succeeds("mrs", f"{name}-r")["createdCollections"] == 1


def test_the_second_backup_of_a_milvus_waits_in_line(kube, milvus, data, s3_proxy, milvus_through, name):
    held = Rule(copies=True, hold=threading.Event())
    s3_proxy.rules.append(held)
    kube.apply(backup(f"{name}-1", milvus=milvus_through, selection=data.pattern("orders")))
    assert held.met.wait(60)
    kube.apply(backup(f"{name}-2", milvus=milvus_through, selection=data.pattern("orders")))
    kube.wait_stage("mbk", f"{name}-2", "Queued")
    kube.apply(backup(f"{name}-3", milvus=milvus_through, selection=data.pattern("orders")))
    third = kube.wait("mbk", f"{name}-3", "second in line", 60, lambda o: o["status"].get("queuePosition") == 2)
    second = kube.get("mbk", f"{name}-2")
    admitted = condition_of(second, "Admitted")
    assert (admitted["status"], admitted["reason"]) == ("False", "WaitingForLock"), admitted
    assert f"{name}-1" in admitted["message"], admitted
    assert second["status"]["queuePosition"] == 1
    assert "in line" in third["status"]["progress"]["display"], third["status"]
    assert kube.jobs_of(f"{name}-2") == {} == kube.jobs_of(f"{name}-3")

    held.hold.set()
    ends = [kube.wait_finished("mbk", f"{name}-{i}") for i in (1, 2, 3)]
    assert [end["status"] for end in ends] == ["True"] * 3, ends
    starts = [kube.get("mbk", f"{name}-{i}")["status"]["startedAt"] for i in (1, 2, 3)]
    assert starts == sorted(starts), starts


def test_deleting_a_backup_removes_its_data_by_policy(kube, milvus, data, s3, bucket, name):
    for policy in ("Delete", "Retain"):
        kube.apply(backup(f"{name}-{policy.lower()}", selection=data.pattern("orders"), lifecycle={"deletionPolicy": policy}))
    for policy, kept in (("Delete", False), ("Retain", True)):
        one = f"{name}-{policy.lower()}"
        kube.succeeds("mbk", one)
        o = kube.get("mbk", one)
        assert bool(o["metadata"].get("finalizers")) == (not kept), o["metadata"]
        assert objects_of(s3, bucket, o["status"]) > 10
        kube.delete("mbk", one)
        assert bool(objects_of(s3, bucket, o["status"])) == kept


def test_deleting_a_running_backup_stops_it_and_removes_what_it_copied(kube, milvus, data, s3, bucket, s3_proxy, milvus_through, name):
    held = Rule(copies=True, after=10, hold=threading.Event())
    s3_proxy.rules.append(held)
    kube.apply(backup(name, milvus=milvus_through, selection=data.pattern("articles"), lifecycle={"deletionPolicy": "Delete"}))
    assert held.met.wait(60)
    status = kube.wait_stage("mbk", name, "CopyingData")["status"]
    with ThreadPoolExecutor() as pool:
        gone = pool.submit(kube.delete, "mbk", name, 100)
        until("the runner is gone", 90, lambda: not [p for p in kube.pods_of(name) if p["status"]["phase"] == "Running" and "-a" in p["metadata"]["name"]])
        held.hold.set()
        gone.result()
    assert objects_of(s3, bucket, status) == 0


def test_a_held_backup_keeps_its_data_until_it_is_let_go(kube, milvus, data, s3, bucket, name):
    kube.apply(backup(name, selection=data.pattern("orders"), lifecycle={"deletionPolicy": "Delete", "hold": True}))
    kube.succeeds("mbk", name)
    kube.run("-n", kube.namespace, "delete", "mbk", name, "--wait=false")
    o = kube.wait("mbk", name, "is held", 60, lambda o: condition_of(o, "DataDeleted").get("reason") == "Held")
    assert "hold" in condition_of(o, "DataDeleted")["message"], o["status"]["conditions"]
    assert objects_of(s3, bucket, o["status"]) > 10

    kube.patch("mbk", name, {"spec": {"lifecycle": {"hold": False}}})
    until("the object is gone", 60, lambda: kube.get("mbk", name) is None)
    assert objects_of(s3, bucket, o["status"]) == 0


def test_a_policy_flipped_to_retain_takes_the_finalizer_away(kube, milvus, data, name):
    kube.apply(backup(name, selection=data.pattern("empty"), lifecycle={"deletionPolicy": "Delete"}))
    kube.wait("mbk", name, "has a finalizer", 30, lambda o: o["metadata"].get("finalizers"))
    kube.patch("mbk", name, {"spec": {"lifecycle": {"deletionPolicy": "Retain"}}})
    kube.wait("mbk", name, "has none", 30, lambda o: not o["metadata"].get("finalizers"))


def test_a_namespace_with_backups_to_be_deleted_terminates_and_keeps_the_data(kube, milvus, data, s3, bucket, name):
    other = Kube(f"e2e-{name[:20].strip('-')}")
    kube.run("create", "namespace", other.namespace)
    add_milvus(other, "prod")
    other.apply(backup("one", selection=data.pattern("orders"), lifecycle={"deletionPolicy": "Delete"}))
    assert other.wait_finished("mbk", "one")["status"] == "True"
    status = other.get("mbk", "one")["status"]
    kube.run("delete", "namespace", other.namespace, "--timeout=90s", seconds=100)
    assert objects_of(s3, bucket, status) > 10, "a namespace took its only copies with it"


def test_what_ended_is_told_in_events(kube, milvus, shared_backup):
    reasons = {e["reason"] for e in kube.events(shared_backup)}
    assert {"BackupStarted", "BackupCompleted", "SharedFateWarning"} <= reasons, reasons


def test_a_runner_without_a_sign_of_life_is_stopped(kube, stopped):
    done = kube.wait_finished("mbk", stopped, seconds=120)
    assert (done["status"], done["reason"]) == ("False", "Stalled"), done
    assert "no sign of life for" in done["message"], done
    assert "BackupStalled" in {e["reason"] for e in kube.events(stopped)}


def test_an_expired_backup_goes_with_its_data(kube, s3, bucket, expiring):
    status = expiring["status"]
    assert re.match(r"\d{4}-\d\d-\d\dT", status["expiresAt"]), status
    until("it is gone", 90, lambda: kube.get("mbk", "expiring") is None)
    assert objects_of(s3, bucket, status) == 0
