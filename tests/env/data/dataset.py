"""The data that demo and end-to-end tests put into Milvus: what collections there are and, from a seed, their rows.

Nothing here speaks to a server. `populate.py` puts it in, `verify.py` compares a snapshot with it.
"""
from dataclasses import dataclass, field
from typing import Callable, Iterator

import numpy
from pymilvus import CollectionSchema, DataType, FieldSchema

SEED = 20


@dataclass
class Spec:
    """One collection: its shape, its rows, what is deleted from it, and how it is left behind."""

    database: str
    name: str
    fields: list[FieldSchema]
    rows: int
    row: Callable[[int], dict]
    vector: str
    dim: int
    binary: bool = False
    description: str = ""
    dynamic: bool = False
    shards: int = 1
    key_partitions: int = 0
    partition_of: Callable[[int], str] | None = None
    deleted_early: Callable[[int], bool] = lambda i: False  # before the flush
    deleted_late: Callable[[int], bool] = lambda i: False  # after it
    tail: int = 0  # of the rows: inserted after the flush, left in a growing segment
    indexes: dict[str, dict] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    loaded: bool = True
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def primary(self) -> FieldSchema:
        return next(f for f in self.fields if f.is_primary)

    @property
    def partitions(self) -> list[str]:
        if not self.partition_of:
            return []
        return sorted({self.partition_of(i) for i in range(min(self.rows, 100))} - {"_default"})

    def schema(self) -> CollectionSchema:
        vector = DataType.BINARY_VECTOR if self.binary else DataType.FLOAT_VECTOR
        fields = [*self.fields, FieldSchema(self.vector, vector, dim=self.dim)]
        return CollectionSchema(fields, description=self.description, enable_dynamic_field=self.dynamic)

    def numbered_rows(self) -> Iterator[tuple[int, dict]]:
        """All rows as they are inserted, with their numbers; the same for every call."""
        source = numpy.random.default_rng([SEED, *self.name.encode()])
        if self.binary:
            vectors = source.integers(0, 256, (self.rows, self.dim // 8), dtype=numpy.uint8)
        else:
            vectors = source.random((self.rows, self.dim), dtype=numpy.float32)
        for i in range(self.rows):
            vector = vectors[i].tobytes() if self.binary else vectors[i].tolist()
            yield i, {**self.row(i), self.vector: vector}

    def is_deleted(self, i: int) -> bool:
        return (i < self.rows - self.tail and self.deleted_early(i)) or self.deleted_late(i)

    def expected_rows(self) -> Iterator[dict]:
        return (row for i, row in self.numbered_rows() if not self.is_deleted(i))


def _int(name: str, **more) -> FieldSchema:
    return FieldSchema(name, DataType.INT64, **more)


def _text(name: str, length: int = 64, **more) -> FieldSchema:
    return FieldSchema(name, DataType.VARCHAR, max_length=length, **more)


def articles(rows: int) -> Spec:
    """Partition key, JSON and dynamic fields, two shards, deletes before and after the flush."""

    def row(i: int) -> dict:
        made = {
            "id": i,
            "title": f"Article {i}: für alle Fälle",
            "topic": f"topic-{i % 7}",
            "meta": {"author": {"name": f"a{i % 97}", "score": i / 8}, "tags": [i % 3, "x", None, True]},
            "views": i * 31 % 1000,
        }
        if i % 5 == 0:  # a dynamic field that not every row has
            made["teaser"] = f"t{i % 11}"
        return made

    return Spec(
        "default",
        "articles",
        [
            _int("id", is_primary=True),
            _text("title", 128),
            _text("topic", 32, is_partition_key=True),
            FieldSchema("meta", DataType.JSON),
        ],
        rows,
        row,
        "embedding",
        32,
        description="partition key, JSON, dynamic fields",
        dynamic=True,
        shards=2,
        key_partitions=4,
        deleted_early=lambda i: i % 200 == 3,
        deleted_late=lambda i: i % 100 == 7,
        indexes={
            "embedding": {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 64}},
            "title": {},
        },
        aliases=["news"],
    )


def all_types(rows: int) -> Spec:
    """Every scalar type, arrays, a varchar key, binary vectors, named partitions, rows that were never flushed."""

    def row(i: int) -> dict:
        return {
            "pk": f"k{i:06d}",
            "flag": i % 2 == 0,
            "i8": i % 256 - 128,
            "i16": i % 65536 - 32768,
            "i32": -i,
            "i64": i * 10**12,
            "f32": i / 3,
            "f64": i / 7,
            "text": "ß€" * (i % 9),
            "numbers": [i, i + 1, i + 2][: i % 4],
            "words": [f"w{i}"] * (i % 3),
            "doc": {"i": i, "deep": {"list": [1, 2.5, "drei"]}},
        }

    array = {"dtype": DataType.ARRAY, "max_capacity": 8}
    return Spec(
        "default",
        "all_types",
        [
            _text("pk", 40, is_primary=True),
            FieldSchema("flag", DataType.BOOL),
            FieldSchema("i8", DataType.INT8),
            FieldSchema("i16", DataType.INT16),
            FieldSchema("i32", DataType.INT32),
            _int("i64"),
            FieldSchema("f32", DataType.FLOAT),
            FieldSchema("f64", DataType.DOUBLE),
            _text("text"),
            FieldSchema("numbers", element_type=DataType.INT64, **array),
            FieldSchema("words", element_type=DataType.VARCHAR, max_length=32, **array),
            FieldSchema("doc", DataType.JSON),
        ],
        rows,
        row,
        "bits",
        64,
        binary=True,
        description="every data type",
        partition_of=lambda i: ("_default", "north", "north", "south")[i % 4],
        deleted_early=lambda i: i % 50 == 1,
        deleted_late=lambda i: i % 50 == 2,
        tail=rows // 20,
        indexes={"bits": {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}}},
        properties={"collection.ttl.seconds": "8640000"},
    )


