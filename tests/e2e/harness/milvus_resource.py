"""Further `Milvus` resources for the one server there is, each as Milvus Operator would have it, with what a test changes."""

import json
import os

import yaml

from harness.kube import Kube

HOST = os.environ.get("S3_TEST_ENDPOINT", "http://10.99.0.2:9000").removeprefix("http://").split(":")[0]
STORE = os.environ.get("S3_TEST_ENDPOINT", "http://10.99.0.2:9000").removeprefix("http://")
GRPC = 19530


def add_milvus(
    kube: Kube,
    name: str,
    *,
    store: str = STORE,
    bucket: str = "",
    port: int = GRPC,
    config: dict | None = None,
    live: dict | None = None,
    secret: bool = True,
) -> str:
    """The resource, its Secret (`<name>-s3`) and what its operator makes; answers the resource's UID.

    `config` goes over spec.config, `live` over the minio part of the live configuration; `secret=False` leaves the Secret out.
    """
    bucket = bucket or os.environ["MILVUS_TEST_BUCKET"]
    if secret:
        kube.apply(store_secret(f"{name}-s3"))
    kube.apply(resource(name, store, {"minio": {"bucketName": bucket}, **(config or {})}))
    made = kube.get("milvus", name)
    kube.run(
        "-n", kube.namespace, "patch", "milvus", name, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": status(made["metadata"]["generation"])}),
    )  # fmt: skip
    minio = {"bucketName": bucket, **((config or {}).get("minio") or {}), **(live or {})}
    kube.apply(*made_by_its_operator(name, made["metadata"]["uid"], store, port, minio))
    return made["metadata"]["uid"]


def remove_milvus(kube: Kube, name: str) -> None:
    kube.delete("milvus", name)
    kube.delete("secret", f"{name}-s3")


def store_secret(name: str, key: str = "", secret: str = "") -> dict:
    """A Secret with S3 keys in the fields that Milvus Operator expects; the server's own keys if none are given."""
    keys = {
        "accesskey": key or os.environ["S3_TEST_ACCESS_KEY"],
        "secretkey": secret or os.environ["S3_TEST_SECRET_KEY"],
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}


def resource(name: str, store: str, config: dict) -> dict:
    return {
        "apiVersion": "milvus.io/v1beta1",
        "kind": "Milvus",
        "metadata": {"name": name},
        "spec": {
            "mode": "standalone",
            "components": {"image": "milvusdb/milvus:v2.3.5"},
            "config": config,
            "dependencies": {
                "msgStreamType": "rocksmq",
                "storage": {"type": "MinIO", "external": True, "endpoint": store, "secretRef": f"{name}-s3"},
            },
        },
    }


def status(generation: int) -> dict:
    kinds = ("StorageReady", "EtcdReady", "MsgStreamReady", "MilvusReady", "MilvusUpdated")
    ready = {"status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {
        "status": "Healthy",
        "currentImage": "milvusdb/milvus:v2.3.5",
        "observedGeneration": generation,
        "conditions": [{"type": kind, **ready} for kind in kinds],
    }


def made_by_its_operator(name: str, uid: str, store: str, port: int, minio: dict) -> list[dict]:
    """Service (here with an address outside the cluster) and ConfigMap, owned by the resource."""
    owner = {
        "apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "name": name, "uid": uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    labels = {
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/name": "milvus",
        "app.kubernetes.io/managed-by": "milvus-operator",
    }
    host, store_port = store.split(":")
    keys = {"accessKeyID": os.environ["S3_TEST_ACCESS_KEY"], "secretAccessKey": os.environ["S3_TEST_SECRET_KEY"]}
    live = {"minio": {"address": host, "port": int(store_port), "useSSL": False, **keys, **minio}, "etcd": {"rootPath": name}}
    made = {"labels": labels, "ownerReferences": [owner]}
    ports = [{"name": "milvus", "port": GRPC}, {"name": "metrics", "port": 9091}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-milvus", **made}, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-milvus-outside",
                "labels": {"kubernetes.io/service-name": f"{name}-milvus"},
                "ownerReferences": [owner],
            },
            "addressType": "IPv4",
            "ports": [{"name": "milvus", "port": port}, {"name": "metrics", "port": 9091}],
            "endpoints": [{"addresses": [HOST]}],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, **made},
            "data": {"hook.yaml": "{}\n", "user.yaml": yaml.safe_dump(live)},
        },
    ]
