"""Everything a Milvus holds, as digests of every field of every row, saved and compared later.

    snapshot.py save OUT [--only DB.NAME,... | --data-set]
    snapshot.py compare SAVED [--suffix _copy] [--database DB] [--only DB.NAME,...] [--ignore aliases,load]

`save` reads every collection (one that is not loaded is loaded and released again) into OUT. `compare` reads the same
collections again, under a suffixed name or in another database if so told, and prints what differs, in one line each:
rows missing, added or different in any field, and a schema, partition, index, alias or load state that is not the same.
It ends with 1 when anything differs.
"""
import argparse
import gzip
import json
import sys
import time

import rows
from dataset import specs
from pymilvus import Collection, connections, db, utility
from pymilvus.client.types import LoadState


def shape(collection: Collection) -> dict:
    """What a restore has to bring back besides rows."""
    described = collection.describe()
    return {
        "schema": [
            {k: str(v) for k, v in f.items() if k not in ("field_id",)} for f in described["fields"]
        ],
        "description": described["description"],
        "dynamic": described["enable_dynamic_field"],
        "shards": described["num_shards"],
        "consistency": str(described["consistency_level"]),
        "properties": {str(k): str(v) for k, v in dict(described.get("properties") or {}).items()},
        "partitions": sorted(p.name for p in collection.partitions),
        "indexes": sorted(
            [i.field_name, i.index_name, json.dumps(i.params, sort_keys=True)] for i in collection.indexes
        ),
        "aliases": sorted(collection.aliases),
        "load": str(utility.load_state(collection.name)),
    }


def take(names: list[tuple[str, str]]) -> dict[tuple[str, str], dict]:
    """The collections by (database, name); each left loaded or not as it was found."""
    taken, borrowed = {}, []
    for database, name in names:
        db.using_database(database)
        collection = Collection(name)
        taken[database, name] = {"shape": shape(collection)}
        if utility.load_state(name) != LoadState.Loaded:
            borrowed.append((database, name))
            collection.load(_async=True)  # all at a time: one takes seconds by the server's clock
    try:
        for (database, name), entry in taken.items():
            db.using_database(database)
            utility.wait_for_loading_complete(name, timeout=180)
            collection = Collection(name)
            kinds = rows.field_kinds(collection)
            primary = collection.primary_field.name
            entry["fields"] = list(kinds)
            entry["rows"] = {str(row[primary]): rows.digests(kinds, row) for row in rows.read(collection)}
    finally:
        for database, name in borrowed:
            db.using_database(database)
            Collection(name).release()
    return taken


def collections() -> list[tuple[str, str]]:
    names = []
    for database in sorted(db.list_database()):
        db.using_database(database)
        names += [(database, name) for name in sorted(utility.list_collections())]
    return names


def load(path: str) -> dict[str, dict]:
    with gzip.open(path, "rt") as f:
        return json.load(f)


def save(path: str, only: set[str]) -> None:
    start = time.monotonic()
    wanted = [pair for pair in collections() if not only or ".".join(pair) in only]
    taken = {".".join(pair): entry for pair, entry in take(wanted).items()}
    with gzip.open(path, "wt", compresslevel=1) as f:
        json.dump(taken, f)
    count = sum(len(t["rows"]) for t in taken.values())
    print(f"snapshot: {len(taken)} collections, {count} rows, every field, in {time.monotonic() - start:.1f} s: {path}")


def differences(want: dict, have: dict, ignore: set[str]) -> tuple[int, list[str]]:
    """How many rows differ, and what differs in words."""
    words = []
    missing = [k for k in want["rows"] if k not in have["rows"]]
    added = [k for k in have["rows"] if k not in want["rows"]]
    if missing:
        words.append(f"{len(missing)} rows missing (first key {missing[0]})")
    if added:
        words.append(f"{len(added)} rows added (first key {added[0]})")
    changed = 0
    fields: dict[str, str] = {}
    for key, digests in want["rows"].items():
        other = have["rows"].get(key)
        if other is not None and other != digests:
            changed += 1
            for name, a, b in zip(want["fields"], digests, other):
                if a != b:
                    fields.setdefault(name, key)
    words += [f"field {name} differs (first key {key})" for name, key in fields.items()]
    for part, value in want["shape"].items():
        if part not in ignore and have["shape"][part] != value:
            words.append(f"{part}: {have['shape'][part]} in place of {value}")
    return len(missing) + len(added) + changed, words


def compare(path: str, suffix: str, database: str, only: set[str], ignore: set[str]) -> bool:
    table = [("collection", "rows expected", "rows found", "fields", "differing", "result")]
    equal = True
    saved = {full: want for full, want in load(path).items() if not only or full in only}
    targets = {}
    for full in saved:
        source, name = full.split(".", 1)
        targets[full] = (database or source, name + suffix)
    there = set(collections())
    found = take([target for target in targets.values() if target in there])
    for full, want in saved.items():
        label, have = ".".join(targets[full]), found.get(targets[full])
        expected, fields = len(want["rows"]), len(want["fields"])
        if have is None:
            equal = False
            table.append((label, expected, 0, fields, expected, "MISSING"))
            continue
        count, words = differences(want, have, ignore)
        equal = equal and not words
        result = "DIFFERS: " + "; ".join(words) if words else "equal"
        table.append((label, expected, len(have["rows"]), fields, count, result))
    widths = [max(len(str(row[i])) for row in table) for i in range(5)]
    for row in table:
        cells = [f"{row[0]:<{widths[0]}}", *(f"{row[i]:>{widths[i]}}" for i in range(1, 5)), str(row[5])]
        print(" | ".join(cells))
    return equal and len(table) > 1


def names(text: str) -> set[str]:
    return {part for part in text.split(",") if part}


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--uri", default="http://127.0.0.1:19530")
    p.add_argument("--token", default="")
    sub = p.add_subparsers(dest="act", required=True)
    s = sub.add_parser("save")
    s.add_argument("path")
    s.add_argument("--only", type=names, default=set())
    s.add_argument("--data-set", action="store_true", help="only what populate.py makes")
    c = sub.add_parser("compare")
    c.add_argument("path")
    c.add_argument("--suffix", default="")
    c.add_argument("--database", default="")
    c.add_argument("--only", type=names, default=set())
    c.add_argument("--ignore", type=names, default=set(), help="parts of the shape: aliases, load, properties, ...")
    args = p.parse_args()
    connections.connect(uri=args.uri, token=args.token)
    if args.act == "save":
        save(args.path, {f"{spec.database}.{spec.name}" for spec in specs()} if args.data_set else args.only)
    elif not compare(args.path, args.suffix, args.database, args.only, args.ignore):
        sys.exit(1)


if __name__ == "__main__":
    main()
