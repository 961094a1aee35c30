"""Writes the configuration of a standalone Milvus 2.3.5 and prints the environment it wants, NAME=VALUE a line.

Any key of milvus.yaml can be given by environment (dots to underscores, upper case) and wins over the file; the
package's template is filled in for ports and directories only.
"""
import argparse
import os

import milvus

p = argparse.ArgumentParser()
p.add_argument("work", help="its directory: configs, logs, data")
p.add_argument("--bin", required=True, help="directory of the unpacked server")
p.add_argument("--s3", required=True, help="HOST:PORT")
p.add_argument("--bucket", required=True)
p.add_argument("--root", required=True)
p.add_argument("--key", required=True)
p.add_argument("--secret", required=True)
p.add_argument("--port", type=int, required=True)
p.add_argument("--metrics", type=int, required=True)
p.add_argument("--etcd", type=int, required=True, help="client port of the embedded etcd; the next one is for its peers")
p.add_argument("--auth", action="store_true", help="ask for a login (root:Milvus)")
p.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="any other key of milvus.yaml")
args = p.parse_args()

work = os.path.abspath(args.work)
config = milvus.MilvusServerConfig(data_dir=work)
config.resolve_storage()
PORTS = (
    "proxy_port proxy_internal_port root_coord_port query_coord_port query_node_port index_coord_port "
    "index_node_port data_coord_port data_node_port"
).split()
for offset, name in enumerate(PORTS):
    config.set(name, args.port + offset)
config.set("etcd_port", args.etcd)
config.set("authorization_enabled", args.auth)
config.write_config()

# the embedded etcd takes its addresses from a file of its own
etcd = os.path.join(work, "configs", "etcd.yaml")
client, peer = f"http://127.0.0.1:{args.etcd}", f"http://127.0.0.1:{args.etcd + 1}"
with open(etcd, "w") as f:
    f.write(
        f"name: default\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\n"
        f"listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\ninitial-cluster: default={peer}\n"
    )

host, port = args.s3.rsplit(":", 1)
settings = {
    "common.storageType": "remote",
    "minio.address": host,
    "minio.port": port,
    "minio.accessKeyID": args.key,
    "minio.secretAccessKey": args.secret,
    "minio.bucketName": args.bucket,
    "minio.rootPath": args.root,
    "log.file.rootPath": "",
    "log.stdout": "true",
    "log.level": "info",
    # the index builder looks for work ten times a second, not once: two thirds of the time a small data set takes
    "indexCoord.scheduler.interval": "100",
    "indexNode.scheduler.buildParallel": "2",
}
for node in ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode"):
    settings[node + ".ip"] = "127.0.0.1"  # the advertised address; it would take the first one it finds
settings.update(pair.split("=", 1) for pair in args.set)

environment = {
    "DEPLOY_MODE": "STANDALONE",
    "METRICS_PORT": args.metrics,
    "ETCD_CONFIG_PATH": etcd,
    "LD_LIBRARY_PATH": args.bin,
    **{key.replace(".", "_").upper(): value for key, value in settings.items()},
}
for name, value in environment.items():
    print(f"{name}={value}")
