//! After the rows: indexes, aliases, load state, and the count that proves them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::plan::{Action, Item};
use crate::engine::error::EngineError;
use crate::engine::patience::{patient, until};
use crate::engine::task::{Indexes, Load, RestoreTask};
use crate::manifest::IndexInfo;
use crate::milvus::{Index, LoadState, Milvus};

/// Loading waits for index builds; hours for large collections.
const LOAD_DEADLINE: Duration = Duration::from_secs(6 * 3600);
/// An import into a collection becomes visible to queries within about 10 s (real-milvus.md 4).
const COUNT_DEADLINE: Duration = Duration::from_secs(120);

/// Creates the recorded indexes: vector fields first.
///
/// # Errors
/// The server's.
pub async fn indexes(milvus: &Milvus, item: &Item<'_>, how: Indexes) -> Result<(), EngineError> {
    if how == Indexes::Skip {
        return Ok(());
    }
    let mut wanted: Vec<&IndexInfo> = item.info.index_infos.iter().collect();
    wanted.sort_by_key(|index| !is_vector(item, index));
    let (database, collection) = (&item.target.database, &item.target.collection);
    let there = patient(|| milvus.list_indexes(database, collection)).await?;
    for index in wanted {
        // A collection that was there before keeps the index a field has.
        let taken = |existing: &Index| item.action == Action::Append && existing.field_name == index.field_name;
        if there.iter().any(|existing| existing.name == index.index_name || taken(existing)) {
            continue;
        }
        let params = params(index, how == Indexes::Auto && is_vector(item, index));
        patient(|| milvus.create_index(database, collection, &index.field_name, &index.index_name, &params)).await?;
    }
    Ok(())
}

fn is_vector(item: &Item<'_>, index: &IndexInfo) -> bool {
    // Vector types have numbers from 100 to 106 (milvus-wire.md 3.2).
    let vector = |data_type: i32| (100..=106).contains(&data_type);
    item.info.schema.fields.iter().any(|field| field.name == index.field_name && vector(field.data_type))
}

fn params(index: &IndexInfo, auto: bool) -> Vec<(String, String)> {
    if auto {
        let metric = index.params.get("metric_type").map(|metric| ("metric_type".to_owned(), metric.clone()));
        return std::iter::once(("index_type".to_owned(), "AUTOINDEX".to_owned())).chain(metric).collect();
    }
    index
        .params
        .iter()
        // Written by older Milvus for a trie on a string field; the server knows it as Trie (milvus-backup.md 4.4).
        .map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("index_type", "marisa-trie") => (key.clone(), "Trie".to_owned()),
            _ => (key.clone(), value.clone()),
        })
        .collect()
}

/// Gives the collection its aliases back where it has its old name; answers a warning for each that belongs to another.
///
/// # Errors
/// The server's.
pub async fn aliases(milvus: &Milvus, item: &Item<'_>) -> Result<Vec<String>, EngineError> {
    if item.source.collection != item.target.collection || item.action == Action::Append {
        return Ok(Vec::new());
    }
    let (database, collection) = (&item.target.database, &item.target.collection);
    let there = match patient(|| milvus.describe_collection(database, collection)).await? {
        Some(description) => description.aliases,
        None => Vec::new(),
    };
    let mut warnings = Vec::new();
    for alias in item.info.aliases.iter().filter(|alias| !there.contains(alias)) {
        if let Err(error) = milvus.create_alias(database, collection, alias).await {
            if error.class() == crate::exit::Class::Retry {
                return Err(error.into());
            }
            warnings.push(format!("alias {alias} of {} was not restored: {error}", item.target));
        }
    }
    Ok(warnings)
}

/// Whether and what to load.
#[derive(Debug, PartialEq, Eq)]
pub enum Loading {
    /// Leave it unloaded.
    No,
    /// The whole collection.
    Whole,
    /// Some partitions.
    Partitions(Vec<String>),
}

/// Pure: what `load` means for a collection. Without an index on every vector field nothing can be loaded.
pub fn loading(item: &Item<'_>, load: Load, indexes: Indexes) -> Loading {
    let vectors = item.info.schema.fields.iter().filter(|field| (100..=106).contains(&field.data_type));
    let indexed = |name: &str| item.info.index_infos.iter().any(|index| index.field_name == name);
    if indexes == Indexes::Skip || !vectors.clone().all(|field| indexed(&field.name)) {
        return Loading::No;
    }
    match load {
        Load::None => Loading::No,
        Load::All => Loading::Whole,
        // Its owner has decided.
        Load::Original if item.action == Action::Append => Loading::No,
        Load::Original if item.info.load_state == "NotLoad" => Loading::No,
        Load::Original => {
            let partitions = &item.info.partition_backups;
            let loaded: Vec<String> = partitions
                .iter()
                .filter(|partition| partition.load_state != "NotLoad")
                .map(|partition| partition.partition_name.clone())
                .collect();
            if loaded.is_empty() || loaded.len() == partitions.len() {
                Loading::Whole
            } else {
                Loading::Partitions(loaded)
            }
        }
    }
}

