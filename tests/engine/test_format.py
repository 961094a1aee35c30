"""The artifact as the Go tool must find it: keys, their types and order, the five files, one object where each is said to be.

Held against files that the Go tool 0.5.16 wrote (tests/golden) and against the full list of its keys.
"""

import json
import re

import pytest
from program import OK, PREFIX
from servers import ROOT

GOLDEN = ROOT / "tests/golden/milvus-backup-0.5.16/meta"
FILES = ["backup_meta.json", "collection_meta.json", "partition_meta.json", "segment_meta.json", "full_meta.json"]

# Keys in the order in which the Go tool writes them, by the kind of object; a kind below a key in brackets.
PAIR = ["key", "value"]
FIELD = (
    "fieldID name is_primary_key description data_type type_params index_params autoID state element_type default_value "
    "is_dynamic is_partition_key nullable default_value_proto is_function_output default_value_base64"
).split()
SCHEMA = "name description autoID fields enable_dynamic_field properties functions struct_array_fields".split()
COLLECTION = (
    "id collection_id db_name collection_name schema shards_num consistency_level partition_backups backup_timestamp size "
    "has_index index_infos load_state backup_physical_timestamp channel_checkpoints l0_segments properties db_id "
    "created_timestamp virtual_channel_names physical_channel_names aliases snapshot_backup"
).split()
PARTITION = "partition_id partition_name collection_id segment_backups size load_state".split()
SEGMENT = (
    "segment_id collection_id partition_id num_of_rows binlogs statslogs deltalogs size group_id backuped is_l0 v_channel "
    "storage_version"
).split()
LOGS = ["fieldID", "binlogs"]
LOG = "entries_num timestamp_from timestamp_to log_path log_size log_id".split()
INDEX = (
    "field_name index_name index_type params index_id field_id create_time type_params index_params user_index_params "
    "is_auto_index min_index_version max_index_version"
).split()
BACKUP = (
    "id state_code name backup_timestamp collection_backups size milvus_version rbac_meta rpc_channel_info database_backups "
    "flush_all_msgs_base64 control_channel_name physical_channel_names format"
).split()
DATABASE = "db_name db_id properties ezk".split()
KINDS = {
    "": BACKUP,
    "collection_backups": COLLECTION,
    "schema": SCHEMA,
    "fields": FIELD,
    "properties": PAIR,
    "type_params": PAIR,
    "partition_backups": PARTITION,
    "segment_backups": SEGMENT,
    "binlogs": LOGS,
    "deltalogs": LOGS,
    "binlogs.binlogs": LOG,
    "deltalogs.binlogs": LOG,
    "index_infos": INDEX,
    "database_backups": DATABASE,
}
ALWAYS = {"": {"state_code", "size"}, "collection_backups": {"size", "has_index"}, "partition_backups": {"size"},
          "segment_backups": {"size"}, "binlogs.binlogs": {"log_size"}, "deltalogs.binlogs": {"log_size"}}  # fmt: skip
NUMBERS = re.compile(r"(_id|_ts|ID|size|num|rows|timestamp|level|type|state_code|_id)$")


@pytest.fixture(scope="module")
def meta(s3, bucket, base):
    """The five files, as text."""
    return {name: s3.get(bucket, f"{PREFIX}/{base}/meta/{name}").decode() for name in FILES}


def walk(value, kind="", above=""):
    """Every object with its kind."""
    if isinstance(value, list):
        for item in value:
            yield from walk(item, kind, above)
    elif isinstance(value, dict):
        yield kind, value
        for key, below in value.items():
            if key in ("params", "channel_checkpoints"):
                continue  # a map of the server's own keys
            name = f"{kind}.{key}" if kind in ("binlogs", "deltalogs") else key
            yield from walk(below, name, kind)


def test_every_key_is_one_the_go_tool_knows_and_stands_in_its_order(meta):
    kinds = set()
    for kind, found in walk(json.loads(meta["full_meta.json"])):
        kinds.add(kind)
        known = KINDS[kind]
        assert [key for key in found if key not in known] == [], kind
        assert list(found) == [key for key in known if key in found], f"order of {kind}"
    assert kinds >= {"collection_backups", "fields", "segment_backups", "binlogs.binlogs", "deltalogs.binlogs", "index_infos"}


def test_what_the_go_tool_leaves_out_is_left_out_and_what_it_always_writes_is_there(meta):
    for kind, found in walk(json.loads(meta["full_meta.json"])):
        always = ALWAYS.get(kind, set())
        assert always <= set(found), kind
        for key, value in found.items():
            empty = value in (0, "", [], {}, None) or value is False
            # one element of deltalogs is written even where it has nothing in it
            assert not empty or key in always or kind == "deltalogs", f"{kind}.{key}"


