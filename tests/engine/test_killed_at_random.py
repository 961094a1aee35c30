"""SIGKILL at 20 random points of a backup and of a restore: no row is lost, none is doubled, hardly a byte is copied twice.

The points come from a seed, which is printed; ENGINE_SEED=n tries others.
"""

import os
import random
import signal
import subprocess

import pytest
import samples
from program import OK, include
from proxy import Cut, Trigger
from test_killed_backup import recorded, whole

SEED = int(os.environ.get("ENGINE_SEED", "2031"))
POINTS = 20
CHAIN = 4  # kills of one restore, each of the attempt after the last
STAGING = "milvus-backup-staging"


def test_a_backup_killed_at_random_points_is_whole_after_the_next_attempt(program, s3, bucket, base, proxy, capsys):
    chance = random.Random(SEED)
    task = {"selection": include("faults.lines", "faults.words"), "limits": {"concurrency": 4}, "endpoint": proxy.url}
    program.run_task("backup", artifact="unkilled", **task).expect(OK)
    requests = len(proxy.seen)
    with capsys.disabled():
        print(f"\nseed {SEED}, {requests} requests in a backup that nobody kills")
    for point in range(POINTS):
        nth, before = chance.randint(1, requests), chance.random() < 0.5
        said = f"seed {SEED}, point {point}: {'before' if before else 'after'} request {nth} of {requests}"
        proxy.reset()

        def stop(request):
            run.kill()
            if before:
                raise Cut

        trigger = Trigger(lambda r: True, stop, nth)
        proxy.before, proxy.after = (trigger, lambda r: None) if before else (lambda r: None, trigger)
        name = f"random_{point}"
        run = program.start("backup", artifact=name, uid=name, **task)
        first = run.wait()
        assert first.code in (-signal.SIGKILL, OK), f"{said}: {first.message}\n{first.log}"
        copies = [r.key for r in proxy.seen if r.kind == "copy"]
        proxy.reset()
        done = program.run_task("backup", artifact=name, uid=name, attempt=2, **task)
        assert done.code == OK, f"{said}: {done.message}\n{done.log}"
        copies += [r.key for r in proxy.seen if r.kind == "copy"]
        whole(s3, bucket, name)
        sizes = recorded(s3, bucket, name)
        again = sum(size * max(0, copies.count(key) - 1) for key, size in sizes.items())
        assert again < 0.05 * sum(sizes.values()), f"{said}: {again} bytes were copied again"
        program.run_task("delete", artifact=name).expect(OK)


@pytest.fixture
def nothing_restored():
    samples.drop("faults", "lines_random", "words_random")
    yield
    samples.drop("faults", "lines_random", "words_random")


@pytest.mark.parametrize("path", ["Import", "Insert"])
def test_a_restore_killed_at_random_points_brings_each_row_once(program, milvus, s3, bucket, base, lines, nothing_restored, capsys, path):
    chance = random.Random(SEED)
    task = {"artifact": base, "selection": include("faults.lines", "faults.words"), "mapping": {"suffix": "_random"}, "restorePath": path}
    took = program.run_task("restore", uid=f"unkilled_{path}", **task).expect(OK).seconds
    with capsys.disabled():
        print(f"\nseed {SEED}, a restore by {path} that nobody kills takes {took:.1f} s")
    for chain in range(POINTS // CHAIN):
        samples.drop("faults", "lines_random", "words_random")
        uid, said = f"random_{path}_{chain}", f"seed {SEED}, {path}, chain {chain}"
        with milvus.kept_up():
            for attempt in range(1, CHAIN + 1):
                run = program.start("restore", uid=uid, attempt=attempt, **task)
                seconds = chance.random() * took
                said += f", {seconds:.2f} s"
                try:
                    run.process.wait(seconds)
                except subprocess.TimeoutExpired:
                    run.kill()
                first = run.wait()
                assert first.code in (-signal.SIGKILL, OK), f"{said}: {first.message}\n{first.log}"
            done = program.run_task("restore", uid=uid, attempt=CHAIN + 1, **task)
        assert done.code == OK, f"{said}: {done.message}\n{done.log}"
        for full, have in samples.images("faults.lines_random", "faults.words_random").items():
            assert samples.differences(lines[full.removesuffix("_random")], have, "aliases") == [], said
        assert s3.keys(bucket, STAGING) == [], said
