"""Tests of the tests' own tools, on the servers of the environment: `tests/run api`."""

import os
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "e2e"))
sys.path.insert(0, str(TESTS / "env/data"))


def pytest_configure(config):
    if "S3_TEST_ENDPOINT" not in os.environ:
        pytest.exit("these tests need the environment's servers: run them with `tests/run api`", returncode=2)


@pytest.fixture
def client():
    """Makes a boto3 client for an endpoint, without retries of its own."""

    def make(endpoint: str):
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=os.environ["S3_TEST_ACCESS_KEY"],
            aws_secret_access_key=os.environ["S3_TEST_SECRET_KEY"],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, read_timeout=20),
        )

    return make


@pytest.fixture
def server() -> tuple[str, int]:
    host, port = os.environ["S3_TEST_ENDPOINT"].removeprefix("http://").split(":")
    return host, int(port)
