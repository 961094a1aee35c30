//! Loading collections into memory, and whether they are.

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError};

/// Whether a collection can be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// There is no such collection.
    NotExist,
    /// Not in memory.
    NotLoaded,
    /// On its way.
    Loading,
    /// In memory.
    Loaded,
    /// Newer than this client.
    Unknown(i32),
}

impl From<i32> for LoadState {
    fn from(number: i32) -> LoadState {
        use wire::LoadState as Wire;
        match Wire::try_from(number) {
            Ok(Wire::NotExist) => LoadState::NotExist,
            Ok(Wire::NotLoad) => LoadState::NotLoaded,
            Ok(Wire::Loading) => LoadState::Loading,
            Ok(Wire::Loaded) => LoadState::Loaded,
            Err(_) => LoadState::Unknown(number),
        }
    }
}

impl Milvus {
    /// Whether a collection, or these partitions of it, can be searched. From 2.2.3 on.
    pub async fn load_state(
        &self,
        database: &str,
        collection: &str,
        partitions: &[String],
    ) -> Result<LoadState, MilvusError> {
        let call = Call::collection("GetLoadState", database, collection);
        let request = state_request(database, collection, partitions);
        let answer = self.session.call(call, request, |mut c, r| async move { c.get_load_state(r).await }).await?;
        Ok(answer.state.into())
    }

    /// Starts to load a collection; `replicas` 0 is the server's default. [`Milvus::load_state`] tells when it is done.
    pub async fn load_collection(&self, database: &str, collection: &str, replicas: i32) -> Result<(), MilvusError> {
        self.load(load_request(database, collection, replicas, false)).await
    }

    /// Makes a loaded collection take notice of imported segments now rather than some seconds later.
    pub async fn refresh_collection(&self, database: &str, collection: &str) -> Result<(), MilvusError> {
        self.load(load_request(database, collection, 0, true)).await
    }

    /// Starts to load some partitions of a collection.
    pub async fn load_partitions(
        &self,
        database: &str,
        collection: &str,
        partitions: &[String],
        replicas: i32,
    ) -> Result<(), MilvusError> {
        let call = Call::collection("LoadPartitions", database, collection);
        let request = wire::LoadPartitionsRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            partition_names: partitions.to_vec(),
            replica_number: replicas,
            ..Default::default()
        };
        self.session.call(call, request, |mut c, r| async move { c.load_partitions(r).await }).await?;
        Ok(())
    }

    /// Takes a collection out of memory.
    pub async fn release_collection(&self, database: &str, collection: &str) -> Result<(), MilvusError> {
        let call = Call::collection("ReleaseCollection", database, collection);
        let request =
            wire::ReleaseCollectionRequest { db_name: database.to_owned(), collection_name: collection.to_owned() };
        self.session.call(call, request, |mut c, r| async move { c.release_collection(r).await }).await?;
        Ok(())
    }

    async fn load(&self, request: wire::LoadCollectionRequest) -> Result<(), MilvusError> {
        let (database, collection) = (request.db_name.clone(), request.collection_name.clone());
        let call = Call::collection("LoadCollection", &database, &collection);
        self.session.call(call, request, |mut c, r| async move { c.load_collection(r).await }).await?;
        Ok(())
    }
}

fn state_request(database: &str, collection: &str, partitions: &[String]) -> wire::GetLoadStateRequest {
    wire::GetLoadStateRequest {
        collection_name: collection.to_owned(),
        partition_names: partitions.to_vec(),
        db_name: database.to_owned(),
    }
}

fn load_request(database: &str, collection: &str, replicas: i32, refresh: bool) -> wire::LoadCollectionRequest {
    wire::LoadCollectionRequest {
        db_name: database.to_owned(),
        collection_name: collection.to_owned(),
        replica_number: replicas,
        resource_groups: Vec::new(),
        refresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn the_state_is_asked_with_the_collection_as_2_and_the_database_as_4() {
        let bytes = state_request("d", "c", &["p".to_owned()]).encode_to_vec();
        assert_eq!(bytes, [0x12, 1, b'c', 0x1a, 1, b'p', 0x22, 1, b'd']);
    }

    #[test]
    fn a_refresh_is_number_6() {
        assert_eq!(load_request("d", "c", 1, true).encode_to_vec(), [0x12, 1, b'd', 0x1a, 1, b'c', 0x20, 1, 0x30, 1]);
    }

    #[test]
    fn partitions_are_loaded_with_their_names_as_4_and_the_replicas_as_5() {
        let request = wire::LoadPartitionsRequest {
            db_name: "d".into(),
            collection_name: "c".into(),
            partition_names: vec!["p".into()],
            replica_number: 2,
            ..Default::default()
        };
        assert_eq!(request.encode_to_vec(), [0x12, 1, b'd', 0x1a, 1, b'c', 0x22, 1, b'p', 0x28, 2]);
    }

    #[test]
    fn load_states_are_read_by_number() {
        let read: Vec<LoadState> = (0..5).map(LoadState::from).collect();
        use LoadState::{Loaded, Loading, NotExist, NotLoaded, Unknown};
        assert_eq!(read, [NotExist, NotLoaded, Loading, Loaded, Unknown(4)]);
    }
}
