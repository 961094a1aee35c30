"""The engine as a process against a real Milvus 2.3.5 and real S3 servers.

    tests/env/env install && PYTHON -m pytest tests/engine        as root; PYTHON as `tests/env/env vars` names it

MILVUS_BACKUP_BIN_UNDER_TEST names the binary, else it is built. ENGINE_TEST_ENV names the directory of an environment
that is up, else one is brought up and taken down again. Milvus is killed and restarted in it.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "env/data"))

from program import PREFIX, Program, build, include  # noqa: E402
from proxy import Proxy  # noqa: E402
from servers import S3, Environment, Milvus, second_s3, wait_for  # noqa: E402


@pytest.fixture(scope="session")
def scratch():
    directory = Path(tempfile.mkdtemp(prefix="engine-tests-"))
    yield directory
    if not os.environ.get("ENGINE_TEST_KEEP"):
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def environment(scratch):
    """Built before entering: cargo may need the network."""
    os.environ["MILVUS_BACKUP_BIN_UNDER_TEST"] = str(build())
    given = os.environ.get("ENGINE_TEST_ENV")
    environment = Environment(Path(given or scratch / "env"))
    if not given:
        environment.call("up", "--servers")
    try:
        for cloud in ("azure", "gcs"):
            environment.call("extra", cloud)
        environment.enter()
        _entered.append(environment)
        from pymilvus import connections

        connections.connect(uri=os.environ["MILVUS_TEST_URI"])
        yield environment
    finally:
        _entered.clear()
        if not given:
            environment.call("down")


@pytest.fixture(scope="session")
def s3(environment):
    return S3(os.environ["S3_TEST_ENDPOINT"], os.environ["S3_TEST_ACCESS_KEY"], os.environ["S3_TEST_SECRET_KEY"])


@pytest.fixture(scope="session")
def other_s3(environment, scratch):
    """Another S3 server, with other keys."""
    server = second_s3(scratch / "other-s3", 9500)
    try:
        other = S3("http://127.0.0.1:9500", "other", "othersecret")
        wait_for("the second S3 server", lambda: server.alive() and other.ready(), 60)
        yield other
    finally:
        server.end()


@pytest.fixture(scope="session")
def milvus(environment):
    return Milvus(environment)


@pytest.fixture(scope="session")
def bucket():
    return os.environ["MILVUS_TEST_BUCKET"]


@pytest.fixture(scope="session")
def program(environment, scratch, s3):
    binary = Path(os.environ["MILVUS_BACKUP_BIN_UNDER_TEST"])
    bucket = os.environ["MILVUS_TEST_BUCKET"]
    s3.delete_prefix(bucket, f"{PREFIX}/")
    yield Program(binary, scratch / "runs", s3, bucket, os.environ["MILVUS_TEST_ROOT_PATH"], Milvus.port)
    if not os.environ.get("ENGINE_TEST_KEEP"):
        s3.delete_prefix(bucket, f"{PREFIX}/")


@pytest.fixture(scope="session")
def unreachable(program):
    """A backup of a Milvus where none is. It waits for minutes, so it is begun with the session and asked last."""
    run = program.start("backup", artifact="unreachable", milvus=dict(program.milvus(), port=19999))
    yield run
    run.kill()


@pytest.fixture(scope="session", autouse=True)
def _early(request):
    if any("unreachable" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("unreachable")


@pytest.fixture(scope="session")
def _proxy(environment):
    proxy = Proxy(os.environ["S3_TEST_ENDPOINT"])
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(_proxy):
    _proxy.reset()
    yield _proxy
    _proxy.reset()


_entered: list[Environment] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Milvus 2.3.5 falls over by itself now and then; what no test did is mended before the next, and said."""
    for environment in _entered:
        if Milvus(environment).mend():
            print(f"Milvus was not healthy before {item.name}: restarted")


@pytest.fixture(scope="session")
def lines(program):
    """`faults.lines` and `faults.words`, filled and loaded: images of both by full name."""
    import samples

    specs = [samples.lines(), samples.words()]
    samples.drop_database("faults")
    samples.fill(specs)
    images = samples.images(*[f"{spec.database}.{spec.name}" for spec in specs])
    for spec in specs:
        image = images[f"{spec.database}.{spec.name}"]
        samples.generated(spec, image)
        image.shape = samples.shape(spec.database, spec.name)  # loaded now
    yield images
    samples.drop_database("faults")


@pytest.fixture(scope="session")
def base(program, lines):
    """A backup of `faults`, to restore from and to make damaged copies of: its artifact name."""
    done = program.run_task("backup", artifact="base", selection={"include": [{"database": "faults"}]})
    assert done.code == 0, f"{done.message}\n{done.log}"
    return "base"


__all__ = ["include"]
