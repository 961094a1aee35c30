//! The values of a column, read from its pages.
//!
//! Encodings read: plain, dictionary, and delta-packed integers. Source: the Parquet format's encodings page.

use super::BinlogError;
use super::encodings::{deltas, hybrid, indexes};
use super::pages::{Page, PageKind, bounded, pages};
use super::parquet_file::ParquetFile;
use super::values::Values;

const PLAIN: u64 = 0;
const PLAIN_DICTIONARY: u64 = 2;
const DELTA_BINARY_PACKED: u64 = 5;
const RLE_DICTIONARY: u64 = 8;

/// Most values read from one file. Milvus cuts log files at 64 MiB, which are 8 million timestamps.
const VALUES_LIMIT: u64 = 1 << 24;
/// Reads a column that holds a value for every row.
pub(super) fn column(file: &ParquetFile<'_>, index: usize) -> Result<Values, BinlogError> {
    let damaged = |cause: String| BinlogError::Corrupt { what: "column", at: file.base, cause };
    let column = file.columns.get(index).ok_or_else(|| damaged(format!("there is no column {index}")))?;
    if column.repetition_levels > 0 || column.definition_levels > 1 {
        return Err(BinlogError::Unsupported { what: "nested Parquet columns".to_owned() });
    }
    if file.rows > VALUES_LIMIT {
        return Err(BinlogError::Unsupported { what: format!("{} rows in one file", file.rows) });
    }
    let unread = || BinlogError::Unsupported { what: format!("values of Parquet type {}", column.kind) };
    let mut values = Values::empty(column).ok_or_else(unread)?;
    let chunks = || file.row_groups.iter().filter_map(|group| group.chunks.get(index));
    bounded(file, chunks())?;
    for chunk in chunks() {
        let mut dictionary = None;
        for page in pages(file, chunk)? {
            let bytes = page.unpack()?;
            // Data pages hold no more values than there are rows; plain values of a dictionary end with its bytes.
            let count = usize::try_from(page.values).map_err(|_| page.damaged("too many values".to_owned()))?;
            if page.kind == PageKind::Dictionary {
                let mut read = Values::empty(column).ok_or_else(unread)?;
                read.plain(&bytes, count).map_err(|cause| page.damaged(cause))?;
                dictionary = Some(read);
            } else {
                let body = strip_levels(&page, &bytes, column.definition_levels, count)?;
                data(&page, body, count, dictionary.as_ref(), &mut values)?;
            }
        }
    }
    Ok(values)
}

fn data(
    page: &Page<'_>,
    bytes: &[u8],
    count: usize,
    dictionary: Option<&Values>,
    values: &mut Values,
) -> Result<(), BinlogError> {
    let read = match (page.encoding, &mut *values) {
        (PLAIN, _) => values.plain(bytes, count),
        (PLAIN_DICTIONARY | RLE_DICTIONARY, _) => indexes(bytes, count).and_then(|indexes| {
            values.look_up(dictionary.ok_or_else(|| "the dictionary is missing".to_owned())?, &indexes)
        }),
        (DELTA_BINARY_PACKED, Values::Integers(values)) => deltas(bytes, count, values),
        (other, _) => return Err(BinlogError::Unsupported { what: format!("Parquet encoding {other}") }),
    };
    read.map_err(|cause| page.damaged(cause))
}

/// Steps over definition levels after proving that no value is missing.
fn strip_levels<'b>(page: &Page<'_>, bytes: &'b [u8], levels: u32, count: usize) -> Result<&'b [u8], BinlogError> {
    let cut = || page.damaged("the levels are cut".to_owned());
    let (definition, values) = match page.kind {
        PageKind::DataV2 { repetition, definition, .. } => {
            let rest = bytes.get(repetition..).ok_or_else(cut)?;
            rest.split_at_checked(definition).ok_or_else(cut)?
        }
        _ if levels == 0 => return Ok(bytes),
        _ => {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?
        }
    };
    if levels > 0 {
        let mut present = 0_usize;
        hybrid(definition, 1, count, |level, times| present += if level == 1 { times } else { 0 })
            .map_err(|cause| page.damaged(cause))?;
        if present != count {
            return Err(page.damaged(format!("{} of {count} values are missing", count - present)));
        }
    }
    Ok(values)
}
