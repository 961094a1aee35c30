"""Compares every row of demo_books and demo_authors with what prepare_data.py put in, and searches by vector.

Ends with 1 where a row is missing, added or different.
"""

import struct
import sys

from demo import NAMES, connect, rows
from pymilvus import Collection, utility


def stored(collection: Collection, keys: int) -> dict[int, dict]:
    """Rows by key, read in steps."""
    found = {}
    for start in range(0, keys, 1000):
        within = f"id >= {start} && id < {start + 1000}"
        fields = ["title", "year", "vector"]
        for row in collection.query(within, output_fields=fields, consistency_level="Strong"):
            found[row["id"]] = row
    return found


def equal(want: dict, have: dict | None) -> bool:
    if have is None or (want["title"], want["year"]) != (have["title"], have["year"]):
        return False
    # Milvus keeps 32 bits of each number.
    mine, theirs = (struct.pack(f"{len(row['vector'])}f", *row["vector"]) for row in (want, have))
    return mine == theirs


def problems(name: str, target: str) -> list[str]:
    """What is wrong with `target`, which is to hold the rows of `name`."""
    if not utility.has_collection(target):
        return [f"{target} does not exist"]
    collection = Collection(target)
    if not collection.indexes:
        return [f"{target} has no index"]
    collection.load()
    found = []
    want = {row["id"]: row for row in rows(name)}
    count = collection.query("id >= 0", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
    if count != len(want):
        found.append(f"{target} has {count} rows in place of {len(want)}")
    have = stored(collection, len(want))
    different = [key for key in want if not equal(want[key], have.get(key))]
    if different:
        found.append(f"{target}: {len(different)} rows are missing or different, the first has id {different[0]}")
    how = {"metric_type": "L2", "params": {"nprobe": 16}}
    nearest = collection.search([want[7]["vector"]], "vector", how, limit=1, consistency_level="Strong")[0]
    if [hit.id for hit in nearest] != [7]:
        found.append(f"{target}: a search for the vector of row 7 finds {[hit.id for hit in nearest]}")
    return found


def main() -> int:
    arguments = connect(__doc__, suffix={"default": "", "help": "suffix of restored collections"})
    wrong = 0
    for name in NAMES:
        target = name + arguments.suffix
        found = problems(name, target)
        for problem in found:
            print(problem, file=sys.stderr)
        if not found:
            print(f"{target}: {len(rows(name))} rows, all as they were")
        wrong += len(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
