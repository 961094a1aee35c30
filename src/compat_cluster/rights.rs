//! What the API asks of the API server: the chart's role is compared with it by a test.

/// Rights in the namespace of the Milvus: API group, resources, verbs.
pub const RBAC: &[(&str, &[&str], &[&str])] = &[
    ("backup.milvus.io", &["milvusbackups"], &["get", "list", "watch", "create", "patch", "delete"]),
    ("backup.milvus.io", &["milvusrestores"], &["get", "list", "watch", "create", "patch"]),
    ("milvus.io", &["milvuses"], &["get"]),
];
