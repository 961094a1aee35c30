"""What is backed up: four sets of collections, each in a database of its own, filled from a seed.

Rows are put in as whole columns over the wire (2 GiB through PyMilvus' rows would take longer than all that is timed), with
no index, so that a restore is timed and not the building of one.
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import grpc
import numpy
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, db, utility
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc, schema_pb2

SEED = 20
GIB = 1 << 30
INSERT_BYTES = 8 << 20  # of vectors in one insert
FLUSHES = 16  # collections that are flushed at a time


@dataclass(frozen=True)
class DataSet:
    """Collections that are all alike; rows are spread evenly over partitions and, by the server, over shards."""

    name: str
    what: str
    collections: int
    partitions: int
    shards: int
    rows: int  # of one partition
    dim: int
    numbers: int  # INT64 fields beside the key
    texts: int  # VARCHAR fields
    flushes: int = 1  # while it is filled: so many segments in each partition and shard

    @property
    def database(self) -> str:
        return f"bench_{self.name}"

    @property
    def names(self) -> list[str]:
        return [f"{self.name}_{i}" for i in range(self.collections)]

    @property
    def all_rows(self) -> int:
        return self.collections * self.partitions * self.rows

    def schema(self) -> CollectionSchema:
        fields = [FieldSchema("id", DataType.INT64, is_primary=True)]
        fields += [FieldSchema(f"n{i}", DataType.INT64) for i in range(self.numbers)]
        fields += [FieldSchema(f"t{i}", DataType.VARCHAR, max_length=64) for i in range(self.texts)]
        return CollectionSchema([*fields, FieldSchema("v", DataType.FLOAT_VECTOR, dim=self.dim)])


def sets(scale: float) -> list[DataSet]:
    """At scale 1 those of the targets. Small stays as it is; of many, fewer collections; of the others, fewer rows. Medium has
    eight segments in one partition, as when the Go tool was timed with it."""
    many, rows = max(2, round(20 * scale)), max(1000, round(500_000 * scale))
    large = max(64 << 20, round(2 * GIB * scale))
    return [
        DataSet("small", "3 collections x 3,000 rows x 128", 3, 1, 2, 3000, 128, 1, 1),
        DataSet("many", f"{many} collections x 4 partitions x 2 shards of 250 rows x 32", many, 4, 2, 500, 32, 13, 1),
        DataSet("medium", f"1 collection, {rows:,} rows x 128, 8 segments", 1, 1, 2, rows, 128, 1, 1, 4),
        DataSet("large", f"1 collection, {large / GIB:.2g} GiB of vectors x 2048", 1, 1, 1, large // 8192, 2048, 0, 0),
    ]


class Server:
    """Milvus, by the few calls that a bench needs as they are on the wire."""

    def __init__(self, address: str):
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.stub = milvus_pb2_grpc.MilvusServiceStub(grpc.insecure_channel(address, options=options))

    def fill(self, data: DataSet) -> None:
        """Makes the collections anew and leaves all their rows flushed."""
        self.drop(data)
        if data.database not in db.list_database():
            db.create_database(data.database)
        db.using_database(data.database)
        for number, name in enumerate(data.names):
            collection = Collection(name, data.schema(), shards_num=data.shards)
            for part in range(data.partitions):
                partition = f"p{part}" if part else "_default"
                if part:
                    collection.create_partition(partition)
                bounds = [(part + i / data.flushes) * data.rows for i in range(data.flushes + 1)]
                for first, end in itertools.pairwise(map(round, bounds)):
                    if first % data.rows:
                        self.flush(data, 600)
                    self.insert(data, name, partition, first, end, seed=[SEED, number, first])
        self.flush(data, 600)

    def insert(self, data: DataSet, name: str, partition: str, first: int, end: int, seed: list[int]) -> None:
        source = numpy.random.default_rng(seed)
        batch = max(1, INSERT_BYTES // (4 * data.dim))
        for start in range(first, end, batch):
            ids = numpy.arange(start, min(start + batch, end), dtype="<i8")
            vectors = source.random((len(ids), data.dim), dtype=numpy.float32)
            columns = [longs("id", ids), *(longs(f"n{i}", ids * (i + 1)) for i in range(data.numbers))]
            columns += [texts(f"t{i}", [f"row {n} of {name}" for n in ids]) for i in range(data.texts)]
            request = milvus_pb2.InsertRequest(
                db_name=data.database,
                collection_name=name,
                partition_name=partition,
                num_rows=len(ids),
                fields_data=[*columns, floats("v", vectors)],
            )
            well(self.stub.Insert(request, timeout=120).status, f"inserting into {name}")

    def flush(self, data: DataSet, seconds: float = 120) -> float:
        """Flushes all its collections together and waits until they are; the seconds it took. The floor of any backup."""
        start = time.monotonic()
        with ThreadPoolExecutor(FLUSHES) as pool:
            list(pool.map(partial(self.flush_one, data, start + seconds), data.names))
        return time.monotonic() - start

    def flush_one(self, data: DataSet, deadline: float, name: str) -> None:
        where = {"db_name": data.database, "collection_name": name}
        done = self.stub.Flush(milvus_pb2.FlushRequest(db_name=data.database, collection_names=[name]), timeout=60)
        well(done.status, f"flushing {name}")
        segments = [*done.coll_segIDs[name].data, *done.flush_coll_segIDs[name].data]
        asked = milvus_pb2.GetFlushStateRequest(segmentIDs=segments, flush_ts=done.coll_flush_ts[name], **where)
        while not self.stub.GetFlushState(asked, timeout=60).flushed:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} was not flushed in time")
            time.sleep(0.01)

    def ids(self, data: DataSet, suffix: str = "") -> list[int]:
        """Ids of its collections, those of copies under a suffix: the names of their directories in the bucket."""
        found = []
        for name in data.names:
            asked = milvus_pb2.DescribeCollectionRequest(db_name=data.database, collection_name=name + suffix)
            answer = self.stub.DescribeCollection(asked, timeout=60)
            well(answer.status, f"describing {name}{suffix}")
            found.append(answer.collectionID)
        return found

    def rows(self, data: DataSet, suffix: str) -> int:
        """Rows of all copies, by the server's statistics: nothing was deleted."""
        total = 0
        for name in data.names:
            asked = milvus_pb2.GetCollectionStatisticsRequest(db_name=data.database, collection_name=name + suffix)
            answer = self.stub.GetCollectionStatistics(asked, timeout=60)
            well(answer.status, f"counting {name}{suffix}")
            total += sum(int(pair.value) for pair in answer.stats if pair.key == "row_count")
        return total

    def drop(self, data: DataSet) -> None:
        """All there is in its database."""
        if data.database in db.list_database():
            db.using_database(data.database)
            for name in utility.list_collections():
                utility.drop_collection(name)
            db.using_database("default")
            db.drop_database(data.database)

    def drop_copies(self, data: DataSet, suffix: str) -> None:
        db.using_database(data.database)
        for name in data.names:
            if utility.has_collection(name + suffix):
                utility.drop_collection(name + suffix)


def well(status, act: str) -> None:
    if status.error_code or getattr(status, "code", 0):
        raise RuntimeError(f"{act}: {status.reason}")


def longs(name: str, values: numpy.ndarray) -> schema_pb2.FieldData:
    data = schema_pb2.LongArray(data=values.tolist())
    return schema_pb2.FieldData(type=DataType.INT64, field_name=name, scalars=schema_pb2.ScalarField(long_data=data))


def texts(name: str, values: list[str]) -> schema_pb2.FieldData:
    data = schema_pb2.StringArray(data=values)
    return schema_pb2.FieldData(type=DataType.VARCHAR, field_name=name, scalars=schema_pb2.ScalarField(string_data=data))


def floats(name: str, vectors: numpy.ndarray) -> schema_pb2.FieldData:
    # a packed repeated float is its bytes: field 1, length, values; one by one Python would take minutes
    raw = vectors.astype("<f4").tobytes()
    length, size = bytearray(), len(raw)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    array = schema_pb2.FloatArray.FromString(b"\x0a" + bytes(length) + raw)
    field = schema_pb2.VectorField(dim=vectors.shape[1], float_vector=array)
    return schema_pb2.FieldData(type=DataType.FLOAT_VECTOR, field_name=name, vectors=field)
