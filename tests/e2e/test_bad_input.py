"""What bad input gets: a sentence that names the thing, before anything is flushed, created or written."""

import pytest
from harness.kube import condition_of
from harness.milvus_resource import store_secret
from harness.objects import backup, location, of_artifact, restore

REPLACE = {"onConflict": "Replace"}


# ------------------------------------------------------------------------------------------- refused by kubectl apply
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        pytest.param(
            backup("x") | {"spec": {"source": {}}},
            "source takes exactly one of milvusRef (a Milvus of Milvus Operator) and connection (any other)",
            id="no-milvus",
        ),
        pytest.param(
            backup("x", lifecycle={"expireAfterSeconds": 5}),
            "lifecycle.expireAfterSeconds is at least 60; leave it out to keep the backup",
            id="expires-at-once",
        ),
        pytest.param(
            backup("x", selection={"include": [{"database": "default", "collections": ["sales.orders"]}]}),
            "write the database in `database` and bare collection names in `collections`, without a dot",
            id="dotted-collection",
        ),
        pytest.param(
            restore("x", "y", **REPLACE),
            "onConflict: Replace drops existing collections: set confirmTargetUID to the metadata.uid of the target Milvus",
            id="replace-unconfirmed",
        ),
        pytest.param(
            restore("x", "y", mapping={"suffix": "_b", "collections": [{"from": "a", "to": "b"}]}),
            "mapping takes suffix or collections, not both: write the suffix into each `to`, or drop collections",
            id="suffix-and-names",
        ),
        pytest.param(
            restore("x", "y", mapping={"databases": [{"from": "a", "to": "c"}, {"from": "b", "to": "c"}]}),
            "mapping.databases: two entries have the same `to`: give each its own target name",
            id="two-into-one",
        ),
        pytest.param(
            location("x", bucket="s3://prod"),
            "write the bare name of the bucket: no s3://, no path, letters, digits, '-', '.' and '_'",
            id="bucket-as-url",
        ),
    ],
)
def test_an_invalid_spec_is_refused_with_a_sentence(kube, wrong, sentence):
    assert sentence in kube.refused(wrong)


def test_what_cannot_change_is_refused_and_cancel_cannot_be_taken_back(kube, another_milvus, name):
    kube.apply(backup(name, milvus="not-there"))
    assert "source cannot be changed" in kube.refused(backup(name, milvus="other"))
    kube.apply(backup(name, milvus="not-there", cancel=True))
    assert "cancel cannot be taken back" in kube.refused(backup(name, milvus="not-there", cancel=False))
    assert kube.wait_finished("mbk", name)["reason"] == "Cancelled"


# -------------------------------------------------------------- missing things: a condition with the name, then recovery
def waits_for(kube, kind: str, name: str, condition: str, reason: str) -> str:
    """The message of that condition while the run goes on waiting."""
    o = kube.wait(kind, name, f"{condition}={reason}", 60, lambda o: condition_of(o, condition).get("reason") == reason)
    assert condition_of(o, condition)["status"] == "False", o["status"]["conditions"]
    assert condition_of(o, "Succeeded")["status"] == "Unknown", o["status"]["conditions"]
    assert condition_of(o, "Stalled")["status"] == "False", o["status"]["conditions"]
    return condition_of(o, condition)["message"]


def test_a_milvus_that_comes_later_is_waited_for(kube, milvus, data, another_milvus, name):
    kube.apply(backup(name, milvus=f"{name[:24].strip('-')}-m", selection=data.pattern("orders")))
    assert f"there is no Milvus search/{name[:24].strip('-')}-m" in waits_for(kube, "mbk", name, "SourceResolved", "NotFound")
    another_milvus()
    kube.succeeds("mbk", name)
    assert len(kube.get("mbk", name)["status"]["attempts"]) == 1


def test_a_location_that_comes_later_is_waited_for(kube, milvus, data, bucket, name):
    kube.apply(backup(name, locationRef={"name": name}, selection=data.pattern("orders")))
    assert f"there is no MilvusBackupLocation search/{name}" in waits_for(kube, "mbk", name, "LocationAvailable", "NotFound")
    kube.apply(store_secret(f"{name}-keys"), location(name, bucket=bucket, prefix="later", secret=f"{name}-keys"))
    kube.succeeds("mbk", name)
    assert kube.get("mbk", name)["status"]["artifact"]["uri"].startswith(f"s3://{bucket}/later/")


def test_a_key_that_comes_later_is_waited_for(kube, milvus, data, another_milvus, name):
    through = another_milvus(secret=False)
    incomplete = store_secret(f"{through}-s3")
    incomplete["stringData"].pop("secretkey")
    kube.apply(incomplete)
    kube.apply(backup(name, milvus=through, selection=data.pattern("orders"), retry={"maxAttempts": 1}))
    said = waits_for(kube, "mbk", name, "SourceResolved", "SecretNotFound")
    assert f"key secretkey of Secret {through}-s3 does not exist" in said, said

    kube.apply(store_secret(f"{through}-s3"))
    attempts = kube.succeeds("mbk", name)["attempts"]
    assert [a["exitClass"] for a in attempts] == ["SecretNotFound", "Succeeded"], attempts


