"""Collections to back up: what is put in, and what must be found after a restore.

Rows come from a seed (tests/env/data/dataset.py), are read back from the server field by field as digests, and are held
against the generator. A collection is compared by `Image`: rows, their count, and everything else a restore brings back.
"""

from collections import Counter
from dataclasses import dataclass

import populate
import rows
import snapshot
from dataset import Spec
from pymilvus import Collection, DataType, FieldSchema, db, utility
from servers import wait_for

FLAT = {"index_type": "FLAT", "metric_type": "L2", "params": {}}


def _array(name: str, kind: DataType, **more) -> FieldSchema:
    return FieldSchema(name, DataType.ARRAY, element_type=kind, max_capacity=8, **more)


def every_type(rows_: int = 400) -> Spec:
    """Every scalar type and array type of 2.3.5 at its bounds, JSON, dynamic fields, text of all kinds, float vectors."""
    texts = ["", "plain", "für alle Fälle", "日本語", "🙂🏳️‍🌈", "a\u0000b", "\"quoted\" \\ back", "ß" * 20]

    def row(i: int) -> dict:
        made = {
            "id": i - 100,
            "flag": i % 2 == 0,
            "i8": i % 256 - 128,
            "i16": (i * 331) % 65536 - 32768,
            "i32": [-(2**31), 2**31 - 1, i, -i][i % 4],
            "i64": [-(2**63), 2**63 - 1, i, -i][i % 4],
            "f32": [i / 3, -0.0, 3.4e38, 1e-45][i % 4],
            "f64": [i / 7, -0.0, 1.7e308, 5e-324][i % 4],
            "text": texts[i % len(texts)],
            "doc": [{"i": i}, {}, {"ü": [1, 2.5, "drei", None, True, {"tief": i}]}, {"a": []}][i % 4],
            "flags": [i % 2 == 0, i % 3 == 0][: i % 3],
            "i8s": [-128, 127, i % 100][: i % 4],
            "i16s": [-32768, 32767, i][: i % 4],
            "i32s": [-(2**31), 2**31 - 1, i][: i % 4],
            "i64s": [-(2**63), 2**63 - 1, i][: i % 4],
            "f32s": [i / 4, -1.5][: i % 3],
            "f64s": [i / 7, -1.5][: i % 3],
            "texts": texts[i % 4 :][: i % 4],
        }
        if i % 3 == 0:
            made["extra"] = {"n": i}
        if i % 7 == 0:
            made["größe"] = i / 2
        return made

    return Spec(
        "default",
        "every_type",
        [
            FieldSchema("id", DataType.INT64, is_primary=True, description="the key"),
            FieldSchema("flag", DataType.BOOL),
            FieldSchema("i8", DataType.INT8),
            FieldSchema("i16", DataType.INT16),
            FieldSchema("i32", DataType.INT32),
            FieldSchema("i64", DataType.INT64),
            FieldSchema("f32", DataType.FLOAT),
            FieldSchema("f64", DataType.DOUBLE),
            FieldSchema("text", DataType.VARCHAR, max_length=200, description="any text"),
            FieldSchema("doc", DataType.JSON),
            _array("flags", DataType.BOOL),
            _array("i8s", DataType.INT8),
            _array("i16s", DataType.INT16),
            _array("i32s", DataType.INT32),
            _array("i64s", DataType.INT64),
            _array("f32s", DataType.FLOAT),
            _array("f64s", DataType.DOUBLE),
            _array("texts", DataType.VARCHAR, max_length=100),
        ],
        rows_,
        row,
        "embedding",
        8,
        description="every type: größer",
        dynamic=True,
        deleted_early=lambda i: i % 50 == 3,
        deleted_late=lambda i: i % 40 == 7,
        tail=rows_ // 4,
        indexes={
            "embedding": {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 8, "efConstruction": 64}},
            "text": {},
            "i64": {"index_type": "STL_SORT"},
        },
        aliases=["all_there_is", "second_name"],
    )


