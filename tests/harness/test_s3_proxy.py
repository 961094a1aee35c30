"""The S3 server with faults: it is the server itself until a rule says otherwise."""

import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from harness.kube import until
from harness.s3_proxy import Rule, S3Proxy

BUCKET = "proxy-test"


@pytest.fixture
def proxy(server, client):
    with S3Proxy(server, host=server[0]) as made:
        if BUCKET not in [b["Name"] for b in client(made.endpoint).list_buckets()["Buckets"]]:
            client(made.endpoint).create_bucket(Bucket=BUCKET)
        made.requests.clear()
        yield made


def copy(s3, to: str) -> None:
    s3.copy_object(Bucket=BUCKET, Key=to, CopySource={"Bucket": BUCKET, "Key": "a b+é"})


@pytest.fixture
def s3(proxy, client):
    made = client(proxy.endpoint)
    made.put_object(Bucket=BUCKET, Key="a b+é", Body=b"x" * 100_000)
    return made


def test_what_goes_through_is_what_the_server_has(proxy, s3, client):
    direct = client("http://%s:%d" % proxy.server)
    assert direct.get_object(Bucket=BUCKET, Key="a b+é")["Body"].read() == b"x" * 100_000
    assert s3.get_object(Bucket=BUCKET, Key="a b+é", Range="bytes=5-9")["Body"].read() == b"xxxxx"
    assert s3.head_object(Bucket=BUCKET, Key="a b+é")["ContentLength"] == 100_000
    copy(s3, "copied")
    assert direct.head_object(Bucket=BUCKET, Key="copied")["ContentLength"] == 100_000
    assert "copied" in [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]


def test_a_rule_hits_as_often_as_it_says_and_no_other_request(proxy, s3):
    proxy.rules.append(Rule(copies=True, after=1, times=1, status=503))
    copy(s3, "one")
    with pytest.raises(ClientError, match="SlowDown"):
        copy(s3, "two")
    copy(s3, "three")
    s3.put_object(Bucket=BUCKET, Key="four", Body=b"")
    assert proxy.count(copy=True) == 3


def test_a_held_request_waits_until_it_is_let_go(proxy, s3):
    gate = threading.Event()
    rule = Rule(copies=True, hold=gate)
    proxy.rules.append(rule)
    worker = threading.Thread(target=copy, args=(s3, "held"))
    worker.start()
    until("the copy to be held", 10, lambda: rule.acted)
    assert proxy.count(copy=True) == 0
    gate.set()
    worker.join(10)
    assert proxy.count(copy=True) == 1


def test_a_cut_connection_is_an_error_of_the_client(proxy, s3):
    proxy.rules.append(Rule(method="GET", cut=True))
    with pytest.raises(BotoCoreError):
        s3.get_object(Bucket=BUCKET, Key="a b+é")
