"""What is asked for is what happens: selections, existing targets, plans that touch nothing."""

import pytest
import samples
from program import CONFIGURATION, OK, include
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, db, utility

BOTH = ["faults.lines", "faults.words"]


def identities() -> dict[str, int]:
    """The id of every collection."""
    return {full: samples.identity(*full.split(".")) for full in samples.everything()}


@pytest.fixture
def untouched(program, s3, bucket, base):
    """Whatever the test does, Milvus and the bucket are afterwards as they were."""
    server, objects = identities(), s3.objects(bucket, "backup/")
    yield
    assert identities() == server
    assert s3.objects(bucket, "backup/") == objects
    assert s3.keys(bucket, "milvus-backup-staging/") == []


@pytest.fixture
def other():
    """`faults.words_there`, a collection of another shape that stands where one is to be restored."""
    db.using_database("faults")
    samples.drop("faults", "words_there")
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=4)]
    collection = Collection("words_there", CollectionSchema(fields))
    utility.create_alias("words_there", "somebody_elses_alias")
    collection.insert([{"id": i, "v": [0.0] * 4} for i in range(7)])
    yield collection
    samples.drop("faults", "words_there", "lines_there")


def test_existing_targets_are_all_named_and_nothing_is_touched(program, base, untouched):
    done = program.run_task("restore", artifact=base).expect(CONFIGURATION, *BOTH)
    assert done.reason == "ConflictFound"
    assert not any(line["dataTouched"] for line in done.progress)


def test_one_existing_target_keeps_the_others_from_being_made(program, base, untouched):
    mapping = {"collections": [{"from": "faults.words", "to": "new_database.words"}]}
    done = program.run_task("restore", artifact=base, mapping=mapping).expect(CONFIGURATION, "faults.lines")
    assert done.reason == "ConflictFound" and "new_database.words" not in done.message
    assert "new_database" not in db.list_database()


def test_skip_leaves_what_exists_and_restores_the_rest(program, base, lines, other):
    before = identities()
    done = program.run_task("restore", artifact=base, mapping={"suffix": "_there"}, onConflict="Skip").expect(OK)
    assert done.report["plan"]["skip"] == 1 and done.report["plan"]["create"] == 1
    assert done.report["createdCollections"] == 1
    assert any("faults.words_there" in text for text in done.report["summary"]["warnings"])
    after = identities()
    assert {full: after[full] for full in before} == before
    have = samples.images("faults.lines_there")["faults.lines_there"]
    assert samples.differences(lines["faults.lines"], have, "aliases") == []


def test_replace_puts_the_backup_in_the_place_of_what_exists(program, base, lines, other):
    before = identities()
    selection = include("faults.words")
    task = {"artifact": base, "selection": selection, "mapping": {"suffix": "_there"}, "onConflict": "Replace"}
    done = program.run_task("restore", **task).expect(OK)
    assert done.report["plan"]["replace"] == 1
    assert any(line["dataTouched"] for line in done.progress) or done.report["progress"]["dataTouched"]
    after = identities()
    assert after.pop("faults.words_there") != before.pop("faults.words_there")
    assert after == before
    have = samples.images("faults.words_there")["faults.words_there"]
    assert samples.differences(lines["faults.words"], have, "aliases") == []


def test_replace_does_not_follow_an_alias_to_another_collection(program, base, other, untouched):
    task = {
        "artifact": base,
        "selection": include("faults.words"),
        "mapping": {"collections": [{"from": "faults.words", "to": "faults.somebody_elses_alias"}]},
        "onConflict": "Replace",
    }
    done = program.run_task("restore", **task).expect(CONFIGURATION, "somebody_elses_alias", "words_there")
    assert done.reason == "ConflictFound"
    assert Collection("words_there").aliases == ["somebody_elses_alias"]


def test_a_plan_touches_nothing_and_says_what_would_happen(program, base, untouched):
    mapping = {"databases": [{"from": "faults", "to": "planned"}], "suffix": "_x"}
    done = program.run_task("restore", artifact=base, mapping=mapping, preflightOnly=True).expect(OK)
    assert done.reason == "PreflightPassed"
    assert done.report["plan"]["create"] == 2
    assert {"from": "faults.lines", "to": "planned.lines_x"} in done.report["plan"]["mappings"]
    assert "planned" not in db.list_database()


