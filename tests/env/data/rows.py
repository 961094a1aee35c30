"""Rows as digests: every field of every row of a collection, read from a server in the order of the primary key.

A digest is made of the value's own bytes, so that equal digests mean equal values: floats as the 4 or 8 bytes the server
stores, vectors likewise, JSON with sorted keys. What is in a row but not in the schema (dynamic fields) is one field, `$meta`.
"""
import hashlib
import json
import struct
from typing import Iterator

from pymilvus import Collection, DataType

BATCH = 5000
META = "$meta"


def encode(kind: DataType, value) -> bytes:
    if value is None:
        return b"\0null"
    if kind == DataType.FLOAT:
        return struct.pack("<f", value)
    if kind == DataType.DOUBLE:
        return struct.pack("<d", value)
    if kind == DataType.FLOAT_VECTOR:
        return struct.pack(f"<{len(value)}f", *value)
    if kind == DataType.BINARY_VECTOR:
        return b"".join(value) if isinstance(value, list) else bytes(value)
    if kind == DataType.VARCHAR:
        return value.encode()
    if isinstance(value, bytes):  # JSON as some calls give it
        value = json.loads(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=list).encode()


def field_kinds(collection: Collection) -> dict[str, DataType]:
    kinds = {f.name: f.dtype for f in collection.schema.fields}
    if collection.schema.enable_dynamic_field:
        kinds[META] = DataType.JSON
    return kinds


def digests(kinds: dict[str, DataType], row: dict) -> list[str]:
    """One digest a field, in the order of `kinds`."""
    made = []
    for name, kind in kinds.items():
        value = {k: v for k, v in row.items() if k not in kinds} if name == META else row.get(name)
        made.append(hashlib.blake2b(encode(kind, value), digest_size=8).hexdigest())
    return made


def read(collection: Collection) -> Iterator[dict]:
    """All rows by primary key; the collection must be loaded."""
    primary = collection.primary_field
    text = primary.dtype == DataType.VARCHAR
    # the server's parser refuses -2^63, the one key that this would miss
    rest = f'{primary.name} >= ""' if text else f"{primary.name} > {-(2**63) + 1}"
    consistency = "Strong"  # the first page waits for all that was written; what follows sees no less
    while True:
        # a limit on a query gives the smallest keys, which is what makes paging by key right
        page = collection.query(rest, output_fields=["*"], limit=BATCH, consistency_level=consistency)
        consistency = "Eventually"
        page.sort(key=lambda row: row[primary.name])
        yield from page
        if len(page) < BATCH:
            return
        last = page[-1][primary.name]
        rest = f"{primary.name} > {json.dumps(last)}"
