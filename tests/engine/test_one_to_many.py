"""One collection restored under several names in one run: the same rows under each, and none twice, whatever is killed."""

import json
import signal

import pytest
import samples
from program import CONFIGURATION, OK, include
from proxy import Cut, Trigger
from pymilvus import connections, db
from pymilvus.grpc_gen import milvus_pb2

# name in the target, shards; two have the same name in databases of their own
TARGETS = {"east.lines": 1, "west.lines": 2, "west.copy": 3}


@pytest.fixture
def restored():
    for database in ("east", "west"):
        samples.drop_database(database)
    yield
    for database in ("east", "west"):
        samples.drop_database(database)


def task(base: str, uid: str, **more) -> dict:
    mapping = {
        "collections": [{"from": "faults.lines", "to": name} for name in TARGETS],
        "overrides": [{"collection": name, "shards": shards} for name, shards in TARGETS.items()],
    }
    return {"artifact": base, "selection": include("faults.lines"), "mapping": mapping, "uid": uid, **more}


def compare(lines) -> None:
    source, words = lines["faults.lines"], []
    found = samples.images(*TARGETS)
    for name, shards in TARGETS.items():
        words += [f"{name}: {text}" for text in samples.differences(source, found[name], "aliases", "shards")]
        assert found[name].shape["shards"] == shards
    assert not words, "\n".join(words)


def check(lines, report: dict) -> None:
    total = len(TARGETS) * lines["faults.lines"].count
    assert (report["rowCounts"]["expected"], report["rowCounts"]["actual"]) == (total, total)
    assert report["createdCollections"] == len(TARGETS)
    assert [pair["to"] for pair in report["plan"]["mappings"]] == list(TARGETS)
    assert {pair["from"] for pair in report["plan"]["mappings"]} == {"faults.lines"}
    progress = report["progress"]
    assert progress["bytesDone"] == progress["bytesTotal"] > 0
    assert (progress["collectionsDone"], progress["collectionsTotal"]) == (len(TARGETS), len(TARGETS))


def import_tasks() -> dict[str, int]:
    """How many imports into each target the server has been asked for."""
    stub = connections._fetch_handler("default")._stub
    asked = {}
    for full in TARGETS:
        database, name = full.split(".")
        db.using_database(database)
        request = milvus_pb2.ListImportTasksRequest(collection_name=name, limit=100, db_name=database)
        asked[full] = len(stub.ListImportTasks(request).tasks)
    return asked


def come(uid: str, state: str, number: int):
    """Picks the write of the ledger in which so many imports, of all targets, have come to `state`."""

    def which(request) -> bool:
        if request.kind != "put" or not request.key.endswith(f"restores/{uid}/ledger.json"):
            return False
        jobs = [one["job"] for entry in json.loads(request.body)["entries"] for one in entry["imports"]]
        return sum(state in (job if isinstance(job, dict) else [job]) for job in jobs) >= number

    return which


# three names with two partitions each
MOMENTS = [("after", "Intended", 3), ("before", "Started", 2), ("after", "Done", 3), ("before", "Done", 5)]


def test_a_restore_under_three_names_killed_halfway_imports_nothing_twice(program, milvus, base, lines, restored, proxy):
    uid = "one_to_many"
    asked = task(base, uid, restorePath="Import", endpoint=proxy.url)
    for attempt, (when, state, number) in enumerate(MOMENTS, start=1):

        def stop(request):
            run.kill()
            if when == "before":
                raise Cut

        trigger = Trigger(come(uid, state, number), stop)
        proxy.before, proxy.after = (trigger, lambda r: None) if when == "before" else (lambda r: None, trigger)
        run = program.start("restore", attempt=attempt, **asked)
        outcome = run.wait()
        assert trigger.fired.is_set(), f"never {when} {number} {state}: {outcome.message}\n{outcome.log}"
        assert outcome.code == -signal.SIGKILL, f"{when} {number} {state}: {outcome.code}: {outcome.message}\n{outcome.log}"
        milvus.mend()
    proxy.reset()
    done = program.run_task("restore", attempt=len(MOMENTS) + 1, **asked).expect(OK)
    check(lines, done.report)
    compare(lines)
    assert import_tasks() == dict.fromkeys(TARGETS, 2)


def test_small_partitions_are_inserted_under_each_name(program, base, lines, restored):
    done = program.run_task("restore", **task(base, "inserted_to_many", restorePath="Insert")).expect(OK)
    check(lines, done.report)
    assert {one["name"]: one["inserted"] for one in done.report["paths"]["collections"]} == dict.fromkeys(TARGETS, 2)
    compare(lines)


def test_one_of_the_names_is_that_of_the_collection_itself(program, base, lines, restored):
    """What has its name is replaced, the other name is made beside it."""
    renamed = {"collections": [{"from": "faults.lines", "to": "east.lines"}]}
    program.run_task("restore", artifact=base, selection=include("faults.lines"), mapping=renamed).expect(OK)
    program.run_task("backup", artifact="of_east", selection=include("east.lines")).expect(OK)
    before = samples.identity("east", "lines")
    work = {
        "artifact": "of_east",
        "mapping": {"collections": [{"from": "east.lines", "to": to} for to in ("east.lines", "west.copy")]},
    }
    program.run_task("restore", **work).expect(CONFIGURATION, "1 of 2 target collections exist already", "nothing was touched")
    done = program.run_task("restore", **work, onConflict="Replace").expect(OK)
    assert (done.report["plan"]["replace"], done.report["plan"]["create"]) == (1, 1)
    assert samples.identity("east", "lines") != before
    for name, image in samples.images("east.lines", "west.copy").items():
        assert samples.differences(lines["faults.lines"], image, "aliases") == [], name
