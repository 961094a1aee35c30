//! Rows that a client inserts: taken as Milvus' proxy takes them, or refused in its words.

use std::collections::BTreeMap;

use milvus_backup_operator::milvus::proto::milvus::InsertRequest;
use milvus_backup_operator::milvus::proto::schema::FieldSchema;

use super::types;
use super::world::{Refused, Row, World};

impl World {
    /// Rows arrive from a client; answers how many.
    pub fn take_insert(&mut self, asked: &InsertRequest) -> Result<i64, Refused> {
        let missing = (100, format!("collection not found[collection={}]", asked.collection_name));
        let collection = self.find(&asked.db_name, &asked.collection_name).ok_or(missing)?.clone();
        let name = if asked.partition_name.is_empty() { "_default" } else { &asked.partition_name };
        let place = collection.partition(name).ok_or((200, format!("partition not found[partition={name}]")))?;
        let rows = asked.num_rows as usize;
        let mut made = vec![BTreeMap::new(); rows];
        let hidden = FieldSchema { name: "$meta".into(), data_type: 23, ..FieldSchema::default() };
        for field in collection.schema.fields.iter().chain(collection.dynamic.is_some().then_some(&hidden)) {
            let sent = asked.fields_data.iter().find(|sent| sent.field_name == field.name);
            let sent = sent.ok_or((1100, format!("field {} is missing", field.name)))?;
            let values = types::taken(field, sent, rows).map_err(|why| (1100, why))?;
            for (row, value) in made.iter_mut().zip(values) {
                row.extend(value.map(|value| (field.name.clone(), value)));
            }
        }
        let key = collection.schema.fields.iter().find(|field| field.is_primary_key).unwrap().name.clone();
        for mut fields in made {
            let pk = i64::from_le_bytes(fields.remove(&key).unwrap()[..].try_into().unwrap());
            let ts = self.tick();
            let there = self.find_mut(&collection.database, &collection.name).unwrap();
            there.growing.push((place, Row { pk, ts, fields }));
        }
        Ok(rows as i64)
    }
}
