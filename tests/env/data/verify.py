"""Compares a snapshot with what populate.py put in: every row, every field, from the generator and not from a server.

    verify.py SNAPSHOT [--scale 1.0]
Ends with 1 when anything differs. Keys that the server made are left out of the comparison.
"""
import argparse
import gzip
import json
import sys
from collections import Counter

import rows
from dataset import Spec, specs


def expected(spec: Spec) -> tuple[list[str], Counter]:
    """Field names, and how often each row is there, as its digests without a key that the server makes."""
    schema = spec.schema()
    kinds = {f.name: f.dtype for f in schema.fields if not f.auto_id}
    if spec.dynamic:
        kinds[rows.META] = rows.DataType.JSON
    return list(kinds), Counter(tuple(rows.digests(kinds, row)) for row in spec.expected_rows())


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("snapshot")
    p.add_argument("--scale", type=float, default=1.0)
    args = p.parse_args()
    with gzip.open(args.snapshot, "rt") as f:
        taken = json.load(f)
    wrong, total = [], 0
    for spec in specs(args.scale):
        full = f"{spec.database}.{spec.name}"
        if full not in taken:
            wrong.append(f"{full}: not in the snapshot")
            continue
        fields, want = expected(spec)
        columns = [taken[full]["fields"].index(name) for name in fields]
        have = Counter(tuple(row[c] for c in columns) for row in taken[full]["rows"].values())
        total += want.total()
        if want != have:
            wrong.append(f"{full}: {(want - have).total()} rows missing or different, {(have - want).total()} not put in")
    for line in wrong:
        print(f"verify: {line}")
    if wrong:
        sys.exit(1)
    print(f"verify: {total} rows are what was put in, every field")


if __name__ == "__main__":
    main()
