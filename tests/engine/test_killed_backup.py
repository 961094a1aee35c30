"""A backup that is killed continues: nothing is copied twice, nothing foreign stays, an older attempt cannot do harm."""

import signal
import threading
import time

import samples
from kills import Moment, killed
from program import PREFIX as HOME
from program import CANCELLED, CONFIGURATION, LOST_LOCK, OK, include
from proxy import Cut, Trigger

TASK = {"selection": include("faults.lines", "faults.words"), "limits": {"concurrency": 2}}


def recorded(s3, bucket, artifact: str) -> dict[str, int]:
    """Sizes of all objects by the artifact's own list."""
    import json

    compressed = s3.get(bucket, f"{HOME}/{artifact}/operator/objects.jsonl.zst")
    records = [json.loads(line) for line in unpack(compressed).splitlines()]
    return {f"{HOME}/{artifact}/{r['key']}": r["size"] for r in records}


def unpack(compressed: bytes) -> str:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.py_buffer(compressed), "zstd").read().decode()


def whole(s3, bucket, artifact: str) -> None:
    """Fails unless exactly the recorded objects are there, beside the metadata."""
    there = {key: size for key, (size, _) in s3.objects(bucket, f"{HOME}/{artifact}/binlogs/").items()}
    assert there == recorded(s3, bucket, artifact)
    others = set(s3.keys(bucket, f"{HOME}/{artifact}/")) - set(there)
    meta = {"backup", "collection", "partition", "segment", "full"}
    names = {f"meta/{m}_meta.json" for m in meta} | {f"operator/{n}" for n in ("manifest.json", "objects.jsonl.zst", "lock.json")}
    assert others == {f"{HOME}/{artifact}/{name}" for name in names}


