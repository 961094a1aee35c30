"""A restore that is killed, stopped or overtaken continues: every row is there once, and nothing is imported twice."""

import signal
import threading

import pytest
import samples
from kills import Moment, import_tasks, killed, ledger
from program import CANCELLED, LOST_LOCK, OK, PREFIX, include
from proxy import Trigger


@pytest.fixture
def restored():
    samples.drop("faults", "lines_killed", "words_killed")
    yield
    samples.drop("faults", "lines_killed", "words_killed")


def compare(lines, suffix: str, *names: str) -> None:
    for full, have in samples.images(*(f"faults.{name}{suffix}" for name in names)).items():
        assert samples.differences(lines[full.removesuffix(suffix)], have, "aliases") == []


STEPS = [
    ("after", "Creating"),
    ("before", "Created"),
    ("after", "Created"),
    ("after", "Intended"),
    ("before", "Started"),
    ("after", "Started"),
    ("before", "Done"),
    ("after", "Done"),
    ("after", "Imported"),
]


def test_a_restore_killed_at_every_step_brings_each_row_once(program, milvus, base, lines, restored, proxy):
    """One run, killed again and again: each attempt stands where the one before it fell."""
    uid = "killed_restore"
    task = {
        "artifact": base,
        "selection": include("faults.lines"),
        "mapping": {"suffix": "_killed"},
        "restorePath": "Import",
        "uid": uid,
        "endpoint": proxy.url,
    }
    moments = [Moment(when, ledger(uid, state), state) for when, state in STEPS]
    with milvus.kept_up():
        for _ in killed(program, proxy, "restore", task, moments):
            pass
        proxy.reset()
        done = program.run_task("restore", attempt=len(STEPS) + 1, **task).expect(OK)
    assert done.report["createdCollections"] == 1
    assert done.report["rowCounts"]["actual"] == lines["faults.lines"].count
    compare(lines, "_killed", "lines")
    # one for each of the two partitions, whatever was killed
    assert import_tasks("faults", "lines_killed") == 2


def test_sigterm_ends_a_restore_with_40_and_the_next_attempt_completes_it(program, base, lines, restored, proxy):
    uid = "stopped_restore"
    task = {
        "artifact": base,
        "selection": include("faults.words"),
        "mapping": {"suffix": "_killed"},
        "restorePath": "Import",
        "uid": uid,
        "endpoint": proxy.url,
    }
    proxy.after = Trigger(ledger(uid, "Started"), lambda r: run.signal(signal.SIGTERM))
    run = program.start("restore", **task)
    done = run.wait(30).expect(CANCELLED)
    assert done.reason == "Cancelled"
    proxy.reset()
    program.run_task("restore", attempt=2, **task).expect(OK)
    compare(lines, "_killed", "words")
    assert import_tasks("faults", "words_killed") == 1


def test_an_older_attempt_that_wakes_up_imports_nothing(program, base, lines, restored, proxy):
    """It sleeps just before it writes down that it is going to import; a newer attempt does all of it meanwhile."""
    uid = "woken_restore"
    task = {"artifact": base, "selection": include("faults.words"), "mapping": {"suffix": "_killed"}, "uid": uid, "restorePath": "Import"}
    asleep, release = threading.Event(), threading.Event()

    def sleep(request):
        run.signal(signal.SIGSTOP)
        asleep.set()
        release.wait(120)

    proxy.before = Trigger(ledger(uid, "Intended"), sleep)
    run = program.start("restore", endpoint=proxy.url, **task)
    try:
        assert asleep.wait(60)
        program.run_task("restore", attempt=2, **task).expect(OK)
    finally:
        release.set()
        run.signal(signal.SIGCONT)
    done = run.wait(60).expect(LOST_LOCK)
    assert done.reason == "LostLock"
    compare(lines, "_killed", "words")
    assert import_tasks("faults", "words_killed") == 1
    # and the same attempt started anew
    program.run_task("restore", attempt=1, **task).expect(LOST_LOCK, "attempt 2")


def test_a_finished_restore_that_is_run_again_changes_nothing(program, base, lines, restored):
    """Its Job was lost before it could report: the next attempt finds all done."""
    task = {"artifact": base, "selection": include("faults.words"), "mapping": {"suffix": "_killed"}, "uid": "finished", "restorePath": "Import"}
    program.run_task("restore", **task).expect(OK)
    before = samples.identity("faults", "words_killed")
    done = program.run_task("restore", attempt=2, **task).expect(OK)
    assert done.report["rowCounts"]["actual"] == lines["faults.words"].count
    assert samples.identity("faults", "words_killed") == before
    assert import_tasks("faults", "words_killed") == 1


def test_objects_that_are_no_part_of_the_backup_are_not_imported(program, s3, bucket, base, lines, restored):
    s3.copy_prefix(bucket, f"{PREFIX}/{base}/", f"{PREFIX}/with_strays/")
    for key in s3.keys(bucket, f"{PREFIX}/with_strays/binlogs/insert_log/"):
        parts = key.split("/")
        parts[-4] = parts[-3] = "4711"  # a copy of a whole segment under another id, in its partition
        s3.copy(bucket, key, "/".join(parts))
    for path in ("Import", "Insert"):
        samples.drop("faults", "lines_killed", "words_killed")
        task = {"artifact": "with_strays", "mapping": {"suffix": "_killed"}, "restorePath": path}
        program.run_task("restore", **task).expect(OK)
        compare(lines, "_killed", "lines", "words")