def test_a_backup_that_comes_later_is_waited_for(kube, milvus, data, prefix, name):
    kube.apply(restore(f"{name}-r", name, mapping={"suffix": "_x"}, preflightOnly=True))
    assert f"there is no MilvusBackup search/{name}" in waits_for(kube, "mrs", f"{name}-r", "SourceAvailable", "NotFound")
    kube.apply(backup(name, selection=data.pattern("orders")))
    assert kube.wait_finished("mrs", f"{name}-r")["reason"] == "PreflightPassed"


# --------------------------------------------------------------------------------- wrong settings, found in preflight
def fails(kube, kind: str, name: str, reason: str) -> str:
    """The message of the end, with that reason, after one attempt."""
    done = kube.wait_finished(kind, name)
    assert (done["status"], done["reason"]) == ("False", reason), done
    o = kube.get(kind, name)
    assert condition_of(o, "Stalled")["status"] == "True", o["status"]["conditions"]
    assert len(o["status"].get("attempts", [])) <= 1, o["status"]["attempts"]
    return done["message"]


def wrote_nothing(s3, bucket: str, name: str) -> bool:
    found = s3.list_objects_v2(Bucket=bucket, Prefix=f"backup/search_{name.replace('-', '_')}")
    return found["KeyCount"] == 0


def test_a_wrong_bucket_is_named_before_anything_is_flushed(kube, milvus, data, another_milvus, name):
    through = another_milvus(bucket="not-its-bucket")
    kube.apply(backup(name, milvus=through, selection=data.pattern("orders")))
    assert "bucket not-its-bucket" in fails(kube, "mbk", name, "BucketNotFound")
    assert "not-its-bucket" in condition_of(kube.get("mbk", name), "LocationAvailable")["message"]


def test_a_bucket_that_is_not_the_one_milvus_writes_to_is_named(kube, milvus, data, s3, another_bucket, another_milvus, name):
    through = another_milvus(bucket=another_bucket)
    kube.apply(backup(name, milvus=through, selection=data.pattern("orders")))
    said = fails(kube, "mbk", name, "StoragePathMismatch")
    assert another_bucket in said and ".orders" in said and "bucket or rootPath is not the one Milvus writes to" in said, said
    assert wrote_nothing(s3, another_bucket, name)
    assert condition_of(kube.get("mbk", name), "SourceResolved")["reason"] == "StoragePathMismatch"


def test_a_wrong_root_path_is_named(kube, milvus, data, s3, bucket, another_milvus, name):
    through = another_milvus(config={"minio": {"bucketName": bucket, "rootPath": "elsewhere"}})
    kube.apply(backup(name, milvus=through, selection=data.pattern("orders")))
    assert "elsewhere/insert_log/" in fails(kube, "mbk", name, "StoragePathMismatch")
    assert wrote_nothing(s3, bucket, name)


def test_a_live_configuration_that_says_otherwise_is_drift_and_both_values_are_named(
    kube, milvus, data, s3, bucket, another_milvus, name
):
    through = another_milvus(live={"rootPath": "moved"})
    kube.apply(backup(name, milvus=through, selection=data.pattern("orders")))
    said = fails(kube, "mbk", name, "SourceConfigDrift")
    assert '"moved"' in said and '"files"' in said, said
    assert "minioadmin" not in str(kube.get("mbk", name)), "a key in the object"
    assert wrote_nothing(s3, bucket, name)


def test_wrong_keys_are_named_without_being_shown(kube, milvus, data, another_milvus, name):
    through = another_milvus(secret=False)
    kube.apply(store_secret(f"{through}-s3", secret="not-the-secret"))
    kube.apply(backup(name, milvus=through, selection=data.pattern("orders")))
    said = fails(kube, "mbk", name, "AccessDenied")
    assert "check the credentials" in said, said
    assert "not-the-secret" not in str(kube.get("mbk", name)), "a key in the object"


def test_a_collection_that_does_not_exist_is_named_with_the_databases_searched(kube, milvus, data, name):
    database = data.databases[0]
    kube.apply(backup(name, selection={"include": [{"database": database, "collections": ["no_such"]}]}))
    said = fails(kube, "mbk", name, "Rejected")
    assert f"no collection matches {database}.no_such: searched database {database}" in said, said


def test_a_login_that_milvus_asks_for_is_asked_of_the_user(kube, milvus, another_milvus, name):
    through = another_milvus(config={"common": {"security": {"authorizationEnabled": True}}})
    kube.apply(backup(name, milvus=through))
    said = waits_for(kube, "mbk", name, "SourceResolved", "AuthRequired")
    assert f"Milvus search/{through} asks for a login" in said and "auth.passwordSecretRef" in said, said
    assert kube.get("mbk", name)["status"].get("attempts", []) == []


