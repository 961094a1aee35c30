"""The commands of a shell, with a configuration file of either schema, against the same servers as the engine's tests."""

import json
import subprocess

import pytest
import samples
from clouds import Azure, Google
from program import CONFIGURATION, OK, PREFIX
from servers import HOST
from shell import Shell

ROOT = f"{PREFIX}-of-commands"
WHOLE = ["faults.lines", "faults.words"]


class OurShell(Shell):
    """Our program, with a file of either schema."""

    def __init__(self, program, folder):
        host, port = program.s3.endpoint.removeprefix("http://").split(":")
        store = {"host": host, "port": port, "key": program.s3.key, "secret": program.s3.secret, "bucket": program.bucket}
        where = {"milvus": HOST, "grpc": program.port, "root": program.root, "backups": ROOT, **store}
        super().__init__(program.binary, folder, SCHEMA_1 % where)
        (folder / "new.yaml").write_text(SCHEMA_2 % where)
        self.program = program

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess:
        done = super().attempt(*arguments)
        assert self.program.s3.secret not in done.stdout + done.stderr, "the secret key is shown"
        return done

    def ended(self, *arguments: str, code: int = OK) -> dict:
        return json.loads(self.run(*arguments, "--output", "json", code=code))


SCHEMA_1 = """
milvus: {address: "%(milvus)s", port: %(grpc)s}
minio:
  address: "%(host)s"
  port: %(port)s
  accessKeyID: "%(key)s"
  secretAccessKey: "%(secret)s"
  bucketName: "%(bucket)s"
  rootPath: "%(root)s"
  backupRootPath: "%(backups)s"
backup: {gcPause: {enable: false}}
"""
SCHEMA_2 = """
configVersion: v2
milvus:
  grpc: {address: "%(milvus)s", port: %(grpc)s}
  storage:
    address: "%(host)s"
    port: %(port)s
    bucketName: "%(bucket)s"
    rootPath: "%(root)s"
    auth: {accessKeyID: "%(key)s", secretAccessKey: "%(secret)s"}
backup:
  pauseGC: false
  storage: {rootPath: "%(backups)s"}
"""


@pytest.fixture(scope="module")
def shell(program, scratch):
    program.s3.delete_prefix(program.bucket, f"{ROOT}/")
    yield OurShell(program, scratch / "commands")
    program.s3.delete_prefix(program.bucket, f"{ROOT}/")


@pytest.fixture(scope="module")
def made(shell, lines):
    """A backup of `faults` by the command `create`: its name."""
    ended = shell.ended("create", "-n", "by_hand", "--filter", "faults.*")
    assert (ended["ok"], ended["name"], ended["summary"]["collections"]) == (True, "by_hand", len(WHOLE))
    assert any(line.startswith('{"progress"') for line in shell.errors.splitlines())
    return "by_hand"


def test_check_is_content_and_leaves_nothing_behind(shell, program):
    before = program.s3.objects(program.bucket, ROOT)
    for schema in ([], ["--config", "new.yaml"]):
        said = shell.run(*schema, "check")
        assert said.rstrip().endswith("Success!") and "Milvus version: " in said
    assert program.s3.objects(program.bucket, ROOT) == before


def test_a_backup_is_listed_and_shown_by_both_schemas(shell, made):
    for schema in ([], ["--config", "new.yaml"]):
        assert made in shell.run(*schema, "list").splitlines()[1:]
        brief = json.loads(shell.run(*schema, "get", "-n", made))
        assert brief["name"] == made and brief["meta_size"] > 0
        assert sorted(f"{c['db_name']}.{c['collection_name']}" for c in brief["collection_backups"]) == WHOLE


def test_a_name_is_given_where_none_is(shell, lines):
    said = shell.run("create", "--filter", "faults.words", "--strategy", "meta_only").splitlines()
    assert said[0] == "create backup success"
    name = said[1].split(":")[0]
    assert name.startswith("backup_") and name in shell.run("list").splitlines()
    shell.run("delete", "-n", name)


def test_everything_comes_back_under_a_suffix(shell, made, lines):
    targets = {full: f"{full}_by_hand" for full in WHOLE}
    try:
        ended = shell.ended("restore", "-n", made, "-s", "_by_hand", "--rebuild_index")
        assert ended["createdCollections"] == len(WHOLE)
        assert ended["rowCounts"]["actual"] == sum(lines[full].count for full in WHOLE)
        have = samples.images(*targets.values())
        for source, target in targets.items():
            assert not samples.differences(lines[source], have[target], "aliases")
        # once more is a conflict, and said so
        again = shell.ended("restore", "-n", made, "-s", "_by_hand", code=CONFIGURATION)
        assert again["reason"] == "ConflictFound"
    finally:
        samples.drop("faults", "lines_by_hand", "words_by_hand")


