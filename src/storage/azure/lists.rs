//! Pure: the XML of Azure's answers, and the list of blocks that a blob is made of.
//!
//! Source: "List Blobs", "Get Block List" and "Put Block List" of the Blob service's REST documentation.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::storage::failure::Failure;
use crate::storage::reading::bare_etag;
use crate::storage::xml::parse;
use crate::storage::{ObjectMeta, Part};

/// One page of a listing.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Listing {
    #[serde(rename = "Blobs", default)]
    blobs: Blobs,
    #[serde(rename = "NextMarker", default)]
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
    #[serde(rename = "BlobPrefix", default)]
    prefixes: Vec<Prefix>,
}

#[derive(Debug, Deserialize)]
struct Blob {
    #[serde(rename = "Name")]
    name: Name,
    #[serde(rename = "Properties", default)]
    properties: Properties,
}

#[derive(Debug, Deserialize)]
struct Prefix {
    #[serde(rename = "Name")]
    name: Name,
}

/// A name that XML cannot hold is percent-encoded and marked.
#[derive(Debug, Deserialize)]
struct Name {
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Debug, Default, Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length", default)]
    length: u64,
    #[serde(rename = "Etag", default)]
    etag: String,
    /// In accounts with a hierarchical namespace directories are listed, too.
    #[serde(rename = "ResourceType", default)]
    kind: String,
}

impl Name {
    fn plain(self) -> String {
        if self.encoded { percent_decode_str(&self.text).decode_utf8_lossy().into_owned() } else { self.text }
    }
}

impl Listing {
    pub(super) fn read(text: &[u8]) -> Result<Listing, Failure> {
        parse(text)
    }

    /// Where the next page begins.
    pub(super) fn next(&self) -> Option<String> {
        self.next.clone().filter(|next| !next.is_empty())
    }

    pub(super) fn objects(self) -> Vec<ObjectMeta> {
        let files = self.blobs.blobs.into_iter().filter(|blob| blob.properties.kind != "directory");
        let object = |Blob { name, properties }: Blob| ObjectMeta {
            key: name.plain(),
            size: properties.length,
            etag: bare_etag(&properties.etag),
        };
        files.map(object).collect()
    }

    pub(super) fn prefixes(self) -> Vec<String> {
        self.blobs.prefixes.into_iter().map(|prefix| prefix.name.plain()).collect()
    }
}

#[derive(Debug, Default, Deserialize)]
struct BlockList {
    #[serde(rename = "UncommittedBlocks", default)]
    uncommitted: Blocks,
}

#[derive(Debug, Default, Deserialize)]
struct Blocks {
    #[serde(rename = "Block", default)]
    blocks: Vec<Block>,
}

#[derive(Debug, Deserialize)]
struct Block {
    #[serde(rename = "Name")]
    name: String,
}

/// The uploads whose blocks wait to be committed, each once.
pub(super) fn waiting(text: &[u8]) -> Result<Vec<String>, Failure> {
    let list: BlockList = parse(text)?;
    let mut ids: Vec<String> = list.uncommitted.blocks.iter().filter_map(|block| upload_of(&block.name)).collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// Characters of an upload's id: a UUID without dashes.
const ID: usize = 32;

/// The name of a block. All names of a blob's blocks are of one length, as the service wants it.
pub(super) fn block(upload: &str, number: i32) -> String {
    BASE64_STANDARD.encode(format!("{upload}-{number:08}"))
}

fn upload_of(block: &str) -> Option<String> {
    let name = String::from_utf8(BASE64_STANDARD.decode(block).ok()?).ok()?;
    let (upload, number) = name.split_once('-')?;
    let ours = upload.len() == ID && number.len() == 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    ours.then(|| upload.to_owned())
}

/// What a blob is to be made of. `Latest` also finds blocks that an earlier, unanswered request has committed.
pub(super) fn block_list(parts: &[Part]) -> String {
    let blocks: String = parts.iter().map(|part| format!("<Latest>{}</Latest>", part.etag)).collect();
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{blocks}</BlockList>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_names_that_xml_cannot_hold_and_without_directories() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a\" \
                    ContainerName=\"c\"><Prefix>x</Prefix><Blobs>\
                    <Blob><Name>x/a &amp; b</Name><Properties><Content-Length>5</Content-Length><Etag>0x8D</Etag>\
                    <BlobType>BlockBlob</BlobType></Properties></Blob>\
                    <BlobPrefix><Name>x/p/</Name></BlobPrefix>\
                    <Blob><Name Encoded=\"true\">x/%EF%BF%BE</Name><Properties><Content-Length>0</Content-Length>\
                    <Etag>\"0x9\"</Etag></Properties></Blob>\
                    <Blob><Name>x/d</Name><Properties><Content-Length>0</Content-Length>\
                    <ResourceType>directory</ResourceType></Properties></Blob>\
                    </Blobs><NextMarker>2!4</NextMarker></EnumerationResults>";
        let listing = Listing::read(text.as_bytes()).unwrap();
        assert_eq!(listing.next().as_deref(), Some("2!4"));
        let objects = listing.objects();
        assert_eq!(objects[0], ObjectMeta { key: "x/a & b".into(), size: 5, etag: "0x8D".into() });
        assert_eq!((objects.len(), objects[1].key.as_str(), objects[1].etag.as_str()), (2, "x/\u{fffe}", "0x9"));
        let listing = Listing::read(text.as_bytes()).unwrap();
        assert_eq!(listing.prefixes(), ["x/p/"]);
        let empty = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        let empty = Listing::read(empty.as_bytes()).unwrap();
        assert!(empty.next().is_none() && empty.objects().is_empty());
    }

    #[test]
    fn a_block_tells_its_upload_and_foreign_ones_are_nobodys() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(block(id, 1).len(), block(id, 10_000).len());
        let of = |name: &str| format!("<Block><Name>{name}</Name><Size>1</Size></Block>");
        let text = format!(
            "<BlockList><CommittedBlocks /><UncommittedBlocks>{}{}{}</UncommittedBlocks></BlockList>",
            of(&block(id, 0)),
            of(&block(id, 2)),
            of("YmxvY2stMDAwMDAwMDE=")
        );
        assert_eq!(waiting(text.as_bytes()).unwrap(), [id]);
        assert!(waiting(b"<BlockList><CommittedBlocks /></BlockList>").unwrap().is_empty());
    }
}
