"""Milvus is killed and started again under a backup and under a restore."""

import threading

import pytest
import samples
from kills import ledger
from program import OK, RETRYABLE, include
from proxy import Trigger
from test_killed_restore import compare


class Restart:
    """Kills Milvus at once and starts it again beside the run."""

    def __init__(self, milvus):
        self.milvus = milvus
        self.thread = threading.Thread(target=milvus.start)

    def __call__(self, _request) -> None:
        self.milvus.kill()
        self.thread.start()

    def join(self) -> None:
        """Fails when the run never came to the moment."""
        self.thread.join()
        assert self.milvus.healthy()


def complete(program, kind: str, limit: int = 3, **task):
    """The outcome in the end, as a retry policy comes to it: 10 is followed by another attempt, all else is final."""
    for attempt in range(1, limit + 1):
        done = program.run_task(kind, attempt=attempt, **task)
        if done.code != RETRYABLE:
            break
    return done.expect(OK)


def test_a_backup_outlives_a_restart_of_milvus_at_its_flush_and_one_at_its_copies(program, milvus, base, lines, proxy):
    restarts = [Restart(milvus), Restart(milvus)]
    flush = Trigger(lambda r: r.kind == "put" and r.key.endswith("operator/lock.json"), restarts[0])
    copies = Trigger(lambda r: r.kind == "copy", restarts[1])
    proxy.after = lambda request: (flush(request), copies(request))
    task = {"uid": "restarted", "endpoint": proxy.url, "selection": include("faults.lines", "faults.words")}
    done = complete(program, "backup", artifact="restarted", **task)
    for restart in restarts:
        restart.join()
    assert done.report["summary"]["rows"] >= sum(image.count for image in lines.values())
    again = {"artifact": "restarted", "mapping": {"suffix": "_x"}, "preflightOnly": True}
    program.run_task("restore", **again).expect(OK)


@pytest.fixture
def restored():
    samples.drop("faults", "lines_again", "words_again")
    yield
    samples.drop("faults", "lines_again", "words_again")


@pytest.mark.parametrize("path, moment", [("Import", "Started"), ("Insert", "Inserting"), ("Insert", "Inserted")])
def test_a_restore_outlives_a_restart_of_milvus_at_its_rows(program, milvus, base, lines, restored, proxy, path, moment):
    """The server forgets, or gives up, what it was importing or taking; its rows must be there once all the same."""
    uid = f"restarted_{moment}"
    restart = Restart(milvus)
    proxy.after = Trigger(ledger(uid, moment), restart)
    task = {"artifact": base, "uid": uid, "mapping": {"suffix": "_again"}, "endpoint": proxy.url, "restorePath": path}
    task["selection"] = include("faults.lines", "faults.words")
    done = complete(program, "restore", **task)
    restart.join()
    assert done.report["rowCounts"]["actual"] == sum(image.count for image in lines.values())
    compare(lines, "_again", "lines", "words")


