//! Inserting rows, column by column.

use std::time::Duration;

use super::call::Call;
use super::proto::milvus as wire;
use super::proto::schema::FieldData;
use super::{Milvus, MilvusError};

/// A server that is flushing takes rows slowly.
const INSERT_DEADLINE: Duration = Duration::from_secs(120);

/// Rows for one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// Database.
    pub database: String,
    /// Collection.
    pub collection: String,
    /// Partition. Empty where a partition key tells it; servers refuse a name there.
    pub partition: String,
    /// One column for each field, the dynamic one included, with as many values as there are rows.
    pub columns: Vec<FieldData>,
    /// Rows.
    pub rows: u32,
}

impl Milvus {
    /// Inserts rows, answers how many the server took. A server does not compare keys: the same rows inserted twice are
    /// there twice.
    ///
    /// Sent once: where a broken connection or a silent server leaves open whether it took effect, the error is
    /// [`MilvusError::OutcomeUnknown`]. Only a refusal for the rate is waited for.
    pub async fn insert(&self, insert: Insert) -> Result<u64, MilvusError> {
        let Insert { database, collection, partition, columns, rows } = insert;
        let subject = match partition.as_str() {
            "" => format!("collection {database}.{collection}"),
            partition => format!("partition {partition} of collection {database}.{collection}"),
        };
        let name = database.clone();
        let call = Call::collection("Insert", &name, &collection).about(subject).within(INSERT_DEADLINE).once();
        let request = wire::InsertRequest {
            db_name: database,
            collection_name: collection.clone(),
            partition_name: partition,
            fields_data: columns,
            num_rows: rows,
        };
        let answer = self.session.call(call.clone(), request, |mut c, r| async move { c.insert(r).await }).await?;
        u64::try_from(answer.insert_cnt).map_err(|_| self.session.malformed(&call, "a negative number of rows"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::proto::schema::field_data::Field;
    use crate::milvus::proto::schema::scalar_field::Data;
    use crate::milvus::proto::schema::{ArrayArray, JsonArray, LongArray, ScalarField, VectorField, vector_field};
    use prost::Message as _;

    fn column(data: Data) -> FieldData {
        FieldData { field: Some(Field::Scalars(ScalarField { data: Some(data) })), ..FieldData::default() }
    }

    #[test]
    fn an_insert_names_its_database_collection_partition_columns_and_rows_by_2_3_4_5_7() {
        let request = wire::InsertRequest {
            db_name: "d".into(),
            collection_name: "c".into(),
            partition_name: "p".into(),
            fields_data: vec![FieldData { field_name: "f".into(), is_dynamic: true, ..FieldData::default() }],
            num_rows: 9,
        };
        let expected = [
            [0x12, 1, b'd'].as_slice(),
            &[0x1a, 1, b'c', 0x22, 1, b'p'],
            &[0x2a, 5, 0x12, 1, b'f', 0x30, 1],
            &[0x38, 9],
        ];
        assert_eq!(request.encode_to_vec(), expected.concat());
    }

    #[test]
    fn values_lie_where_the_contract_has_them() {
        let long = Data::LongData(LongArray { data: vec![1] });
        assert_eq!(column(long.clone()).encode_to_vec(), [0x1a, 5, 0x1a, 3, 0x0a, 1, 1]);
        let json = Data::JsonData(JsonArray { data: vec![b"{}".to_vec()] });
        assert_eq!(column(json).encode_to_vec(), [0x1a, 6, 0x4a, 4, 0x0a, 2, b'{', b'}']);
        // An array is a message in a message; its bytes are those of the row's own ScalarField.
        let row = ScalarField { data: Some(long) }.encode_to_vec();
        let array = Data::ArrayData(ArrayArray { data: vec![row], element_type: 5 });
        assert_eq!(column(array).encode_to_vec(), [0x1a, 11, 0x42, 9, 0x0a, 5, 0x1a, 3, 0x0a, 1, 1, 0x10, 5]);
        let vector = VectorField { dim: 8, data: Some(vector_field::Data::BinaryVector(vec![7])) };
        let column = FieldData { field: Some(Field::Vectors(vector)), ..FieldData::default() };
        assert_eq!(column.encode_to_vec(), [0x22, 5, 0x08, 8, 0x1a, 1, 7]);
    }
}
