use proptest::prelude::*;

use super::*;

fn any_key() -> impl Strategy<Value = LogKey> {
    (0..i64::MAX, -1..i64::MAX, 0..i64::MAX, proptest::option::of(0..2000_i64), 0..i64::MAX)
        .prop_map(|(collection, partition, segment, field, log)| LogKey { collection, partition, segment, field, log })
}

proptest! {
    #[test]
    fn a_key_in_milvus_reads_back_as_it_was_written(key in any_key(), root in "(files|a/b|)") {
        prop_assert_eq!(LogKey::parse_in_milvus(&root, &key.in_milvus(&root)), Some(key));
    }

    #[test]
    fn a_key_in_an_artifact_reads_back_with_and_without_group(
        key in any_key(), group in proptest::option::of(1..i64::MAX), prefix in "(backup|a/b/c|)",
    ) {
        let artifact = Artifact::new(&prefix, "nightly_1").unwrap();
        prop_assert_eq!(artifact.parse_log(&artifact.log(&key, group)), Some((key, group)));
    }

    #[test]
    fn any_text_is_parsed_without_panic_and_what_parses_formats_back(
        path in "(binlogs/)?(insert_log|delta_log)?[-/0-9+a-z]{0,60}",
    ) {
        if let Some((key, group)) = parse_log_path(&path) {
            prop_assert_eq!(log_path(&key, group), path);
        }
    }

    #[test]
    fn artifact_names_are_always_valid(namespace in "\\PC{0,70}", name in "\\PC{0,260}", uid in "\\PC{0,40}") {
        let made = artifact_name(&namespace, &name, &uid);
        prop_assert!(validate_artifact_name(&made).is_ok(), "{made}");
    }

    #[test]
    fn objects_with_different_uids_never_share_an_artifact(
        namespace in "[a-z0-9-]{1,63}", one in "[a-z0-9.-]{1,253}", two in "[a-z0-9.-]{1,253}",
        uid_one in "[0-9a-f]{8}", uid_two in "[0-9a-f]{8}",
    ) {
        prop_assume!(uid_one != uid_two);
        prop_assert_ne!(artifact_name(&namespace, &one, &uid_one), artifact_name(&namespace, &two, &uid_two));
    }
}

#[test]
fn an_object_name_becomes_a_readable_artifact_name() {
    assert_eq!(
        artifact_name("prod", "nightly-2026.11", "0d5f3b1c-7a11-4f5e-9d53-6d1f3f0e5a0c"),
        "prod_nightly_2026_11_0d5f3b1c"
    );
    assert_eq!(artifact_name("1st", "x", "abcdefgh"), "_1st_x_abcdefgh");
    assert_ne!(artifact_name("p", "a-b", "11111111"), artifact_name("p", "a_b", "22222222"));
}

#[test]
fn names_the_go_tool_refuses_are_refused_with_the_rule() {
    for (name, rule) in [
        ("", "needed"),
        ("1a", "begins with"),
        ("a-b", "letters, digits"),
        ("a b", "letters, digits"),
        ("ä", "begins with"),
        (&"a".repeat(129), "128 bytes"),
    ] {
        let error = validate_artifact_name(name).unwrap_err();
        assert!(error.to_string().contains(rule), "{error}");
    }
    assert!(validate_artifact_name(&"a".repeat(128)).is_ok());
}

#[test]
fn keys_that_are_no_logs_are_not_taken_for_one() {
    for key in [
        "files/stats_log/1/2/3/100/5",
        "files/insert_log/1/2/3/4",
        "files/insert_log/1/2/3/4/5/6/7",
        "files/insert_log/1/2/3/4/x",
        "files/insert_log/1/2/3/4/",
        "files/insert_log/1/2/3/04/5",
        "files/insert_log/1/2/3/+4/5",
        "file/insert_log/1/2/3/4/5",
        "filesinsert_log/1/2/3/4/5",
    ] {
        assert_eq!(LogKey::parse_in_milvus("files", key), None, "{key}");
    }
}

#[test]
fn keys_of_an_artifact_are_those_of_the_go_tool() {
    let artifact = Artifact::new("/backup/", "golden_small").unwrap();
    let rows = LogKey { collection: 1, partition: 2, segment: 3, field: Some(100), log: 5 };
    assert_eq!(artifact.log(&rows, Some(3)), "backup/golden_small/binlogs/insert_log/1/2/3/3/100/5");
    let deletes = LogKey { partition: -1, field: None, ..rows };
    assert_eq!(artifact.log(&deletes, None), "backup/golden_small/binlogs/delta_log/1/-1/3/5");
    assert_eq!(artifact.meta(MetaFile::Full), "backup/golden_small/meta/full_meta.json");
    assert_eq!(artifact.operator(OperatorFile::Manifest), "backup/golden_small/operator/manifest.json");
    assert_eq!(artifact.import_dir(LogKind::Insert, 1, 2, Some(3)), "backup/golden_small/binlogs/insert_log/1/2/3/");
    assert_eq!(artifact.import_dir(LogKind::Delta, 1, 2, None), "backup/golden_small/binlogs/delta_log/1/2/");
    assert_eq!(artifact.l0_dir(1, -1, 3), "backup/golden_small/binlogs/delta_log/1/-1/3/");
    assert_eq!(Artifact::new("", "a").unwrap().dir(), "a/");
    assert_eq!(artifact.restore_ledger("6d1f-x/.."), "backup/golden_small/operator/restores/6d1f_x___/ledger.json");
}

#[test]
fn a_key_of_another_artifact_with_the_same_beginning_is_not_ours() {
    let artifact = Artifact::new("backup", "a").unwrap();
    assert_eq!(artifact.relative("backup/a/meta/full_meta.json"), Some("meta/full_meta.json"));
    assert_eq!(artifact.relative("backup/ab/meta/full_meta.json"), None);
    assert_eq!(artifact.relative("backup/a/"), None);
}
