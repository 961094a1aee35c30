"""Milvus is killed in the middle of a backup and of a restore, and started again."""

from harness.gate import Gate
from harness.milvus_resource import GRPC, HOST
from harness.objects import backup, renamed, restore
from harness.s3_proxy import Rule


def test_a_backup_outlives_a_restart_of_milvus(kube, milvus, data, another_milvus, s3_proxy, prefix, name):
    specs = milvus.fill(prefix, only=("orders", "all_types"))
    wanted = milvus.rows(specs)
    with Gate((HOST, GRPC), HOST) as gate:
        through = another_milvus(store=s3_proxy.address, port=gate.port)
        s3_proxy.rules.append(Rule(method="PUT", path="operator/lock.json", then=gate.close))
        kube.apply(backup(name, *{s.database for s in specs}, milvus=through))
        assert gate.closed.wait(60), "it did not come to flushing"
        milvus.kill()
        gate.open.set()
        milvus.start()
        status = kube.succeeds("mbk", name, seconds=180)
    assert status["summary"]["collections"] == 2

    milvus.drop(specs)
    kube.apply(restore(f"{name}-r", name))
    kube.succeeds("mrs", f"{name}-r")
    assert milvus.differences(wanted) == []


def test_a_restore_outlives_a_restart_of_milvus(kube, milvus, data, shared_backup, prefix, name):
    # keys that the server makes: these rows are imported, not inserted
    new = data.into(prefix)
    kube.apply(restore(name, shared_backup, selection=data.pattern("orders"), mapping=renamed(new)))
    kube.wait("mrs", name, "imports", 90, lambda o: o["status"].get("progress", {}).get("percent", 0) >= 30)
    milvus.restart()

    status = kube.succeeds("mrs", name, seconds=240)

    assert status["rowCounts"]["actual"] == status["rowCounts"]["expected"] == len(data.rows_of("orders").popitem()[1]["rows"])
    assert milvus.differences(data.rows_of("orders"), databases=new) == []
