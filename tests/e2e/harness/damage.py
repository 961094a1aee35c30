"""Artifacts in the bucket, copied under another name and then damaged, each in one way."""

from __future__ import annotations

import re

LOG = re.compile(r"(?P<kind>insert|delta)_log/(?P<collection>\d+)/(?P<partition>\d+)/(?P<rest>.*)")


class Artifact:
    """The copy of an artifact under a name of its own, in Milvus' bucket below `backup/`."""

    def __init__(self, s3, bucket: str, of: str, name: str, of_the_go_tool: bool = False):
        """`of_the_go_tool`: without our own files, as milvus-backup would have left it."""
        self.s3, self.bucket, self.name = s3, bucket, name
        self.prefix = f"backup/{name}/"
        self.clear()
        for key in self.list(f"backup/{of}/"):
            rest = key.removeprefix(f"backup/{of}/")
            if not (of_the_go_tool and rest.startswith("operator/")) and "/restores/" not in rest:
                s3.copy_object(Bucket=bucket, Key=self.prefix + rest, CopySource={"Bucket": bucket, "Key": key})

    def list(self, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix or self.prefix)
        return [o["Key"] for page in pages for o in page.get("Contents", [])]

    def clear(self) -> None:
        for key in self.list():
            self.s3.delete_object(Bucket=self.bucket, Key=key)

    def logs(self, kind: str, collection: int, field: int | None = None) -> list[str]:
        """Its binlogs in order: `insert` of one field or of all, or `delta`."""
        found = []
        for key in self.list():
            log = LOG.search(key)
            if log and log["kind"] == kind and int(log["collection"]) == collection:
                if field is None or kind == "delta" or log["rest"].split("/")[-2] == str(field):
                    found.append(key)
        assert found, f"{self.name} has no {kind} log of collection {collection}, field {field}"
        return sorted(found)

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def write(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def remove(self, *keys: str) -> list[str]:
        for key in keys:
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        return list(keys)

    def cut(self, key: str) -> list[str]:
        body = self.read(key)
        self.write(key, body[: len(body) // 2])
        return [key]

    def empty(self, key: str) -> list[str]:
        self.write(key, b"")
        return [key]

    def flip(self, key: str) -> list[str]:
        """One bit, in the middle."""
        body = bytearray(self.read(key))
        body[len(body) // 2] ^= 0x10
        self.write(key, bytes(body))
        return [key]

    def swap(self, one: str, other: str) -> list[str]:
        a, b = self.read(one), self.read(other)
        self.write(one, b)
        self.write(other, a)
        return [one, other]
