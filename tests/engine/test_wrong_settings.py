"""Settings that cannot work are found before anything is flushed, made or written, and named with what to change."""


import pytest
import samples
from program import CONFIGURATION, OK, PREFIX, RETRYABLE, include
from pymilvus import Collection, Role, connections, utility
from servers import second_milvus

LINES = include("faults.lines", "faults.words")


@pytest.fixture
def untouched(s3, bucket, base):
    """Nothing is flushed, created or written: the names and all objects are as they were."""
    server, objects, flushed = samples.everything(), s3.objects(bucket, "backup/"), s3.keys(bucket, "files/insert_log/")
    yield
    assert samples.everything() == server
    assert s3.objects(bucket, "backup/") == objects
    assert s3.keys(bucket, "files/insert_log/") == flushed


@pytest.fixture
def unflushed(base):
    """Rows in memory: a flush would show in the bucket."""
    samples.drop("faults", "unflushed")
    spec = samples.words(30)
    spec.name, spec.tail = "unflushed", 30
    samples.fill([spec])
    yield
    samples.drop("faults", "unflushed")


def refuse(program, reason: str, *words: str, kind: str = "backup", code: int = CONFIGURATION, **task):
    task = {"artifact": "never" if kind == "backup" else "base", **task}
    if kind == "backup":
        task = {"selection": {"include": [{"database": "faults"}]}, **task}
    done = program.run_task(kind, **task).expect(code, *words)
    assert done.reason == reason
    assert "Flushing" not in [line["stage"] for line in done.progress]
    return done


def milvus_with(program, **store) -> dict:
    target = program.milvus()
    target["store"].update(store)
    return target


def test_a_bucket_that_does_not_exist_is_named(program, unflushed, untouched):
    refuse(program, "BucketNotFound", "no-such-bucket", milvus=milvus_with(program, bucket="no-such-bucket"))


def test_a_bucket_that_is_not_the_servers_is_found_before_the_flush(program, s3, unflushed, untouched):
    s3.make("elsewhere")
    target = milvus_with(program, bucket="elsewhere")
    refuse(program, "StoragePathMismatch", "faults.lines", "elsewhere", "bucket or rootPath", milvus=target)


def test_a_root_path_that_is_not_the_servers_is_found_before_the_flush(program, unflushed, untouched):
    refuse(program, "StoragePathMismatch", "faults.lines", "file/insert_log/", milvus=milvus_with(program, prefix="file"))


def test_a_restore_finds_a_bucket_that_is_not_the_servers(program, s3, unflushed, untouched):
    s3.make("elsewhere")
    for wrong in ({"bucket": "elsewhere"}, {"prefix": "file"}):
        target = milvus_with(program, **wrong)
        refuse(program, "StoragePathMismatch", kind="restore", target=target, mapping={"suffix": "_never"})


def test_a_destination_that_does_not_exist_is_named(program, unflushed, untouched):
    refuse(program, "BucketNotFound", "no-such-bucket", destination=program.store("no-such-bucket"))


@pytest.mark.parametrize("key, secret", [("minioadmin", "not-the-secret"), ("nobody", "not-the-secret")])
def test_wrong_keys_are_named_by_their_bucket_and_never_shown(program, bucket, unflushed, untouched, key, secret):
    target = milvus_with(program, credentials={"files": program.keys(key, secret)})
    for task in ({"milvus": target}, {"destination": dict(target["store"], prefix=PREFIX)}):
        done = refuse(program, "AccessDenied", bucket, **task)
        assert "not-the-secret" not in done.log + str(done.report)


def test_a_missing_key_is_named_with_its_secret(program, unflushed, untouched):
    files = {"access_key": "/nowhere/prod-keys/accesskey", "secret_key": "/nowhere/prod-keys/secretkey"}
    target = milvus_with(program, credentials={"files": files})
    refuse(program, "SecretNotFound", "key accesskey of Secret prod-keys", milvus=target)


def test_a_live_configuration_that_differs_is_shown_with_both_values(program, scratch, unflushed, untouched):
    live = scratch / "user.yaml"
    live.write_text("minio:\n  bucketName: moved\n  secretAccessKey: hidden-secret\n")
    target = dict(program.milvus(), liveConfig=str(live))
    for kind, task in (("backup", {"milvus": target}), ("restore", {"target": target, "mapping": {"suffix": "_never"}})):
        done = refuse(program, "SourceConfigDrift", '"moved"', '"prod"', kind=kind, **task)
        assert "hidden-secret" not in done.log + str(done.report)


