"""Rows that are inserted are the rows an import brings: every type, deletes, keys that are there twice; and once, whatever is killed."""

import dataclasses
import json
import signal
import threading

import pytest
import samples
from kills import Moment, killed, ledger
from program import CONFIGURATION, DATA, LOST_LOCK, OK, include
from proxy import Trigger
from pymilvus import Collection, DataType, FieldSchema, db, utility
from test_killed_restore import compare

SOURCES = ["both.every_type", "both.keyed", "both.lines", "both.bits", "both.twice", "both.emptied"]
WAYS = {"Import": "_imported", "Insert": "_inserted"}


def bits() -> samples.Spec:
    """Binary vectors under a varchar key, rows in partitions, deletes before and after the flush."""
    fields = [FieldSchema("name", DataType.VARCHAR, max_length=64, is_primary=True)]
    return samples.Spec(
        "both",
        "bits",
        fields,
        90,
        lambda i: {"name": f"näme\u0000{i}"},
        "bits",
        64,
        binary=True,
        partition_of=lambda i: ("_default", "north")[i % 2],
        deleted_early=lambda i: i % 9 == 1,
        deleted_late=lambda i: i % 7 == 2,
        tail=30,
        indexes={"bits": {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}}},
    )


def twice() -> samples.Spec:
    """Each row goes in twice; what happens between is in `sources`."""
    spec = samples.words(60)
    return dataclasses.replace(spec, database="both", name="twice", indexes={"v": samples.FLAT}, tail=0)


def emptied() -> samples.Spec:
    """Every row is deleted."""
    return dataclasses.replace(samples.words(20), database="both", name="emptied", deleted_late=lambda i: True)


@pytest.fixture(scope="module")
def sources(program):
    specs = [dataclasses.replace(spec, database="both", aliases=[], loaded=True) for spec in (samples.every_type(), samples.keyed(), samples.lines())]
    specs += [bits(), twice(), emptied()]
    samples.drop_database("both")
    samples.fill(specs)
    db.using_database("both")
    collection = Collection("twice")
    rows = [row for _, row in specs[4].numbered_rows()]
    collection.flush()
    # a third is deleted and comes again, all of it is there a second time, the last ten are gone for good
    collection.delete('word in ["word0", "word1", "word2"]')
    collection.insert(rows)
    collection.flush()
    collection.delete(f"word in {json.dumps([row['word'] for row in rows[-10:]])}")
    images = samples.images(*SOURCES)
    for full, image in images.items():
        image.shape = samples.shape(*full.split("."))  # loaded now
    for spec in specs[:4]:
        samples.generated(spec, images[f"{spec.database}.{spec.name}"])
    assert images["both.twice"].count == 2 * 50 - 3
    assert images["both.emptied"].count == 0
    yield images
    samples.drop_database("both")


@pytest.fixture(scope="module")
def artifact(program, sources):
    program.run_task("backup", artifact="both", selection={"include": [{"database": "both"}]}).expect(OK)
    return "both"


def partitions(name: str) -> dict[str, int]:
    """Rows of each partition; the collection is loaded."""
    db.using_database("both")
    collection = Collection(name)
    answer = {}
    for partition in collection.partitions:
        found = collection.query("", output_fields=["count(*)"], partition_names=[partition.name], consistency_level="Strong")
        answer[partition.name] = found[0]["count(*)"]
    return answer


def stored(name: str) -> dict[str, int]:
    """Rows in the segments of each partition."""
    db.using_database("both")
    return {partition.name: partition.num_entities for partition in Collection(name).partitions}


def test_both_ways_bring_the_same_rows_into_the_same_partitions(program, sources, artifact):
    for path, suffix in WAYS.items():
        done = program.run_task("restore", artifact=artifact, mapping={"suffix": suffix}, restorePath=path).expect(OK)
        counts, paths = done.report["rowCounts"], done.report["paths"]
        assert counts["expected"] == counts["actual"] == sum(image.count for image in sources.values())
        assert paths["inserted" if path == "Import" else "imported"] == 0
        assert {one["name"] for one in paths["collections"]} == {full + suffix for full in SOURCES}
        assert ("by insert" in done.message) == (path == "Insert")
    words = []
    for suffix in WAYS.values():
        have = samples.images(*[full + suffix for full in SOURCES])
        for full, image in sources.items():
            words += [f"{full}{suffix}: {text}" for text in samples.differences(image, have[full + suffix], "aliases")]
    assert not words, "\n".join(words)
    # with a key the server counts by no partition: what is stored in each, where deleted rows never came
    assert stored("keyed_imported") == stored("keyed_inserted")
    for full in SOURCES:
        name = full.split(".")[1]
        if name == "keyed":
            continue
        places = [partitions(name + suffix) for suffix in ("", *WAYS.values())]
        assert places[0] == places[1] == places[2], name
    samples.drop("both", *[full.split(".")[1] + suffix for full in SOURCES for suffix in WAYS.values()])


