"""What only Milvus' etcd knows is in a backup that asks for it, and such a backup comes back like any other."""

import base64
import json
import urllib.request

import pytest
import samples
from dataset import Spec
from program import CONFIGURATION, OK, PREFIX, RETRYABLE, include
from pymilvus import Collection, DataType, FieldSchema
from servers import Milvus
from test_command_line import OurShell
from test_format import COLLECTION, FIELD, INDEX, SCHEMA

ETCD = {"endpoints": [Milvus.etcd], "rootPath": "by-dev"}
NOBODY = "127.0.0.1:19998"
DROPPED = 220  # a page has 100 keys
EXTRA = INDEX[INDEX.index("field_id") :]
SINCE_2_6 = {"min_index_version", "max_index_version"}


@pytest.fixture(scope="module")
def stored(program):
    """`extras.stored`: undeclared keys, two indexes and more that were dropped than fit a page; its image."""
    spec = Spec(
        "extras",
        "stored",
        [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("text", DataType.VARCHAR, max_length=64),
        ],
        300,
        lambda i: {"id": i, "text": f"text {i}", "extra": {"n": i}} if i % 3 else {"id": i, "text": ""},
        "v",
        8,
        dynamic=True,
        deleted_late=lambda i: i % 20 == 5,
        tail=100,
        indexes={
            "v": {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 8, "efConstruction": 64}},
            "text": {"index_type": "Trie"},
        },
    )
    samples.drop_database("extras")
    samples.fill([spec])
    collection = Collection("stored")
    collection.drop_index(index_name="text_index")
    for i in range(DROPPED):
        collection.create_index("text", {"index_type": "Trie"}, index_name=f"text_{i}", sync=False)
        collection.drop_index(index_name=f"text_{i}")
    collection.create_index("text", {"index_type": "Trie"}, index_name="text_again")
    image = samples.images("extras.stored")["extras.stored"]
    samples.generated(spec, image)
    image.shape = samples.shape("extras", "stored")  # loaded now
    yield image
    samples.drop_database("extras")


@pytest.fixture(scope="module")
def artifact(program, stored):
    program.run_task("backup", artifact="with_extra", selection=include("extras.stored"), etcd=ETCD).expect(OK)
    return "with_extra"


@pytest.fixture(scope="module")
def collection(s3, bucket, artifact):
    """As the metadata in the bucket has it."""
    return json.loads(s3.get(bucket, f"{PREFIX}/{artifact}/meta/full_meta.json"))["collection_backups"][0]


def pairs(found: list[dict]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in found}


def by_name(index: dict) -> str:
    return index["index_name"]


def test_every_index_has_what_milvus_stores_of_it(collection):
    fields = {field["name"]: field["fieldID"] for field in collection["schema"]["fields"]}
    indexes = {index["index_name"]: index for index in collection["index_infos"]}
    assert sorted(indexes) == ["text_again", "v_index"]
    for index in indexes.values():
        assert list(index) == [key for key in INDEX if key in index], "the order of the Go tool"
        missing = set(EXTRA) - set(index) - SINCE_2_6 - {"is_auto_index"}
        assert not missing, f"{index['index_name']} lacks {missing}"
        assert index["field_id"] == fields[index["field_name"]]
        # a hybrid timestamp: milliseconds before 18 bits of a counter
        assert index["create_time"] >> 18 < collection["backup_timestamp"] >> 18
    vector, text = indexes["v_index"], indexes["text_again"]
    assert pairs(vector["type_params"]) == {"dim": "8"}
    assert pairs(vector["index_params"]).items() >= {"index_type": "HNSW", "metric_type": "COSINE"}.items()
    assert pairs(vector["user_index_params"]).items() >= {"index_type": "HNSW", "metric_type": "COSINE"}.items()
    assert pairs(text["type_params"]) == {"max_length": "64"}
    assert pairs(text["index_params"]) == {"index_type": "Trie"}


