"""Fixtures of the end-to-end tests. They run beside the cluster, where it, Milvus and S3 are in reach: `make e2e`."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness.kube import Kube, safe_name  # noqa: E402
from harness.milvus import Data, Milvus  # noqa: E402
from harness.milvus_resource import HOST, add_milvus, remove_milvus  # noqa: E402
from harness.objects import backup  # noqa: E402
from harness.s3_proxy import S3Proxy  # noqa: E402
from harness.states import States  # noqa: E402

ENV = HERE.parent / "env/env"
EVIDENCE = HERE.parents[1] / "target/e2e"


def pytest_configure(config):
    if "MILVUS_TEST_URI" not in os.environ:
        pytest.exit("these tests need their environment: run them with `make e2e`", returncode=2)


def pytest_collection_modifyitems(items):
    """A 2.3.5 that was killed may ail for a while, so that comes late; and last what looks back on all that was seen."""
    late = {"test_restarts": 1, "test_states": 2}
    items.sort(key=lambda item: late.get(item.path.stem, 0))


def pytest_terminal_summary(terminalreporter):
    """What tests measured (`record_property`), passed or not."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for title, text in report.user_properties:
            terminalreporter.write_sep("-", title)
            terminalreporter.write_line(text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        folder = EVIDENCE / safe_name(item.name)
        Kube().save_evidence(folder)
        report.sections.append(("evidence", f"objects, events and logs: {folder}"))
    return report


@pytest.fixture(scope="session")
def kube() -> Kube:
    found = Kube()
    found.wait_operator()
    for kind in ("mrs", "mbk", "mbl", "jobs"):  # of an earlier run of the tests
        found.run("-n", found.namespace, "delete", kind, "--all", "--timeout=120s", seconds=130)
    return found


@pytest.fixture(scope="session")
def milvus_server() -> Milvus:
    return Milvus(os.environ["MILVUS_TEST_URI"])


@pytest.fixture
def milvus(milvus_server: Milvus) -> Milvus:
    """Alive at the start of every test: a 2.3.5 sometimes falls over by itself, and then no product is to blame."""
    if not milvus_server.alive():
        milvus_server.start()
    return milvus_server


@pytest.fixture(scope="session")
def s3():
    """A boto3 client of the S3 server; Milvus' bucket is `bucket`."""
    return client_of("S3_TEST")


def client_of(server: str):
    return boto3.client(
        "s3",
        endpoint_url=os.environ[f"{server}_ENDPOINT"],
        aws_access_key_id=os.environ[f"{server}_ACCESS_KEY"],
        aws_secret_access_key=os.environ[f"{server}_SECRET_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture
def another_bucket(s3, name: str) -> str:
    """An empty one of this test's own."""
    made = name[-50:].strip("-")
    if made in [b["Name"] for b in s3.list_buckets()["Buckets"]]:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=made):
            for o in page.get("Contents", []):
                s3.delete_object(Bucket=made, Key=o["Key"])
    else:
        s3.create_bucket(Bucket=made)
    return made


@pytest.fixture(scope="session")
def bucket() -> str:
    return os.environ["MILVUS_TEST_BUCKET"]


@pytest.fixture
def s3_proxies():
    """Makes second addresses of the S3 server, with faults to be set on each."""
    host, port = os.environ["S3_TEST_ENDPOINT"].removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(S3Proxy((host, int(port)), host=host))


@pytest.fixture
def s3_proxy(s3_proxies) -> S3Proxy:
    """One of them."""
    return s3_proxies()


@pytest.fixture
def another_milvus(kube: Kube, name: str):
    """Makes further `Milvus` resources, each with a lock of its own; `add_milvus` says what can be changed in them."""
    made = []

    def make(suffix: str = "m", **more) -> str:
        made.append(f"{name[:24].strip('-')}-{suffix}")  # its Service has seven characters more, of 63
        add_milvus(kube, made[-1], **more)
        return made[-1]

    yield make
    for one in made:
        remove_milvus(kube, one)


@pytest.fixture
def milvus_through(another_milvus, s3_proxy: S3Proxy) -> str:
    """The name of a second `Milvus` resource: the same server, its store behind the proxy."""
    return another_milvus("p", store=s3_proxy.address)


@pytest.fixture(scope="session")
def locked_milvus() -> dict:
    """A second Milvus, which asks for a login (root, password Milvus): what `add_milvus` has to know of it."""
    subprocess.run([ENV, "extra", "milvus"], check=True, timeout=240)
    return {"port": int(os.environ["LOCKED_MILVUS_PORT"]), "bucket": os.environ["LOCKED_MILVUS_BUCKET"]}


@pytest.fixture(scope="session")
def other_s3():
    """A boto3 client of a second S3 server, with keys of its own; its address is EXTRA_S3_ENDPOINT."""
    subprocess.run([ENV, "extra", "s3"], check=True, timeout=120)
    return client_of("EXTRA_S3")


@pytest.fixture(scope="session")
def data(milvus_server: Milvus) -> Data:
    """The whole data set in databases of its own, for tests that only read it."""
    return Data.make(milvus_server, "shared_")


@pytest.fixture(scope="session")
def shared_backup(kube: Kube, data: Data) -> str:
    """The name of a backup of `data` in Milvus' own bucket."""
    kube.delete("mbk", "shared")
    kube.apply(backup("shared", *data.databases))
    done = kube.wait_finished("mbk", "shared")
    assert done["status"] == "True", done
    return "shared"


@pytest.fixture(scope="session", autouse=True)
def states(kube: Kube):
    """Every state that an object of ours was seen in, as the API server had it."""
    with States(kube, EVIDENCE / "states") as seen:
        yield seen


@pytest.fixture
def name(request) -> str:
    """A name for this test's objects."""
    return safe_name(request.node.name.removeprefix("test_"))


@pytest.fixture
def prefix(name: str, milvus: Milvus):
    """A prefix for this test's databases; those that carry it are gone before and after."""
    mine = name.replace("-", "_")[:24].strip("_") + "_"
    drop_databases(milvus, mine)
    yield mine
    if milvus.alive():
        drop_databases(milvus, mine)


def drop_databases(milvus: Milvus, prefix: str) -> None:
    from pymilvus import db

    for database in db.list_database():
        if database.startswith(prefix):
            milvus.drop_database(database)
