"""Backups of ours and of the Go tool, in both directions: each program lists, shows, restores and deletes what the other made.

    MILVUS_BACKUP_BIN=~/bin/milvus-backup tests/run engine -k go_tool

The other program is spoken to by the command line and the `configs/backup.yaml` of milvus-backup and by nothing else. Where the
variable names none, our own program stands in its place, by the same words and the same file: `[itself]`. That keeps this file
from rotting and **proves nothing about the Go tool**; `[milvus-backup]` does.
"""

import dataclasses
import filecmp
import json
import os
from pathlib import Path

import pytest
import samples
from program import DATA, PREFIX
from pymilvus import Collection, db
from servers import HOST, Milvus
from shell import Place, Shell, configuration

NAMED = os.environ.get("MILVUS_BACKUP_BIN")
HOME = f"{PREFIX}-of-both"
DATABASE = "exchanged"
SOURCES = [f"{DATABASE}.{name}" for name in ("every_type", "keyed", "parts", "lines")]
OURS, THEIRS = "made_by_us", "made_by_them"
# what a restore of the Go tool leaves out, whoever made the backup; a copy under another name can have no alias either
NOT_RESTORED_BY_IT = ("aliases", "properties", "load", "loaded partitions")


@pytest.fixture(scope="module")
def places(program, s3, bucket):
    """Milvus' data, and where both programs keep their backups."""
    s3.delete_prefix(bucket, f"{HOME}/")
    yield Place(s3, bucket, program.root), Place(s3, bucket, HOME)
    s3.delete_prefix(bucket, f"{HOME}/")


@pytest.fixture(scope="module")
def settings(places) -> str:
    """One file for both: change the binary, keep the rest."""
    return configuration(*places, Milvus.port, f"http://{HOST}:{Milvus.metrics_port}")


@pytest.fixture(scope="module")
def us(program, scratch, settings) -> Shell:
    return Shell(program.binary, scratch / "go-tool" / "we", settings)


@pytest.fixture(scope="module", params=["milvus-backup" if NAMED else "itself"])
def them(request, program, scratch, settings) -> Shell:
    """The Go tool, or ourselves in its place, as the name of the test says."""
    binary = Path(NAMED).resolve() if NAMED else program.binary
    assert binary.is_file(), f"MILVUS_BACKUP_BIN names {binary}, where no program is"
    assert not NAMED or not filecmp.cmp(binary, program.binary, shallow=False), "MILVUS_BACKUP_BIN names our own program"
    return Shell(binary, scratch / "go-tool" / request.param, settings)


@pytest.fixture(scope="module")
def sources(program):
    """Every type, partition key, keys of the server, deletes, several segments; one is not loaded. By full name."""
    specs = [samples.every_type(), samples.keyed(), samples.parts(), samples.lines()]
    specs = [dataclasses.replace(spec, database=DATABASE, aliases=[f"exchanged_{alias}" for alias in spec.aliases]) for spec in specs]
    samples.drop_database(DATABASE)
    samples.fill(specs)
    images = samples.images(*SOURCES)
    for spec in specs:
        samples.generated(spec, images[f"{DATABASE}.{spec.name}"])
    db.using_database(DATABASE)
    Collection("keyed").release()
    for full, image in images.items():
        image.shape = samples.shape(*full.split("."))
    yield images
    samples.drop_database(DATABASE)


@pytest.fixture(scope="module")
def made(us, them, sources) -> dict[str, str]:
    """A backup by each, of the same rows: what was said."""
    return {name: whose.run("create", "-n", name, "--filter", f"{DATABASE}.*") for whose, name in ((us, OURS), (them, THEIRS))}


def listed(whose: Shell) -> list[str]:
    said = whose.run("list")
    assert ">> Backups:" in said, said
    return sorted(said.partition(">> Backups:")[2].split())


def shown(whose: Shell, name: str) -> dict:
    """What `get` answers about a backup, but for what either program is free to say in its own way."""
    said = whose.run("get", "-n", name)
    brief, _ = json.JSONDecoder().raw_decode(said, said.index("{"))
    return {key: brief[key] for key in ("name", "size", "milvus_version")} | {
        f"{one['db_name']}.{one['collection_name']}": {
            "id": one["collection_id"],
            "fields": [(field["fieldID"], field["name"], field["data_type"]) for field in one["schema"]["fields"]],
            # one that the server chose has no type there
            "indexes": sorted((index["field_name"], index["index_name"], index.get("index_type", "")) for index in one["index_infos"]),
            **{key: one[key] for key in ("shards_num", "size", "has_index", "load_state")},
        }
        for one in brief["collection_backups"]
    }


