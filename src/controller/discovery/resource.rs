//! Lenient reading of a `Milvus` object. A field of an unexpected type counts as absent: the resource has hundreds of
//! fields that do not concern us, and its versions differ.

use serde_json::Value;

use super::{DiscoveryError, Found, Identity};
use crate::api::Provenance;

/// A Milvus resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource<'a> {
    object: &'a Value,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) uid: &'a str,
}

impl<'a> Resource<'a> {
    pub(super) fn read(object: &'a Value) -> Result<Self, DiscoveryError> {
        let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = field("/metadata/name");
        match (name, field("/metadata/namespace"), field("/metadata/uid")) {
            (Some(name), Some(namespace), Some(uid)) => Ok(Resource { object, name, namespace, uid }),
            _ => Err(DiscoveryError::Invalid {
                milvus: name.unwrap_or("(unnamed)").to_owned(),
                what: "the object has no name, namespace or uid".to_owned(),
            }),
        }
    }

    /// `namespace/name`, for messages.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whatever is at a JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.object.pointer(pointer)
    }

    /// A text at a JSON pointer; an empty one counts as absent.
    pub(super) fn text(&self, pointer: &str) -> Option<&'a str> {
        self.at(pointer).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
    }

    /// A whole number, also written as text (as configuration files allow).
    pub(super) fn number(&self, pointer: &str) -> Option<i64> {
        match self.at(pointer)? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_i64(),
        }
    }

    /// A truth value, also written as text.
    pub(super) fn flag(&self, pointer: &str) -> Option<bool> {
        match self.at(pointer)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A text of the resource, or a default with its origin.
    pub(super) fn or(&self, pointer: &str, default: &str, from: Provenance) -> Found<String> {
        match self.text(pointer) {
            Some(text) => Found::new(text.to_owned(), Provenance::Spec),
            None => Found::new(default.to_owned(), from),
        }
    }

    /// A truth value of the resource, or Milvus' own default.
    pub(super) fn flag_or(&self, pointer: &str, default: bool) -> Found<bool> {
        match self.flag(pointer) {
            Some(flag) => Found::new(flag, Provenance::Spec),
            None => Found::new(default, Provenance::ImageDefault),
        }
    }

    /// Whether Milvus runs as separate components.
    pub(super) fn is_cluster(&self) -> bool {
        self.text("/spec/mode") == Some("cluster")
    }

    /// The component that serves clients.
    pub(super) fn serving_component(&self) -> &'static str {
        if self.is_cluster() { "proxy" } else { "standalone" }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            name: self.name.to_owned(),
            namespace: self.namespace.to_owned(),
            uid: self.uid.to_owned(),
            mode: self.or("/spec/mode", "standalone", Provenance::OperatorDefault),
            version: self.version(),
        }
    }

    /// By the image that runs, else the image asked for, else the version the resource names.
    fn version(&self) -> Option<Found<String>> {
        let running = self.text("/status/currentImage").and_then(tag).map(|tag| (tag, Provenance::Service));
        let asked = || self.text("/spec/components/image").and_then(tag).map(|tag| (tag, Provenance::Spec));
        let named = || self.text("/spec/components/version").map(|version| (version, Provenance::Spec));
        let (version, from) = running.or_else(asked).or_else(named)?;
        Some(Found::new(version.strip_prefix('v').unwrap_or(version).to_owned(), from))
    }
}

/// The tag of an image reference, without registry port and digest.
fn tag(image: &str) -> Option<&str> {
    let image = image.split('@').next().unwrap_or(image);
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').map(|(_, tag)| tag).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn a_tag_is_neither_a_registry_port_nor_a_digest() {
        assert_eq!(tag("milvusdb/milvus:v2.3.5"), Some("v2.3.5"));
        assert_eq!(tag("registry:5000/milvusdb/milvus"), None);
        assert_eq!(tag("registry:5000/milvusdb/milvus:v2.5.4@sha256:00ff"), Some("v2.5.4"));
        assert_eq!(tag("milvusdb/milvus@sha256:00ff"), None);
    }
}