def test_every_key_has_the_type_it_has_in_files_of_the_go_tool(meta):
    golden = json.loads((GOLDEN / "full_meta.json").read_text())
    types: dict[tuple[str, str], type] = {}
    for kind, found in walk(golden):
        types.update({(kind, key): type(value) for key, value in found.items()})
    seen = set()
    for kind, found in walk(json.loads(meta["full_meta.json"])):
        for key, value in found.items():
            if (kind, key) in types:
                assert type(value) is types[kind, key], f"{kind}.{key}"
                seen.add((kind, key))
            elif NUMBERS.search(key):
                assert type(value) is int, f"{kind}.{key}"
    missing = set(types) - seen - {("collection_backups", "consistency_level")}
    assert not missing, f"the Go tool writes these and we do not: {missing}"


def test_the_files_are_one_line_each_as_the_go_tool_writes_them(meta):
    for name, text in meta.items():
        assert "\n" not in text
        golden = (GOLDEN / name).read_text()
        assert text[:6] == golden[:6]
        assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False), name


def test_the_level_files_hold_what_the_full_file_holds(meta):
    full = json.loads(meta["full_meta.json"])
    assert json.loads(meta["backup_meta.json"]) == {
        key: full[key] for key in ("id", "state_code", "name", "size", "milvus_version")
    }
    partitions = [p for c in full["collection_backups"] for p in c["partition_backups"]]
    segments = [s for p in partitions for s in p.get("segment_backups", [])]
    assert json.loads(meta["segment_meta.json"])["infos"] == segments
    bare = [{k: v for k, v in p.items() if k != "segment_backups"} for p in partitions]
    assert json.loads(meta["partition_meta.json"])["infos"] == bare
    collections = json.loads(meta["collection_meta.json"])["infos"]
    for ours, whole in zip(collections, full["collection_backups"], strict=True):
        parts = [{k: v for k, v in p.items() if k != "segment_backups"} for p in whole["partition_backups"]]
        assert ours == {**whole, "partition_backups": parts}


def test_every_log_of_the_metadata_is_an_object_and_every_object_is_in_the_metadata(meta, s3, bucket, base):
    prefix = f"{PREFIX}/{base}/binlogs/"
    wanted = {}
    for collection in json.loads(meta["full_meta.json"])["collection_backups"]:
        for partition in collection["partition_backups"]:
            for segment in partition.get("segment_backups", []):
                assert segment["group_id"] == segment["segment_id"]
                above = [collection["collection_id"], partition["partition_id"], segment["group_id"], segment["segment_id"]]
                for kind, field_logs in (("insert_log", segment["binlogs"]), ("delta_log", segment["deltalogs"])):
                    for logs in field_logs:
                        for log in logs.get("binlogs", []):
                            field = [logs.get("fieldID", 0)] if kind == "insert_log" else []
                            path = "/".join(map(str, [kind, *above, *field, log["log_id"]]))
                            wanted[prefix + path] = log["log_size"]
                            # the original key in Milvus' bucket, never the copy's
                            assert log["log_path"].startswith(f"files/{kind}/{above[0]}/{above[1]}/{above[3]}/")
                            assert log["log_path"].endswith(f"/{log['log_id']}")
    assert wanted == {key: size for key, (size, _) in s3.objects(bucket, prefix).items()}


def test_sizes_and_counts_add_up(meta, s3, bucket, base):
    full = json.loads(meta["full_meta.json"])
    assert full["size"] == s3.size(bucket, f"{PREFIX}/{base}/binlogs/")
    for collection in full["collection_backups"]:
        assert collection["size"] == sum(p["size"] for p in collection["partition_backups"])
        for partition in collection["partition_backups"]:
            assert partition["size"] == sum(s["size"] for s in partition.get("segment_backups", []))
    manifest = json.loads(s3.get(bucket, f"{PREFIX}/{base}/operator/manifest.json"))
    assert manifest["totals"]["bytes"] == full["size"]
    assert manifest["totals"]["objects"] == len(s3.keys(bucket, f"{PREFIX}/{base}/binlogs/"))
    assert manifest["totals"]["collections"] == len(full["collection_backups"])


def test_an_artifact_without_its_full_file_is_read_from_the_four_others(program, s3, bucket, base):
    """As the Go tool does; it knows of no operator/."""
    s3.copy_prefix(bucket, f"{PREFIX}/{base}/", f"{PREFIX}/levels/")
    s3.delete_prefix(bucket, f"{PREFIX}/levels/operator/")
    s3.delete(bucket, f"{PREFIX}/levels/meta/full_meta.json")
    task = {"artifact": "levels", "mapping": {"suffix": "_never"}, "preflightOnly": True}
    done = program.run_task("restore", **task).expect(OK)
    assert done.report["plan"]["create"] == 2
