//! Makes a target collection as the backup describes it: database, schema, partitions.

use std::collections::{BTreeMap, BTreeSet};

use super::fit;
use crate::engine::error::EngineError;
use crate::engine::patience::patient;
use crate::engine::schema;
use crate::engine::select::Name;
use crate::manifest::backup_info::DatabaseBackupInfo;
use crate::manifest::sealed::CIPHER;
use crate::manifest::{CollectionBackupInfo, KeyValuePair};
use crate::milvus::{CollectionDescription, Gate, Milvus, NewCollection};

/// Creates databases as the backup describes them; answers a warning for properties this server cannot keep.
///
/// # Errors
/// The server's.
pub async fn databases(
    milvus: &Milvus,
    wanted: &BTreeMap<String, Option<&DatabaseBackupInfo>>,
) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    for (name, recorded) in wanted {
        let properties = recorded.map(|recorded| plain(&recorded.properties)).unwrap_or_default();
        if let Err(error) = milvus.create_database(name, &properties).await {
            // Created by an attempt whose answer was lost, or by somebody else a moment ago: either way it is there.
            if !patient(|| milvus.list_databases()).await?.contains(name) {
                return Err(error.into());
            }
        }
        // Older servers drop what they do not know without a word.
        if properties.is_empty() || milvus.version().has(Gate::DatabaseProperties) {
            continue;
        }
        match milvus.version().has(Gate::DescribeDatabase) {
            true => patient(|| milvus.alter_database(name, &properties)).await?,
            false => warnings.push(format!(
                "properties of database {name} were not restored: milvus {} has none",
                milvus.version().text
            )),
        }
    }
    Ok(warnings)
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
        .filter(|pair| !pair.key.starts_with(CIPHER))
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

/// Property that keeps the server from asking the providers of embedding functions (milvus-backup.md 4.3).
const NO_FUNCTION_CHECK: &str = "disable_func_runtime_check";

/// Creates the collection and its partitions. Safe to repeat: an identical collection or partition is no error.
///
/// # Errors
/// The server's, or a schema that cannot be written; a server that numbers fields otherwise than recorded.
pub async fn collection(milvus: &Milvus, target: &Name, info: &CollectionBackupInfo) -> Result<(), EngineError> {
    let (database, collection) = (target.database.as_str(), target.collection.as_str());
    let keyed = info.schema.fields.iter().any(|field| field.is_partition_key);
    let mut schema = schema::to_wire(&info.schema, &target.collection)?;
    let mut fields = std::mem::take(&mut schema.fields);
    // The server numbers fields in the order in which it gets them.
    fields.sort_by_key(|field| field.field_id);
    let later: BTreeSet<i64> = fit::added_later(info).unwrap_or_default().iter().map(|field| field.field_id).collect();
    let (added, first): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| later.contains(&field.field_id));
    schema.fields = first;
    let mut properties = properties(info);
    let unchecked = !info.schema.functions.is_empty() && milvus.version().has(Gate::FunctionCheck);
    let was_unchecked = properties.iter().any(|(key, value)| key == NO_FUNCTION_CHECK && value == "true");
    if unchecked && !was_unchecked {
        properties.retain(|(key, _)| key != NO_FUNCTION_CHECK);
        properties.push((NO_FUNCTION_CHECK.to_owned(), "true".to_owned()));
    }
    let new = NewCollection {
        name: target.collection.clone(),
        schema,
        shards: info.shards_num,
        consistency_level: info.consistency_level,
        properties,
        partitions: if keyed { info.partition_backups.len() as i64 } else { 0 },
    };
    patient(|| milvus.create_collection(database, &new)).await?;
    for field in &added {
        patient(|| milvus.add_field(database, collection, field)).await?;
    }
    if unchecked && !was_unchecked {
        let off = [(NO_FUNCTION_CHECK.to_owned(), "false".to_owned())];
        patient(|| milvus.alter_collection(database, collection, &off)).await?;
    }
    numbered(milvus, target, info).await?;
    partitions(milvus, target, info).await
}

/// Makes the recorded partitions that are not there.
///
/// # Errors
/// The server's; a partition key, whose partitions come with the collection.
pub async fn partitions(milvus: &Milvus, target: &Name, info: &CollectionBackupInfo) -> Result<(), EngineError> {
    let (database, collection) = (target.database.as_str(), target.collection.as_str());
    let keyed = info.schema.fields.iter().any(|field| field.is_partition_key);
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

/// That every field has its recorded id: binlogs are found by it, and values under another field would be taken for its own.
async fn numbered(milvus: &Milvus, target: &Name, info: &CollectionBackupInfo) -> Result<(), EngineError> {
    let made = patient(|| milvus.describe_collection(&target.database, &target.collection)).await?;
    let made = made.map(|made| schema::to_backup(&made.schema).fields).unwrap_or_default();
    for field in info.schema.fields.iter().filter(|field| !field.is_dynamic) {
        let id = made.iter().find(|there| there.name == field.name).map(|there| there.field_id);
        if id != Some(field.field_id) {
            return Err(EngineError::Rejected(format!(
                "field {} of collection {target} got id {} on this server instead of {}, so that its data would not be found",
                field.name,
                id.map_or_else(|| "none".to_owned(), |id| id.to_string()),
                field.field_id
            )));
        }
    }
    Ok(())
}

/// Collection properties; those of the schema where the server reported none beside it.
fn properties(info: &CollectionBackupInfo) -> Vec<(String, String)> {
    let source = if info.properties.is_empty() { &info.schema.properties } else { &info.properties };
    source.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}

/// Whether there is a collection, or an alias, of this name.
///
/// # Errors
/// The server's.
pub async fn exists(milvus: &Milvus, target: &Name) -> Result<bool, EngineError> {
    if !patient(|| milvus.list_databases()).await?.contains(&target.database) {
        return Ok(false);
    }
    Ok(patient(|| milvus.describe_collection(&target.database, &target.collection)).await?.is_some())
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
