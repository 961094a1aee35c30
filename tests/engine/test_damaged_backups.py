"""Damaged backups: each is named before Milvus reads a byte of it, the server stays up, and nothing is left behind.

Every damage is tried on an artifact of our own, which has tags to compare, and on one without `operator/` as the Go tool
writes it, where only a look inside can find it.
"""

import json
import struct

import pytest
import samples
from program import DATA, OK, PREFIX

WITH, WITHOUT = "ours", "of the Go tool"


class Copy:
    """A copy of the base artifact that is damaged, and healed again for the next test."""

    def __init__(self, s3, bucket: str, base: str, made: str):
        self.name = {WITH: "damaged", WITHOUT: "damaged_go"}[made]
        self.s3, self.bucket, self.base, self.prefix = s3, bucket, f"{PREFIX}/{base}/", f"{PREFIX}/{self.name}/"
        s3.copy_prefix(bucket, self.base, self.prefix)
        if made == WITHOUT:
            s3.delete_prefix(bucket, self.prefix + "operator/")
        self.full = json.loads(self.read("meta/full_meta.json"))
        self.whole = self.paths("")
        self.harmed: set[str] = set()

    def heal(self) -> None:
        for path in self.harmed:
            if path in self.whole:
                self.s3.copy(self.bucket, self.base + path, self.prefix + path)
            else:
                self.s3.delete(self.bucket, self.prefix + path)
        self.harmed.clear()

    def read(self, path: str) -> bytes:
        return self.s3.get(self.bucket, self.prefix + path)

    def write(self, path: str, body: bytes) -> None:
        self.harmed.add(path)
        self.s3.put(self.bucket, self.prefix + path, body)

    def remove(self, *paths: str) -> None:
        self.harmed.update(paths)
        self.s3.delete(self.bucket, *(self.prefix + path for path in paths))

    def paths(self, folder: str) -> list[str]:
        return [key.removeprefix(self.prefix) for key in self.s3.keys(self.bucket, self.prefix + folder)]

    def collection(self, name: str) -> dict:
        return next(c for c in self.full["collection_backups"] if c["collection_name"] == name)

    def field(self, collection: str, name: str) -> int:
        fields = self.collection(collection)["schema"]["fields"]
        return next(f["fieldID"] for f in fields if f["name"] == name)

    def inserts(self, field: str | None = None, collection: str = "lines") -> list[str]:
        """Insert logs of a collection, of one field."""
        found = self.paths(f"binlogs/insert_log/{self.collection(collection)['collection_id']}/")
        return [p for p in found if field is None or p.split("/")[-2] == str(self.field(collection, field))]

    def deltas(self) -> list[str]:
        return self.paths(f"binlogs/delta_log/{self.collection('lines')['collection_id']}/")


def flip(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]


def payload_middle(body: bytes) -> int:
    """The middle of the first column chunk's data, which is what is most of a file."""
    begin = body.index(b"PAR1") + 4
    footer = struct.unpack("<I", body[-8:-4])[0]
    return begin + (len(body) - 8 - footer - begin) // 2


# Each damages a copy and answers the paths of which one must be named.


def one_binlog_missing(copy: Copy) -> list[str]:
    path = copy.inserts("text")[0]
    copy.remove(path)
    return [path]


def a_vector_binlog_missing(copy: Copy) -> list[str]:
    path = copy.inserts("v")[-1]
    copy.remove(path)
    return [path]


def all_binlogs_of_a_segment_missing(copy: Copy) -> list[str]:
    segment = copy.inserts()[0].rsplit("/", 2)[0] + "/"
    gone = [path for path in copy.inserts() if path.startswith(segment)]
    assert 0 < len(gone) < len(copy.inserts())
    copy.remove(*gone)
    return gone


def a_delta_log_missing(copy: Copy) -> list[str]:
    path = copy.deltas()[0]
    copy.remove(path)
    return [path]


