"""Fills a Milvus with the data set of dataset.py; what is there under the same names is dropped first.

    populate.py [--uri http://127.0.0.1:19530] [--token user:password] [--scale 1.0] [--fresh SUFFIX]
    populate.py --drop            drops it, databases that are empty then as well, and fills nothing in
"""
import argparse
import json
import time

from dataset import Spec, specs
from pymilvus import Collection, connections, db, utility

BATCH = 4000


def drop(spec: Spec) -> None:
    for alias in spec.aliases:
        try:
            utility.drop_alias(alias)
        except Exception:  # the server has no call that says whether there is one
            pass
    if utility.has_collection(spec.name):
        utility.drop_collection(spec.name)


def drop_all(data: list[Spec], suffix: str = "") -> None:
    """The collections of the data set, or their copies under a suffix, where they are."""
    for spec in data:
        if spec.database in db.list_database():
            db.using_database(spec.database)
            if suffix and utility.has_collection(spec.name + suffix):
                utility.drop_collection(spec.name + suffix)
            elif not suffix:
                drop(spec)
                if spec.database != "default" and not utility.list_collections():
                    db.using_database("default")
                    db.drop_database(spec.database)


def create(spec: Spec) -> Collection:
    more = {"num_partitions": spec.key_partitions} if spec.key_partitions else {}
    made = Collection(spec.name, spec.schema(), shards_num=spec.shards, properties=spec.properties or None, **more)
    for name in spec.partitions:
        made.create_partition(name)
    return made


def insert(target: Collection, spec: Spec, first: int, end: int) -> None:
    """Rows first..end, batched by partition."""
    waiting: dict[str | None, list[dict]] = {}
    for i, row in spec.numbered_rows():
        if first <= i < end:
            partition = spec.partition_of(i) if spec.partition_of else None
            waiting.setdefault(partition, []).append(row)
            if len(waiting[partition]) == BATCH:
                target.insert(waiting.pop(partition), partition_name=partition)
    for partition, rows in waiting.items():
        target.insert(rows, partition_name=partition)


def delete(target: Collection, spec: Spec, which, end: int) -> int:
    keys = [spec.row(i)[spec.primary.name] for i in range(end) if which(i)]
    for start in range(0, len(keys), BATCH):
        target.delete(f"{spec.primary.name} in {json.dumps(keys[start:start + BATCH])}")
    return len(keys)


def populate(data: list[Spec], log=lambda text: None) -> int:
    """All of it; returns how many rows must be found afterwards."""
    todo: list[tuple[Spec, Collection]] = []
    for spec in data:
        if spec.database not in db.list_database():
            db.create_database(spec.database)
        db.using_database(spec.database)
        drop(spec)
        target = create(spec)
        flushed = spec.rows - spec.tail
        insert(target, spec, 0, flushed)
        delete(target, spec, spec.deleted_early, flushed)
        todo.append((spec, target))
    log("inserted")
    for spec, target in todo:
        db.using_database(spec.database)
        target.flush()
    log("flushed")
    # indexes are asked for and not waited for (some 20 s by the server's clock): it loads, searches and flushes meanwhile
    for spec, target in todo:
        db.using_database(spec.database)
        for name, params in spec.indexes.items():
            target.create_index(name, params, index_name=f"{name}_index", sync=False)
        insert(target, spec, spec.rows - spec.tail, spec.rows)
        delete(target, spec, spec.deleted_late, spec.rows)
        for alias in spec.aliases:
            utility.create_alias(spec.name, alias)
    log("indexes asked for, more rows deleted")
    for spec, target in todo:
        db.using_database(spec.database)
        if spec.loaded:
            target.load(_async=True)
    total = 0
    for spec, target in todo:
        db.using_database(spec.database)
        if spec.loaded:
            utility.wait_for_loading_complete(spec.name, timeout=300)
        expected = sum(not spec.is_deleted(i) for i in range(spec.rows))
        total += expected
        log(f"{spec.database}.{spec.name}: {expected} rows{', loaded' if spec.loaded else ''}")
    return total


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--uri", default="http://127.0.0.1:19530")
    p.add_argument("--token", default="")
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--fresh", metavar="SUFFIX", default="", help="drop copies under this suffix as well")
    p.add_argument("--drop", action="store_true")
    args = p.parse_args()
    start = time.monotonic()
    connections.connect(uri=args.uri, token=args.token)

    def log(text: str) -> None:
        print(f"populate {time.monotonic() - start:5.1f} s  {text}", flush=True)

    if args.drop:
        drop_all(specs())
        log(f"dropped {len(specs())} collections")
        return
    if args.fresh:
        drop_all(specs(), args.fresh)
    log(f"{populate(specs(args.scale), log)} rows in all")


if __name__ == "__main__":
    main()