def test_dropped_indexes_were_passed_over_on_several_pages(collection):
    prefix = f"{ETCD['rootPath']}/meta/field-index/{collection['collection_id']}/".encode()
    asked = {"key": base64.b64encode(prefix).decode(), "range_end": base64.b64encode(prefix[:-1] + b"0").decode(), "count_only": True}
    request = urllib.request.Request(f"http://{Milvus.etcd}/v3/kv/range", json.dumps(asked).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert int(json.load(answer)["count"]) > DROPPED


def test_the_hidden_field_is_the_last_one(collection):
    assert list(collection) == [key for key in COLLECTION if key in collection]
    assert list(collection["schema"]) == [key for key in SCHEMA if key in collection["schema"]]
    *declared, hidden = collection["schema"]["fields"]
    assert not any(field.get("is_dynamic") for field in declared)
    assert list(hidden) == [key for key in FIELD if key in hidden]
    expected = {"fieldID": 103, "name": "$meta", "data_type": int(DataType.JSON), "is_dynamic": True}
    assert hidden.items() >= expected.items(), hidden


def test_it_comes_back_with_equal_rows_fields_and_indexes(program, artifact, stored):
    for way in ("Import", "Insert"):
        try:
            mapping = {"suffix": "_back"}
            program.run_task("restore", artifact=artifact, mapping=mapping, restorePath=way).expect(OK)
            have = samples.images("extras.stored_back")["extras.stored_back"]
            assert not samples.differences(stored, have)
        finally:
            samples.drop("extras", "stored_back")


def test_the_command_asks_for_it_by_its_flag(program, scratch, s3, bucket, stored, collection):
    shell = OurShell(program, scratch / "index-extra")
    there = f"{PREFIX}-of-commands/by_flag"
    set_ = ["--set", f"milvus.etcd.endpoints={Milvus.etcd}"]
    shell.run("create", "-n", "by_flag", "--filter", "extras.*", "--backup_index_extra", *set_)
    try:
        made = json.loads(s3.get(bucket, f"{there}/meta/full_meta.json"))["collection_backups"][0]
        # the server tells of them in any order
        assert sorted(made["index_infos"], key=by_name) == sorted(collection["index_infos"], key=by_name)
        assert made["schema"] == collection["schema"]
    finally:
        shell.run("delete", "-n", "by_flag")


def test_a_collection_without_undeclared_keys_has_no_hidden_field(program, s3, bucket, lines):
    program.run_task("backup", artifact="extra_of_words", selection=include("faults.words"), etcd=ETCD).expect(OK)
    meta = json.loads(s3.get(bucket, f"{PREFIX}/extra_of_words/meta/full_meta.json"))
    (words,) = meta["collection_backups"]
    assert [field["name"] for field in words["schema"]["fields"]] == ["word", "v"]
    assert words["index_infos"][0]["create_time"] > 0


@pytest.mark.parametrize(
    ("etcd", "code", "words"),
    [
        ({"rootPath": "elsewhere"}, CONFIGURATION, ["no key below elsewhere/meta/", "milvus.etcd.rootPath"]),
        ({"endpoints": [f"https://{Milvus.etcd}"]}, CONFIGURATION, ["https://", "plain TCP"]),
        # another server of gRPC, one of HTTP, and none
        ({"endpoints": ["127.0.0.1:19531"]}, CONFIGURATION, ["127.0.0.1:19531", "unknown service", "milvus.etcd.endpoints"]),
        ({"endpoints": ["127.0.0.1:9091"]}, RETRYABLE, ["127.0.0.1:9091", "milvus.etcd.endpoints"]),
        ({"endpoints": [NOBODY]}, RETRYABLE, [NOBODY, "milvus.etcd.endpoints"]),
    ],
)  # fmt: skip
def test_an_etcd_that_cannot_be_read_ends_the_backup_before_it_begins(program, s3, bucket, stored, etcd, code, words):
    done = program.run_task("backup", artifact="no_extra", selection=include("extras.stored"), etcd={**ETCD, **etcd})
    done.expect(code, *words)
    assert not s3.objects(bucket, f"{PREFIX}/no_extra/")


def test_the_next_endpoint_is_asked_where_one_is_away(program, stored):
    etcd = {**ETCD, "endpoints": [NOBODY, Milvus.etcd]}
    more = {"selection": include("extras.stored"), "content": "SchemaOnly", "etcd": etcd}
    program.run_task("backup", artifact="second_endpoint", **more).expect(OK)