def test_a_wrong_password_is_named_and_the_right_one_works(kube, locked_milvus, another_milvus, s3, name):
    through = another_milvus(**locked_milvus, config={"common": {"security": {"authorizationEnabled": True}}})
    kube.apply(login(f"{name}-wrong", "not-it"), login(f"{name}-right", "Milvus"))
    auth = {"passwordSecretRef": {"name": f"{name}-wrong"}}

    kube.apply(backup(f"{name}-1", milvus=through, auth=auth))
    said = fails(kube, "mbk", f"{name}-1", "AuthFailed")
    assert "did not accept the login" in said and "not-it" not in said, said
    assert condition_of(kube.get("mbk", f"{name}-1"), "SourceResolved")["reason"] == "AuthFailed"

    kube.apply(backup(f"{name}-2", milvus=through, auth={"passwordSecretRef": {"name": f"{name}-right"}}))
    kube.succeeds("mbk", f"{name}-2")

    undeclared = another_milvus("u", **locked_milvus)  # it asks for a login and its resource does not say so
    kube.apply(backup(f"{name}-3", milvus=undeclared))
    assert "needs a login and none was given" in fails(kube, "mbk", f"{name}-3", "AuthRequired")


def login(name: str, password: str) -> dict:
    fields = {"username": "root", "password": password}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": fields}


# ------------------------------------------------------------------------------------------------- targets of restores
def test_existing_targets_are_listed_and_nothing_is_touched(kube, milvus, data, shared_backup, name):
    kube.apply(restore(name, shared_backup, selection=data.pattern("orders", "customers", "empty")))
    said = fails(kube, "mrs", name, "ConflictFound")
    assert "3 of 3 target collections exist already, nothing was touched" in said, said
    for collection in ("orders", "customers", "empty"):
        assert f"{data.named(collection).database}.{collection}" in said, said
    assert milvus.differences(data.rows_of("orders", "customers", "empty")) == []


def test_replace_wants_the_uid_of_the_very_milvus(kube, milvus, data, shared_backup, name):
    wrong = "11111111-2222-3333-4444-555555555555"
    kube.apply(restore(name, shared_backup, selection=data.pattern("orders"), confirmTargetUID=wrong, **REPLACE))
    said = fails(kube, "mrs", name, "TargetUIDMismatch")
    assert wrong in said and kube.get("milvus", "prod")["metadata"]["uid"] in said, said
    assert kube.jobs_of(name) == {}, "a pod was started"
    assert milvus.differences(data.rows_of("orders")) == []


def test_replace_with_the_right_uid_replaces_and_skip_skips(kube, milvus, data, prefix, name):
    specs = milvus.fill(prefix, only=("customers", "empty"))
    customers = next(spec for spec in specs if spec.name == "customers")
    wanted = milvus.rows(specs)
    kube.apply(backup(name, *{spec.database for spec in specs}))
    kube.succeeds("mbk", name)
    milvus.drop([spec for spec in specs if spec.name == "empty"])
    milvus.delete_all(customers.database, "customers")

    kube.apply(restore(f"{name}-s", name, onConflict="Skip"))
    plan = kube.succeeds("mrs", f"{name}-s")["plan"]
    assert (plan["create"], plan["skip"], plan["replace"]) == (1, 1, 0), plan
    assert milvus.count(customers.database, "customers") == 0, "what was there was touched"

    uid = kube.get("milvus", "prod")["metadata"]["uid"]
    kube.apply(restore(f"{name}-r", name, confirmTargetUID=uid, **REPLACE))
    plan = kube.succeeds("mrs", f"{name}-r")["plan"]
    assert (plan["create"], plan["skip"], plan["replace"]) == (0, 0, 2), plan
    assert milvus.differences(wanted) == []


def test_preflight_only_reports_the_plan_and_touches_nothing(kube, milvus, data, shared_backup, prefix, name):
    kube.apply(restore(name, shared_backup, preflightOnly=True, mapping={"suffix": "_never"}))
    done = kube.wait_finished("mrs", name)
    assert (done["status"], done["reason"]) == ("True", "PreflightPassed"), done
    assert f"{len(data.specs)} collections would be created" in done["message"], done
    plan = kube.get("mrs", name)["status"]["plan"]
    assert {(m["from"], m["to"]) for m in plan["mappings"]} == {
        (f"{s.database}.{s.name}", f"{s.database}.{s.name}_never") for s in data.specs
    }
    assert not [c for d in data.databases for c in milvus.collections(d) if c.endswith("_never")]


def test_an_artifact_that_does_not_exist_is_named_with_its_place(kube, milvus, bucket, name):
    kube.apply(of_artifact(name, "no_such"))
    said = fails(kube, "mrs", name, "ArtifactMissing")
    assert "no_such" in said and bucket in said, said
    assert condition_of(kube.get("mrs", name), "SourceAvailable")["reason"] == "ArtifactMissing"
