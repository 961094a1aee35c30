"""Milvus serves its clients while it is backed up and restored into."""

import os

from harness.kube import until
from harness.objects import backup, renamed, restore
from harness.traffic import Traffic

ENOUGH = 300  # calls of a phase in which nothing else happens


def test_a_client_sees_no_error_during_a_backup_and_a_restore(kube, milvus, data, prefix, name, record_property):
    new = data.into(prefix)
    mapping = renamed(new)
    with Traffic(os.environ["MILVUS_TEST_URI"], f"{prefix}live") as traffic:
        until("calls before", 60, lambda: traffic.calls() > ENOUGH and traffic.seen)

        traffic.phase = "during backup"
        kube.apply(backup(name, *data.databases, f"{prefix}live"))
        kube.succeeds("mbk", name)

        traffic.phase = "during restore"
        kube.apply(restore(f"{name}-r", name, selection=data.pattern("articles", "customers"), mapping=mapping))
        kube.succeeds("mrs", f"{name}-r", seconds=240)

        traffic.phase = "after"
        until("calls after", 60, lambda: traffic.calls() > ENOUGH)
    record_property("latency of a client's calls", traffic.table())
    assert traffic.errors == []
    for phase in ("during backup", "during restore"):
        assert all(len(traffic.took[phase].get(call, [])) > 5 for call in ("insert", "search", "delete")), traffic.table()
    assert milvus.differences(data.rows_of("articles", "customers"), databases=new, ignore=("aliases",)) == []
