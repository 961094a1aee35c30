//! Makes a target collection as the backup describes it: database, schema, partitions.

use std::collections::BTreeMap;

use crate::engine::error::EngineError;
use crate::engine::patience::patient;
use crate::engine::schema;
use crate::engine::select::Name;
use crate::manifest::backup_info::DatabaseBackupInfo;
use crate::manifest::{CollectionBackupInfo, KeyValuePair};
use crate::milvus::{CollectionDescription, Milvus, NewCollection};

/// Creates databases as the backup describes them.
///
/// # Errors
/// The server's.
pub async fn databases(
    milvus: &Milvus,
    wanted: &BTreeMap<String, Option<&DatabaseBackupInfo>>,
) -> Result<(), EngineError> {
    for (name, recorded) in wanted {
        let properties = recorded.map(|recorded| plain(&recorded.properties)).unwrap_or_default();
        if let Err(error) = milvus.create_database(name, &properties).await {
            // Created by an attempt whose answer was lost, or by somebody else a moment ago: either way it is there.
            if !patient(|| milvus.list_databases()).await?.contains(name) {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Drops a database that nobody has put anything into.
///
/// # Errors
/// The server's.
pub async fn drop_if_empty(milvus: &Milvus, database: &str) -> Result<(), EngineError> {
    let there = patient(|| milvus.list_databases()).await?.iter().any(|name| name == database);
    if there && patient(|| milvus.list_collections(database)).await?.is_empty() {
        milvus.drop_database(database).await?;
    }
    Ok(())
}

/// Properties without those of encryption, which belong to one cluster (milvus-wire.md 2.2).
fn plain(properties: &[KeyValuePair]) -> Vec<(String, String)> {
    properties
        .iter()
        .filter(|pair| !pair.key.starts_with("cipher."))
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

/// Creates the collection and its partitions. Safe to repeat: an identical collection or partition is no error.
///
/// # Errors
/// The server's, or a schema that cannot be written.
pub async fn collection(milvus: &Milvus, target: &Name, info: &CollectionBackupInfo) -> Result<(), EngineError> {
    let (database, collection) = (target.database.as_str(), target.collection.as_str());
    let keyed = info.schema.fields.iter().any(|field| field.is_partition_key);
    let new = NewCollection {
        name: target.collection.clone(),
        schema: schema::to_wire(&info.schema, &target.collection)?,
        shards: info.shards_num,
        consistency_level: info.consistency_level,
        properties: properties(info),
        partitions: if keyed { info.partition_backups.len() as i64 } else { 0 },
    };
    patient(|| milvus.create_collection(database, &new)).await?;
    let existing = patient(|| milvus.list_partitions(database, collection)).await?;
    for partition in &info.partition_backups {
        if existing.iter().any(|there| there.name == partition.partition_name) {
            continue;
        }
        if keyed {
            return Err(EngineError::Rejected(format!(
                "collection {target} has a partition key, and its partition {} cannot be made on this server: it named its own \
                 differently",
                partition.partition_name
            )));
        }
        patient(|| milvus.create_partition(database, collection, &partition.partition_name)).await?;
    }
    Ok(())
}

/// Collection properties; those of the schema where the server reported none beside it.
fn properties(info: &CollectionBackupInfo) -> Vec<(String, String)> {
    let source = if info.properties.is_empty() { &info.schema.properties } else { &info.properties };
    source.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}

/// Drops a collection with its aliases, which the server would otherwise refuse. A name that is an alias of another
/// collection is left alone.
///
/// # Errors
/// The server's.
pub async fn drop(milvus: &Milvus, target: &Name) -> Result<(), EngineError> {
    let (database, collection) = (target.database.as_str(), target.collection.as_str());
    let Some(description) = patient(|| milvus.describe_collection(database, collection)).await? else {
        return Ok(());
    };
    if aliased(&description, target).is_some() {
        return Ok(());
    }
    for alias in &description.aliases {
        patient(|| milvus.drop_alias(database, alias)).await?;
    }
    patient(|| milvus.drop_collection(database, collection)).await?;
    Ok(())
}

/// The collection behind a name that is only an alias. A 2.3.5 describes it under the name that was asked for; its schema
/// has the real one.
pub fn aliased<'d>(description: &'d CollectionDescription, name: &Name) -> Option<&'d str> {
    description.aliases.contains(&name.collection).then_some(description.schema.name.as_str())
}
