"""Our custom resources as dictionaries: the short form of what a user writes, for tests to change."""

import os

API = "backup.milvus.io/v1alpha1"


def backup(name: str, *databases: str, milvus: str = "prod", **spec) -> dict:
    """A MilvusBackup of these databases, or of all; further fields of the spec by name."""
    body = {"source": {"milvusRef": {"name": milvus}}, **spec}
    if databases:
        body["selection"] = {"include": [{"database": d} for d in databases]}
    return {"apiVersion": API, "kind": "MilvusBackup", "metadata": {"name": name}, "spec": body}


def restore(name: str, of: str, milvus: str = "prod", **spec) -> dict:
    """A MilvusRestore from a MilvusBackup; further fields of the spec by name."""
    body = {"from": {"backupRef": {"name": of}}, "target": {"milvusRef": {"name": milvus}}, **spec}
    return {"apiVersion": API, "kind": "MilvusRestore", "metadata": {"name": name}, "spec": body}


def of_artifact(name: str, artifact: str, location: str = "", milvus: str = "prod", **spec) -> dict:
    """A MilvusRestore from a backup that lies in a bucket."""
    lies = {"name": artifact} | ({"locationRef": {"name": location}} if location else {})
    body = {"from": {"artifact": lies}, "target": {"milvusRef": {"name": milvus}}, **spec}
    return {"apiVersion": API, "kind": "MilvusRestore", "metadata": {"name": name}, "spec": body}


def location(name: str, bucket: str, prefix: str = "", endpoint: str = "", secret: str = "", **spec) -> dict:
    """A MilvusBackupLocation on the S3 server of the environment, or on another one."""
    s3 = {"bucket": bucket, "endpoint": endpoint or os.environ["S3_TEST_ENDPOINT"]} | ({"prefix": prefix} if prefix else {})
    body = {"s3": s3, **spec} | ({"credentials": {"secretRef": {"name": secret}}} if secret else {})
    return {"apiVersion": API, "kind": "MilvusBackupLocation", "metadata": {"name": name}, "spec": body}


def renamed(new: dict[str, str]) -> dict:
    """A mapping of databases."""
    return {"databases": [{"from": a, "to": b} for a, b in new.items()]}