def keyed(rows_: int = 300) -> Spec:
    """Partition key, varchar key, two shards, rows that are only in growing segments when the backup starts; not loaded."""
    return Spec(
        "sales",
        "keyed",
        [
            FieldSchema("name", DataType.VARCHAR, max_length=64, is_primary=True),
            FieldSchema("region", DataType.VARCHAR, max_length=16, is_partition_key=True),
            FieldSchema("stock", DataType.INT32),
        ],
        rows_,
        lambda i: {"name": f"näme {i:04d}", "region": f"r{i % 5}", "stock": -i, "note": {"n": i}},
        "profile",
        8,
        dynamic=True,
        shards=2,
        key_partitions=2,
        deleted_late=lambda i: i % 30 == 4,
        tail=rows_ // 5,
        indexes={"profile": {"index_type": "IVF_FLAT", "metric_type": "IP", "params": {"nlist": 4}}},
        loaded=False,
    )


def parts(rows_: int = 200) -> Spec:
    """Keys made by the server, binary vectors, partitions of which one is loaded, one emptied and one never filled."""
    return Spec(
        "sales",
        "parts",
        [
            FieldSchema("id", DataType.INT64, is_primary=True, auto_id=True),
            FieldSchema("number", DataType.INT64),
        ],
        rows_,
        lambda i: {"number": i},
        "bits",
        64,
        binary=True,
        description="server-made keys",
        partition_of=lambda i: ("_default", "north", "south")[i % 3],
        indexes={"bits": {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}}},
        properties={"collection.ttl.seconds": "8640000"},
        aliases=["spares"],
    )


def nothing(database: str) -> Spec:
    """No row at all, and the same name in two databases."""
    fields = [FieldSchema("id", DataType.INT64, is_primary=True)]
    return Spec(database, "nothing", fields, 0, lambda i: {"id": i}, "v", 4, indexes={"v": FLAT})


def lines(rows_: int = 600) -> Spec:
    """For faults: two partitions, several segments in one of them, deletes."""
    return Spec(
        "faults",
        "lines",
        [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("text", DataType.VARCHAR, max_length=64),
        ],
        rows_,
        lambda i: {"id": i, "text": f"line {i} " + "x" * (i % 30)},
        "v",
        16,
        partition_of=lambda i: "_default" if i % 4 else "quarter",
        deleted_late=lambda i: i % 20 == 5 or i % 32 == 12,
        tail=rows_ // 3,
        indexes={"v": FLAT},
        aliases=["rows_of_text"],
    )


def words(rows_: int = 150) -> Spec:
    """For faults: a second collection, one segment, no deletes."""
    return Spec(
        "faults",
        "words",
        [FieldSchema("word", DataType.VARCHAR, max_length=64, is_primary=True)],
        rows_,
        lambda i: {"word": f"word{i}"},
        "v",
        8,
        indexes={"v": FLAT},
    )


@dataclass
class Image:
    """A collection at one moment."""

    shape: dict
    kinds: dict
    rows: dict[str, list[str]]
    count: int


def fill(specs: list[Spec], consistency: dict[str, str] | None = None) -> None:
    """Makes the collections: rows in two segments (flush, tail, flush unless the tail is to stay in memory), indexes."""
    made = []
    for spec in specs:
        if spec.database not in db.list_database():
            db.create_database(spec.database)
        db.using_database(spec.database)
        drop(spec.database, spec.name)
        more = {"num_partitions": spec.key_partitions} if spec.key_partitions else {}
        level = (consistency or {}).get(spec.name, "Bounded")
        collection = Collection(
            spec.name,
            spec.schema(),
            shards_num=spec.shards,
            properties=spec.properties or None,
            consistency_level=level,
            **more,
        )
        for name in spec.partitions:
            collection.create_partition(name)
        for name, params in spec.indexes.items():
            collection.create_index(name, params, index_name=f"{name}_index", sync=False)
        for alias in spec.aliases:
            utility.create_alias(spec.name, alias)
        made.append(collection)
    stages = [(0, lambda s: s.rows - s.tail, True), (1, lambda s: s.rows, False)]
    for stage, end, flush in stages:
        for spec, collection in zip(specs, made):
            db.using_database(spec.database)
            first = 0 if stage == 0 else spec.rows - spec.tail
            populate.insert(collection, spec, first, end(spec))
            if not spec.primary.auto_id:
                populate.delete(collection, spec, spec.deleted_early if stage == 0 else spec.deleted_late, end(spec))
        if flush:
            for spec, collection in zip(specs, made):
                db.using_database(spec.database)
                collection.flush()