def test_a_plan_finds_conflicts_too(program, base, untouched):
    done = program.run_task("restore", artifact=base, preflightOnly=True).expect(CONFIGURATION, *BOTH)
    assert done.reason == "ConflictFound"


@pytest.mark.parametrize(
    "selection, words",
    [
        ({"include": [{"database": "faults", "collections": ["wörds"]}]}, ["faults.wörds", "searched database faults"]),
        ({"include": [{"database": "faults", "collections": ["lines", "w*x"]}]}, ["faults.w*x", "faults"]),
        ({"include": [{"database": "nowhere"}]}, ["no database nowhere"]),
    ],
)
def test_an_include_that_matches_nothing_is_refused_by_name(program, untouched, selection, words):
    done = program.run_task("backup", artifact="never", selection=selection).expect(CONFIGURATION, *words)
    assert done.reason == "Rejected"
    assert "Flushing" not in [line["stage"] for line in done.progress]


def test_a_collection_that_is_not_in_the_backup_is_refused_by_name(program, base, untouched):
    done = program.run_task("restore", artifact=base, selection=include("faults.pages"), mapping={"suffix": "_x"})
    done.expect(CONFIGURATION, "faults.pages")
    assert done.reason == "Rejected"


def test_a_mapping_of_a_collection_that_is_not_in_the_backup_is_refused_by_name(program, base, untouched):
    mapping = {"collections": [{"from": "faults.pages", "to": "faults.sheets"}], "suffix": "_x"}
    done = program.run_task("restore", artifact=base, mapping=mapping).expect(CONFIGURATION, "faults.pages")
    assert done.reason == "Rejected"


def test_a_name_milvus_would_refuse_is_refused_before_anything_is_made(program, base, untouched):
    done = program.run_task("restore", artifact=base, mapping={"suffix": "-copy"}).expect(CONFIGURATION, "-copy")
    assert done.reason == "Rejected"


def test_an_artifact_that_does_not_exist_is_named_with_its_bucket(program, bucket, untouched):
    done = program.run_task("restore", artifact="nope").expect(CONFIGURATION, "nope", bucket)
    assert done.reason == "ArtifactMissing"


def test_a_backup_of_schemas_has_no_rows_and_restores_empty_collections(program, s3, bucket, lines):
    done = program.run_task("backup", artifact="schemas", selection=include(*BOTH), content="SchemaOnly").expect(OK)
    assert done.report["summary"]["objects"] == 0
    assert "Flushing" not in [line["stage"] for line in done.progress]
    assert not any("_log/" in key for key in s3.keys(bucket, "backup/of-tests/schemas/"))
    restore_empty(program, lines, artifact="schemas")


def test_the_schemas_of_a_whole_backup_can_be_restored_alone(program, base, lines):
    restore_empty(program, lines, artifact=base, content="SchemaOnly")


def restore_empty(program, lines, **task) -> None:
    try:
        program.run_task("restore", mapping={"suffix": "_empty"}, **task).expect(OK)
        for full, have in samples.images(*(full + "_empty" for full in BOTH)).items():
            assert have.count == 0 and have.rows == {}
            want = dict(lines[full.removesuffix("_empty")].shape, aliases=[])
            assert have.shape == want
    finally:
        samples.drop("faults", "lines_empty", "words_empty")


def test_without_a_flush_the_backup_holds_what_was_flushed_and_says_so(program):
    samples.drop_database("unflushed")
    spec = samples.words()
    spec.database, spec.tail = "unflushed", 50
    samples.fill([spec])
    try:
        done = program.run_task("backup", artifact="unflushed", selection=include("unflushed.words"), flush="Skip").expect(OK)
        assert done.report["recoveryPoint"] is None
        assert any("flush was skipped" in text for text in done.report["summary"]["warnings"])
        assert "Flushing" not in [line["stage"] for line in done.progress]
        done = program.run_task("restore", artifact="unflushed", mapping={"suffix": "_back"}).expect(OK)
        have = samples.images("unflushed.words_back")["unflushed.words_back"]
        assert sorted(have.rows) == sorted(f"word{i}" for i in range(spec.rows - spec.tail))
    finally:
        samples.drop_database("unflushed")
