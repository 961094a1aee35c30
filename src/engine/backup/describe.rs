//! Asks the server for everything a collection needs to come back: schema, partitions, indexes, aliases, load state.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::engine::error::EngineError;
use crate::engine::patience::patient;
use crate::engine::schema;
use crate::engine::select::Name;
use crate::manifest::backup_info::PartitionBackupInfo;
use crate::manifest::{CollectionBackupInfo, IndexInfo, KeyValuePair};
use crate::milvus::{ClusterFlush, CollectionDescription, FlushTicket, Index, LoadState, Milvus, Partition};

/// Describes one collection; segments are added later.
///
/// # Errors
/// The server's; a collection that is gone is [`EngineError::Rejected`] by name.
pub async fn collection(
    milvus: &Milvus,
    name: &Name,
    run: &str,
    with_indexes: bool,
) -> Result<CollectionBackupInfo, EngineError> {
    let (database, collection) = (name.database.as_str(), name.collection.as_str());
    let Some(description) = patient(|| milvus.describe_collection(database, collection)).await? else {
        return Err(EngineError::Rejected(format!("collection {name} was dropped while it was backed up")));
    };
    let indexes = match with_indexes {
        true => patient(|| milvus.list_indexes(database, collection)).await?,
        false => Vec::new(),
    };
    let partitions = patient(|| milvus.list_partitions(database, collection)).await?;
    let state = patient(|| milvus.load_state(database, collection, &[])).await?;
    let mut info = record(name, run, description, indexes, load_text(state));
    for partition in partitions {
        let load_state = match state {
            LoadState::NotExist | LoadState::NotLoaded => load_text(state),
            _ => load_text(partition_state(milvus, name, &partition).await?),
        };
        info.partition_backups.push(PartitionBackupInfo {
            partition_id: partition.id,
            partition_name: partition.name,
            collection_id: info.collection_id,
            load_state: load_state.to_owned(),
            ..PartitionBackupInfo::default()
        });
    }
    Ok(info)
}

async fn partition_state(milvus: &Milvus, name: &Name, partition: &Partition) -> Result<LoadState, EngineError> {
    let partitions = [partition.name.clone()];
    patient(|| milvus.load_state(&name.database, &name.collection, &partitions)).await
}

fn record(
    name: &Name,
    run: &str,
    description: CollectionDescription,
    indexes: Vec<Index>,
    load_state: &str,
) -> CollectionBackupInfo {
    let CollectionDescription {
        id,
        name: described,
        schema,
        shards,
        consistency_level,
        properties,
        aliases,
        virtual_channels,
        physical_channels,
        created_timestamp,
        database_id,
        ..
    } = description;
    CollectionBackupInfo {
        id: run.to_owned(),
        collection_id: id,
        db_name: name.database.clone(),
        collection_name: if described.is_empty() { name.collection.clone() } else { described },
        schema: schema::to_backup(&schema),
        shards_num: shards,
        consistency_level,
        has_index: !indexes.is_empty(),
        index_infos: indexes.into_iter().map(index).collect(),
        load_state: load_state.to_owned(),
        properties: properties.into_iter().map(|(key, value)| KeyValuePair { key, value }).collect(),
        db_id: database_id,
        created_timestamp,
        virtual_channel_names: virtual_channels,
        physical_channel_names: physical_channels,
        aliases,
        ..CollectionBackupInfo::default()
    }
}

fn index(index: Index) -> IndexInfo {
    let params: BTreeMap<String, String> = index.params.into_iter().collect();
    IndexInfo {
        field_name: index.field_name,
        index_name: index.name,
        index_type: params.get("index_type").cloned().unwrap_or_default(),
        params,
        index_id: index.id,
        ..IndexInfo::default()
    }
}

/// The text the Go tool writes (milvus-backup.md 2.4).
fn load_text(state: LoadState) -> &'static str {
    match state {
        LoadState::Loaded => "Loaded",
        LoadState::Loading => "Loading",
        _ => "NotLoad",
    }
}

/// Records the moment the collection is consistent to.
pub fn consistent_to(info: &mut CollectionBackupInfo, ticket: &FlushTicket) {
    info.backup_timestamp = ticket.flush_ts.unwrap_or_default();
    info.backup_physical_timestamp =
        ticket.seal_time_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    info.channel_checkpoints = ticket
        .channel_checkpoints
        .iter()
        .map(|(channel, position)| (channel.clone(), STANDARD.encode(position)))
        .collect();
}

/// Records the moment the collection is consistent to after a flush of the whole cluster: the earliest tick of its
/// channels.
///
/// # Errors
/// The flush did not cover a channel of the collection.
pub fn consistent_to_cluster(info: &mut CollectionBackupInfo, flush: &ClusterFlush) -> Result<(), EngineError> {
    let mut earliest = None;
    for channel in &info.physical_channel_names {
        let Some(tick) = flush.ticks.get(channel) else {
            return Err(EngineError::Interrupted(format!(
                "the flush of the cluster did not cover channel {channel} of collection {}.{}, which may be new",
                info.db_name, info.collection_name
            )));
        };
        earliest = Some(earliest.map_or(*tick, |earliest: u64| earliest.min(*tick)));
    }
    info.backup_timestamp = earliest.unwrap_or_default();
    // Unix seconds of a hybrid timestamp.
    info.backup_physical_timestamp = (info.backup_timestamp >> 18) / 1000;
    Ok(())
}