/// Loads and waits until it is loaded; answers whether the whole collection can be counted.
///
/// # Errors
/// The server's, or the deadline.
pub async fn load(milvus: &Milvus, item: &Item<'_>, task: &RestoreTask) -> Result<bool, EngineError> {
    let (database, collection) = (item.target.database.as_str(), item.target.collection.as_str());
    let partitions = match loading(item, task.load, task.indexes) {
        Loading::No => return Ok(false),
        Loading::Whole => {
            patient(|| milvus.load_collection(database, collection, 0)).await?;
            Vec::new()
        }
        Loading::Partitions(partitions) => {
            patient(|| milvus.load_partitions(database, collection, &partitions, 0)).await?;
            partitions
        }
    };
    let wanted = partitions.as_slice();
    until(&format!("loading {}", item.target), LOAD_DEADLINE, || async move {
        Ok(patient(|| milvus.load_state(database, collection, wanted)).await? == LoadState::Loaded)
    })
    .await?;
    Ok(partitions.is_empty())
}

/// Whether the whole collection could be loaded.
pub fn can_be_loaded(item: &Item<'_>, indexes: Indexes) -> bool {
    loading(item, Load::All, indexes) == Loading::Whole
}

/// Loads the whole collection, whatever the task wants, and waits until it is loaded.
///
/// # Errors
/// The server's, or the deadline.
pub async fn load_whole(milvus: &Milvus, item: &Item<'_>, task: &RestoreTask) -> Result<(), EngineError> {
    let (database, collection) = (item.target.database.as_str(), item.target.collection.as_str());
    if matches!(loading(item, task.load, task.indexes), Loading::Partitions(_)) {
        // Loading the rest of a collection, a 2.3.5 answers that it is loaded long before its rows are there.
        patient(|| milvus.release_collection(database, collection)).await?;
    }
    patient(|| milvus.load_collection(database, collection, 0)).await?;
    until(&format!("loading {}", item.target), LOAD_DEADLINE, || async move {
        Ok(patient(|| milvus.load_state(database, collection, &[])).await? == LoadState::Loaded)
    })
    .await
}

/// Leaves a collection that was loaded as a whole as the task wants it.
///
/// # Errors
/// The server's, or the deadline.
pub async fn unload(milvus: &Milvus, item: &Item<'_>, task: &RestoreTask) -> Result<(), EngineError> {
    patient(|| milvus.release_collection(&item.target.database, &item.target.collection)).await?;
    load(milvus, item, task).await.map(drop)
}

/// Counts the rows of a loaded collection until they are what is expected, or for a while.
///
/// # Errors
/// The server's.
pub async fn count(milvus: &Milvus, item: &Item<'_>, expected: &RangeInclusive<u64>) -> Result<u64, EngineError> {
    let (database, collection) = (item.target.database.as_str(), item.target.collection.as_str());
    let seen = std::sync::atomic::AtomicU64::new(0);
    let look = || async {
        let rows = patient(|| milvus.count_rows(database, collection, None)).await?;
        seen.store(rows, std::sync::atomic::Ordering::Relaxed);
        Ok(expected.contains(&rows))
    };
    match until(&format!("counting {}", item.target), COUNT_DEADLINE, look).await {
        Ok(()) | Err(EngineError::Deadline { .. }) => Ok(seen.into_inner()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::engine::select::Name;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{CollectionBackupInfo, FieldSchema};

    fn info(load_state: &str, partitions: &[(&str, &str)], indexed: bool) -> CollectionBackupInfo {
        let mut info = CollectionBackupInfo { load_state: load_state.into(), ..Default::default() };
        info.schema.fields = vec![FieldSchema { name: "v".into(), data_type: 101, ..Default::default() }];
        if indexed {
            info.index_infos = vec![IndexInfo { field_name: "v".into(), ..Default::default() }];
        }
        info.partition_backups = partitions
            .iter()
            .map(|(name, state)| PartitionBackupInfo {
                partition_name: (*name).into(),
                load_state: (*state).into(),
                ..Default::default()
            })
            .collect();
        info
    }

    fn item(info: &CollectionBackupInfo) -> Item<'_> {
        let name = Name::new("default", "c");
        let info = Cow::Borrowed(info);
        Item { source: name.clone(), target: name, action: Action::Create, info, batches: vec![], key: None }
    }

    #[test]
    fn what_was_loaded_is_loaded_again_and_nothing_else() {
        let both = [("a", "Loaded"), ("b", "Loaded")];
        let one = [("a", "Loaded"), ("b", "NotLoad")];
        let rebuild = Indexes::Rebuild;
        assert_eq!(loading(&item(&info("Loaded", &both, true)), Load::Original, rebuild), Loading::Whole);
        assert_eq!(loading(&item(&info("NotLoad", &both, true)), Load::Original, rebuild), Loading::No);
        assert_eq!(
            loading(&item(&info("Loading", &one, true)), Load::Original, rebuild),
            Loading::Partitions(vec!["a".into()])
        );
        assert_eq!(loading(&item(&info("NotLoad", &both, true)), Load::All, rebuild), Loading::Whole);
        assert_eq!(loading(&item(&info("Loaded", &both, true)), Load::None, rebuild), Loading::No);
    }

    #[test]
    fn without_an_index_on_the_vector_nothing_is_loaded() {
        assert_eq!(loading(&item(&info("Loaded", &[], false)), Load::All, Indexes::Rebuild), Loading::No);
        assert_eq!(loading(&item(&info("Loaded", &[], true)), Load::All, Indexes::Skip), Loading::No);
    }

    #[test]
    fn an_old_trie_is_asked_for_by_the_name_the_server_knows() {
        let mut index = IndexInfo::default();
        index.params.insert("index_type".into(), "marisa-trie".into());
        assert_eq!(params(&index, false), [("index_type".to_owned(), "Trie".to_owned())]);
    }
}
