//! `operator/manifest.json`: the commit point of an artifact, and what proves it whole.
//!
//! Written last. A reader tolerates unknown fields and refuses a newer [`FORMAT_VERSION`].

use std::io::{self, Read, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ManifestError;

/// Version of the file; raised when an older reader would draw wrong conclusions.
pub const FORMAT_VERSION: u32 = 1;

const FILE: &str = "operator/manifest.json";

/// What an artifact is and how to prove it whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorManifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Artifact name.
    pub artifact: String,
    /// Version of this program that wrote it.
    pub engine_version: String,
    /// Version of the server the data came from.
    pub milvus_version: String,
    /// When it was committed.
    pub created: Timestamp,
    /// Moment up to which every collection has all its data: the earliest of theirs. None where the server told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_point: Option<Timestamp>,
    /// Where the data came from.
    pub source: Source,
    /// Hex digest of `meta/full_meta.json`.
    pub full_meta_sha256: String,
    /// Hex digest of `operator/objects.jsonl.zst` as stored.
    pub objects_sha256: String,
    /// Sums.
    pub totals: Totals,
    /// Whether a selected collection is missing.
    #[serde(default)]
    pub partial: bool,
    /// The missing ones as `database.collection`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_collections: Vec<String>,
}

/// The server and bucket the data came from. Never a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Host of the server.
    #[serde(default)]
    pub host: String,
    /// Milvus' bucket.
    #[serde(default)]
    pub bucket: String,
    /// Milvus' rootPath.
    #[serde(default)]
    pub root_path: String,
}

/// Sums over an artifact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Data objects, as many as `objects.jsonl.zst` has lines.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows inserted, deleted ones included.
    pub rows: u64,
    /// Collections.
    pub collections: u64,
    /// Databases.
    pub databases: u64,
}

/// Read before anything else, so that a newer file is refused by its version and not for some field.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    format_version: u32,
}

impl OperatorManifest {
    /// The file's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        serde_json::to_vec_pretty(self).map_err(|error| ManifestError::Encode { file: FILE, cause: error.to_string() })
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<OperatorManifest, ManifestError> {
        let damaged = |error: serde_json::Error| ManifestError::Json { file: FILE, cause: error.to_string() };
        let Version { format_version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format_version > FORMAT_VERSION {
            return Err(ManifestError::NewerVersion { file: FILE, found: format_version, supported: FORMAT_VERSION });
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    /// Proves by its [`digest`] that `meta/full_meta.json` is the one this manifest was written for.
    pub fn check_full_meta(&self, found: String) -> Result<(), ManifestError> {
        check_digest("meta/full_meta.json", &self.full_meta_sha256, found)
    }

    /// Proves that `operator/objects.jsonl.zst` is the one this manifest was written for.
    pub fn check_objects(&self, bytes: &[u8]) -> Result<(), ManifestError> {
        check_digest("operator/objects.jsonl.zst", &self.objects_sha256, digest(bytes))
    }
}

/// SHA-256 of bytes in lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that are read or written through here, with the [`digest`] of all that passed.
pub struct Digested<S> {
    inner: S,
    passed: Sha256,
}

impl<S> Digested<S> {
    /// Nothing passed yet.
    pub fn new(inner: S) -> Digested<S> {
        Digested { inner, passed: Sha256::new() }
    }

    /// SHA-256 of everything that passed, in lower-case hex.
    pub fn digest(self) -> String {
        hex(&self.passed.finalize())
    }
}

impl<S: Write> Write for Digested<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.passed.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<S: Read> Read for Digested<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.passed.update(&bytes[..read]);
        Ok(read)
    }
}

fn check_digest(file: &'static str, expected: &str, found: String) -> Result<(), ManifestError> {
    if found == expected {
        return Ok(());
    }
    Err(ManifestError::Digest { file, expected: expected.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> OperatorManifest {
        OperatorManifest {
            format_version: FORMAT_VERSION,
            artifact: "prod_nightly_0d5f3b1c".to_owned(),
            engine_version: "0.1.0".to_owned(),
            milvus_version: "v2.3.5".to_owned(),
            created: "2026-11-21T08:00:00Z".parse().unwrap(),
            recovery_point: Some("2026-11-21T07:59:58.25Z".parse().unwrap()),
            source: Source {
                host: "milvus".to_owned(),
                bucket: "milvus-bucket".to_owned(),
                root_path: "file".to_owned(),
            },
            full_meta_sha256: digest(b"{}"),
            objects_sha256: digest(b""),
            totals: Totals { objects: 3, bytes: 42, rows: 7, collections: 1, databases: 1 },
            partial: false,
            failed_collections: Vec::new(),
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let manifest = manifest();
        assert_eq!(OperatorManifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
        let mut bare = manifest;
        bare.recovery_point = None;
        bare.partial = true;
        bare.failed_collections = vec!["default.docs".to_owned()];
        assert_eq!(OperatorManifest::decode(&bare.encode().unwrap()).unwrap(), bare);
    }

    #[test]
    fn the_file_looks_as_documented() {
        insta::assert_snapshot!(String::from_utf8(manifest().encode().unwrap()).unwrap(), @r#"
        {
          "formatVersion": 1,
          "artifact": "prod_nightly_0d5f3b1c",
          "engineVersion": "0.1.0",
          "milvusVersion": "v2.3.5",
          "created": "2026-11-21T08:00:00Z",
          "recoveryPoint": "2026-11-21T07:59:58.25Z",
          "source": {
            "host": "milvus",
            "bucket": "milvus-bucket",
            "rootPath": "file"
          },
          "fullMetaSha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
          "objectsSha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
          "totals": {
            "objects": 3,
            "bytes": 42,
            "rows": 7,
            "collections": 1,
            "databases": 1
          },
          "partial": false
        }
        "#);
    }

    #[test]
    fn unknown_fields_of_a_later_writer_are_tolerated() {
        let mut value: serde_json::Value = serde_json::from_slice(&manifest().encode().unwrap()).unwrap();
        value["later"] = serde_json::json!({"a": 1});
        assert_eq!(OperatorManifest::decode(value.to_string().as_bytes()).unwrap(), manifest());
    }

    #[test]
    fn a_newer_version_is_refused_naming_both_even_where_fields_changed() {
        let error = OperatorManifest::decode(br#"{"formatVersion":2,"artifact":{"other":"shape"}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "operator/manifest.json has format version 2, this version reads up to 1: use a newer version"
        );
    }

    #[test]
    fn bytes_that_are_no_manifest_are_refused() {
        for bytes in [&b""[..], b"{}", b"null", b"[]", br#"{"formatVersion":"1"}"#, br#"{"formatVersion":1}"#] {
            let error = OperatorManifest::decode(bytes).unwrap_err();
            assert!(matches!(error, ManifestError::Json { .. }), "{error}");
        }
    }

    #[test]
    fn a_changed_file_is_told_from_its_digest() {
        let manifest = manifest();
        manifest.check_full_meta(digest(b"{}")).unwrap();
        let error = manifest.check_full_meta(digest(b"{ }")).unwrap_err();
        assert!(error.to_string().contains("meta/full_meta.json was changed"), "{error}");
        assert_eq!(digest(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
