//! Counting rows, the proof of a restore, and reading some.

use std::time::Duration;

use super::call::Call;
use super::proto::common::{ConsistencyLevel, KeyValuePair};
use super::proto::milvus as wire;
use super::proto::schema::FieldData;
use super::proto::schema::field_data::Field;
use super::proto::schema::scalar_field::Data;
use super::{Milvus, MilvusError};

/// A count of a large collection reads much.
const COUNT_DEADLINE: Duration = Duration::from_secs(180);
/// Rows of one answer. Servers take 16,384 unless they are told otherwise (milvus-wire.md 2.11).
pub const MOST_ROWS: usize = 1000;

impl Milvus {
    /// Live rows of a loaded collection, or of one of its partitions, as of now: deleted ones are not counted, whatever
    /// was written before the call is.
    pub async fn count_rows(
        &self,
        database: &str,
        collection: &str,
        partition: Option<&str>,
    ) -> Result<u64, MilvusError> {
        let call = Call::collection("Query", database, collection).within(COUNT_DEADLINE);
        let request = count_request(database, collection, partition);
        let answer = self.session.call(call.clone(), request, |mut c, r| async move { c.query(r).await }).await?;
        counted(&answer).ok_or_else(|| self.session.malformed(&call, "count(*) without one whole number"))
    }

    /// Fields of the rows of a loaded collection that an expression selects, as of now and in any order: at most [`MOST_ROWS`],
    /// where rows that have their key in common count each and come once.
    ///
    /// A limit is always given: without one a 2.3.5 that has just been loaded leaves out keys that are there twice, though it
    /// counts their rows (27 of 50 keys; tried with rows of one insert).
    pub async fn rows(
        &self,
        database: &str,
        collection: &str,
        expression: &str,
        fields: &[String],
    ) -> Result<Vec<FieldData>, MilvusError> {
        let call = Call::collection("Query", database, collection).within(COUNT_DEADLINE);
        let request = wire::QueryRequest {
            expr: expression.to_owned(),
            output_fields: fields.to_vec(),
            query_params: vec![KeyValuePair { key: "limit".to_owned(), value: MOST_ROWS.to_string() }],
            ..count_request(database, collection, None)
        };
        let answer = self.session.call(call, request, |mut c, r| async move { c.query(r).await }).await?;
        Ok(answer.fields_data)
    }
}

fn count_request(database: &str, collection: &str, partition: Option<&str>) -> wire::QueryRequest {
    wire::QueryRequest {
        db_name: database.to_owned(),
        collection_name: collection.to_owned(),
        output_fields: vec!["count(*)".to_owned()],
        partition_names: partition.map(str::to_owned).into_iter().collect(),
        consistency_level: ConsistencyLevel::Strong.into(),
        use_default_consistency: false,
        ..Default::default()
    }
}

fn counted(answer: &wire::QueryResults) -> Option<u64> {
    let [column] = answer.fields_data.as_slice() else {
        return None;
    };
    let Some(Field::Scalars(scalars)) = &column.field else {
        return None;
    };
    let Some(Data::LongData(numbers)) = &scalars.data else {
        return None;
    };
    match numbers.data.as_slice() {
        [count] => u64::try_from(*count).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::proto::schema::{LongArray, ScalarField};

    fn answer(numbers: Vec<i64>) -> wire::QueryResults {
        let scalars = ScalarField { data: Some(Data::LongData(LongArray { data: numbers })) };
        let column = FieldData { field: Some(Field::Scalars(scalars)), ..Default::default() };
        wire::QueryResults { fields_data: vec![column], ..Default::default() }
    }

    #[test]
    fn rows_are_counted_with_strong_consistency_and_without_a_limit() {
        let request = count_request("d", "c", Some("p"));
        assert_eq!(request.output_fields, ["count(*)"]);
        assert_eq!(request.partition_names, ["p"]);
        assert_eq!((request.consistency_level, request.use_default_consistency), (0, false));
        assert!(request.query_params.is_empty() && request.expr.is_empty());
        assert!(count_request("d", "c", None).partition_names.is_empty());
    }

    #[test]
    fn a_count_is_one_number_in_one_column() {
        assert_eq!(counted(&answer(vec![7840])), Some(7840));
        assert_eq!(counted(&answer(vec![0])), Some(0));
    }

    #[test]
    fn anything_else_is_no_count() {
        assert_eq!(counted(&wire::QueryResults::default()), None);
        assert_eq!(counted(&answer(vec![])), None);
        assert_eq!(counted(&answer(vec![1, 2])), None);
        assert_eq!(counted(&answer(vec![-1])), None);
    }
}
