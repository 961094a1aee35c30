//! Databases. Servers before 2.2.9 have only the default one.

use super::call::Call;
use super::proto::milvus::{
    AlterDatabaseRequest, CreateDatabaseRequest, DescribeDatabaseRequest, DropDatabaseRequest, ListDatabasesRequest,
};
use super::{DEFAULT_DATABASE, Milvus, MilvusError, key_values, pairs};

/// A database as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseInfo {
    /// Name.
    pub name: String,
    /// Id.
    pub id: i64,
    /// Hybrid timestamp; 2.6 counts a change as a creation.
    pub created_timestamp: u64,
    /// Properties. `cipher.*` must not be replayed blindly into another cluster.
    pub properties: Vec<(String, String)>,
}

impl Milvus {
    /// Names of all databases this login may see; just the default one where the server knows no databases.
    pub async fn list_databases(&self) -> Result<Vec<String>, MilvusError> {
        let call = Call::server("ListDatabases");
        let answer =
            self.session.call(call, ListDatabasesRequest {}, |mut c, r| async move { c.list_databases(r).await }).await;
        match answer {
            Ok(answer) => Ok(answer.db_names),
            Err(error) if error.is_unimplemented() => Ok(vec![DEFAULT_DATABASE.to_owned()]),
            Err(error) => Err(error),
        }
    }

    /// Creates a database. One that exists is [`MilvusError::AlreadyExists`], also when a first try took effect without
    /// an answer. Servers before 2.4.6 ignore `properties` silently.
    pub async fn create_database(&self, name: &str, properties: &[(String, String)]) -> Result<(), MilvusError> {
        let call = Call::server("CreateDatabase").about(format!("database {name}"));
        let request = CreateDatabaseRequest { db_name: name.to_owned(), properties: key_values(properties) };
        self.session.call(call, request, |mut c, r| async move { c.create_database(r).await }).await?;
        Ok(())
    }

    /// Sets properties of a database. From 2.4.1 on.
    pub async fn alter_database(&self, name: &str, properties: &[(String, String)]) -> Result<(), MilvusError> {
        let call = Call::server("AlterDatabase").about(format!("database {name}"));
        let request = AlterDatabaseRequest { db_name: name.to_owned(), properties: key_values(properties) };
        self.session.call(call, request, |mut c, r| async move { c.alter_database(r).await }).await?;
        Ok(())
    }

    /// Drops an empty database; the server refuses one with collections in it.
    pub async fn drop_database(&self, name: &str) -> Result<(), MilvusError> {
        let call = Call::server("DropDatabase").about(format!("database {name}"));
        let request = DropDatabaseRequest { db_name: name.to_owned() };
        self.session.call(call, request, |mut c, r| async move { c.drop_database(r).await }).await?;
        Ok(())
    }

    /// Id and properties of a database; none where the server does not have the call (before 2.4.3).
    pub async fn describe_database(&self, name: &str) -> Result<Option<DatabaseInfo>, MilvusError> {
        let call = Call::database("DescribeDatabase", name);
        let request = DescribeDatabaseRequest { db_name: name.to_owned() };
        let answer = self.session.call(call, request, |mut c, r| async move { c.describe_database(r).await }).await;
        match answer {
            Ok(answer) => Ok(Some(DatabaseInfo {
                name: name.to_owned(),
                id: answer.db_id,
                created_timestamp: answer.created_timestamp,
                properties: pairs(answer.properties),
            })),
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
