//! A directory as a bucket: a mounted volume, or a disk of this machine.
//!
//! A key is the path of its file below the directory, and nothing else is kept, as in the Go tool's provider `local`
//! (milvus-backup 0.5.16, core/storage/local.go: a key is opened as a path, missing parents are made): each reads what the
//! other wrote. A file appears whole or not at all: it is written under an unfinished name in the directory of its key
//! (`path`), synced and renamed, and its directory is synced. Symbolic links are no objects and are not followed.
//!
//! The ETag is time of change, size and inode number, so it tells that a file was replaced, and is no digest.

mod draft;
mod files;
mod list;
mod path;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use self::files::Folder;
use super::{Condition, ObjectRef, Page, Part, Place, Store, StoreError, Upload, Written};

/// What [`Place::service`] says of every directory: all of them copy among each other.
pub(super) const SERVICE: &str = "file:";
const PAGE: usize = 1000;

/// A directory of objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FolderStore {
    folder: Arc<Folder>,
}

impl FolderStore {
    /// Opens a directory. One that does not exist is found out by the first request, as with a bucket.
    ///
    /// # Errors
    /// A path that is not text, or not absolute while the working directory is unknown.
    pub fn open(path: &Path) -> Result<FolderStore, StoreError> {
        let bad = |what: String| StoreError::Setup(format!("the folder {}: {what}", path.display()));
        let absolute = std::path::absolute(path).map_err(|error| bad(error.to_string()))?;
        // A mount point may be a link; what is below it may not.
        let root = absolute.canonicalize().unwrap_or(absolute);
        let bucket = root.to_str().ok_or_else(|| bad("its name is not UTF-8".into()))?.to_owned();
        let place = Place { service: SERVICE.into(), region: String::new(), bucket };
        Ok(FolderStore { folder: Arc::new(Folder { root, place, page: PAGE }) })
    }

    /// The same directory, listed in pages of another size.
    pub fn with_page_size(self, page: usize) -> FolderStore {
        let Folder { root, place, .. } = self.folder.as_ref().clone();
        FolderStore { folder: Arc::new(Folder { root, place, page }) }
    }

    /// Files are read and written by threads that may wait. An act that was begun comes to its end, also where nobody
    /// waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        act: &'static str,
        work: impl FnOnce(&Folder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.folder.clone();
        match tokio::task::spawn_blocking(move || work(&folder)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Unavailable {
                place: self.folder.place.to_string(),
                act: act.into(),
                tries: 1,
                cause: error.to_string(),
            }),
        }
    }
}

#[async_trait]
impl Store for FolderStore {
    fn place(&self) -> &Place {
        &self.folder.place
    }

    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run("list objects", move |folder| folder.list(&prefix, after.as_deref())).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.run("list folders", move |folder| folder.folders(&prefix)).await
    }

    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        let key = key.to_owned();
        self.run("read an object", move |folder| folder.read_whole(&key, most)).await
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let (key, etag) = (key.to_owned(), etag.map(str::to_owned));
        self.run("read a part of an object", move |folder| folder.read(&key, etag.as_deref(), offset, length)).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        let key = key.to_owned();
        self.run("write an object", move |folder| folder.write(&key, &body)).await
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        let key = key.to_owned();
        self.run("write an object on a condition", move |folder| folder.write_if(&key, &body, &condition)).await
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        let source = FolderStore::open(&PathBuf::from(&from.bucket))?;
        let (from, to) = (from.clone(), to.to_owned());
        self.run("copy an object", move |folder| folder.copy(&source.folder, &from, &to)).await
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        let key = key.to_owned();
        self.run("begin a multipart write", move |folder| folder.begin(&key)).await
    }

    async fn upload_part(&self, upload: &Upload, number: i32, offset: u64, body: Bytes) -> Result<Part, StoreError> {
        let upload = upload.clone();
        let etag = self.run("write a part", move |folder| folder.write_part(&upload, offset, &body)).await?;
        Ok(Part { number, etag })
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: i32,
        from: &ObjectRef,
        offset: u64,
        length: u64,
    ) -> Result<Part, StoreError> {
        let source = FolderStore::open(&PathBuf::from(&from.bucket))?;
        let (upload, from) = (upload.clone(), from.clone());
        let copy = move |folder: &Folder| folder.copy_part(&upload, &source.folder, &from, offset, length);
        Ok(Part { number, etag: self.run("copy a part", copy).await? })
    }

    async fn finish_upload(&self, upload: &Upload, parts: Vec<Part>) -> Result<String, StoreError> {
        let upload = upload.clone();
        self.run("finish a multipart write", move |folder| folder.finish(&upload, parts)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        let upload = upload.clone();
        self.run("abort a multipart write", move |folder| folder.abort(&upload)).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let prefix = prefix.to_owned();
        self.run("list multipart writes", move |folder| folder.uploads(&prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.run("delete objects", move |folder| folder.delete(&keys)).await
    }
}

#[cfg(test)]
mod tests;
