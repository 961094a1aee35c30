"""What `kubectl wait`, kstatus and Argo CD make of real objects, in every state that any test here brought one into."""

import json
import sys
from pathlib import Path

from harness.kube import condition_of, conditions_text, until
from harness.objects import backup, restore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gitops"))

from argocd import health  # noqa: E402
from kstatus import kstatus  # noqa: E402


def test_kubectl_wait_sees_the_end_of_a_backup_and_of_a_restore(kube, milvus, data, name):
    kube.apply(backup(name, selection=data.pattern("empty")))
    kube.run("-n", kube.namespace, "wait", "mbk", name, "--for=condition=Succeeded", "--timeout=60s", seconds=70)
    kube.run("-n", kube.namespace, "wait", "mbk", name, "--for=condition=Ready", "--timeout=1s")
    kube.apply(restore(f"{name}-r", name, mapping={"suffix": "_waited"}))
    kube.run("-n", kube.namespace, "wait", "mrs", f"{name}-r", "--for=condition=Succeeded", "--timeout=90s", seconds=100)
    columns = kube.run("-n", kube.namespace, "get", "mbk", name).splitlines()
    assert columns[0].split() == ["NAME", "MILVUS", "STATUS", "PROGRESS", "SIZE", "VERIFIED", "EXPIRES", "AGE"]
    assert columns[1].split()[:4] == [name, "prod", "Completed", "100%"], columns


def test_a_backup_that_goes_away_is_terminating(kube, milvus, data, name):
    kube.apply(backup(name, selection=data.pattern("empty"), lifecycle={"deletionPolicy": "Delete", "hold": True}))
    kube.succeeds("mbk", name)
    kube.run("-n", kube.namespace, "delete", "mbk", name, "--wait=false")
    going = kube.wait("mbk", name, "is held", 60, lambda o: condition_of(o, "DataDeleted").get("reason") == "Held")
    assert kstatus(going) == "Terminating"
    assert health("MilvusBackup", going).status == "Progressing"
    kube.patch("mbk", name, {"spec": {"lifecycle": {"hold": False}}})
    until("the object is gone", 60, lambda: kube.get("mbk", name) is None)


# What a waiter makes of a state, by its status: for kstatus and for Argo CD.
READ = {
    "Deleting": ("Terminating", "Progressing"),
    "New": ("InProgress", "Progressing"),
    "Changed": ("InProgress", "Progressing"),
    "Unknown": ("InProgress", "Progressing"),
    "NotYet.False": ("InProgress", "Progressing"),  # of a location
    "True": ("Current", "Healthy"),
    "False": ("Failed", "Degraded"),
}


def test_every_state_that_was_seen_reads_as_what_it_is(kube, states, name):
    kube.apply(backup(name, selection={"include": [{"database": "not_there"}]}))
    assert kube.wait_finished("mbk", name)["status"] == "False"
    until("two states", 30, lambda: {("MilvusBackup", "New"), ("MilvusBackup", "Rejected.False")} <= set(states.seen))
    wrong = []
    for (kind, state), o in sorted(states.seen.items()):
        read = kstatus(o), health(kind, o).status
        if read != (READ.get(state) or READ[state.split(".")[-1]]):
            wrong.append(f"{kind} {state}: {read}; {conditions_text(o.get('status', {}))}")
    assert not wrong, "\n".join(wrong)


def test_no_status_that_was_seen_is_large(kube, states, milvus, data, name):
    kube.apply(backup(name, selection=data.pattern("orders", "articles")))
    kube.succeeds("mbk", name)
    until("its end", 30, lambda: ("MilvusBackup", "Completed.True") in states.seen)
    sizes = {key: len(json.dumps(o.get("status", {}))) for key, o in states.seen.items()}
    assert max(sizes.values()) < 16 * 1024, sizes
