"""Backups in another bucket and on another S3 server: copied there, staged back, and nothing left behind."""

import pytest
import samples
from program import DATA, OK, PREFIX, include
from proxy import Trigger
from pymilvus import db

STAGING = "milvus-backup-staging/"


@pytest.fixture
def restored():
    samples.drop_database("stolen")
    yield
    samples.drop("faults", "lines_far", "words_far")
    samples.drop_database("stolen")


@pytest.fixture
def elsewhere(s3):
    """Another bucket, empty."""
    s3.make("elsewhere")
    s3.delete_prefix("elsewhere", "")
    return "elsewhere"


def moved(s3, bucket, artifact: str, elsewhere: str) -> None:
    """The artifact, copied into the other bucket under `kept/`."""
    for key in s3.keys(bucket, f"{PREFIX}/{artifact}/"):
        source = {"Bucket": bucket, "Key": key}
        s3.client.copy_object(Bucket=elsewhere, Key=key.replace(PREFIX, "kept"), CopySource=source)


def check(program, s3, bucket, lines, destination, **more):
    """Backup to `destination` and restore from it; answers the outcome of the restore."""
    task = {"artifact": "far", "selection": include("faults.lines", "faults.words")}
    backup = program.run_task("backup", destination=destination, **task).expect(OK)
    done = program.run_task("restore", artifact="far", source=destination, mapping={"suffix": "_far"}, **more).expect(OK)
    assert done.report["rowCounts"]["actual"] == sum(image.count for image in lines.values())
    compare(lines)
    assert s3.keys(bucket, STAGING) == [], "staged copies stay in Milvus' bucket"
    return backup, done


def compare(lines) -> None:
    for full, have in samples.images("faults.lines_far", "faults.words_far").items():
        assert samples.differences(lines[full.removesuffix("_far")], have, "aliases") == []


@pytest.mark.parametrize("path", ["Import", "Insert"])
def test_a_backup_in_another_bucket_of_the_same_server_is_copied_there_and_back(program, s3, bucket, lines, restored, elsewhere, path):
    backups = s3.keys(bucket, "backup/")
    destination = program.store(elsewhere, "deep/er")
    backup, _ = check(program, s3, bucket, lines, destination, restorePath=path)
    assert s3.keys(bucket, "backup/") == backups
    held = s3.objects(elsewhere, "deep/er/far/binlogs/")
    assert sum(size for size, _ in held.values()) == backup.report["summary"]["sizeBytes"] > 0


def test_a_backup_on_another_server_is_streamed_there_and_back(program, s3, other_s3, bucket, lines, restored):
    other_s3.make("backups")
    check(program, s3, bucket, lines, program.store("backups", "milvus", other_s3), restorePath="Import")
    assert not s3.keys(bucket, "milvus/"), "a copy in Milvus' own bucket"


def test_staged_copies_of_a_killed_restore_are_used_and_removed_by_the_next_attempt(
    program, s3, bucket, base, lines, restored, elsewhere, proxy
):
    moved(s3, bucket, base, elsewhere)
    task = {"artifact": base, "mapping": {"suffix": "_far"}, "endpoint": proxy.url, "uid": "staged-and-killed", "restorePath": "Import"}
    source = program.store(elsewhere, "kept", endpoint=proxy.url)
    copies = Trigger(lambda r: r.kind == "copy" and r.key.startswith(STAGING), lambda r: run.kill(), nth=10)
    proxy.after = copies
    run = program.start("restore", source=source, limits={"concurrency": 2}, **task)
    assert run.wait().code == -9
    proxy.reset()
    staged = s3.keys(bucket, STAGING)
    assert len(staged) >= 10
    program.run_task("restore", attempt=2, source=source, **task).expect(OK)
    again = [r.key for r in proxy.seen if r.kind == "copy" and r.key in staged]
    assert not again, "copied a second time"
    assert s3.keys(bucket, STAGING) == []
    compare(lines)


def test_what_a_restore_made_is_removed_when_it_fails_for_good(program, s3, bucket, base, restored, elsewhere, proxy):
    """The staged copies are taken away before the import, which then "completes" without a row."""
    moved(s3, bucket, base, elsewhere)

    def steal(request) -> None:
        if b'"Intended"' in request.body and request.key.endswith("ledger.json"):
            s3.delete_prefix(bucket, STAGING)

    proxy.before = steal
    before = samples.everything()
    source = program.store(elsewhere, "kept", endpoint=proxy.url)
    mapping = {"databases": [{"from": "faults", "to": "stolen"}]}
    done = program.run_task("restore", artifact=base, source=source, endpoint=proxy.url, mapping=mapping, restorePath="Import")
    done.expect(DATA)
    assert done.reason == "RowCountMismatch"
    assert s3.keys(bucket, STAGING) == []
    assert samples.everything() == before
    assert "stolen" not in db.list_database()
