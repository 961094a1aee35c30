"""Deleting an artifact: all of it, nothing else, as often as one likes."""

import signal

from program import CONFIGURATION, OK, PREFIX, include
from proxy import Trigger


def test_an_artifact_is_deleted_with_all_that_is_in_it_and_nothing_else(program, s3, bucket, base):
    s3.copy_prefix(bucket, f"{PREFIX}/{base}/", f"{PREFIX}/gone/")
    s3.copy_prefix(bucket, f"{PREFIX}/{base}/meta/", f"{PREFIX}/gone_not/meta/")
    s3.put(bucket, f"{PREFIX}/gone/operator/restores/u/ledger.json", b"{}")
    before = s3.objects(bucket, "backup/")
    done = program.run_task("delete", artifact="gone").expect(OK, "gone")
    assert done.reason == "Deleted"
    after = s3.objects(bucket, "backup/")
    assert not [key for key in after if key.startswith(f"{PREFIX}/gone/")]
    assert after == {key: value for key, value in before.items() if not key.startswith(f"{PREFIX}/gone/")}


def test_deleting_again_is_no_failure(program, base):
    for _ in range(2):
        program.run_task("delete", artifact="was_never_there").expect(OK)


def test_an_artifact_that_was_never_finished_is_deleted(program, s3, bucket, base, proxy):
    proxy.after = Trigger(lambda r: r.kind == "copy", lambda r: run.kill(), 5)
    run = program.start("backup", artifact="half_made", selection=include("faults.lines"), endpoint=proxy.url)
    assert run.wait().code == -signal.SIGKILL
    assert s3.keys(bucket, f"{PREFIX}/half_made/")
    program.run_task("delete", artifact="half_made").expect(OK)
    assert s3.keys(bucket, f"{PREFIX}/half_made/") == []


def test_a_deletion_that_is_killed_leaves_nothing_that_looks_like_a_backup(program, s3, bucket, base, proxy):
    s3.copy_prefix(bucket, f"{PREFIX}/{base}/", f"{PREFIX}/half_gone/")
    proxy.after = Trigger(lambda r: r.kind in ("delete", "list"), lambda r: run.kill())
    run = program.start("delete", artifact="half_gone", location=program.store(endpoint=proxy.url))
    assert run.wait().code == -signal.SIGKILL
    left = s3.keys(bucket, f"{PREFIX}/half_gone/")
    assert left, "nothing was left to do"
    assert not [key for key in left if key.endswith(("manifest.json", "full_meta.json", "backup_meta.json"))]
    program.run_task("delete", artifact="half_gone").expect(OK)
    assert s3.keys(bucket, f"{PREFIX}/half_gone/") == []


def test_a_bucket_that_is_gone_holds_no_backup(program):
    done = program.run_task("delete", artifact="x", location=program.store("no-such-bucket")).expect(OK)
    assert done.reason == "BucketGone"


def test_a_name_that_could_reach_elsewhere_is_refused(program, s3, bucket, base):
    before = s3.objects(bucket, "backup/")
    for name in ("..", "", "base/../base", "base/"):
        program.run_task("delete", artifact=name).expect(CONFIGURATION)
    assert s3.objects(bucket, "backup/") == before


def test_a_location_is_probed_by_list_write_and_delete(program, s3, bucket, base):
    before = s3.objects(bucket, "backup/")
    done = program.run_task("probe").expect(OK)
    assert done.reason == "Available" and done.report["conditionalPut"] is True
    assert s3.objects(bucket, "backup/") == before
    done = program.run_task("probe", location=program.store("no-such-bucket")).expect(CONFIGURATION, "no-such-bucket")
    assert done.reason == "BucketNotFound"
