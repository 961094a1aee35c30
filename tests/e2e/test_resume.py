"""Pods are killed, the operator is killed: runs go on, and do nothing twice."""

import threading
from contextlib import ExitStack
from urllib.parse import unquote

from harness.gate import Gate
from harness.milvus_resource import GRPC, HOST
from harness.objects import backup, renamed, restore
from harness.s3_proxy import Rule
from pymilvus import Collection, db, utility

AT_ONCE = {"retry": {"backoffSeconds": 0}}


def copied_twice(s3, bucket: str, proxy, artifact: str) -> float:
    """The share of the artifact's bytes that was copied more than once."""
    sizes = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"backup/{artifact}/binlogs/"):
        sizes |= {o["Key"]: o["Size"] for o in page.get("Contents", [])}
    assert sizes, "the artifact has no objects"
    again = 0
    for key, size in sizes.items():
        times = sum(r.copy and r.status == 200 and unquote(r.path).split("?")[0].endswith(key) for r in proxy.requests)
        assert times, f"{key} was not copied through the proxy"
        again += (times - 1) * size
    return again / sum(sizes.values())


def imports(database: str, collection: str) -> int:
    """How many imports the server was asked for."""
    db.using_database(database)
    return len(utility.list_bulk_insert_tasks(limit=1000, collection_name=collection))


def partitions(s3, bucket: str, artifact: str, collection: str, data) -> int:
    """How many partitions of a collection the artifact has rows of."""
    db.using_database(data.named(collection).database)
    folder = f"backup/{artifact}/binlogs/insert_log/{Collection(collection).describe()['collection_id']}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    return len({o["Key"].removeprefix(folder).split("/")[0] for page in pages for o in page["Contents"]})


def test_a_backup_whose_runner_is_killed_half_way_copies_the_rest(kube, milvus, data, s3, bucket, s3_proxy, milvus_through, name):
    half = Rule(copies=True, after=30, times=1, hold=threading.Event(), cut=True)
    s3_proxy.rules.append(half)
    kube.apply(backup(name, milvus=milvus_through, selection=data.pattern("articles"), limits={"concurrency": 1}))
    assert half.met.wait(60), "no thirty copies were made"
    progress = kube.wait("mbk", name, "shows progress", 10, lambda o: o["status"].get("progress", {}).get("objectsDone", 0) > 10)
    assert kube.kill_process(kube.running_pod_of(name)) == 1
    half.hold.set()

    status = kube.succeeds("mbk", name)

    first, second = status["attempts"]
    assert (first["number"], first["exitClass"]) == (1, "Crashed"), first
    assert "was killed" in first["message"], first
    assert (second["number"], second["exitClass"]) == (2, "Succeeded"), second
    total = progress["status"]["progress"]["objectsTotal"]
    assert total > 40, f"{total} objects are no test of half-way"
    assert copied_twice(s3, bucket, s3_proxy, status["artifact"]["name"]) < 0.05
    assert status["progress"]["percent"] == 100


def test_a_restore_whose_pod_is_deleted_half_way_imports_the_rest(
    kube, milvus, data, shared_backup, s3, bucket, prefix, name
):
    # keys that the server makes: these rows are imported, not inserted
    new = data.into(prefix)
    kube.apply(restore(name, shared_backup, selection=data.pattern("orders"), mapping=renamed(new)))
    database = new[data.named("orders").database]

    kube.wait("mrs", name, "is half-way", 90, lambda o: o["status"].get("progress", {}).get("percent", 0) >= 30)
    kube.delete_pod(kube.running_pod_of(name))

    status = kube.succeeds("mrs", name)
    assert [a["number"] for a in status["attempts"]] == [1, 2], status["attempts"]
    assert status["attempts"][0]["exitClass"] in ("JobLost", "Cancelled"), status["attempts"]
    artifact = status["pinnedArtifact"]["name"]
    assert imports(database, "orders") == partitions(s3, bucket, artifact, "orders", data), "not one import a partition"
    assert milvus.differences(data.rows_of("orders"), databases=new) == []


class Held:
    """A run whose store holds every request that belongs to one stage, until it is let go."""

    def __init__(self, kind: str, stage: str, **fault):
        self.kind, self.stage = kind, stage
        self.go = threading.Event()
        self.rule = Rule(**fault, hold=self.go)
        self.name = f"stages-{kind}-{stage.lower()}"


def test_runs_survive_the_operator_at_every_stage(kube, milvus, data, shared_backup, s3_proxies, another_milvus, prefix):
    """Seven runs, each held in another stage; then all operator pods are killed. Some runs end before it is back."""
    orders, new = data.named("orders"), data.into(prefix)
    wanted = data.wanted[f"{orders.database}.orders"]
    with ExitStack() as stack:
        gate = stack.enter_context(Gate((HOST, GRPC), HOST))
        runs = [
            Held("mbk", "Preflight", method="GET", path="insert_log"),
            Held("mbk", "Flushing", method="PUT", path="operator/lock.json", then=gate.close, times=1),
            Held("mbk", "CopyingData", copies=True, after=5),
            Held("mbk", "Finalizing", method="PUT", path="/meta/"),
            Held("mrs", "Preflight", method="GET", path="list-type"),
            Held("mrs", "CopyingData", method="PUT", path="milvus-backup-staging", after=5),
            Held("mrs", "Finalizing", method="POST", path="delete"),
        ]
        for run in runs:
            stack.callback(run.go.set)
            proxy = s3_proxies()
            proxy.rules.append(run.rule)
            flushing = run.stage == "Flushing"
            if flushing:
                run.go.set()  # it is the gate that holds this one
            through = another_milvus(f"{run.kind}-{run.stage.lower()}", store=proxy.address, port=gate.port if flushing else GRPC)
            if run.kind == "mbk":
                kube.apply(backup(run.name, milvus=through, selection=data.pattern("orders")))
            else:
                target = {"from": f"{orders.database}.orders", "to": f"{new[orders.database]}.{run.stage.lower()}"}
                kube.apply(
                    restore(run.name, shared_backup, through, selection=data.pattern("orders"), mapping={"collections": [target]})
                )
        for run in runs:
            assert run.rule.met.wait(60), f"{run.name} was not held"
            kube.wait_stage(run.kind, run.name, run.stage, seconds=30)
        jobs = {run.name: kube.jobs_of(run.name) for run in runs}
        assert all(len(of_run) == 1 for of_run in jobs.values()), jobs

        kube.kill_operator()
        gate.open.set()
        for run in runs[::2]:
            run.go.set()
        kube.wait_operator()
        for run in runs:
            run.go.set()

        for run in runs:
            status = kube.succeeds(run.kind, run.name)
            assert [(a["number"], a["exitClass"]) for a in status["attempts"]] == [(1, "Succeeded")], (run.name, status["attempts"])
            assert kube.jobs_of(run.name) == jobs[run.name], f"{run.name} has another Job"
    restored = {f"{new[orders.database]}.{run.stage.lower()}": wanted for run in runs if run.kind == "mrs"}
    assert milvus.differences(restored) == []
