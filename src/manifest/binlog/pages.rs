//! Pages of a column: their headers walked in bounds, their content unpacked and proven against size and checksum.

use std::io::Read;

use super::BinlogError;
use super::parquet_file::{Chunk, ParquetFile};
use super::thrift::{Cause, Thrift};

/// Largest page unpacked into memory. Writers cut pages at 1 MiB, checked every 1,024 values: 1,024 vectors of 32,768
/// floats are 128 MiB.
pub(super) const PAGE_LIMIT: usize = 256 * 1024 * 1024;

/// Most pages of one column of a row group. Each takes some bytes in the file and 100 here; Milvus cuts them at 1 MiB.
const PAGES_LIMIT: usize = 1 << 18;

/// Most bytes all pages of a file unpack to. Milvus cuts log files at 64 MiB and segments at some GiB; zeros pack so well that
/// a small file could keep a reader busy for hours.
const UNPACKED_LIMIT: u64 = 32 << 30;

/// log2 of the largest back-reference of a compressed page: 128 MiB, zstd's own default.
const WINDOW_LOG: u32 = 27;

const UNCOMPRESSED: u64 = 0;
const ZSTD: u64 = 6;

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    /// Levels and values, compressed together.
    Data,
    /// Levels, then values compressed alone; bytes of repetition and definition levels.
    DataV2 { repetition: usize, definition: usize, compressed: bool },
    /// Values that others refer to by number.
    Dictionary,
}

/// One page as it lies in the file.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) kind: PageKind,
    /// Values, missing ones included.
    pub(super) values: u64,
    pub(super) encoding: u64,
    codec: u64,
    body: &'a [u8],
    unpacked_size: usize,
    /// Where its header begins in the log file.
    pub(super) at: u64,
}

/// That the pages of these columns do not unpack to more than a file can hold; unpacks none.
pub(super) fn bounded<'c>(file: &ParquetFile<'_>, chunks: impl Iterator<Item = &'c Chunk>) -> Result<(), BinlogError> {
    let mut unpacked = 0_u64;
    for chunk in chunks {
        for page in pages(file, chunk)? {
            unpacked = unpacked.saturating_add(page.unpacked_size as u64);
            if unpacked > UNPACKED_LIMIT {
                return Err(page.damaged(format!("the file unpacks to more than {UNPACKED_LIMIT} bytes")));
            }
        }
    }
    Ok(())
}

/// Proves every page of a file and answers its rows.
pub(super) fn prove(file: &ParquetFile<'_>) -> Result<u64, BinlogError> {
    let mut scratch = vec![0; 64 * 1024];
    let chunks = || file.row_groups.iter().flat_map(|group| &group.chunks);
    bounded(file, chunks())?;
    for chunk in chunks() {
        for page in pages(file, chunk)? {
            page.prove(&mut scratch)?;
        }
    }
    Ok(file.rows)
}

/// The pages of a column, in bounds and with as many values as the column says.
pub(super) fn pages<'a>(file: &ParquetFile<'a>, chunk: &Chunk) -> Result<Vec<Page<'a>>, BinlogError> {
    let (mut pages, mut at, mut values) = (Vec::new(), chunk.start, 0_u64);
    let damaged =
        |at: usize, cause: Cause| BinlogError::Corrupt { what: "page header", at: file.base + at as u64, cause };
    while at < chunk.end {
        let left = &file.bytes[at..chunk.end];
        let header = Header::read(left).map_err(|cause| damaged(at, cause))?;
        let page = header.page(left, chunk.codec, file.base + at as u64).map_err(|cause| damaged(at, cause))?;
        at += header.length + page.body.len();
        match page.kind {
            PageKind::Dictionary if !pages.is_empty() => {
                return Err(damaged(at, "a dictionary follows other pages".to_owned()));
            }
            PageKind::Dictionary => {}
            _ => values = values.saturating_add(page.values),
        }
        if pages.len() == PAGES_LIMIT {
            return Err(damaged(at, format!("the column has more than {PAGES_LIMIT} pages")));
        }
        pages.push(page);
    }
    if values != chunk.values {
        return Err(damaged(chunk.start, format!("the pages hold {values} values, the column {}", chunk.values)));
    }
    Ok(pages)
}

