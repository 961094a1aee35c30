//! What is carried over to another store: the objects of a backup. Listings of both sides are read page by page; of an object
//! no more is held than the digest of its path, its size, and whether it has arrived: 25 bytes.

use std::sync::Arc;

use futures::stream::{self, TryStreamExt};

use crate::engine::artifact::{Artifact, Contents};
use crate::engine::bundle::{PathDigest, path_digest};
use crate::engine::error::{EngineError, Tally};
use crate::manifest::ObjectRecord;
use crate::storage::{Listing, ObjectMeta, Store, StoreError, TransferOptions, transfer};

/// Everything that milvus-backup would have in the directory of a backup.
pub(super) struct Shipment {
    store: Arc<dyn Store>,
    /// Its directory, with a slash at the end.
    directory: String,
    /// Paths below the directory with their sizes, in ascending order and each once.
    objects: Vec<(PathDigest, u64)>,
}

impl Shipment {
    /// Lists a backup, and sees that everything our manifest names is there in its size. Of a backup of the Go tool nothing
    /// says so as certainly.
    ///
    /// # Errors
    /// The store's; a backup that is damaged.
    pub(super) async fn of(
        store: Arc<dyn Store>,
        artifact: &Artifact,
        contents: &Contents,
    ) -> Result<Shipment, EngineError> {
        let directory = artifact.keys.dir();
        let mut objects = Vec::new();
        let mut listing = Listing::new(store.as_ref(), &directory);
        while let Some(page) = listing.next().await? {
            objects.extend(
                page.iter()
                    .filter_map(|object| carried(&directory, object).map(|path| (path_digest(path), object.size))),
            );
        }
        objects.sort_unstable();
        objects.dedup_by_key(|(path, _)| *path);
        let shipment = Shipment { store, directory, objects };
        shipment.complete(artifact, contents)?;
        Ok(shipment)
    }

    fn complete(&self, artifact: &Artifact, contents: &Contents) -> Result<(), EngineError> {
        let mut damage = Tally::default();
        for record in contents.records()?.into_iter().flatten() {
            let ObjectRecord { key, size, .. } = record?;
            if self.find(&key, size).is_none() {
                damage.add(|| artifact.keys.key(&key));
            }
        }
        match damage.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Damaged(format!(
                "backup {} is damaged, nothing was uploaded: {} objects are missing or of another size: {damage}",
                artifact.keys.name(),
                damage.total()
            ))),
        }
    }

    /// How many objects there are.
    pub(super) fn count(&self) -> u64 {
        self.objects.len() as u64
    }

    /// Bytes of all objects.
    pub(super) fn bytes(&self) -> u64 {
        self.objects.iter().map(|(_, size)| size).sum()
    }

    /// The place of an object of this path and size.
    fn find(&self, path: &str, size: u64) -> Option<usize> {
        let digest = path_digest(path);
        let at = self.objects.binary_search_by(|(known, _)| known.cmp(&digest)).ok()?;
        self.objects.get(at).filter(|(_, known)| *known == size).map(|_| at)
    }

    /// Looks which objects are below a prefix of another store.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn arrived(&self, at: &dyn Store, prefix: &str) -> Result<Arrived, EngineError> {
        let mut arrived = Arrived(vec![false; self.objects.len()]);
        let mut listing = Listing::new(at, prefix);
        while let Some(page) = listing.next().await? {
            for object in page {
                let place = object.key.strip_prefix(prefix).and_then(|path| self.find(path, object.size));
                if let Some(place) = place {
                    arrived.0[place] = true;
                }
            }
        }
        Ok(arrived)
    }

    /// Copies what has not arrived, so many objects at once; `landed` hears of the size of each.
    ///
    /// # Errors
    /// The stores'; [`StoreError::Replaced`] where an object is of another size by now.
    pub(super) async fn carry(
        &self,
        to: (&dyn Store, &str),
        mut arrived: Arrived,
        options: &TransferOptions,
        at_once: usize,
        mut landed: impl FnMut(u64),
    ) -> Result<(), EngineError> {
        let pages = stream::try_unfold(Listing::new(self.store.as_ref(), &self.directory), |mut listing| async move {
            Ok::<_, StoreError>(listing.next().await?.map(|page| (page, listing)))
        });
        let (store, prefix) = to;
        let running = pages
            .map_ok(|page| {
                let due = page.into_iter().filter_map(|object| self.due(object, &mut arrived).transpose());
                stream::iter(due.collect::<Vec<_>>())
            })
            .try_flatten()
            .map_ok(|object| async move {
                let key = self.key(prefix, &object);
                transfer(self.store.as_ref(), store, &object, &key, options).await.map(|_| object.size)
            })
            .try_buffer_unordered(at_once);
        let mut running = std::pin::pin!(running);
        while let Some(size) = running.try_next().await? {
            landed(size);
        }
        Ok(())
    }

    /// A listed object if it is to be copied; from then on it is as good as arrived.
    fn due(&self, object: ObjectMeta, arrived: &mut Arrived) -> Result<Option<ObjectMeta>, StoreError> {
        let Some(path) = carried(&self.directory, &object) else { return Ok(None) };
        match self.find(path, object.size) {
            Some(place) => Ok(Some(object).filter(|_| !std::mem::replace(&mut arrived.0[place], true))),
            // What is new since the first look is no part of the backup.
            None if self.objects.binary_search_by(|(known, _)| known.cmp(&path_digest(path))).is_err() => Ok(None),
            None => Err(StoreError::Replaced { key: object.key, place: self.store.place().to_string() }),
        }
    }

    /// Sees that all have arrived below a prefix of another store.
    ///
    /// # Errors
    /// The stores'; [`EngineError::Damaged`], by the keys of those that have not.
    pub(super) async fn prove(&self, at: &dyn Store, prefix: &str) -> Result<(), EngineError> {
        let arrived = self.arrived(at, prefix).await?;
        let lost = arrived.0.iter().filter(|arrived| !**arrived).count();
        if lost == 0 {
            return Ok(());
        }
        let mut missing = Tally::default();
        let mut listing = Listing::new(self.store.as_ref(), &self.directory);
        while let Some(page) = listing.next().await? {
            for object in &page {
                let place = carried(&self.directory, object).and_then(|path| self.find(path, object.size));
                if place.is_some_and(|place| !arrived.0[place]) {
                    missing.add(|| self.key(prefix, object));
                }
            }
        }
        for _ in missing.total()..lost {
            missing.add(|| "one that is gone from the backup".into());
        }
        Err(EngineError::Damaged(format!("{lost} objects are not in {} as they were uploaded: {missing}", at.place())))
    }

    /// Where an object of the backup goes to.
    fn key(&self, prefix: &str, object: &ObjectMeta) -> String {
        format!("{prefix}{}", object.key.strip_prefix(&self.directory).unwrap_or(&object.key))
    }
}