def test_a_backup_killed_at_every_step_copies_each_object_once(program, s3, bucket, base, proxy):
    """One run, killed again and again: each attempt stands where the one before it fell."""

    def put(name):
        return lambda r: r.kind == "put" and r.key.endswith(name)

    def copied(r):
        return r.kind == "copy"

    total = objects(s3, bucket)
    moments = [
        Moment("after", put("operator/lock.json"), "the lock"),
        Moment("before", copied, "the third copy", 3),
        Moment("after", copied, "the third copy", 3),
        Moment("after", copied, "a third of the copies", total // 3),
        Moment("before", put("meta/segment_meta.json"), "metadata of segments"),
        Moment("after", put("meta/full_meta.json"), "full metadata"),
        Moment("before", put("operator/objects.jsonl.zst"), "the list of objects"),
        Moment("before", put("operator/manifest.json"), "the manifest"),
        Moment("after", put("operator/manifest.json"), "the manifest"),
    ]
    task = {**TASK, "artifact": "killed", "uid": "killed-backup", "endpoint": proxy.url}
    last = max(killed(program, proxy, "backup", task, moments))
    copies = [r.key for r in proxy.seen if r.kind == "copy"]
    proxy.before = proxy.after = lambda r: None
    done = program.run_task("backup", attempt=last + 1, **task).expect(OK, "earlier attempt")
    whole(s3, bucket, "killed")
    sizes = recorded(s3, bucket, "killed")
    again = sum(sizes[key] for key in set(sizes) for _ in range(copies.count(key) - 1))
    assert again < 0.05 * done.report["summary"]["sizeBytes"], f"{again} bytes were copied again"
    assert done.report["manifestDigest"] == digest(s3, bucket, "killed")
    program.run_task("restore", artifact="killed", mapping={"suffix": "_never"}, preflightOnly=True).expect(OK)


def objects(s3, bucket) -> int:
    """Data objects of a backup of `faults`."""
    return len(s3.keys(bucket, f"{HOME}/base/binlogs/"))


def digest(s3, bucket, artifact: str) -> str:
    import hashlib

    return hashlib.sha256(s3.get(bucket, f"{HOME}/{artifact}/operator/manifest.json")).hexdigest()


def test_a_second_attempt_counts_what_is_there_and_copies_the_rest(program, s3, bucket, base, proxy):
    task = {**TASK, "artifact": "half", "uid": "half", "endpoint": proxy.url}
    proxy.after = Trigger(lambda r: r.kind == "copy", lambda r: run.kill(), objects(s3, bucket) // 2)
    run = program.start("backup", **task)
    assert run.wait().code == -signal.SIGKILL
    proxy.reset()
    there = s3.size(bucket, f"{HOME}/half/binlogs/")
    done = program.run_task("backup", attempt=2, **task).expect(OK)
    summary = done.report["summary"]
    assert there > 0 and summary["copiedBytes"] > 0
    assert summary["copiedBytes"] + there <= 1.05 * summary["sizeBytes"]
    assert done.report["progress"]["bytesDone"] == summary["sizeBytes"]
    whole(s3, bucket, "half")


def test_objects_of_segments_that_are_gone_do_not_stay_in_the_artifact(program, s3, bucket, base, proxy):
    task = {**TASK, "artifact": "strays", "uid": "strays", "endpoint": proxy.url}
    proxy.after = Trigger(lambda r: r.kind == "copy", lambda r: run.kill(), 5)
    run = program.start("backup", **task)
    assert run.wait().code == -signal.SIGKILL
    proxy.reset()
    found = s3.keys(bucket, f"{HOME}/strays/binlogs/insert_log/")[0]
    parts = found.split("/")
    parts[-4] = parts[-3] = "4711"  # the same collection and partition, a segment that compaction has replaced
    s3.copy(bucket, found, "/".join(parts))
    program.run_task("backup", attempt=2, **task).expect(OK)
    whole(s3, bucket, "strays")


def test_sigterm_ends_a_backup_with_40_and_the_next_attempt_completes_it(program, s3, bucket, base, proxy):
    task = {**TASK, "artifact": "stopped", "uid": "stopped", "endpoint": proxy.url}
    release = threading.Event()
    proxy.before = Trigger(lambda r: r.kind == "copy", lambda r: (run.signal(signal.SIGTERM), release.wait(60)), 6)
    run = program.start("backup", **task)
    try:
        done = run.wait(30).expect(CANCELLED)
    finally:
        release.set()
    assert done.reason == "Cancelled" and done.report["class"] == "Cancelled"
    proxy.reset()
    program.run_task("backup", attempt=2, **task).expect(OK)
    whole(s3, bucket, "stopped")


def test_an_older_attempt_that_wakes_up_stops_and_changes_nothing(program, s3, bucket, base, proxy):
    """It sleeps before its copies; meanwhile a collection is dropped and a newer attempt finishes without it."""
    samples.drop("faults", "z_fleeting")  # its copies are the last
    spec = samples.words(60)
    spec.name = "z_fleeting"
    samples.fill([spec])
    task = {"artifact": "woken", "uid": "woken", "selection": {"include": [{"database": "faults"}]}, "limits": {"concurrency": 2}}
    asleep, release = threading.Event(), threading.Event()

    def sleep(request):
        if request.kind == "copy" and not release.is_set():
            if not asleep.is_set():
                run.signal(signal.SIGSTOP)
                asleep.set()
            release.wait(120)
            raise Cut

    proxy.before = sleep
    run = program.start("backup", endpoint=proxy.url, **task)
    try:
        assert asleep.wait(30)
        asleep_since = time.monotonic()
        samples.drop("faults", "fleeting")
        program.run_task("backup", attempt=2, **task).expect(OK)
        before = s3.objects(bucket, f"{HOME}/woken/")
        time.sleep(max(0.0, asleep_since + 3 - time.monotonic()))  # the nap of a node that was lost is longer than this
    finally:
        release.set()
        run.signal(signal.SIGCONT)
    done = run.wait(60).expect(LOST_LOCK, "attempt 2")
    assert done.reason == "LostLock"
    whole(s3, bucket, "woken")
    assert s3.objects(bucket, f"{HOME}/woken/") == before


def test_an_artifact_of_another_run_is_not_written_to(program, s3, bucket, base):
    before = s3.objects(bucket, f"{HOME}/{base}/")
    done = program.run_task("backup", artifact=base, **TASK).expect(CONFIGURATION, base)
    assert done.reason == "Rejected"
    assert s3.objects(bucket, f"{HOME}/{base}/") == before


def test_an_unfinished_artifact_of_another_run_is_not_written_to(program, s3, bucket, base, proxy):
    task = {**TASK, "artifact": "taken", "endpoint": proxy.url}
    proxy.after = Trigger(lambda r: r.kind == "copy", lambda r: run.kill(), 4)
    run = program.start("backup", uid="first-run", **task)
    assert run.wait().code == -signal.SIGKILL
    proxy.reset()
    before = s3.objects(bucket, f"{HOME}/taken/")
    done = program.run_task("backup", uid="second-run", **task).expect(CONFIGURATION, "taken", "first-run")
    assert done.reason == "Rejected"
    assert s3.objects(bucket, f"{HOME}/taken/") == before