#[derive(Default)]
struct Header {
    kind: Option<u64>,
    unpacked: Option<u64>,
    packed: Option<u64>,
    values: Option<u64>,
    encoding: u64,
    repetition: u64,
    definition: u64,
    uncompressed: bool,
    /// Bytes of the header itself.
    length: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, Cause> {
        let mut header = Header::default();
        let mut thrift = Thrift::new(bytes);
        thrift.structure(|thrift, id, kind| {
            match id {
                1 => header.kind = Some(thrift.count(kind)?),
                2 => header.unpacked = Some(thrift.count(kind)?),
                3 => header.packed = Some(thrift.count(kind)?),
                5 | 7 => thrift.structure(|thrift, id, kind| {
                    match id {
                        1 => header.values = Some(thrift.count(kind)?),
                        2 => header.encoding = thrift.count(kind)?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                8 => thrift.structure(|thrift, id, kind| {
                    match id {
                        1 => header.values = Some(thrift.count(kind)?),
                        4 => header.encoding = thrift.count(kind)?,
                        5 => header.definition = thrift.count(kind)?,
                        6 => header.repetition = thrift.count(kind)?,
                        7 => header.uncompressed = !Thrift::boolean(kind)?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        header.length = thrift.position();
        Ok(header)
    }

    fn page<'a>(&self, bytes: &'a [u8], codec: u64, at: u64) -> Result<Page<'a>, Cause> {
        let Header { kind: Some(kind), unpacked: Some(unpacked), packed: Some(packed), values: Some(values), .. } =
            *self
        else {
            return Err("a field is missing".to_owned());
        };
        let left = &bytes[self.length..];
        let body = usize::try_from(packed)
            .ok()
            .and_then(|size| left.get(..size))
            .ok_or_else(|| format!("the page is {packed} bytes long, {} are left of its column", left.len()))?;
        let unpacked_size = usize::try_from(unpacked)
            .ok()
            .filter(|size| *size <= PAGE_LIMIT)
            .ok_or_else(|| format!("the page unpacks to {unpacked} bytes, more than {PAGE_LIMIT}"))?;
        let kind = match kind {
            0 => PageKind::Data,
            2 => PageKind::Dictionary,
            3 => {
                let levels = self.repetition.saturating_add(self.definition);
                if levels > body.len() as u64 || levels > unpacked {
                    return Err(format!("levels of {levels} bytes in a page of {}", body.len()));
                }
                // Both fit: their sum is at most the length of a slice.
                let (repetition, definition) = (self.repetition as usize, self.definition as usize);
                PageKind::DataV2 { repetition, definition, compressed: !self.uncompressed }
            }
            other => return Err(format!("unknown type of page {other}")),
        };
        Ok(Page { kind, values, encoding: self.encoding, codec, body, unpacked_size, at })
    }
}

/// A page taken apart by what has to be unpacked.
struct Parts<'a> {
    /// Bytes that are not compressed.
    plain: &'a [u8],
    /// Compressed bytes and how many they unpack to; none where nothing is compressed.
    packed: Option<(&'a [u8], usize)>,
}

impl<'a> Page<'a> {
    fn parts(&self) -> Result<Parts<'a>, BinlogError> {
        let plain = match self.kind {
            PageKind::DataV2 { compressed: false, .. } => self.body.len(),
            PageKind::DataV2 { repetition, definition, compressed: true } => repetition + definition,
            _ => 0,
        };
        let (plain, packed) = self.body.split_at(plain);
        match self.codec {
            UNCOMPRESSED => Ok(Parts { plain: self.body, packed: None }),
            ZSTD if packed.is_empty() && plain.len() == self.unpacked_size => Ok(Parts { plain, packed: None }),
            ZSTD => match self.unpacked_size.checked_sub(plain.len()) {
                Some(size) => Ok(Parts { plain, packed: Some((packed, size)) }),
                None => Err(self.damaged("its sizes contradict each other".to_owned())),
            },
            other => Err(BinlogError::Unsupported { what: format!("Parquet compression {other}") }),
        }
    }

    /// Unpacks piece by piece and keeps nothing.
    fn prove(&self, scratch: &mut [u8]) -> Result<(), BinlogError> {
        let Parts { plain, packed } = self.parts()?;
        let mut unpacked = plain.len();
        if let Some((packed, size)) = packed {
            let mut reader = self.decoder(packed)?.take(size as u64 + 1);
            loop {
                match reader.read(scratch).map_err(|error| self.damaged(error.to_string()))? {
                    0 => break,
                    read => unpacked += read,
                }
            }
        }
        self.check_size(unpacked)
    }

    /// Unpacks the page into memory, at most [`PAGE_LIMIT`] bytes.
    pub(super) fn unpack(&self) -> Result<Vec<u8>, BinlogError> {
        let Parts { plain, packed } = self.parts()?;
        let mut unpacked = plain.to_vec();
        if let Some((packed, size)) = packed {
            // Grows with what is really there: the size in the header is not to be trusted with a reservation.
            let mut reader = self.decoder(packed)?.take(size as u64 + 1);
            reader.read_to_end(&mut unpacked).map_err(|error| self.damaged(error.to_string()))?;
        }
        self.check_size(unpacked.len())?;
        Ok(unpacked)
    }

    fn decoder(&self, packed: &'a [u8]) -> Result<impl Read + use<'a>, BinlogError> {
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(packed).map_err(|error| self.damaged(error.to_string()))?;
        decoder.window_log_max(WINDOW_LOG).map_err(|error| self.damaged(error.to_string()))?;
        Ok(decoder)
    }

    fn check_size(&self, unpacked: usize) -> Result<(), BinlogError> {
        if unpacked == self.unpacked_size {
            return Ok(());
        }
        Err(self.damaged(format!("it unpacks to {unpacked} bytes, its header says {}", self.unpacked_size)))
    }

    pub(super) fn damaged(&self, cause: Cause) -> BinlogError {
        BinlogError::Corrupt { what: "page", at: self.at, cause }
    }
}