/// Which objects of a shipment are where they are to go, by their places.
pub(super) struct Arrived(Vec<bool>);

/// Pure: the path of an object that is carried over. Not our own files, which mean nothing there, nor the empty objects that
/// some consoles make for folders.
fn carried<'o>(directory: &str, object: &'o ObjectMeta) -> Option<&'o str> {
    let path = object.key.strip_prefix(directory)?;
    let left_out = path.starts_with("operator/") || object.size == 0 && object.key.ends_with('/');
    (!left_out).then_some(path)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::exit::Class;
    use crate::manifest::BackupInfo;
    use crate::manifest::objects::encode_objects;
    use crate::storage::fault::{Fault, FaultStore, Verb};
    use crate::storage::memory::{MemoryService, MemoryStore};

    fn contents(records: &[(&str, u64)]) -> Contents {
        let record = |(key, size): &(&str, u64)| ObjectRecord { key: (*key).into(), size: *size, ..Default::default() };
        let records: Vec<_> = records.iter().map(record).collect();
        let objects = Some(encode_objects(&records).unwrap().into());
        Contents { info: BackupInfo::default(), manifest: None, objects }
    }

    /// A bucket that is listed two objects at a time, with a backup of 7 of them.
    async fn bucket() -> MemoryStore {
        let store = MemoryService::new("s").bucket("b").with_page_size(2);
        for at in 0..6 {
            put(&store, &format!("p/nightly/binlogs/{at}"), at + 1).await;
        }
        put(&store, "p/nightly/meta/full_meta.json", 7).await;
        put(&store, "p/nightly/operator/lock.json", 9).await;
        put(&store, "p/nightly/binlogs/", 0).await;
        store
    }

    async fn put(store: &MemoryStore, key: &str, size: usize) {
        store.put(key, Bytes::from(vec![b'x'; size])).await.unwrap();
    }

    async fn shipment(store: Arc<dyn Store>, records: &[(&str, u64)]) -> Result<Shipment, EngineError> {
        let artifact = Artifact::at(store.clone(), "p", "nightly").unwrap();
        Shipment::of(store, &artifact, &contents(records)).await
    }

    async fn names(store: &MemoryStore) -> Vec<String> {
        crate::storage::list_all(store, "").await.unwrap().into_iter().map(|object| object.key).collect()
    }

    #[tokio::test]
    async fn what_milvus_backup_knows_is_carried_page_by_page_and_nothing_else() {
        let source = bucket().await;
        let shipment = shipment(Arc::new(source), &[]).await.unwrap();
        assert_eq!((shipment.count(), shipment.bytes()), (7, 28));
        let target = MemoryService::new("t").bucket("volume").with_page_size(2);
        let options = TransferOptions::default();
        let arrived = shipment.arrived(&target, "up/").await.unwrap();
        let mut bytes = 0;
        shipment.carry((&target, "up/"), arrived, &options, 3, |size| bytes += size).await.unwrap();
        shipment.prove(&target, "up/").await.unwrap();
        assert_eq!(bytes, 28);
        let expected = ["0", "1", "2", "3", "4", "5"].map(|name| format!("up/binlogs/{name}"));
        assert_eq!(names(&target).await, [&expected[..], &["up/meta/full_meta.json".to_owned()]].concat());
    }

    #[tokio::test]
    async fn what_has_arrived_is_not_carried_again_and_what_is_missing_is_named() {
        let source = Arc::new(bucket().await);
        let shipment = shipment(source.clone(), &[]).await.unwrap();
        let inner = MemoryService::new("t").bucket("volume").with_page_size(2);
        put(&inner, "up/binlogs/0", 1).await;
        put(&inner, "up/binlogs/1", 99).await;
        let target = FaultStore::watching(Arc::new(inner.clone()));
        let error = shipment.prove(&target, "up/").await.unwrap_err();
        assert_eq!(error.class(), Class::Data);
        let said = error.to_string();
        assert!(said.contains("6 objects") && said.contains("up/binlogs/1, up/binlogs/2"), "{said}");
        let arrived = shipment.arrived(&target, "up/").await.unwrap();
        shipment.carry((&target, "up/"), arrived, &TransferOptions::default(), 3, |_| ()).await.unwrap();
        assert_eq!(target.count(Verb::Put), 6);
        shipment.prove(&target, "up/").await.unwrap();
        source.delete(&["p/nightly/binlogs/2".to_owned()]).await.unwrap();
        inner.delete(&["up/binlogs/2".to_owned()]).await.unwrap();
        let said = shipment.prove(&target, "up/").await.unwrap_err().to_string();
        assert!(said.contains("1 objects") && said.ends_with("gone from the backup"), "{said}");
    }

    #[tokio::test]
    async fn a_backup_that_changes_on_the_way_is_taken_up_anew_by_another_attempt() {
        let source = Arc::new(bucket().await);
        let shipment = shipment(source.clone(), &[]).await.unwrap();
        let target = MemoryService::new("t").bucket("volume");
        let options = TransferOptions::default();
        let arrived = shipment.arrived(&target, "up/").await.unwrap();
        put(&source, "p/nightly/binlogs/new", 1).await;
        shipment.carry((&target, "up/"), arrived, &options, 1, |_| ()).await.unwrap();
        assert!(names(&target).await.len() == 7 && !names(&target).await.contains(&"up/binlogs/new".to_owned()));
        let arrived = shipment.arrived(&target, "up/").await.unwrap();
        put(&source, "p/nightly/binlogs/3", 30).await;
        let carried = shipment.carry((&target, "up/"), arrived, &options, 1, |_| ()).await;
        assert!(matches!(carried, Err(EngineError::Store(StoreError::Replaced { .. }))), "{carried:?}");
    }

    #[tokio::test]
    async fn no_more_pages_are_listed_than_the_copies_need() {
        let source = Arc::new(FaultStore::new(Arc::new(bucket().await), |call| match call.verb {
            Verb::GetRange | Verb::Get => Fault::Hang,
            _ => Fault::Pass,
        }));
        let shipment = shipment(source.clone(), &[]).await.unwrap();
        let listed = source.count(Verb::ListPage);
        let target = MemoryService::new("t").bucket("volume");
        let arrived = shipment.arrived(&target, "up/").await.unwrap();
        let options = TransferOptions::default();
        let carrying = shipment.carry((&target, "up/"), arrived, &options, 2, |_| ());
        tokio::select! {
            biased;
            _ = carrying => unreachable!(),
            () = async { while source.count(Verb::Get) + source.count(Verb::GetRange) < 2 { tokio::task::yield_now().await } } => {}
        }
        // The first page has the folder and one object, the second one the next two.
        assert_eq!(source.count(Verb::ListPage) - listed, 2);
    }

    #[tokio::test]
    async fn an_object_that_is_not_as_our_manifest_says_keeps_a_backup_here() {
        let named = |third| [("binlogs/0", 1), ("binlogs/1", 2), ("binlogs/2", third)];
        let store = Arc::new(bucket().await);
        shipment(store.clone(), &named(3)).await.unwrap();
        let error = shipment(store.clone(), &named(5)).await.map(|_| ()).unwrap_err();
        assert_eq!(error.class(), Class::Data);
        let said = error.to_string();
        assert!(said.contains("1 objects") && said.ends_with("p/nightly/binlogs/2"), "{said}");
        store.delete(&["p/nightly/binlogs/0".to_owned()]).await.unwrap();
        let error = shipment(store, &named(3)).await.map(|_| ()).unwrap_err();
        assert!(error.to_string().ends_with("p/nightly/binlogs/0"), "{error}");
    }
}
