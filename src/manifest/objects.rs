//! `operator/objects.jsonl.zst`: one line of JSON for every data object of an artifact, compressed.
//!
//! Lets a verification or restore prove size and ETag of everything with one listing and no request per object.

use std::io::{self, BufRead, BufReader, Read, Write};

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::error::ManifestError;

const FILE: &str = "operator/objects.jsonl.zst";
/// No line is longer: a key has at most 1,024 bytes.
const LINE_LIMIT: u64 = 16 * 1024;
const LEVEL: i32 = 3;

/// One data object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRecord {
    /// Path inside the artifact, see [`super::Artifact::key`].
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Entity tag of the copy, without quotes.
    pub etag: String,
    /// Key in Milvus' bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_key: Option<String>,
    /// Rows in it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// Writes the file line by line; holds only compressed bytes.
pub struct ObjectsWriter {
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    line: Vec<u8>,
}

impl ObjectsWriter {
    /// An empty file.
    pub fn new() -> Result<ObjectsWriter, ManifestError> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL).map_err(unwritten)?;
        encoder.include_checksum(true).map_err(unwritten)?;
        Ok(ObjectsWriter { encoder, line: Vec::new() })
    }

    /// Adds an object.
    pub fn push(&mut self, record: &ObjectRecord) -> Result<(), ManifestError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)
            .map_err(|error| ManifestError::Encode { file: FILE, cause: error.to_string() })?;
        self.line.push(b'\n');
        self.encoder.write_all(&self.line).map_err(unwritten)
    }

    /// The file's bytes.
    pub fn finish(self) -> Result<Vec<u8>, ManifestError> {
        self.encoder.finish().map_err(unwritten)
    }
}

/// Reads the file line by line and gives up past `limit` decompressed bytes. Ends after the first error.
pub struct ObjectsReader {
    lines: io::Take<BufReader<zstd::stream::read::Decoder<'static, BufReader<bytes::buf::Reader<Bytes>>>>>,
    limit: u64,
    line: u64,
    done: bool,
}

impl ObjectsReader {
    /// A reader of at most `limit` decompressed bytes.
    pub fn new(bytes: Bytes, limit: u64) -> Result<ObjectsReader, ManifestError> {
        let mut decoder = zstd::stream::read::Decoder::new(bytes.reader()).map_err(unread)?;
        // The writer's level needs 2 MiB; more than 8 MiB of window is somebody else's file.
        decoder.window_log_max(23).map_err(unread)?;
        let lines = BufReader::new(decoder).take(limit.saturating_add(1));
        Ok(ObjectsReader { lines, limit, line: 0, done: false })
    }

    fn read(&mut self) -> Result<Option<ObjectRecord>, ManifestError> {
        let mut line = Vec::new();
        let length = (&mut self.lines).take(LINE_LIMIT).read_until(b'\n', &mut line).map_err(unread)?;
        if self.lines.limit() == 0 {
            return Err(ManifestError::TooLarge { file: FILE, limit: self.limit });
        }
        if length == 0 {
            return Ok(None);
        }
        self.line += 1;
        let damaged = |cause: String| ManifestError::Json { file: FILE, cause: format!("line {}: {cause}", self.line) };
        if line.pop() != Some(b'\n') {
            return Err(damaged("no end of line".to_owned()));
        }
        serde_json::from_slice(&line).map(Some).map_err(|error| damaged(error.to_string()))
    }
}

impl Iterator for ObjectsReader {
    type Item = Result<ObjectRecord, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// All records at once, for small artifacts and tests.
pub fn encode_objects<'r>(records: impl IntoIterator<Item = &'r ObjectRecord>) -> Result<Vec<u8>, ManifestError> {
    let mut writer = ObjectsWriter::new()?;
    for record in records {
        writer.push(record)?;
    }
    writer.finish()
}

/// All records at once; see [`ObjectsReader`] for the limit.
pub fn decode_objects(bytes: Bytes, limit: u64) -> Result<Vec<ObjectRecord>, ManifestError> {
    ObjectsReader::new(bytes, limit)?.collect()
}

fn unwritten(error: io::Error) -> ManifestError {
    ManifestError::Encode { file: FILE, cause: error.to_string() }
}

fn unread(error: io::Error) -> ManifestError {
    ManifestError::Json { file: FILE, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn any_record() -> impl Strategy<Value = ObjectRecord> {
        ("\\PC{0,80}", any::<u64>(), "[0-9a-f-]{0,40}", proptest::option::of("\\PC{0,80}"), any::<Option<u64>>())
            .prop_map(|(key, size, etag, source_key, rows)| ObjectRecord { key, size, etag, source_key, rows })
    }

    proptest! {
        #[test]
        fn records_read_back_as_they_were_written(records in proptest::collection::vec(any_record(), 0..40)) {
            let bytes = encode_objects(&records).unwrap();
            prop_assert_eq!(decode_objects(bytes.into(), MIB).unwrap(), records);
        }

        #[test]
        fn a_damaged_file_is_never_taken_for_whole(
            at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<bool>(),
        ) {
            let record = |number| ObjectRecord { key: format!("k{number}"), size: number, ..Default::default() };
            let records: Vec<_> = (0..50).map(record).collect();
            let mut bytes = encode_objects(&records).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            if let Ok(read) = decode_objects(bytes.into(), MIB) {
                prop_assert!(read == records || (cut && at == 0), "read {} records", read.len());
            }
        }
    }

    #[test]
    fn a_file_that_unpacks_to_more_than_the_limit_is_refused_while_reading() {
        let bomb = zstd::stream::encode_all(io::repeat(b'\n').take(64 * MIB), 3).unwrap();
        assert!(bomb.len() < 64 * 1024);
        let long_line = zstd::stream::encode_all(io::repeat(b'x').take(64 * MIB), 3).unwrap();
        assert!(decode_objects(bomb.into(), MIB).is_err());
        assert!(decode_objects(long_line.into(), 128 * MIB).unwrap_err().to_string().contains("no end of line"));
        let records = vec![ObjectRecord { key: "k".repeat(100), ..Default::default() }; 1000];
        let error = decode_objects(encode_objects(&records).unwrap().into(), 1000).unwrap_err();
        assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
    }

    #[test]
    fn unknown_fields_of_a_later_writer_are_tolerated() {
        let bytes =
            zstd::stream::encode_all(&b"{\"key\":\"a\",\"size\":1,\"etag\":\"e\",\"later\":[1]}\n"[..], 3).unwrap();
        let read = decode_objects(bytes.into(), MIB).unwrap();
        assert_eq!(read, [ObjectRecord { key: "a".to_owned(), size: 1, etag: "e".to_owned(), ..Default::default() }]);
    }
}
