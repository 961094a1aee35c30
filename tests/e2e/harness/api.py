"""Reads objects from the API server over one connection: a test that waits asks five times a second, and each kubectl costs a
fifth of a second of processor time."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from pathlib import Path

import urllib3
import yaml

OURS = "apis/backup.milvus.io/v1alpha1"
# by the names the tests use: the API and the plural
KINDS = {
    "mbk": (OURS, "milvusbackups"),
    "mrs": (OURS, "milvusrestores"),
    "mbl": (OURS, "milvusbackuplocations"),
    "jobs": ("apis/batch/v1", "jobs"),
    "leases": ("apis/coordination.k8s.io/v1", "leases"),
    "pods": ("api/v1", "pods"),
    "events": ("api/v1", "events"),
}


class ApiError(Exception):
    """The API server answered with another status than 200 or 404; the text is its message."""


class Api:
    """Reads as the user of a kubeconfig."""

    def __init__(self, server: str, pool: urllib3.PoolManager):
        self.server, self.pool = server, pool

    @classmethod
    def of(cls, kubeconfig: Path) -> Api | None:
        """None where the user has no client certificate in the file: then kubectl has to ask."""
        config = yaml.safe_load(kubeconfig.read_text())
        named = {kind: {one["name"]: one[kind] for one in config.get(f"{kind}s", [])} for kind in ("cluster", "user", "context")}
        context = named["context"].get(config.get("current-context"), {})
        cluster, user = named["cluster"].get(context.get("cluster"), {}), named["user"].get(context.get("user"), {})
        parts = [
            cluster.get("certificate-authority-data"),
            user.get("client-certificate-data"),
            user.get("client-key-data"),
        ]
        if not all(parts):
            return None
        with tempfile.TemporaryDirectory() as folder:
            files = [os.path.join(folder, name) for name in ("ca", "certificate", "key")]
            for file, part in zip(files, parts, strict=True):
                Path(file).write_bytes(base64.b64decode(part))
            tls = urllib3.util.create_urllib3_context()
            tls.load_verify_locations(files[0])
            tls.load_cert_chain(files[1], files[2])
        pool = urllib3.PoolManager(ssl_context=tls, timeout=30, retries=urllib3.Retry(3, redirect=0))
        return cls(cluster["server"], pool)

    def get(self, kind: str, namespace: str, name: str) -> dict | None:
        """The object, or None where there is none."""
        return self.ask(kind, namespace, f"/{name}")

    def list(self, kind: str, namespace: str, selector: str = "") -> list[dict]:
        found = self.ask(kind, namespace, "", {"labelSelector": selector} if selector else {})
        return found["items"] if found else []

    def ask(self, kind: str, namespace: str, rest: str, fields: dict | None = None) -> dict | None:
        api, plural = KINDS[kind]
        answer = self.pool.request("GET", f"{self.server}/{api}/namespaces/{namespace}/{plural}{rest}", fields=fields)
        if answer.status == 404:
            return None
        said = json.loads(answer.data)
        if answer.status != 200:
            raise ApiError(f"reading {plural}{rest}: {said.get('message', answer.status)}")
        return said