@pytest.mark.parametrize("load", ["Original", "None"])
@pytest.mark.parametrize("path", WAYS)
def test_a_sample_of_the_restored_rows_is_compared_field_by_field(program, sources, artifact, path, load):
    """Every type, deletes, keys that are there twice; a collection that is not to be loaded is so for the question only."""
    task = {"artifact": artifact, "mapping": {"suffix": "_sampled"}, "restorePath": path, "load": load, "verify": "Sample"}
    try:
        done = program.run_task("restore", **task).expect(OK)
        # all of `bits` have a key that is not asked for, and `emptied` has no row
        assert done.report["comparedRows"] == sum(min(image.count, 100) for full, image in sources.items() if full != "both.bits")
        assert len(done.report["summary"]["warnings"]) == 1, done.report["summary"]["warnings"]
        assert "rows of both.bits_sampled were counted and not compared" in done.report["summary"]["warnings"][0]
        db.using_database("both")
        states = {full: utility.load_state(full.split(".")[1] + "_sampled").name for full in SOURCES}
        assert set(states.values()) == {"Loaded" if load == "Original" else "NotLoad"}, states
    finally:
        samples.drop("both", *[full.split(".")[1] + "_sampled" for full in SOURCES])


def test_partitions_that_are_not_loaded_are_compared_too_and_stay_so(program, sources):
    """Keys that the server has made come back as they were."""
    spec = dataclasses.replace(samples.parts(60), database="both", name="partly", aliases=[])
    samples.drop("both", "partly", "partly_again")
    samples.fill([spec])

    def states(name: str) -> dict[str, str]:
        return {one.name: utility.load_state(name, [one.name]).name for one in Collection(name).partitions}

    try:
        db.using_database("both")
        Collection("partly").release()
        Collection("partly").partition("north").load()
        program.run_task("backup", artifact="partly", selection=include("both.partly")).expect(OK)
        done = program.run_task("restore", artifact="partly", mapping={"suffix": "_again"}, verify="Sample").expect(OK)
        assert done.report["comparedRows"] == done.report["rowCounts"]["actual"] > 0
        assert done.report["summary"]["warnings"] == []
        db.using_database("both")
        assert states("partly_again") == states("partly") and "Loaded" in states("partly").values()
    finally:
        samples.drop("both", "partly", "partly_again")


@pytest.mark.parametrize("change", ["another text", "gone"])
def test_a_row_that_is_not_as_in_the_backup_is_named(program, sources, artifact, proxy, change):
    """Somebody changes the restored rows while those of the backup are read."""
    spec = samples.lines()

    def meddle(request) -> None:
        texts = f"/{field}/"
        if changed or request.kind != "get" or texts not in request.key or "/insert_log/" not in request.key:
            return
        db.using_database("both")
        collection = Collection("lines_changed")
        rows = [row for _, row in spec.numbered_rows()]
        changed.append(len(rows))
        collection.delete(f"id in {json.dumps([row['id'] for row in rows])}")
        if change == "another text":
            collection.insert([row | {"text": "a secret"} for row in rows])
        else:
            collection.insert([row | {"id": row["id"] + 10_000} for row in rows])
        collection.flush()

    db.using_database("both")
    field = next(f["field_id"] for f in Collection("lines").describe()["fields"] if f["name"] == "text")
    changed: list[int] = []
    proxy.after = meddle
    task = {"artifact": artifact, "selection": include("both.lines"), "mapping": {"suffix": "_changed"}, "restorePath": "Import"}
    try:
        done = program.run_task("restore", endpoint=proxy.url, verify="Sample", **task).expect(DATA)
        assert changed and done.reason == "ContentMismatch", done.report
        said = "has another value in field text than" if change == "another text" else "of the backup is not in both.lines_changed"
        assert said in done.message and "a secret" not in done.message, done.message
    finally:
        samples.drop("both", "lines_changed")


def test_inserted_rows_can_be_deleted_backed_up_and_restored_again(program, sources, artifact):
    """They are sealed like any others: a second backup has them all."""
    selection = include("both.lines")
    program.run_task("restore", artifact=artifact, selection=selection, mapping={"suffix": "_second"}, restorePath="Insert").expect(OK)
    try:
        program.run_task("backup", artifact="second", selection=include("both.lines_second")).expect(OK)
        mapping = {"collections": [{"from": "both.lines_second", "to": "both.lines_third"}]}
        program.run_task("restore", artifact="second", mapping=mapping, restorePath="Import").expect(OK)
        have = samples.images("both.lines_third")["both.lines_third"]
        assert samples.differences(sources["both.lines"], have, "aliases") == []
    finally:
        samples.drop("both", "lines_second", "lines_third")


def test_a_large_partition_is_imported_beside_small_ones_that_are_inserted(program, sources):
    spec = samples.Spec(
        "both",
        "mixed",
        [FieldSchema("id", DataType.INT64, is_primary=True)],
        4400,
        lambda i: {"id": i},
        "v",
        1024,
        partition_of=lambda i: "_default" if i % 44 else "small",
        deleted_late=lambda i: i % 88 < 2,
        indexes={"v": samples.FLAT},
    )
    samples.drop("both", "mixed", "mixed_again")
    samples.fill([spec])
    try:
        want = samples.images("both.mixed")["both.mixed"]
        want.shape = samples.shape("both", "mixed")  # loaded now
        program.run_task("backup", artifact="mixed", selection=include("both.mixed")).expect(OK)
        done = program.run_task("restore", artifact="mixed", mapping={"suffix": "_again"}).expect(OK)
        paths = done.report["paths"]
        assert (paths["imported"], paths["inserted"]) == (1, 1), done.log
        assert samples.differences(want, samples.images("both.mixed_again")["both.mixed_again"]) == []
        assert partitions("mixed_again") == partitions("mixed")
    finally:
        samples.drop("both", "mixed", "mixed_again")


