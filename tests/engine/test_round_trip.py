"""Everything that is in a Milvus is there again after a restore: every row, every field, and all around them."""

import pytest
import samples
from program import OK
from pymilvus import Collection, db, utility

SOURCES = ["default.every_type", "sales.keyed", "sales.parts", "sales.nothing", "archive.nothing"]
LEVELS = {"every_type": "Strong", "keyed": "Eventually", "parts": "Session", "nothing": "Bounded"}


@pytest.fixture(scope="module")
def sources(program):
    """The collections by full name, as they were when the backup was made."""
    specs = [samples.every_type(), samples.keyed(), samples.parts(), samples.nothing("sales"), samples.nothing("archive")]
    forget()
    samples.fill(specs, LEVELS)
    db.using_database("sales")
    parts = Collection("parts")
    parts.create_partition("never_filled")
    parts.create_partition("emptied")
    empty = parts.insert([{"number": 10_000 + i, "bits": bytes(8)} for i in range(20)], partition_name="emptied")
    parts.delete(f"id in {empty.primary_keys}")
    # some stay loaded, one is released, one is loaded in part: seen by their shapes
    images = samples.images(*SOURCES)
    for spec in specs:
        samples.generated(spec, images[f"{spec.database}.{spec.name}"])
    db.using_database("sales")
    Collection("keyed").release()
    parts.release()
    parts.load(["north"])
    for full, image in images.items():
        image.shape = samples.shape(*full.split("."))
    assert images["sales.parts"].shape["loaded partitions"] == ["north"]
    yield images
    forget()


def forget() -> None:
    samples.drop("default", "every_type", "every_type_copy")
    for database in ("sales", "sales_elsewhere", "archive"):
        samples.drop_database(database)


@pytest.fixture(scope="module")
def artifact(program, sources):
    name = "round_trip"
    selection = {"include": [{"database": "sales"}, {"database": "archive"}, {"database": "default", "collections": ["every_*"]}]}
    done = program.run_task("backup", artifact=name, selection=selection).expect(OK)
    assert done.report["summary"]["collections"] == len(SOURCES)
    assert done.report["summary"]["databases"] == 3
    return name


def compare(sources, targets: dict[str, str], *ignore: str) -> None:
    have, words = samples.images(*targets.values()), []
    for source, target in targets.items():
        words += [f"{target}: {text}" for text in samples.differences(sources[source], have[target], *ignore)]
    assert not words, "\n".join(words)


def test_all_of_it_comes_back_under_a_suffix(program, sources, artifact):
    done = program.run_task("restore", artifact=artifact, mapping={"suffix": "_copy"}).expect(OK)
    assert done.report["createdCollections"] == len(SOURCES)
    counts = done.report["rowCounts"]
    assert counts["expected"] == counts["actual"] == sum(image.count for image in sources.values())
    # the aliases still belong to the originals
    compare(sources, {full: full + "_copy" for full in SOURCES}, "aliases")
    for full, image in sources.items():
        assert samples.shape(*full.split("."))["aliases"] == image.shape["aliases"]
    for full in SOURCES:
        database, name = full.split(".")
        samples.drop(database, name + "_copy")


def test_a_database_comes_back_under_another_name_with_its_aliases(program, sources, artifact):
    mapping = {"databases": [{"from": "sales", "to": "sales_elsewhere"}], "collections": [{"from": "sales.keyed", "to": "archive.stock"}]}
    selection = {"include": [{"database": "sales"}]}
    program.run_task("restore", artifact=artifact, selection=selection, mapping=mapping).expect(OK)
    try:
        compare(sources, {"sales.parts": "sales_elsewhere.parts", "sales.nothing": "sales_elsewhere.nothing"})
        compare(sources, {"sales.keyed": "archive.stock"})
        db.using_database("sales_elsewhere")
        assert utility.list_collections() and "keyed" not in utility.list_collections()
    finally:
        samples.drop("archive", "stock")
        samples.drop_database("sales_elsewhere")


def test_dropped_collections_and_databases_come_back_under_their_own_names(program, sources, artifact):
    for full in SOURCES:
        samples.drop(*full.split("."))
    for database in ("sales", "archive"):
        samples.drop_database(database)
    program.run_task("restore", artifact=artifact).expect(OK)
    compare(sources, {full: full for full in SOURCES})
