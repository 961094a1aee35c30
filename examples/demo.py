"""Two small collections with rows that are the same every time: what the other programs of this folder work with.

Any Milvus from 2.2.9 on; PyMilvus (`pip install pymilvus`).
"""

import argparse
import random

from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

DIMENSIONS = 16
NAMES = {"demo_books": 3000, "demo_authors": 500}


def connect(description: str, **more: dict) -> argparse.Namespace:
    """Reads the command line, then connects."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--uri", default="http://127.0.0.1:19530", help="Milvus; default %(default)s")
    parser.add_argument("--token", default="", help="user:password, where Milvus asks for a login")
    for name, settings in more.items():
        parser.add_argument(f"--{name}", **settings)
    arguments = parser.parse_args()
    connections.connect(uri=arguments.uri, token=arguments.token)
    return arguments


def rows(name: str) -> list[dict]:
    """The rows of a collection, by key."""
    source = random.Random(name)
    made = []
    for key in range(NAMES[name]):
        vector = [source.uniform(-1, 1) for _ in range(DIMENSIONS)]
        made.append({"id": key, "title": f"{name} {key}", "year": 1900 + source.randrange(120), "vector": vector})
    return made


def make(name: str) -> Collection:
    """Makes a collection, fills, indexes and loads it."""
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True),
        FieldSchema("title", DataType.VARCHAR, max_length=100),
        FieldSchema("year", DataType.INT32),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS),
    ]
    collection = Collection(name, CollectionSchema(fields, description="made by examples/prepare_data.py"))
    made = rows(name)
    for start in range(0, len(made), 1000):
        batch = made[start : start + 1000]
        collection.insert([[row[field.name] for row in batch] for field in fields])
    collection.flush()
    collection.create_index("vector", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 16}})
    collection.load()
    return collection


def drop(name: str) -> bool:
    """Whether there was something to drop."""
    if not utility.has_collection(name):
        return False
    utility.drop_collection(name)
    return True