def test_what_cannot_be_inserted_is_refused_before_anything_is_made(program, sources):
    spec = dataclasses.replace(samples.parts(60), database="both", name="by_server", aliases=[])
    samples.fill([spec])
    try:
        program.run_task("backup", artifact="by_server", selection=include("both.by_server", "both.bits")).expect(OK)
        before = samples.everything()
        task = {"artifact": "by_server", "mapping": {"suffix": "_x"}}
        done = program.run_task("restore", restorePath="Insert", **task)
        done.expect(CONFIGURATION, "both.by_server", "field id whose values the server makes", "nothing was touched")
        assert samples.everything() == before
        # left to itself it imports that one
        done = program.run_task("restore", **task).expect(OK)
        paths = {one["name"]: (one["imported"], one["inserted"]) for one in done.report["paths"]["collections"]}
        assert paths == {"both.by_server_x": (3, 0), "both.bits_x": (0, 2)}
        have = samples.images("both.bits_x")["both.bits_x"]
        assert samples.differences(sources["both.bits"], have) == []
    finally:
        samples.drop("both", "by_server", "by_server_x", "bits_x")


def test_inserted_rows_outlive_the_death_of_the_server_right_after(program, milvus, base, lines, restored):
    """The restore does not wait until they are written: they are in the server's log."""
    program.run_task("restore", artifact=base, mapping={"suffix": "_killed"}, restorePath="Insert").expect(OK)
    milvus.kill()
    milvus.start()
    for full, have in samples.images("faults.lines_killed", "faults.words_killed").items():
        # they were loaded, and are being loaded again when their shapes are looked at
        assert samples.differences(lines[full.removesuffix("_killed")], have, "aliases", "load", "loaded partitions") == []


@pytest.fixture
def restored():
    samples.drop("faults", "lines_killed", "words_killed")
    yield
    samples.drop("faults", "lines_killed", "words_killed")


def of_rows(request) -> bool:
    return request.kind == "get" and "/insert_log/" in request.key


MOMENTS = [
    ("after", "Inserting"),
    ("rows", 15),
    ("before", "Inserted"),
    ("rows", 22),
    ("after", "Inserted"),
    ("after", "Imported"),
]


def moment(uid: str, when: str, what: str | int) -> Moment:
    """Of the ledger, or so many files of rows read, when the rows of those before are inserted; expected rows are read first."""
    if when == "rows":
        return Moment("after", of_rows, f"{what} files", what)
    return Moment(when, ledger(uid, what), what)


def test_a_restore_killed_while_it_inserts_brings_each_row_once(program, milvus, base, lines, restored, proxy):
    """One run, killed again and again; what was inserted by an attempt that was killed is dropped by the next."""
    uid = "killed_insert"
    task = {
        "artifact": base,
        "selection": include("faults.lines"),
        "mapping": {"suffix": "_killed"},
        "restorePath": "Insert",
        "uid": uid,
        "endpoint": proxy.url,
    }
    ids = []
    for _ in killed(program, proxy, "restore", task, [moment(uid, *one) for one in MOMENTS]):
        milvus.mend()
        db.using_database("faults")
        if utility.has_collection("lines_killed"):
            ids.append(samples.identity("faults", "lines_killed"))
    proxy.reset()
    done = program.run_task("restore", attempt=len(MOMENTS) + 1, **task).expect(OK)
    assert done.report["rowCounts"]["actual"] == lines["faults.lines"].count
    compare(lines, "_killed", "lines")
    # begun and not ended: made anew each time; ended: continued
    assert len(set(ids[:-2])) == len(ids[:-2]) >= 3
    assert ids[-1] == ids[-2] == samples.identity("faults", "lines_killed")


def test_an_older_attempt_that_wakes_up_inserts_nothing(program, base, lines, restored, proxy):
    """It sleeps while it reads rows; a newer attempt does all of it meanwhile."""
    task = {
        "artifact": base,
        "selection": include("faults.words"),
        "mapping": {"suffix": "_killed"},
        "restorePath": "Insert",
        "uid": "woken_insert",
    }
    asleep, release = threading.Event(), threading.Event()

    def sleep(request):
        run.signal(signal.SIGSTOP)
        asleep.set()
        release.wait(120)

    proxy.before = Trigger(of_rows, sleep)
    run = program.start("restore", endpoint=proxy.url, **task)
    try:
        assert asleep.wait(60)
        program.run_task("restore", attempt=2, **task).expect(OK)
    finally:
        release.set()
        run.signal(signal.SIGCONT)
    run.wait(60).expect(LOST_LOCK)
    compare(lines, "_killed", "words")
