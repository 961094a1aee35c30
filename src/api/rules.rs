//! The CEL rules and their sentences. A sentence says what to write instead.
//!
//! Everything a rule reads has a `maxLength` or `maxItems` in the schema: the API server refuses a CRD whose rules could
//! cost too much.

use kube::core::Rule;

fn rule(text: impl Into<String>, sentence: impl AsRef<str>) -> Rule {
    Rule::new(text).message(sentence.as_ref())
}

/// A field that always has a value (required, or with a default) and never changes.
pub(super) fn fixed(field: &str) -> Rule {
    rule("self == oldSelf", format!("{field} cannot be changed: create a new object with the value you want"))
}

/// An optional field of the object this stands on that can be neither changed, added nor removed later.
pub(super) fn fixed_optional(path: &str, field: &str) -> Rule {
    rule(
        format!("has(self.{path}) == has(oldSelf.{path}) && (!has(self.{path}) || self.{path} == oldSelf.{path})"),
        format!("{field} cannot be changed, added or removed: create a new object with the value you want"),
    )
}

/// `cancel` and the like: may become true, never false again.
pub(super) fn one_way() -> Rule {
    rule("!oldSelf || self", "cancel cannot be taken back: create a new object to run again")
}

/// Exactly one of `milvusRef` and `connection`.
pub(super) fn one_milvus(field: &str) -> Rule {
    rule(
        "has(self.milvusRef) != has(self.connection)",
        format!("{field} takes exactly one of milvusRef (a Milvus of Milvus Operator) and connection (any other)"),
    )
}

/// `overrides` go with `milvusRef`.
pub(super) fn overrides_need_ref(field: &str) -> Rule {
    rule(
        "!has(self.overrides) || has(self.milvusRef)",
        format!("{field}.overrides goes with milvusRef only: write the values into {field}.connection"),
    )
}

/// At most one of two members.
pub(super) fn at_most_one(one: &str, other: &str, sentence: &str) -> Rule {
    rule(format!("!(has(self.{one}) && has(self.{other}))"), sentence)
}

/// Exactly one of two members.
pub(super) fn exactly_one(one: &str, other: &str, sentence: &str) -> Rule {
    rule(format!("has(self.{one}) != has(self.{other})"), sentence)
}

/// Name of a Kubernetes object.
pub(super) fn object_name() -> Rule {
    rule(
        "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
        "write the bare name of an object in this namespace: lower case letters, digits, '-' and '.'",
    )
}

/// Name of a field in a Secret.
pub(super) fn secret_field() -> Rule {
    rule(
        "self.matches('^[-._a-zA-Z0-9]+$')",
        "write the name of a field in the Secret, not its value: letters, digits, '-', '_' and '.'",
    )
}

/// Host name or address without scheme and port.
pub(super) fn host() -> Rule {
    rule(
        "self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9._]*[a-zA-Z0-9])?$') || self.matches('^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$')",
        "write a host name or an IP address alone: no scheme, no port, no path",
    )
}

/// Endpoint of an object store.
pub(super) fn endpoint() -> Rule {
    rule(
        "self.matches('^https?://[^/?#@ ]+/?$')",
        "write http://host:port or https://host:port, without path, query and credentials",
    )
}

/// Bucket name. Wider than the S3 rule, as not every store keeps to it.
pub(super) fn bucket() -> Rule {
    rule(
        "self.matches('^[A-Za-z0-9][-A-Za-z0-9._]*$')",
        "write the bare name of the bucket: no s3://, no path, letters, digits, '-', '.' and '_'",
    )
}

/// Path inside a bucket.
pub(super) fn path(field: &str) -> Rule {
    rule(
        "!self.startsWith('/') && !self.contains('..') && !self.contains('//') && !self.contains('://')",
        format!("{field} is a path inside the bucket, such as a/b: no leading slash, no '..', no '//', no bucket name"),
    )
}

/// A collection pattern holds bare names.
pub(super) fn bare_collections() -> Rule {
    rule(
        "self.all(c, !c.contains('.'))",
        "write the database in `database` and bare collection names in `collections`, without a dot",
    )
}

/// Name of an artifact below its location.
pub(super) fn artifact_name() -> Rule {
    rule(
        "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
        "write the name of the backup as `status.artifact.name` shows it: letters, digits and '_', no path",
    )
}

/// New database names.
pub(super) fn database_targets() -> Rule {
    rule(
        "self.all(m, m.to.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
        "mapping.databases: `to` is a database name: letters, digits and '_', not starting with a digit",
    )
}

/// New collection names.
pub(super) fn collection_targets() -> Rule {
    rule(
        "self.all(m, m.to.matches('^([A-Za-z_][A-Za-z0-9_]*[.])?[A-Za-z_][A-Za-z0-9_]*$'))",
        "mapping.collections: `to` is database.collection, or collection for the default database: letters, digits and '_', not starting with a digit",
    )
}

/// No two entries of a mapping share `member`.
pub(super) fn unique(list: &str, member: &str) -> Rule {
    let sentence = if member == "to" {
        format!("mapping.{list}: two entries have the same `to`: give each its own target name")
    } else {
        format!("mapping.{list}: two entries have the same `from`: keep one of them")
    };
    rule(format!("self.all(m, self.exists_one(n, n.{member} == m.{member}))"), sentence)
}

/// Suffix of collection names.
pub(super) fn suffix() -> Rule {
    rule("self.matches('^[A-Za-z0-9_]+$')", "mapping.suffix takes letters, digits and '_', such as _restored")
}
