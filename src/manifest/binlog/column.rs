//! The values of a column, read from its pages.
//!
//! Encodings read: plain, dictionary, and delta-packed integers. Source: the Parquet format's encodings page.

use super::BinlogError;
use super::encodings::{deltas, hybrid, indexes};
use super::pages::{Page, PageKind, bounded, pages};
use super::parquet_file::ParquetFile;
use super::values::{Series, Values};

const PLAIN: u64 = 0;
const PLAIN_DICTIONARY: u64 = 2;
const DELTA_BINARY_PACKED: u64 = 5;
const RLE_DICTIONARY: u64 = 8;

/// Most values read from one file. Milvus cuts log files at 64 MiB, which are 8 million timestamps.
const VALUES_LIMIT: u64 = 1 << 24;

/// Reads a column that holds a value for every row.
pub(super) fn column(file: &ParquetFile<'_>, index: usize) -> Result<Values, BinlogError> {
    let damaged = |cause| BinlogError::Corrupt { what: "column", at: file.base, cause };
    read(file, index, false)?.whole().map_err(damaged)
}

/// Reads a column in which values may be missing.
pub(super) fn series(file: &ParquetFile<'_>, index: usize) -> Result<Series, BinlogError> {
    read(file, index, true)
}

/// A few bytes can say that many values are missing, so that this is only believed where it may be.
fn read(file: &ParquetFile<'_>, index: usize, nullable: bool) -> Result<Series, BinlogError> {
    let damaged = |cause: String| BinlogError::Corrupt { what: "column", at: file.base, cause };
    let column = file.columns.get(index).ok_or_else(|| damaged(format!("there is no column {index}")))?;
    if column.repetition_levels > 0 || column.definition_levels > 1 {
        return Err(BinlogError::Unsupported { what: "nested Parquet columns".to_owned() });
    }
    if file.rows > VALUES_LIMIT {
        return Err(BinlogError::Unsupported { what: format!("{} rows in one file", file.rows) });
    }
    let unread = || BinlogError::Unsupported { what: format!("values of Parquet type {}", column.kind) };
    let mut all = Series::from(Values::empty(column).ok_or_else(unread)?);
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
                let (present, body) = levels(&page, &bytes, column.definition_levels, count)?;
                match present {
                    None => all.extend_with(|values| data(&page, body, count, dictionary.as_ref(), values))?,
                    Some(present) if !nullable => {
                        let missing = present.iter().filter(|present| !**present).count();
                        return Err(page.damaged(format!("{missing} of {count} values are missing")));
                    }
                    Some(present) => {
                        let mut compact = Values::empty(column).ok_or_else(unread)?;
                        let there = present.iter().filter(|present| **present).count();
                        data(&page, body, there, dictionary.as_ref(), &mut compact)?;
                        all.extend_spread(&compact, &present).map_err(|cause| page.damaged(cause))?;
                    }
                }
            }
        }
    }
    Ok(all)
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

/// Which of a page's values are there, none where all are, and the bytes behind the levels.
fn levels<'b>(
    page: &Page<'_>,
    bytes: &'b [u8],
    levels: u32,
    count: usize,
) -> Result<(Option<Vec<bool>>, &'b [u8]), BinlogError> {
    let cut = || page.damaged("the levels are cut".to_owned());
    let (definition, values) = match page.kind {
        PageKind::DataV2 { repetition, definition, .. } => {
            let rest = bytes.get(repetition..).ok_or_else(cut)?;
            rest.split_at_checked(definition).ok_or_else(cut)?
        }
        _ if levels == 0 => return Ok((None, bytes)),
        _ => {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?
        }
    };
    if levels == 0 {
        return Ok((None, values));
    }
    // Long runs cost no memory before a value is known to be missing.
    let (mut seen, mut present, mut strange) = (0_usize, None::<Vec<bool>>, false);
    hybrid(definition, 1, count, |level, times| {
        strange |= level > 1;
        match &mut present {
            None if level == 1 => {}
            None => {
                let mut flags = vec![true; seen];
                flags.resize(seen + times, false);
                present = Some(flags);
            }
            Some(flags) => flags.resize(seen + times, level == 1),
        }
        seen += times;
    })
    .map_err(|cause| page.damaged(cause))?;
    match strange {
        true => Err(page.damaged("a level is neither 0 nor 1".to_owned())),
        false => Ok((present, values)),
    }
}