def test_one_collection_comes_back_by_its_new_name_and_without_indexes(shell, made, lines):
    try:
        shell.run("restore", "-n", made, "--rename", "faults.lines:faults.strokes", "--filter", "faults.strokes", "--rebuild_index=false")
        shape = samples.shape("faults", "strokes")
        assert not shape["indexes"]
    finally:
        samples.drop("faults", "strokes")


def test_a_taken_name_is_refused_and_a_deleted_one_is_free(shell, program, lines):
    shell.run("create", "-n", "again", "--filter", "faults.words")
    shell.run("create", "-n", "again", "--filter", "faults.words", code=CONFIGURATION)
    assert "already something named again" in shell.errors
    assert shell.run("delete", "-n", "again").startswith("delete backup done")
    assert not program.s3.objects(program.bucket, f"{ROOT}/again/")
    shell.run("create", "-n", "again", "--filter", "faults.words")
    shell.run("delete", "-n", "again")


def test_a_collection_that_is_not_there_is_named(shell, lines):
    ended = shell.ended("create", "-n", "nothing", "--filter", "faults.gone", code=CONFIGURATION)
    assert "faults.gone" in ended["message"]
    assert "nothing" not in shell.run("list").splitlines()


def test_a_migrated_file_is_as_good_as_the_old_one(shell, made):
    shell.run("config", "migrate", "-o", "migrated.yaml", "--force")
    assert made in shell.run("list", "--config", "migrated.yaml").splitlines()


def test_a_backup_in_a_directory_comes_back_from_it(shell, program, lines):
    kept = shell.folder / "kept" / "copies"
    here = ["--set", "backup.storage.provider=local", "--set", f"backup.storage.rootPath={kept}", "--config", "new.yaml"]
    made = shell.ended(*here, "create", "-n", "on_disk", "--filter", "faults.*")
    assert made["ok"] and (kept / "on_disk" / "meta" / "full_meta.json").is_file()
    assert "on_disk" in shell.run(*here, "list").splitlines()
    assert not program.s3.objects(program.bucket, f"{ROOT}/on_disk/")
    targets = {full: f"{full}_off_disk" for full in WHOLE}
    try:
        shell.run(*here, "restore", "-n", "on_disk", "-s", "_off_disk")
        have = samples.images(*targets.values())
        for source, target in targets.items():
            assert not samples.differences(lines[source], have[target], "aliases")
    finally:
        samples.drop("faults", "lines_off_disk", "words_off_disk")
    shell.run(*here, "delete", "-n", "on_disk")
    assert not (kept / "on_disk").exists()


@pytest.mark.parametrize("cloud", [Azure, Google])
def test_a_backup_in_a_cloud_comes_back_from_it(shell, program, lines, monkeypatch, cloud):
    store = cloud("of-commands")
    store.make()
    for name, value in store.variables.items():
        monkeypatch.setenv(name, value)
    settings = {**store.settings, "rootPath": "deep/er"}
    there = ["--config", "new.yaml"]
    for name, value in settings.items():
        there += ["--set", f"backup.storage.{name}={value}"]
    assert shell.run(*there, "check").rstrip().endswith("Success!")
    made = shell.ended(*there, "create", "-n", "far", "--filter", "faults.*")
    assert made["ok"] and "deep/er/far/meta/full_meta.json" in store.keys("deep/er/far/")
    assert not program.s3.objects(program.bucket, f"{ROOT}/far/")
    assert "far" in shell.run(*there, "list").splitlines()
    targets = {full: f"{full}_far" for full in WHOLE}
    try:
        shell.run(*there, "restore", "-n", "far", "-s", "_far")
        have = samples.images(*targets.values())
        for source, target in targets.items():
            assert not samples.differences(lines[source], have[target], "aliases")
    finally:
        samples.drop("faults", "lines_far", "words_far")
    assert program.s3.keys(program.bucket, "milvus-backup-staging/") == []
    shell.run(*there, "delete", "-n", "far")
    assert store.keys("deep/er/far/") == []
    assert store.secret not in shell.run(*there, "config", "show") + shell.errors
