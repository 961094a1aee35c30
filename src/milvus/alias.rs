//! Aliases of collections.

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError, Missing};

impl Milvus {
    /// Gives a collection another name. A name that is taken is [`MilvusError::AlreadyExists`]; servers after 2.3 say so
    /// also when it is taken by this very collection, which [`Milvus::list_aliases`] tells.
    pub async fn create_alias(&self, database: &str, collection: &str, alias: &str) -> Result<(), MilvusError> {
        let call = Call::collection("CreateAlias", database, collection)
            .about(format!("alias {alias} of collection {database}.{collection}"));
        let request = wire::CreateAliasRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            alias: alias.to_owned(),
        };
        self.session.call(call, request, |mut c, r| async move { c.create_alias(r).await }).await?;
        Ok(())
    }

    /// Removes an alias; a missing one is fine.
    pub async fn drop_alias(&self, database: &str, alias: &str) -> Result<(), MilvusError> {
        let call = Call::database("DropAlias", database).about(format!("alias {database}.{alias}"));
        let request = wire::DropAliasRequest { db_name: database.to_owned(), alias: alias.to_owned() };
        match self.session.call(call, request, |mut c, r| async move { c.drop_alias(r).await }).await {
            Err(error) if error.is_missing(Missing::Alias) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// The aliases of a collection. Servers before 2.3 are asked by DescribeCollection.
    pub async fn list_aliases(&self, database: &str, collection: &str) -> Result<Vec<String>, MilvusError> {
        let call = Call::collection("ListAliases", database, collection);
        let request = wire::ListAliasesRequest { db_name: database.to_owned(), collection_name: collection.to_owned() };
        match self.session.call(call, request, |mut c, r| async move { c.list_aliases(r).await }).await {
            Ok(answer) => Ok(answer.aliases),
            Err(error) if error.is_unimplemented() => match self.describe_collection(database, collection).await? {
                Some(description) => Ok(description.aliases),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}
