"""A Kubernetes API in which no pod runs (`tests/run api`): kubectl, and the definitions of this work tree."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    if "KUBECONFIG" not in os.environ or "KUBECTL" not in os.environ:
        pytest.exit("these tests need a Kubernetes API: run them with `tests/run api`", returncode=2)


class Kubectl:
    def attempt(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            [os.environ["KUBECTL"], *args], input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=60
        )

    def __call__(self, *args: str, stdin: str | None = None) -> str:
        done = self.attempt(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *args: str) -> dict:
        return json.loads(self(*args, "-o", "json"))


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    return Kubectl()


@pytest.fixture(scope="session")
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds/")
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", "crds/")


@pytest.fixture
def namespace(kubectl: Kubectl, request):
    """One for each test."""
    name = "t-" + str(abs(hash(request.node.nodeid)))[:12]
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
