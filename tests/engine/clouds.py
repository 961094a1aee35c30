"""What answers like the stores of two clouds: Azurite and fake-gcs-server of tests/env."""

import base64
import hashlib
import hmac
import json
import os
import urllib.error
import urllib.request
from email.utils import formatdate
from urllib.parse import urlsplit

VERSION = "2022-11-02"


class Azure:
    """Azure Blob Storage: a container, and how the shell commands are told of it."""

    name = "azure"

    def __init__(self, container: str):
        self.container = container
        self.endpoint, self.account = os.environ["AZURE_TEST_ENDPOINT"], os.environ["AZURE_TEST_ACCOUNT"]
        self.secret = os.environ["AZURE_TEST_KEY"]
        self.variables = {}
        at = urlsplit(self.endpoint)
        self.settings = {
            "provider": "azure",
            "address": at.hostname,
            "port": at.port,
            "accountName": self.account,
            "bucketName": container,
            "auth.type": "sharedKey",
            "auth.accountKey": self.secret,
        }

    def make(self) -> None:
        self._ask("PUT", "restype=container", {201, 409})

    def keys(self, prefix: str) -> list[str]:
        text = self._ask("GET", f"comp=list&prefix={prefix}&restype=container", {200})
        return [part.split("</Name>")[0] for part in text.split("<Name>")[1:]]

    def _ask(self, method: str, query: str, fine: set[int]) -> str:
        path = f"{urlsplit(self.endpoint).path}/{self.container}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
        lines = [method, *[""] * 11, *[f"{name}:{value}" for name, value in sorted(headers.items())]]
        lines += [f"/{self.account}{path}", *[pair.replace("=", ":", 1) for pair in sorted(query.split("&"))]]
        digest = hmac.new(base64.b64decode(self.secret), "\n".join(lines).encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"
        return ask(urllib.request.Request(f"{self.endpoint}/{self.container}?{query}", method=method, headers=headers), fine)


class Google:
    """Google Cloud Storage: a bucket, and how the shell commands are told of it."""

    name = "gcpnative"

    def __init__(self, bucket: str):
        self.bucket, self.endpoint = bucket, os.environ["GCS_TEST_ENDPOINT"]
        self.secret = "nobody logs in"
        self.variables = {"STORAGE_EMULATOR_HOST": self.endpoint}
        at = urlsplit(self.endpoint)
        self.settings = {
            "provider": "gcpnative",
            "address": at.hostname,
            "port": at.port,
            "bucketName": bucket,
            "auth.type": "default",
        }

    def make(self) -> None:
        body, headers = json.dumps({"name": self.bucket}).encode(), {"Content-Type": "application/json"}
        ask(urllib.request.Request(f"{self.endpoint}/storage/v1/b?project=test", data=body, headers=headers), {200, 409})

    def keys(self, prefix: str) -> list[str]:
        request = urllib.request.Request(f"{self.endpoint}/storage/v1/b/{self.bucket}/o?prefix={prefix}")
        return [item["name"] for item in json.loads(ask(request, {200})).get("items", [])]


def ask(request: urllib.request.Request, fine: set[int]) -> str:
    """The answer's body; fails unless its status is one of these."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    assert status in fine, f"{request.full_url}: {status} {text}"
    return text
