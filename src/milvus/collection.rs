//! Collections and their partitions.

use std::time::Duration;

use prost::Message as _;

use super::call::Call;
use super::proto::milvus as wire;
use super::proto::schema::{CollectionSchema, FieldSchema};
use super::{Milvus, MilvusError, Missing, key_values, pairs};

/// Creating waits for every part of a cluster to take note.
const CREATE_DEADLINE: Duration = Duration::from_secs(120);

/// A collection in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionRef {
    /// Name.
    pub name: String,
    /// Id.
    pub id: i64,
}

/// A collection as the server describes it.
///
/// The server hides the system fields (row id 0, timestamp 1) and the dynamic field; their binlogs exist all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionDescription {
    /// Name. May differ from the name asked for, which may have been an alias.
    pub name: String,
    /// Id.
    pub id: i64,
    /// Database; empty on servers before 2.2.9.
    pub database: String,
    /// Id of the database; 0 on servers before 2.4.
    pub database_id: i64,
    /// Schema as far as this project knows it.
    pub schema: CollectionSchema,
    /// Schema as the server serialised it, with fields this project does not know.
    pub schema_bytes: Vec<u8>,
    /// Number of shards.
    pub shards: i32,
    /// [`super::ConsistencyLevel`] as a number.
    pub consistency_level: i32,
    /// Properties.
    pub properties: Vec<(String, String)>,
    /// Aliases.
    pub aliases: Vec<String>,
    /// Number of partitions; tells how many to ask for where there is a partition key.
    pub num_partitions: i64,
    /// Virtual channels.
    pub virtual_channels: Vec<String>,
    /// Physical channels, in the order of the virtual ones.
    pub physical_channels: Vec<String>,
    /// Channel and opaque message id of its beginning.
    pub start_positions: Vec<(String, Vec<u8>)>,
    /// Hybrid timestamp.
    pub created_timestamp: u64,
    /// Unix milliseconds.
    pub created_utc_millis: u64,
    /// Hybrid timestamp of the last change; 0 on servers before 2.4.22 and 2.5.5.
    pub update_timestamp: u64,
}

/// A collection to be created.
///
/// The server numbers the fields itself, in order from 100; ids in the schema are ignored. The dynamic field must not be
/// listed, `enable_dynamic_field` makes it. Source: milvus-wire.md 2.3.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCollection {
    /// Name; put into the schema too.
    pub name: String,
    /// Schema.
    pub schema: CollectionSchema,
    /// Number of shards; 0 for the server's default.
    pub shards: i32,
    /// [`super::ConsistencyLevel`] as a number.
    pub consistency_level: i32,
    /// Properties; replace those of the schema.
    pub properties: Vec<(String, String)>,
    /// Number of partitions where the schema has a partition key, else 0.
    pub partitions: i64,
}

/// A partition in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Name.
    pub name: String,
    /// Id.
    pub id: i64,
}

impl Milvus {
    /// All collections of a database this login may see.
    pub async fn list_collections(&self, database: &str) -> Result<Vec<CollectionRef>, MilvusError> {
        let call = Call::database("ShowCollections", database);
        let request = wire::ShowCollectionsRequest { db_name: database.to_owned(), ..Default::default() };
        let answer =
            self.session.call(call.clone(), request, |mut c, r| async move { c.show_collections(r).await }).await?;
        let both = zip(answer.collection_names, answer.collection_ids)
            .map_err(|cause| self.session.malformed(&call, cause))?;
        Ok(both.map(|(name, id)| CollectionRef { name, id }).collect())
    }

