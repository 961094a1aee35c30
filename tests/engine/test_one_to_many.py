"""One collection restored under several names in one run: the same rows under each, and none twice, whatever is killed."""

import pytest
import samples
from kills import Moment, import_tasks, imports, killed
from program import CONFIGURATION, OK, include

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


# three names with two partitions each
MOMENTS = [("after", "Intended", 3), ("before", "Started", 2), ("after", "Done", 3), ("before", "Done", 5)]


def test_a_restore_under_three_names_killed_halfway_imports_nothing_twice(program, milvus, base, lines, restored, proxy):
    uid = "one_to_many"
    asked = task(base, uid, restorePath="Import", endpoint=proxy.url)
    moments = [Moment(when, imports(uid, state, number), f"{number} {state}") for when, state, number in MOMENTS]
    with milvus.kept_up():
        for _ in killed(program, proxy, "restore", asked, moments):
            pass
        proxy.reset()
        done = program.run_task("restore", attempt=len(MOMENTS) + 1, **asked).expect(OK)
    check(lines, done.report)
    compare(lines)
    assert {full: import_tasks(*full.split(".")) for full in TARGETS} == dict.fromkeys(TARGETS, 2)


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
