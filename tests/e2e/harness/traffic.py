"""A client that inserts, searches and deletes without pause, and remembers how long each call took and what failed."""

import random
import threading
import time
from statistics import quantiles

from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, db

DIM = 16
CALLS = ("insert", "search", "delete")


class Traffic:
    """`with Traffic(uri, database) as traffic:`; `traffic.phase = "..."` names what happens meanwhile."""

    def __init__(self, uri: str, database: str):
        self.uri, self.database = uri, database
        self.phase = "before"
        self.took: dict[str, dict[str, list[float]]] = {}
        self.errors: list[str] = []
        self.seen = False  # rows are seen some seconds after they were inserted; from then on they stay seen
        self.ended = threading.Event()

    def __enter__(self) -> "Traffic":
        connections.connect("traffic", uri=self.uri)
        if self.database not in db.list_database(using="traffic"):
            db.create_database(self.database, using="traffic")
        connections.disconnect("traffic")
        connections.connect("traffic", uri=self.uri, db_name=self.database)
        fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=DIM)]
        self.collection = Collection("live", CollectionSchema(fields), using="traffic")
        self.collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
        self.collection.load()
        self.next = 0
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(60)
        connections.disconnect("traffic")

    def calls(self) -> int:
        """In this phase so far."""
        return sum(len(times) for times in self.took.get(self.phase, {}).values())

    def work(self) -> None:
        while not self.ended.is_set():
            for name in CALLS:
                phase, start = self.phase, time.monotonic()
                try:
                    getattr(self, name)()
                except Exception as error:  # any error at all is a finding
                    self.errors.append(f"{phase}: {name}: {error}")
                self.took.setdefault(phase, {}).setdefault(name, []).append(time.monotonic() - start)

    def vector(self) -> list[float]:
        return [random.random() for _ in range(DIM)]

    def insert(self) -> None:
        self.collection.insert([{"id": self.next + i, "v": self.vector()} for i in range(10)])
        self.next += 10

    def search(self) -> None:
        found = self.collection.search([self.vector()], "v", {"metric_type": "L2"}, limit=5)
        if self.seen and not found[0]:
            raise AssertionError("nothing found")
        self.seen = self.seen or bool(found[0])

    def delete(self) -> None:
        self.collection.delete(f"id in [{self.next - 1}, {self.next - 2}]")

    def table(self) -> str:
        rows = [f"{'':<16}{'calls':>7}" + "".join(f"{name + ' p50':>12}{'p99':>8}" for name in CALLS) + "   (milliseconds)"]
        for phase, by_call in self.took.items():
            row = f"{phase:<16}{sum(map(len, by_call.values())):>7}"
            for name in CALLS:
                times = by_call.get(name, [])
                cuts = quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
                row += f"{cuts[49] * 1000:>12.1f}{cuts[98] * 1000:>8.1f}"
            rows.append(row)
        return "\n".join(rows)
