"""The real servers behind these tests: S3 and Milvus of tests/env, and seconds of both where a test needs them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions

ROOT = Path(__file__).resolve().parents[2]
ENV = ROOT / "tests/env/env"
HOST = "127.0.0.1"
CLONE_NEWNET = 0x40000000


def wait_for(what: str, ask, seconds: float, pause: float = 0.2):
    """The first answer of `ask` that is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not after {seconds} s"
        time.sleep(pause)


class Environment:
    """S3 and Milvus in a network namespace. From `enter` on this process, and what it starts, is inside."""

    def __init__(self, directory: Path):
        self.directory = directory

    def call(self, *args: str) -> str:
        done = subprocess.run(
            [ENV, *args], env={**os.environ, "ENV_DIR": str(self.directory)}, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    def enter(self) -> None:
        for line in self.call("vars").splitlines():
            name, _, value = line.partition("=")
            if "_TEST_" in name:
                os.environ[name] = value
        inside = subprocess.Popen(
            [ENV, "run", "cat"],
            env={**os.environ, "ENV_DIR": str(self.directory)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            inside.stdin.write(b"there\n")
            inside.stdin.flush()
            assert inside.stdout.readline() == b"there\n"
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{inside.pid}/ns/net") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "cannot enter the network namespace: these tests run as root")
        finally:
            inside.stdin.close()
            inside.wait()


class Milvus:
    """The environment's server."""

    port = 19530
    metrics_port = 9091
    etcd = f"{HOST}:2379"  # embedded; its root path is the default, by-dev

    def __init__(self, environment: Environment):
        self.environment = environment

    def healthy(self) -> bool:
        return healthy(self.metrics_port)

    def pid(self) -> str:
        return self.environment.call("milvus", "pid").strip()

    def kill(self) -> None:
        self.environment.call("milvus", "kill")

    def start(self) -> None:
        self.environment.call("milvus", "start")

    def mend(self) -> bool:
        """Whether it had to be restarted."""
        if self.healthy():
            return False
        self.kill()
        self.start()
        return True

    @contextmanager
    def kept_up(self):
        """Started again whenever it ends, as Kubernetes would: a client that is killed while it asks for the state of an import
        takes a 2.3.5 with it a moment later."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.5):
                if not self.healthy():
                    self.start()  # which is nothing where it lives and is only slow

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=5) as answer:
            return b"OK" in answer.read()
    except OSError:
        return False


class Process:
    """A server of our own, ended by its process group."""

    def __init__(self, command: list, log: Path, **more):
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **more
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        if self.alive():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def second_milvus(directory: Path, bucket: str, root: str, port: int, metrics_port: int, etcd_port: int) -> Process:
    """A Milvus that asks for a login (root:Milvus), on the environment's S3 server."""
    directory.mkdir(parents=True)
    binaries = Path(milvus_directory())
    s3 = os.environ["S3_TEST_ENDPOINT"].removeprefix("http://")
    told = subprocess.run(
        [sys.executable, ROOT / "tests/env/milvus/configure.py", directory, "--bin", binaries, "--s3", s3]
        + ["--bucket", bucket, "--root", root, "--key", os.environ["S3_TEST_ACCESS_KEY"], "--secret", os.environ["S3_TEST_SECRET_KEY"]]
        + ["--port", str(port), "--metrics", str(metrics_port), "--etcd", str(etcd_port), "--auth"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    settings = dict(line.split("=", 1) for line in told.stdout.splitlines())
    server = Process(
        [binaries / "milvus", "run", "standalone", "-alias", f"-{os.getpid()}"],
        directory / "milvus.log",
        cwd=directory,
        env={**os.environ, **settings},
    )
    try:
        wait_for("second Milvus", lambda: server.alive() and healthy(metrics_port), 120)
    except BaseException:
        server.end()
        raise
    return server


def milvus_directory() -> str:
    """Where the environment's Milvus has its binaries: next to the one that runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                target = os.readlink(entry / "exe")
            except OSError:
                continue
            if target.endswith("/milvus"):
                return os.path.dirname(target)
    raise AssertionError("no Milvus runs")


def second_s3(directory: Path, port: int) -> Process:
    """A SeaweedFS of its own beside the environment's."""
    (directory / "tmp").mkdir(parents=True)
    (directory / "data").mkdir()
    (directory / "s3.json").write_text(
        '{"identities":[{"name":"admin","credentials":[{"accessKey":"other","secretKey":"othersecret"}],'
        '"actions":["Admin","Read","Write","List","Tagging"]}]}'
    )
    ports = {"master": 1, "volume": 2, "filer": 3}
    command = [weed(), "server", "-dir=/mnt/data", f"-ip={HOST}", "-ip.bind=0.0.0.0", "-filer", "-s3"]
    for name, offset in ports.items():
        command += [f"-{name}.port={port + offset}", f"-{name}.port.grpc={port + 10000 + offset}"]
    command += ["-master.volumeSizeLimitMB=256", "-master.telemetry=false", "-volume.max=30"]
    command += ["-filer.localSocket=/mnt/filer.sock", "-s3.localSocket=/mnt/s3.sock", "-s3.config=/mnt/s3.json"]
    command += [f"-s3.port={port}", f"-s3.port.grpc={port + 10000}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    # it puts sockets into /tmp by port number: a /tmp of its own, as tests/env gives to the first one
    own_tmp = 'mount --bind "$0" /mnt; mount --bind /mnt/tmp /tmp; exec "$@"'
    server = Process(["unshare", "--mount", "sh", "-ec", own_tmp, directory, *command], directory / "s3.log")
    return server


def weed() -> str:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                target = os.readlink(entry / "exe")
            except OSError:
                continue
            if target.endswith("/weed"):
                return target
    raise AssertionError("no SeaweedFS runs")


class S3:
    """A bucket store as the tests see it, beside the program under test."""

    def __init__(self, endpoint: str, key: str, secret: str):
        self.endpoint, self.key, self.secret = endpoint, key, secret
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=botocore.config.Config(retries={"max_attempts": 3}, s3={"addressing_style": "path"}),
        )

    def ready(self) -> bool:
        try:
            self.make("ready")
            self.put("ready", "x", b"x")
            return self.get("ready", "x") == b"x"
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False

    def make(self, bucket: str) -> None:
        if bucket not in [b["Name"] for b in self.client.list_buckets()["Buckets"]]:
            self.client.create_bucket(Bucket=bucket)

    def objects(self, bucket: str, prefix: str = "") -> dict[str, tuple[int, str]]:
        """Size and tag by key."""
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                if not entry["Key"].endswith("/"):
                    found[entry["Key"]] = (entry["Size"], entry["ETag"])
        return found

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        return sorted(self.objects(bucket, prefix))

    def size(self, bucket: str, prefix: str) -> int:
        return sum(size for size, _ in self.objects(bucket, prefix).values())

    def get(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def copy(self, bucket: str, source: str, target: str) -> None:
        self.client.copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source})

    def copy_prefix(self, bucket: str, source: str, target: str) -> None:
        for key in self.keys(bucket, source):
            self.copy(bucket, key, target + key.removeprefix(source))

    def delete(self, bucket: str, *keys: str) -> None:
        for key in keys:
            self.client.delete_object(Bucket=bucket, Key=key)

    def delete_prefix(self, bucket: str, prefix: str) -> None:
        self.delete(bucket, *self.keys(bucket, prefix))