def compare(sources, suffix: str, *ignore: str) -> None:
    have = samples.images(*[full + suffix for full in SOURCES])
    words = [f"{full}{suffix}: {text}" for full in SOURCES for text in samples.differences(sources[full], have[full + suffix], *ignore)]
    assert not words, "\n".join(words)


def drop_copies(suffix: str) -> None:
    samples.drop(DATABASE, *[full.split(".")[1] + suffix for full in SOURCES])


def test_each_program_makes_a_backup_and_says_so(made, them, s3, bucket):
    assert all("create backup success" in said for said in made.values()), made
    # what only ours leaves there tells which program it was
    for name, ours in ((OURS, True), (THEIRS, not NAMED)):
        keys = s3.keys(bucket, f"{HOME}/{name}/")
        assert f"{HOME}/{name}/meta/full_meta.json" in keys
        assert (f"{HOME}/{name}/operator/manifest.json" in keys) == ours


def test_each_lists_and_shows_the_backups_of_both(made, us, them, sources):
    for whose in (us, them):
        assert listed(whose) == sorted([OURS, THEIRS])
    for name in (OURS, THEIRS):
        ours, theirs = shown(us, name), shown(them, name)
        assert ours == theirs
        assert ours["name"] == name and ours.keys() - {"name", "size", "milvus_version"} == set(SOURCES)
        assert {full: ours[full]["load_state"] for full in SOURCES} == {
            full: "NotLoad" if full.endswith(".keyed") else "Loaded" for full in SOURCES
        }
    # the same rows of the same collections: all but the segments, which may be merged in between
    assert [shown(us, OURS)[full]["indexes"] for full in SOURCES] == [shown(us, THEIRS)[full]["indexes"] for full in SOURCES]


def test_it_restores_our_backup_and_every_row_is_equal(made, them, sources):
    drop_copies("_there")
    try:
        them.run("restore", "-n", OURS, "-s", "_there", "--rebuild_index")
        compare(sources, "_there", *NOT_RESTORED_BY_IT)
    finally:
        drop_copies("_there")


def test_we_restore_its_backup_and_all_that_it_recorded_is_equal(made, us, sources):
    """In the place of what is there, so that aliases are looked at, too."""
    before = {full: samples.identity(*full.split(".")) for full in SOURCES}
    us.run("restore", "-n", THEIRS, "--drop_exist_collection", "--verify", "sample")
    assert not set(before.values()) & {samples.identity(*full.split(".")) for full in SOURCES}
    compare(sources, "")


def test_its_backup_is_verified_and_damage_in_it_is_named(made, us, s3, bucket):
    data = s3.keys(bucket, f"{HOME}/{THEIRS}/binlogs/")
    for level in ("manifest", "checksum"):
        said = json.loads(us.run("verify", "-n", THEIRS, "--level", level, "--output", "json"))["verification"]
        assert said["objectsChecked"] == len(data), level
    damaged = f"{HOME}/damaged"
    s3.copy_prefix(bucket, f"{HOME}/{THEIRS}/", f"{damaged}/")
    try:
        lost = next(key for key in s3.keys(bucket, f"{damaged}/binlogs/insert_log/"))
        s3.delete(bucket, lost)
        us.run("verify", "-n", "damaged", code=DATA)
        assert lost.removeprefix(f"{damaged}/") in us.errors
    finally:
        s3.delete_prefix(bucket, f"{damaged}/")


def test_a_name_that_one_has_taken_is_refused_by_the_other(made, us, them, s3, bucket):
    before = s3.objects(bucket, f"{HOME}/")
    for whose, taken in ((us, THEIRS), (them, OURS)):
        done = whose.attempt("create", "-n", taken, "--filter", f"{DATABASE}.lines")
        assert done.returncode != 0 and "already" in done.stdout + done.stderr, done
    assert s3.objects(bucket, f"{HOME}/") == before


def test_each_deletes_what_the_other_made(made, us, them, s3, bucket):
    for whose, name in ((them, OURS), (us, THEIRS)):
        assert name in listed(us) and name in listed(them)
        whose.run("delete", "-n", name)
        assert name not in listed(us) + listed(them)
        assert s3.keys(bucket, f"{HOME}/{name}/") == []
