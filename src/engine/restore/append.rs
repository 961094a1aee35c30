//! Rows into collections that were there before: judged before anything is touched, and never dropped.

use super::ledger::{Ledger, Step};
use super::plan::Item;
use super::{create, fit};
use crate::engine::error::EngineError;
use crate::engine::patience::patient;
use crate::engine::schema;
use crate::engine::select::Name;
use crate::engine::task::{Content, RestoreTask};
use crate::manifest::CollectionBackupInfo;
use crate::milvus::{CollectionDescription, LoadState, Milvus};

/// Whether the rows of a collection can go into one that is there.
///
/// # Errors
/// [`EngineError::Rejected`] with what is in the way; the server's.
pub async fn judge(
    milvus: &Milvus,
    (source, target): (&Name, &Name),
    info: &CollectionBackupInfo,
    found: &CollectionDescription,
    task: &RestoreTask,
) -> Result<(), EngineError> {
    let refused =
        |why: String| EngineError::Rejected(format!("{source} cannot go into {target}: {why}; nothing was touched"));
    if let Some(real) = create::aliased(found, target) {
        return Err(refused(format!("that is an alias of collection {real}, name the collection itself")));
    }
    if let Some(why) = fit::mismatch(&info.schema, &schema::to_backup(&found.schema)) {
        return Err(refused(why));
    }
    let (database, collection) = (target.database.as_str(), target.collection.as_str());
    if info.schema.fields.iter().any(|field| field.is_partition_key) {
        let there = patient(|| milvus.list_partitions(database, collection)).await?;
        let known = |name: &str| there.iter().any(|partition| partition.name == name);
        if let Some(lacking) = info.partition_backups.iter().find(|partition| !known(&partition.partition_name)) {
            let name = &lacking.partition_name;
            return Err(refused(format!("it has a partition key and no partition {name}, and none can be added")));
        }
    }
    // Servers import deletes into released collections only, and keep the vector indexes of loaded ones (milvus-wire.md
    // 2.6, 2.9).
    let deletes = task.content == Content::Full && info.segments().any(|segment| segment.is_l0);
    let why = match (deletes, task.drop_indexes) {
        (true, _) => "the backup has deletes that only a released collection takes",
        (false, true) => "indexes of a loaded collection cannot be dropped",
        (false, false) => return Ok(()),
    };
    match patient(|| milvus.load_state(database, collection, &[])).await? {
        LoadState::NotExist | LoadState::NotLoaded => Ok(()),
        _ => Err(refused(format!("{why}, and it is loaded: release it first"))),
    }
}

/// Makes an existing collection ready for rows, unless an earlier attempt did: without its indexes where that is asked for,
/// and with the partitions of the backup.
///
/// # Errors
/// The server's; the store's.
pub async fn prepare(
    milvus: &Milvus,
    ledger: &Ledger<'_>,
    item: &Item<'_>,
    drop_indexes: bool,
) -> Result<(), EngineError> {
    if ledger.entry(&item.target).await.is_some() {
        return Ok(());
    }
    let (database, collection) = (item.target.database.as_str(), item.target.collection.as_str());
    if drop_indexes {
        for index in patient(|| milvus.list_indexes(database, collection)).await? {
            patient(|| milvus.drop_index(database, collection, &index.name)).await?;
        }
    }
    create::partitions(milvus, &item.target, &item.info).await?;
    ledger
        .change(|record| {
            let entry = record.entry_mut(&item.target);
            (entry.kept, entry.step) = (true, Step::Created);
        })
        .await
}