def a_binlog_cut_to_half(copy: Copy) -> list[str]:
    path = copy.inserts("v")[0]
    body = copy.read(path)
    copy.write(path, body[: len(body) // 2])
    return [path]


def a_binlog_without_its_last_byte(copy: Copy) -> list[str]:
    path = copy.inserts("id")[0]
    copy.write(path, copy.read(path)[:-1])
    return [path]


def an_empty_binlog(copy: Copy) -> list[str]:
    path = copy.inserts("text")[-1]
    copy.write(path, b"")
    return [path]


def an_empty_delta_log(copy: Copy) -> list[str]:
    path = copy.deltas()[-1]
    copy.write(path, b"")
    return [path]


def a_bit_flipped_in_a_vector_binlog(copy: Copy) -> list[str]:
    path = copy.inserts("v")[0]
    body = copy.read(path)
    copy.write(path, flip(body, payload_middle(body)))
    return [path]


def a_bit_flipped_in_a_delta_log(copy: Copy) -> list[str]:
    path = copy.deltas()[0]
    body = copy.read(path)
    copy.write(path, flip(body, payload_middle(body)))
    return [path]


def a_bit_flipped_in_the_head_of_a_binlog(copy: Copy) -> list[str]:
    path = copy.inserts("id")[-1]
    copy.write(path, flip(copy.read(path), 1))
    return [path]


def two_binlogs_of_different_fields_swapped(copy: Copy) -> list[str]:
    first, second = copy.inserts("v")[0], copy.inserts("text")[0]
    one, other = copy.read(first), copy.read(second)
    copy.write(first, other)
    copy.write(second, one)
    return [first, second]


def two_binlogs_of_different_segments_swapped(copy: Copy) -> list[str]:
    first, second = copy.inserts("v")[0], copy.inserts("v")[-1]
    assert first.split("/")[-3] != second.split("/")[-3]
    one, other = copy.read(first), copy.read(second)
    copy.write(first, other)
    copy.write(second, one)
    return [first, second]


def something_else_in_the_place_of_a_binlog(copy: Copy) -> list[str]:
    path = copy.inserts("text")[0]
    copy.write(path, b"x" * len(copy.read(path)))
    return [path]


def a_foreign_binlog_in_a_segment(copy: Copy) -> list[str]:
    path = copy.inserts("text")[0]
    folder, _, _ = path.rpartition("/")
    copy.write(f"{folder}/4711", copy.read(path))
    return [f"{folder}/4711"]


OBJECTS = [
    one_binlog_missing,
    a_vector_binlog_missing,
    all_binlogs_of_a_segment_missing,
    a_delta_log_missing,
    a_binlog_cut_to_half,
    a_binlog_without_its_last_byte,
    an_empty_binlog,
    an_empty_delta_log,
    a_bit_flipped_in_a_vector_binlog,
    a_bit_flipped_in_a_delta_log,
    a_bit_flipped_in_the_head_of_a_binlog,
    two_binlogs_of_different_fields_swapped,
    two_binlogs_of_different_segments_swapped,
    something_else_in_the_place_of_a_binlog,
    a_foreign_binlog_in_a_segment,
]


@pytest.fixture(scope="module")
def copies(s3, bucket, base):
    return {made: Copy(s3, bucket, base, made) for made in (WITH, WITHOUT)}


@pytest.fixture
def copy(copies, request):
    """One of our own, or as a test's parameter `made` says."""
    chosen = copies[getattr(request.node, "callspec", None) and request.node.callspec.params.get("made") or WITH]
    yield chosen
    chosen.heal()


@pytest.fixture(scope="module", autouse=True)
def same_server(milvus, program):
    """Not one of these tests takes the server down."""
    pid = milvus.pid()
    yield
    assert milvus.pid() == pid


@pytest.fixture
def refused(program, s3, bucket, milvus):
    """Restores a damaged copy and fails unless it is refused with all that a refusal must leave alone."""

    def restore(copy: Copy, code: int, *words: str):
        server, objects = samples.everything(), s3.objects(bucket, "backup/")
        done = program.run_task("restore", artifact=copy.name, mapping={"suffix": "_damaged"})
        done.expect(code, *words)
        assert not any(line["dataTouched"] for line in done.progress)
        assert milvus.healthy()
        assert samples.everything() == server
        assert s3.objects(bucket, "backup/") == objects
        assert s3.keys(bucket, "milvus-backup-staging/") == []
        return done

    return restore


@pytest.mark.parametrize("made", [WITH, WITHOUT])
@pytest.mark.parametrize("damage", OBJECTS, ids=lambda damage: damage.__name__)
def test_a_damaged_object_is_named_and_nothing_is_touched(copy, refused, damage, made):
    named = damage(copy)
    done = refused(copy, DATA)
    assert done.reason == "Damaged"
    assert any(path in done.message for path in named), done.message


SEEN_BY_ITS_SIZE = {"missing", "cut", "without", "empty", "foreign"}


def verified(program, s3, bucket, copy: Copy, level: str, **more):
    """The outcome of a verification, which must leave everything as it was."""
    before = s3.objects(bucket, "backup/")
    done = program.run_task("verify", artifact=copy.name, level=level, **more)
    assert s3.objects(bucket, "backup/") == before
    return done


@pytest.mark.parametrize("made", [WITH, WITHOUT])
@pytest.mark.parametrize("level", ["Manifest", "Checksum"])
def test_a_whole_backup_is_verified(program, s3, bucket, copy, level, made):
    done = verified(program, s3, bucket, copy, level).expect(OK)
    found, data = done.report["verification"], s3.objects(bucket, copy.prefix + "binlogs/")
    assert found["objectsTotal"] == found["objectsChecked"] == len(data)
    if level == "Checksum":
        sizes = sum(len(copy.read(path)) for path in copy.paths("binlogs/"))
        assert (found["bytesRead"], found["objectsParsed"], found["objectsHashed"]) == (sizes, len(data), len(data))
        assert done.progress[-1]["objectsTotal"] == len(data)
        share = verified(program, s3, bucket, copy, level, samplePercent=10, seed=3).expect(OK).report["verification"]
        again = verified(program, s3, bucket, copy, level, samplePercent=10, seed=3).expect(OK).report["verification"]
        assert 0 < share["objectsChecked"] < len(data) and share["bytesRead"] == again["bytesRead"]


@pytest.mark.parametrize("made", [WITH, WITHOUT])
@pytest.mark.parametrize("damage", OBJECTS, ids=lambda damage: damage.__name__)
def test_a_verification_names_a_damaged_object(program, s3, bucket, copy, damage, made):
    named = damage(copy)
    for level in ("Manifest", "Checksum"):
        if level == "Manifest" and made == WITHOUT and not SEEN_BY_ITS_SIZE & set(damage.__name__.split("_")):
            continue  # of the same size, and the Go tool records no hash
        done = verified(program, s3, bucket, copy, level).expect(DATA)
        assert done.reason == "Damaged"
        found = done.report["verification"]
        said = [text for kind in ("missing", "corrupt", "stray") for text in found[kind]["first"]]
        assert any(path in text for path in named for text in said), done.report


@pytest.mark.parametrize("path", ["Import", "Insert"])
def test_an_artifact_as_the_go_tool_writes_it_is_restored(program, copies, lines, path):
    """The other side of the tests above: without `operator/` and without damage all of it comes back."""
    try:
        done = program.run_task("restore", artifact=copies[WITHOUT].name, mapping={"suffix": "_go"}, restorePath=path).expect(OK)
        assert done.report["rowCounts"]["actual"] == sum(image.count for image in lines.values())
        for full, have in samples.images("faults.lines_go", "faults.words_go").items():
            assert samples.differences(lines[full.removesuffix("_go")], have, "aliases") == []
    finally:
        samples.drop("faults", "lines_go", "words_go")


def test_edited_metadata_is_found(copy, refused):
    copy.full["collection_backups"][0]["shards_num"] += 1
    copy.write("meta/full_meta.json", json.dumps(copy.full).encode())
    done = refused(copy, DATA, "meta/full_meta.json")
    assert done.reason == "UnreadableManifest"


@pytest.mark.parametrize("made", [WITH, WITHOUT])
def test_metadata_cut_to_half_is_found(copy, refused, made):
    copy.write("meta/full_meta.json", copy.read("meta/full_meta.json")[:200])
    refused(copy, DATA, "full_meta.json")


def test_a_missing_full_meta_of_our_own_is_found(copy, refused):
    copy.remove("meta/full_meta.json")
    refused(copy, DATA, "meta/full_meta.json")


def test_a_missing_object_list_is_found(copy, refused):
    copy.remove("operator/objects.jsonl.zst")
    refused(copy, DATA, "operator/objects.jsonl.zst")


def test_an_edited_object_list_is_found(copy, refused):
    body = copy.read("operator/objects.jsonl.zst")
    copy.write("operator/objects.jsonl.zst", flip(body, len(body) // 2))
    refused(copy, DATA, "operator/objects.jsonl.zst")


def test_a_manifest_of_a_newer_format_is_refused_with_both_versions(copy, refused):
    manifest = json.loads(copy.read("operator/manifest.json"))
    version = manifest["formatVersion"]
    manifest["formatVersion"] = version + 6
    copy.write("operator/manifest.json", json.dumps(manifest).encode())
    refused(copy, DATA, f"version {version + 6}", f"up to {version}")


def test_a_backup_that_was_never_finished_is_refused(copy, refused):
    copy.remove("operator/manifest.json")
    done = refused(copy, DATA, "never finished", "operator/manifest.json")
    assert done.reason == "Damaged"


def test_another_backup_under_the_pinned_name_is_refused(program, s3, bucket, base):
    before = samples.everything()
    task = {"artifact": base, "manifestDigest": "0" * 64, "mapping": {"suffix": "_damaged"}}
    program.run_task("restore", **task).expect(DATA, base, "0" * 64)
    assert samples.everything() == before


def test_objects_that_change_under_a_backup_are_found_by_its_proof(program, s3, bucket, lines, proxy):
    """A copy that is not what was listed: the backup is not committed."""

    def spoil(request) -> None:
        if request.kind == "copy" and not spoilt:
            spoilt.append(request.key)
            s3.put(bucket, request.key, b"y" * len(s3.get(bucket, request.key)))

    spoilt = []
    proxy.after = spoil
    task = {"artifact": "spoilt", "selection": {"include": [{"database": "faults"}]}, "endpoint": proxy.url}
    done = program.run_task("backup", **task).expect(DATA)
    assert spoilt[0] in done.message
    assert not [key for key in s3.keys(bucket, f"{PREFIX}/spoilt/") if key.endswith("manifest.json")]