def test_a_live_configuration_that_agrees_is_no_hindrance(program, scratch, base):
    live = scratch / "agrees.yaml"
    live.write_text("minio:\n  bucketName: prod\n  rootPath: files/\n")
    target = dict(program.milvus(), liveConfig=str(live))
    program.run_task("restore", artifact=base, target=target, mapping={"suffix": "_never"}, preflightOnly=True).expect(OK)


def test_an_s3_server_that_cannot_be_reached_is_named_and_may_be_tried_again(program, unflushed, untouched):
    store = program.store(endpoint="http://127.0.0.1:9999")
    done = refuse(program, "StoreUnavailable", "127.0.0.1:9999", destination=store, code=RETRYABLE)
    assert done.report["class"] == "Retry"


def test_a_milvus_that_cannot_be_reached_is_named_and_may_be_tried_again(unreachable):
    """Started with the session: a server that restarts is waited for, so that this takes minutes."""
    done = unreachable.wait(300).expect(RETRYABLE, "127.0.0.1:19999")
    assert done.reason == "Unreachable" and done.report["class"] == "Retry"
    assert "Flushing" not in [line["stage"] for line in done.progress]


@pytest.fixture(scope="module")
def guarded(program, s3, scratch):
    """A second Milvus, which asks for a login: its target without one."""
    s3.make("guarded")
    s3.delete_prefix("guarded", "")
    server = second_milvus(scratch / "guarded", "guarded", "files", 29530, 29091, 23790)
    try:
        connections.connect("guarded", uri="http://127.0.0.1:29530", token="root:Milvus")
        utility.create_user("reader", "reader-password", using="guarded")
        role = Role("looks_only", using="guarded")
        role.create()
        role.grant("Global", "*", "ShowCollections")
        role.add_user("reader")
        spec = samples.words(20)
        made = Collection("guarded", spec.schema(), using="guarded")
        made.insert([row for _, row in spec.numbered_rows()])
        made.flush()
        yield {**program.milvus(), "port": 29530, "store": program.store("guarded", "files")}
    finally:
        connections.disconnect("guarded")
        server.end()


def login(scratch, user: str, password: str) -> dict:
    folder = scratch / "secrets" / f"login-{user}-{password}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "username").write_text(user)
    (folder / "password").write_text(password + "\n")
    return {"password": {"username": str(folder / "username"), "password": str(folder / "password")}}



def guarded_backup(program, target, **task):
    store = program.store("guarded", "backup")
    return {"milvus": target, "selection": {"include": [{"database": "default"}]}, "destination": store, **task}


def test_a_server_that_asks_for_a_login_is_named_where_there_is_none(program, guarded):
    refuse(program, "AuthRequired", "127.0.0.1:29530", **guarded_backup(program, guarded))


def test_a_wrong_password_is_named_by_its_server_and_never_shown(program, guarded, scratch):
    target = dict(guarded, auth=login(scratch, "root", "wrong-password"))
    done = refuse(program, "AuthFailed", "127.0.0.1:29530", **guarded_backup(program, target))
    assert "wrong-password" not in done.log + str(done.report)


def test_a_login_that_may_not_do_it_is_told_what_is_missing(program, guarded, scratch, s3):
    target = dict(guarded, auth=login(scratch, "reader", "reader-password"))
    done = program.run_task("backup", artifact="never", **guarded_backup(program, target)).expect(CONFIGURATION, "not permitted", "PrivilegeListDatabases", "grant the privilege")
    assert "Flushing" not in [line["stage"] for line in done.progress]
    assert not s3.keys("guarded", "backup/never/meta/")


def test_the_right_login_backs_up_and_restores(program, guarded, scratch):
    target = dict(guarded, auth=login(scratch, "root", "Milvus"))
    program.run_task("backup", artifact="with_login", **guarded_backup(program, target)).expect(OK)
    source = program.store("guarded", "backup")
    task = {"artifact": "with_login", "source": source, "target": target, "mapping": {"suffix": "_back"}}
    done = program.run_task("restore", **task).expect(OK)
    assert done.report["rowCounts"] == {"expected": 20, "actual": 20, "mismatched": []}