def orders(rows: int) -> Spec:
    """Keys made by the server, partitions by year, a scalar index; not loaded."""
    return Spec(
        "sales",
        "orders",
        [
            _int("order_id", is_primary=True, auto_id=True),
            _int("number"),
            _text("customer"),
            FieldSchema("total", DataType.DOUBLE),
        ],
        rows,
        lambda i: {"number": i, "customer": f"c{i % 501}", "total": i * 0.01},
        "basket",
        16,
        description="server-made keys",
        shards=2,
        partition_of=lambda i: f"y{2023 + i % 3}",
        indexes={"basket": {"index_type": "IVF_FLAT", "metric_type": "IP", "params": {"nlist": 64}}, "customer": {}},
        loaded=False,
    )


def customers(rows: int) -> Spec:
    """A varchar key as partition key's neighbour, two aliases, an exact index."""
    return Spec(
        "sales",
        "customers",
        [_text("customer", is_primary=True), FieldSchema("active", DataType.BOOL)],
        rows,
        lambda i: {"customer": f"c{i:05d}", "active": i % 3 > 0, "note": {"n": i}},
        "profile",
        8,
        dynamic=True,
        deleted_late=lambda i: i % 10 == 9,
        indexes={"profile": {"index_type": "FLAT", "metric_type": "COSINE", "params": {}}},
        aliases=["clients", "buyers"],
    )


def readings(rows: int) -> Spec:
    """Many small partitions, one of them empty after its rows were deleted; not loaded."""
    return Spec(
        "archive",
        "readings",
        [_int("at", is_primary=True), FieldSchema("value", DataType.FLOAT)],
        rows,
        lambda i: {"at": i, "value": i / 10},
        "trace",
        8,
        partition_of=lambda i: f"sensor{i % 8}",
        deleted_late=lambda i: i % 8 == 5,
        indexes={"trace": {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 8}}},
        loaded=False,
    )


def empty(_: int) -> Spec:
    """No row at all."""
    return Spec(
        "archive",
        "empty",
        [_int("id", is_primary=True)],
        0,
        lambda i: {"id": i},
        "v",
        4,
        indexes={"v": {"index_type": "FLAT", "metric_type": "L2", "params": {}}},
        loaded=False,
    )


# collection -> rows at scale 1: 56,000 in all
FULL = {articles: 24_000, all_types: 4_000, orders: 20_000, customers: 4_000, readings: 4_000, empty: 0}


def specs(scale: float = 1.0, prefix: str = "") -> list[Spec]:
    """The whole data set; at scale 0.02 some 1,100 rows, for tests. A prefix goes before the names of databases and
    aliases, for data of one test beside that of others."""
    made = [make(max(int(rows * scale), 40) if rows else 0) for make, rows in FULL.items()]
    for spec in made:
        spec.database = prefix + spec.database
        spec.aliases = [prefix + alias for alias in spec.aliases]
    return made
