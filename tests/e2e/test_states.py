"""What `kubectl wait` makes of real objects."""

from harness.objects import backup, restore


def test_kubectl_wait_sees_the_end_of_a_backup_and_of_a_restore(kube, milvus, data, name):
    kube.apply(backup(name, selection=data.pattern("empty")))
    kube.run("-n", kube.namespace, "wait", "mbk", name, "--for=condition=Succeeded", "--timeout=60s", seconds=70)
    kube.run("-n", kube.namespace, "wait", "mbk", name, "--for=condition=Ready", "--timeout=1s")
    kube.apply(restore(f"{name}-r", name, mapping={"suffix": "_waited"}))
    kube.run("-n", kube.namespace, "wait", "mrs", f"{name}-r", "--for=condition=Succeeded", "--timeout=90s", seconds=100)
    columns = kube.run("-n", kube.namespace, "get", "mbk", name).splitlines()
    assert columns[0].split() == ["NAME", "MILVUS", "STATUS", "PROGRESS", "SIZE", "VERIFIED", "EXPIRES", "AGE"]
    assert columns[1].split()[:4] == [name, "prod", "Completed", "100%"], columns