    /// Whether there is a collection (or an alias) of this name. A missing database has none.
    pub async fn has_collection(&self, database: &str, collection: &str) -> Result<bool, MilvusError> {
        let call = Call::collection("HasCollection", database, collection);
        let request = wire::HasCollectionRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            time_stamp: 0,
        };
        let answer = self.session.call(call, request, |mut c, r| async move { c.has_collection(r).await }).await;
        match answer {
            Ok(answer) => Ok(answer.value),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Everything the server tells about a collection; none where it, or its database, is missing.
    pub async fn describe_collection(
        &self,
        database: &str,
        collection: &str,
    ) -> Result<Option<CollectionDescription>, MilvusError> {
        let call = Call::collection("DescribeCollection", database, collection);
        let request = wire::DescribeCollectionRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            ..Default::default()
        };
        let answer =
            self.session.call(call.clone(), request, |mut c, r| async move { c.describe_collection(r).await }).await;
        match answer {
            Ok(answer) => description(answer)
                .map(Some)
                .map_err(|error| self.session.malformed(&call, format!("unreadable schema: {error}"))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a collection. Repeating an identical creation succeeds; another shape under the name is
    /// [`MilvusError::AlreadyExists`].
    pub async fn create_collection(&self, database: &str, new: &NewCollection) -> Result<(), MilvusError> {
        let call = Call::collection("CreateCollection", database, &new.name).within(CREATE_DEADLINE);
        let request = create_request(database, new);
        self.session.call(call, request, |mut c, r| async move { c.create_collection(r).await }).await?;
        Ok(())
    }

    /// Sets properties of a collection.
    pub async fn alter_collection(
        &self,
        database: &str,
        collection: &str,
        properties: &[(String, String)],
    ) -> Result<(), MilvusError> {
        let call = Call::collection("AlterCollection", database, collection);
        let request = wire::AlterCollectionRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            properties: key_values(properties),
        };
        self.session.call(call, request, |mut c, r| async move { c.alter_collection(r).await }).await?;
        Ok(())
    }

    /// Adds a field, which gets the next free id. It must be nullable. From 2.6 on.
    pub async fn add_field(&self, database: &str, collection: &str, field: &FieldSchema) -> Result<(), MilvusError> {
        let call = Call::collection("AddCollectionField", database, collection)
            .about(format!("field {} of collection {database}.{collection}", field.name));
        let request = wire::AddCollectionFieldRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            schema: field.encode_to_vec(),
        };
        self.session.call(call, request, |mut c, r| async move { c.add_collection_field(r).await }).await?;
        Ok(())
    }

    /// Drops a collection; a missing one is fine. Refused when the name is an alias, and while the collection has
    /// aliases (2.3.5 does not mind them).
    pub async fn drop_collection(&self, database: &str, collection: &str) -> Result<(), MilvusError> {
        let call = Call::collection("DropCollection", database, collection).within(CREATE_DEADLINE);
        let request =
            wire::DropCollectionRequest { db_name: database.to_owned(), collection_name: collection.to_owned() };
        match self.session.call(call, request, |mut c, r| async move { c.drop_collection(r).await }).await {
            Err(error) if error.is_missing(Missing::Collection) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// All partitions of a collection, the default one and those of a partition key included.
    pub async fn list_partitions(&self, database: &str, collection: &str) -> Result<Vec<Partition>, MilvusError> {
        let call = Call::collection("ShowPartitions", database, collection);
        let request = wire::ShowPartitionsRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            ..Default::default()
        };
        let answer =
            self.session.call(call.clone(), request, |mut c, r| async move { c.show_partitions(r).await }).await?;
        let both =
            zip(answer.partition_names, answer.partition_ids).map_err(|cause| self.session.malformed(&call, cause))?;
        Ok(both.map(|(name, id)| Partition { name, id }).collect())
    }

    /// Creates a partition; one that exists is fine. Refused where the schema has a partition key: its partitions come
    /// with the collection.
    pub async fn create_partition(&self, database: &str, collection: &str, partition: &str) -> Result<(), MilvusError> {
        let call = Call::collection("CreatePartition", database, collection)
            .about(format!("partition {partition} of collection {database}.{collection}"));
        let request = wire::CreatePartitionRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            partition_name: partition.to_owned(),
        };
        match self.session.call(call, request, |mut c, r| async move { c.create_partition(r).await }).await {
            Err(error) if error.is_already_exists() => Ok(()),
            answer => answer.map(drop),
        }
    }
}

fn is_absent(error: &MilvusError) -> bool {
    error.is_missing(Missing::Collection) || error.is_missing(Missing::Database)
}

/// Two parallel lists of an answer.
fn zip(names: Vec<String>, ids: Vec<i64>) -> Result<impl Iterator<Item = (String, i64)>, String> {
    if names.len() != ids.len() {
        return Err(format!("{} names but {} ids", names.len(), ids.len()));
    }
    Ok(names.into_iter().zip(ids))
}

fn description(answer: wire::DescribeCollectionResponse) -> Result<CollectionDescription, prost::DecodeError> {
    let schema = CollectionSchema::decode(answer.schema.as_slice())?;
    Ok(CollectionDescription {
        // Older servers fill only the name in the schema.
        name: if answer.collection_name.is_empty() { schema.name.clone() } else { answer.collection_name },
        id: answer.collection_id,
        database: answer.db_name,
        database_id: answer.db_id,
        schema,
        schema_bytes: answer.schema,
        shards: answer.shards_num,
        consistency_level: answer.consistency_level,
        properties: pairs(answer.properties),
        aliases: answer.aliases,
        num_partitions: answer.num_partitions,
        virtual_channels: answer.virtual_channel_names,
        physical_channels: answer.physical_channel_names,
        start_positions: answer.start_positions.into_iter().map(|pair| (pair.key, pair.data)).collect(),
        created_timestamp: answer.created_timestamp,
        created_utc_millis: answer.created_utc_timestamp,
        update_timestamp: answer.update_timestamp,
    })
}

fn create_request(database: &str, new: &NewCollection) -> wire::CreateCollectionRequest {
    let schema = CollectionSchema { name: new.name.clone(), ..new.schema.clone() };
    wire::CreateCollectionRequest {
        db_name: database.to_owned(),
        collection_name: new.name.clone(),
        schema: schema.encode_to_vec(),
        shards_num: new.shards,
        consistency_level: new.consistency_level,
        properties: key_values(&new.properties),
        num_partitions: new.partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::proto::schema::{FieldSchema, ValueField, value_field};

    fn schema() -> CollectionSchema {
        let field = FieldSchema {
            field_id: 100,
            name: "age".into(),
            data_type: 5,
            default_value: Some(ValueField { data: Some(value_field::Data::LongData(0)) }),
            ..Default::default()
        };
        CollectionSchema { name: "source".into(), fields: vec![field], ..Default::default() }
    }

    #[test]
    fn the_schema_of_a_new_collection_carries_its_new_name() {
        let new = NewCollection {
            name: "target".into(),
            schema: schema(),
            shards: 2,
            consistency_level: 1,
            properties: vec![("collection.ttl.seconds".into(), "60".into())],
            partitions: 0,
        };
        let request = create_request("db1", &new);
        let sent = CollectionSchema::decode(request.schema.as_slice()).unwrap();
        assert_eq!((sent.name.as_str(), request.collection_name.as_str()), ("target", "target"));
        assert_eq!(sent.fields, schema().fields);
    }

    #[test]
    fn a_default_of_zero_is_a_default() {
        let bytes = schema().encode_to_vec();
        let read = CollectionSchema::decode(bytes.as_slice()).unwrap();
        assert_eq!(read.fields[0].default_value, Some(ValueField { data: Some(value_field::Data::LongData(0)) }));
    }

    #[test]
    fn schema_fields_nobody_here_knows_stay_in_the_bytes() {
        let mut bytes = schema().encode_to_vec();
        // Field 100, length-delimited, two bytes.
        bytes.extend_from_slice(&[0xa2, 0x06, 0x02, b'h', b'i']);
        let answer = wire::DescribeCollectionResponse { schema: bytes.clone(), ..Default::default() };
        let read = description(answer).unwrap();
        assert_eq!(read.schema_bytes, bytes);
        assert_eq!((read.name.as_str(), read.schema.fields.len()), ("source", 1));
    }

    #[test]
    fn lists_of_different_lengths_are_not_paired() {
        assert!(zip(vec!["a".into()], vec![]).is_err());
    }
}
