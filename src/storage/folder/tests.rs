//! What a directory does beyond the contract: nothing outside it is touched, and nothing half-written is seen.

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::storage::contract::{self, Fixture, Promise};
use crate::storage::memory::MemoryService;
use crate::storage::{delete_prefix, list_all, sweep_uploads};

/// A file is no directory, so no name can be an object and have objects below it; the ETag counts no parts.
const MISSING: &[Promise] =
    &[Promise::ByteOrder, Promise::CompletePaging, Promise::NameAndBelow, Promise::PartsCounted];

fn store() -> (TempDir, FolderStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    (folder, store)
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn keys(store: &FolderStore, prefix: &str) -> Vec<String> {
    list_all(store, prefix).await.unwrap().into_iter().map(|object| object.key).collect()
}

/// Everything in a directory, hidden names too.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_directory_keeps_the_promises_of_a_bucket() {
    let ((folder, first), (_other, second)) = (store(), store());
    let foreign = MemoryService::new("elsewhere").bucket("b");
    let fixture = Fixture {
        store: &first,
        twin: &second,
        foreign: &foreign,
        absent: Some(&FolderStore::open(&folder.path().join("nowhere")).unwrap()),
        prefix: "contract".into(),
        smallest_part: 1000,
    };
    if let Err(broken) = contract::prove(&fixture, MISSING).await {
        panic!("{broken}");
    }
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn an_object_is_the_file_of_its_key_and_nothing_else_is_kept() {
    let (folder, store) = store();
    store.put("backup/a/meta/full_meta.json", body("{}")).await.unwrap();
    store.put_if("backup/a/operator/lock.json", body("1"), Condition::Absent).await.unwrap();
    let expected = [
        "backup",
        "backup/a",
        "backup/a/meta",
        "backup/a/meta/full_meta.json",
        "backup/a/operator",
        "backup/a/operator/lock.json",
    ];
    assert_eq!(files(folder.path()), expected);
    std::fs::write(folder.path().join("backup/a/theirs"), "Go").unwrap();
    assert_eq!(store.get("backup/a/theirs").await.unwrap(), "Go");
}

#[tokio::test]
async fn keys_come_in_byte_order_over_pages_of_any_size() {
    let (_folder, store) = store();
    let expected = ["a", "x!", "x-1/a", "x-1/b", "x.b", "x/a", "x/b/c", "x0", "y"];
    for key in expected {
        store.put(key, Bytes::new()).await.unwrap();
    }
    for size in 1..=expected.len() {
        let store = store.clone().with_page_size(size);
        let (mut found, mut after, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let page = store.list_page("", after.as_deref()).await.unwrap();
            assert!(page.objects.len() <= size);
            found.extend(page.objects.into_iter().map(|object| object.key));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((found.as_slice(), pages), (expected.map(str::to_owned).as_slice(), expected.len().div_ceil(size)));
    }
    assert_eq!(keys(&store, "x-1").await, ["x-1/a", "x-1/b"]);
    assert_eq!(keys(&store, "x/").await, ["x/a", "x/b/c"]);
    assert_eq!(store.folders("").await.unwrap(), ["x", "x-1"]);
}

#[tokio::test]
async fn no_key_reaches_a_file_outside() {
    let (folder, _) = store();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    let store = FolderStore::open(&inside).unwrap();
    let absolute = folder.path().join("secret").to_str().unwrap().to_owned();
    for key in ["../secret", "a/../../secret", "", ".", "..", absolute.as_str()] {
        assert!(matches!(store.get(key).await, Err(StoreError::Rejected { .. })), "{key}");
        assert!(matches!(store.put(key, body("x")).await, Err(StoreError::Rejected { .. })), "{key}");
        assert!(store.begin_upload(key).await.is_err(), "{key}");
        assert!(store.delete(&[key.to_owned()]).await.is_err(), "{key}");
        let from = ObjectRef { bucket: store.place().bucket.clone(), key: key.into(), etag: None };
        assert!(store.copy(&from, "copy").await.is_err(), "{key}");
    }
    assert_eq!(keys(&store, "../").await, Vec::<String>::new());
    assert_eq!(store.folders("../").await.unwrap(), Vec::<String>::new());
    let outside = Upload { key: "a".into(), id: "../../secret".into() };
    assert!(store.upload_part(&outside, 1, 0, body("x")).await.is_err());
    store.abort_upload(&outside).await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "s");
}

#[tokio::test]
async fn links_are_no_objects_and_lead_nowhere() {
    let (folder, _) = store();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    symlink(folder.path().join("secret"), inside.join("file")).unwrap();
    symlink(folder.path(), inside.join("folder")).unwrap();
    let store = FolderStore::open(&inside).unwrap();
    for key in ["file", "folder/secret"] {
        for error in [store.get(key).await.unwrap_err(), store.put(key, body("x")).await.unwrap_err()] {
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert!(store.delete(&[key.to_owned()]).await.is_err(), "{key}");
    }
    assert_eq!(keys(&store, "").await, Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "s");
}

#[tokio::test]
async fn the_directory_itself_may_be_a_link_as_mount_points_are() {
    let (folder, direct) = store();
    let other = tempfile::tempdir().unwrap();
    symlink(folder.path(), other.path().join("link")).unwrap();
    let linked = FolderStore::open(&other.path().join("link")).unwrap();
    direct.put("a", body("x")).await.unwrap();
    assert_eq!(linked.get("a").await.unwrap(), "x");
    assert_eq!(linked.place(), direct.place());
}

#[tokio::test]
async fn what_is_not_finished_is_not_seen_and_can_be_swept() {
    let (folder, store) = store();
    store.put("a/kept", body("x")).await.unwrap();
    let upload = Upload { key: "a/b/large".into(), id: store.begin_upload("a/b/large").await.unwrap() };
    store.upload_part(&upload, 1, 0, body("half")).await.unwrap();
    assert_eq!(keys(&store, "").await, ["a/kept"]);
    assert_eq!(store.folders("a/").await.unwrap(), Vec::<String>::new());
    assert!(store.get("a/b/large").await.is_err());
    assert_eq!(store.uploads("a/b").await.unwrap(), [upload]);
    assert_eq!(sweep_uploads(&store, "a/").await.unwrap(), 1);
    assert_eq!(files(folder.path()), ["a", "a/kept"]);
}

#[tokio::test]
async fn a_write_that_fails_leaves_what_was_there() {
    let (folder, store) = store();
    store.put("a", body("old")).await.unwrap();
    store.put("b/c", body("below")).await.unwrap();
    let error = store.put("b", body("x")).await.unwrap_err();
    assert!(error.to_string().contains("objects below it"), "{error}");
    let error = store.put("a/below", body("x")).await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
    let refused = store.put_if("a", body("new"), Condition::Absent).await.unwrap();
    assert_eq!(refused, Written::Refused);
    let refused = store.put_if("d/e", body("new"), Condition::Matches("none".into())).await.unwrap();
    assert_eq!(refused, Written::Refused);
    assert_eq!(files(folder.path()), ["a", "b", "b/c"]);
    assert_eq!(store.get("a").await.unwrap(), "old");
}

#[tokio::test]
async fn parts_that_leave_a_gap_make_no_object() {
    let (_folder, store) = store();
    for (parts, whole) in
        [(vec![(0, "ab"), (2, "cd")], true), (vec![(0, "ab"), (3, "d")], false), (vec![(1, "b")], false)]
    {
        let upload = Upload { key: "a".into(), id: store.begin_upload("a").await.unwrap() };
        let mut written = Vec::new();
        for (number, (offset, text)) in (1..).zip(parts) {
            written.push(store.upload_part(&upload, number, offset, body(text)).await.unwrap());
        }
        written.reverse();
        assert_eq!(store.finish_upload(&upload, written).await.is_ok(), whole);
        store.abort_upload(&upload).await.unwrap();
    }
    assert_eq!(store.get("a").await.unwrap(), "abcd");
}

#[tokio::test]
async fn of_many_writers_on_one_condition_one_wins() {
    let (_folder, store) = store();
    let mut seen = store.put("n", body("0")).await.unwrap();
    for _ in 0..5 {
        let writers = (0..8).map(|by| {
            let (store, etag) = (store.clone(), seen.clone());
            async move { store.put_if("n", Bytes::from(format!("by {by}")), Condition::Matches(etag)).await.unwrap() }
        });
        let won: Vec<Written> = futures::future::join_all(writers).await;
        let won: Vec<String> = won
            .into_iter()
            .filter_map(|written| if let Written::Yes(etag) = written { Some(etag) } else { None })
            .collect();
        let [only] = won.as_slice() else { panic!("{won:?}") };
        assert_ne!(seen, *only);
        seen.clone_from(only);
    }
    let first = (0..8).map(|by| store.put_if("new", Bytes::from(vec![by]), Condition::Absent));
    let first = futures::future::join_all(first).await;
    assert_eq!(first.into_iter().filter(|written| matches!(written, Ok(Written::Yes(_)))).count(), 1);
}

#[tokio::test]
async fn a_folder_that_is_not_mounted_is_no_empty_bucket() {
    let (folder, _) = store();
    let store = FolderStore::open(&folder.path().join("nowhere")).unwrap();
    for error in [
        store.list_page("", None).await.unwrap_err(),
        store.put("a", Bytes::new()).await.unwrap_err(),
        store.delete(&["a".to_owned()]).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::BucketNotFound { .. }), "{error}");
        assert!(error.to_string().starts_with("folder /"), "{error}");
    }
    assert!(!folder.path().join("nowhere").exists());
}

#[tokio::test]
async fn deleting_a_prefix_takes_its_directories_along() {
    let (folder, store) = store();
    for key in ["a/b/1", "a/b/c/2", "ab"] {
        store.put(key, Bytes::new()).await.unwrap();
    }
    assert_eq!(delete_prefix(&store, "a/").await.unwrap(), 2);
    assert_eq!(files(folder.path()), ["ab"]);
    assert!(folder.path().exists());
}
