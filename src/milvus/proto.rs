//! The generated messages and client stubs of `proto/`, and nothing else.

#![allow(missing_docs, unreachable_pub, clippy::all)]

/// Shared messages.
pub mod common {
    tonic::include_proto!("milvus.proto.common");
}

/// Schemas and column data.
pub mod schema {
    tonic::include_proto!("milvus.proto.schema");
}

/// Positions in the message queue.
pub mod msg {
    tonic::include_proto!("milvus.proto.msg");
}

/// Requests, answers and the service.
pub mod milvus {
    tonic::include_proto!("milvus.proto.milvus");
}

/// Index definitions as Milvus stores them.
pub mod index {
    tonic::include_proto!("milvus.proto.index");
}

/// Reading etcd.
pub mod etcd {
    tonic::include_proto!("etcdserverpb");
}
