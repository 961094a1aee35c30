//! Index definitions and their building.

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError, Missing, key_values, pairs};

/// An index of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Field it is made on. For a path inside the dynamic field, its first part.
    pub field_name: String,
    /// Name.
    pub name: String,
    /// Id.
    pub id: i64,
    /// As the user gave them; empty for a scalar index made without any.
    pub params: Vec<(String, String)>,
    /// How far it is built.
    pub state: IndexState,
    /// Rows with it.
    pub indexed_rows: i64,
    /// Rows there are.
    pub total_rows: i64,
    /// Why it failed; else empty.
    pub fail_reason: String,
}

/// How far an index is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// Not told.
    None,
    /// Not begun.
    Unissued,
    /// Being built.
    InProgress,
    /// Built.
    Finished,
    /// Cannot be built.
    Failed,
    /// Being built again.
    Retry,
    /// Newer than this client.
    Unknown(i32),
}

impl From<i32> for IndexState {
    fn from(number: i32) -> IndexState {
        use wire::IndexState as Wire;
        match Wire::try_from(number) {
            Ok(Wire::None) => IndexState::None,
            Ok(Wire::Unissued) => IndexState::Unissued,
            Ok(Wire::InProgress) => IndexState::InProgress,
            Ok(Wire::Finished) => IndexState::Finished,
            Ok(Wire::Failed) => IndexState::Failed,
            Ok(Wire::Retry) => IndexState::Retry,
            Err(_) => IndexState::Unknown(number),
        }
    }
}

impl Milvus {
    /// All indexes of a collection; servers call having none an error, here it is an empty list.
    pub async fn list_indexes(&self, database: &str, collection: &str) -> Result<Vec<Index>, MilvusError> {
        let call = Call::collection("DescribeIndex", database, collection);
        let request = wire::DescribeIndexRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            ..Default::default()
        };
        match self.session.call(call, request, |mut c, r| async move { c.describe_index(r).await }).await {
            Ok(answer) => Ok(answer.index_descriptions.into_iter().map(index).collect()),
            Err(error) if error.is_missing(Missing::Index) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Starts to build an index; repeating it with the same parameters succeeds. [`Milvus::list_indexes`] tells when it
    /// is built.
    pub async fn create_index(
        &self,
        database: &str,
        collection: &str,
        field: &str,
        name: &str,
        params: &[(String, String)],
    ) -> Result<(), MilvusError> {
        let call = Call::collection("CreateIndex", database, collection)
            .about(format!("index {name} on field {field} of collection {database}.{collection}"));
        let request = wire::CreateIndexRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            field_name: field.to_owned(),
            extra_params: key_values(params),
            index_name: name.to_owned(),
        };
        self.session.call(call, request, |mut c, r| async move { c.create_index(r).await }).await?;
        Ok(())
    }

    /// Drops an index; a missing one is fine. Refused for a vector index of a loaded collection.
    pub async fn drop_index(&self, database: &str, collection: &str, name: &str) -> Result<(), MilvusError> {
        let call = Call::collection("DropIndex", database, collection)
            .about(format!("index {name} of collection {database}.{collection}"));
        let request = wire::DropIndexRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            index_name: name.to_owned(),
            ..Default::default()
        };
        match self.session.call(call, request, |mut c, r| async move { c.drop_index(r).await }).await {
            Err(error) if error.is_missing(Missing::Index) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

fn index(description: wire::IndexDescription) -> Index {
    Index {
        field_name: description.field_name,
        name: description.index_name,
        id: description.index_id,
        params: pairs(description.params),
        state: description.state.into(),
        indexed_rows: description.indexed_rows,
        total_rows: description.total_rows,
        fail_reason: description.index_state_fail_reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::proto::common::KeyValuePair;

    #[test]
    fn an_index_keeps_the_order_of_its_parameters() {
        let pair = |key: &str| KeyValuePair { key: key.into(), value: "x".into() };
        let read = index(wire::IndexDescription {
            params: vec![pair("metric_type"), pair("index_type")],
            state: 3,
            ..Default::default()
        });
        assert_eq!(read.params.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["metric_type", "index_type"]);
        assert_eq!(read.state, IndexState::Finished);
        assert_eq!(IndexState::from(17), IndexState::Unknown(17));
    }
}