def shape(database: str, name: str) -> dict:
    """What a restore brings back besides rows."""
    db.using_database(database)
    collection = Collection(name)
    found = snapshot.shape(collection)
    found["loaded partitions"] = sorted(
        partition.name for partition in collection.partitions if str(utility.load_state(name, [partition.name])) == "Loaded"
    )
    return found


def count(database: str, name: str) -> int:
    """Rows, a row that is there twice counted twice; the collection must be loaded."""
    db.using_database(database)
    return Collection(name).query("", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]


def load(*full_names: str) -> None:
    """Loads whole collections, all at a time: one takes seconds by the server's clock."""
    for full in full_names:
        database, name = full.split(".")
        db.using_database(database)
        loaded = [str(utility.load_state(name, [partition.name])) for partition in Collection(name).partitions]
        if "Loaded" in loaded and set(loaded) != {"Loaded"}:
            Collection(name).release()  # loading the rest, a 2.3.5 answers "Loaded" long before the rows are there
        Collection(name).load(_async=True)
    for full in full_names:
        database, name = full.split(".")
        db.using_database(database)
        utility.wait_for_loading_complete(name, timeout=120)


def images(*full_names: str) -> dict[str, Image]:
    """Whole collections by name; they are loaded for that, after their shapes were taken."""
    shapes = {full: shape(*full.split(".")) for full in full_names}
    load(*full_names)
    taken = {}
    for full in full_names:
        database, name = full.split(".")
        db.using_database(database)
        collection = Collection(name)
        kinds = rows.field_kinds(collection)
        primary = collection.primary_field.name
        found = {str(row[primary]): rows.digests(kinds, row) for row in rows.read(collection)}
        taken[full] = Image(shapes[full], kinds, found, count(database, name))
    return taken


def generated(spec: Spec, image_: Image) -> None:
    """Fails unless the rows are those of the generator; keys made by the server are left out."""
    kinds = {f.name: f.dtype for f in spec.schema().fields if not f.auto_id}
    if spec.dynamic:
        kinds[rows.META] = DataType.JSON
    columns = [list(image_.kinds).index(name) for name in kinds]
    have = Counter(tuple(row[c] for c in columns) for row in image_.rows.values())
    want = Counter(tuple(rows.digests(kinds, row)) for row in spec.expected_rows())
    assert have == want, f"{spec.name}: {(want - have).total()} rows missing or different, {(have - want).total()} added"


def differences(want: Image, have: Image, *ignore: str) -> list[str]:
    """What differs, in words."""
    as_dict = [{"fields": list(i.kinds), "rows": i.rows, "shape": i.shape} for i in (want, have)]
    _, words_ = snapshot.differences(*as_dict, set(ignore))
    if list(want.kinds.items()) != list(have.kinds.items()):
        words_.append(f"fields: {have.kinds} in place of {want.kinds}")
    if want.count != have.count:
        words_.append(f"count: {have.count} rows in place of {want.count}")
    return words_


def everything() -> set[str]:
    """`database.collection` of all there are."""
    return {".".join(pair) for pair in snapshot.collections()}


def drop(database: str, *names: str) -> None:
    if database not in db.list_database():
        return
    db.using_database(database)
    for name in names:
        if utility.has_collection(name):
            for alias in Collection(name).aliases:
                utility.drop_alias(alias)
            utility.drop_collection(name)


def drop_database(database: str) -> None:
    if database in db.list_database():
        db.using_database(database)
        drop(database, *utility.list_collections())
        db.using_database("default")
        db.drop_database(database)



def identity(database: str, name: str) -> int:
    """The id of a collection: another one means that it was dropped and made anew."""
    db.using_database(database)
    return Collection(name).describe()["collection_id"]
