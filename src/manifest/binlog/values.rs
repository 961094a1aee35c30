//! The values of a column.
//!
//! Encodings read: plain, dictionary, and delta-packed integers. Source: the Parquet format's encodings page.

use super::BinlogError;
use super::pages::{Page, PageKind, bounded, pages};
use super::parquet_file::{
    BOOLEAN, BYTE_ARRAY, Column, DOUBLE, FIXED_LEN_BYTE_ARRAY, FLOAT, INT32, INT64, ParquetFile,
};
use super::thrift::Cause;

const PLAIN: u64 = 0;
const PLAIN_DICTIONARY: u64 = 2;
const DELTA_BINARY_PACKED: u64 = 5;
const RLE_DICTIONARY: u64 = 8;

/// Most values read from one file. Milvus cuts log files at 64 MiB, which are 8 million timestamps.
const VALUES_LIMIT: u64 = 1 << 24;
/// Most bytes of text read from one file.
const TEXT_LIMIT: usize = 256 * 1024 * 1024;

/// The values of one column without gaps, by their Parquet types.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Truth values.
    Booleans(Vec<bool>),
    /// Numbers of 32 bits; Milvus' shorter ones too.
    Small(Vec<i32>),
    /// Numbers of 64 bits.
    Integers(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// Doubles.
    Doubles(Vec<f64>),
    /// Texts, JSON, serialised arrays.
    Texts(Texts),
    /// Vectors.
    Fixed(Fixed),
}

/// Byte strings, one after another in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// One of them.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    fn push(&mut self, text: &[u8]) -> Result<(), Cause> {
        room(self.bytes.len(), text.len())?;
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|index| self.get(index))
    }
}

/// Byte strings of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    width: usize,
    bytes: Vec<u8>,
}

impl Fixed {
    /// Bytes of each.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let start = index.checked_mul(self.width)?;
        self.bytes.get(start..start.checked_add(self.width)?)
    }

    fn push(&mut self, value: &[u8]) -> Result<(), Cause> {
        room(self.bytes.len(), value.len())?;
        self.bytes.extend_from_slice(value);
        Ok(())
    }
}

fn room(taken: usize, more: usize) -> Result<(), Cause> {
    match taken + more > TEXT_LIMIT {
        true => Err(format!("more than {TEXT_LIMIT} bytes of values")),
        false => Ok(()),
    }
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::Booleans(values) => values.len(),
            Values::Small(values) => values.len(),
            Values::Integers(values) => values.len(),
            Values::Floats(values) => values.len(),
            Values::Doubles(values) => values.len(),
            Values::Texts(texts) => texts.ends.len(),
            Values::Fixed(Fixed { width, bytes }) => bytes.len() / width,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the values of another file of the same field.
    pub(super) fn append(&mut self, more: Values) -> Result<(), Cause> {
        match (&mut *self, more) {
            (Values::Booleans(to), Values::Booleans(more)) => to.extend(more),
            (Values::Small(to), Values::Small(more)) => to.extend(more),
            (Values::Integers(to), Values::Integers(more)) => to.extend(more),
            (Values::Floats(to), Values::Floats(more)) => to.extend(more),
            (Values::Doubles(to), Values::Doubles(more)) => to.extend(more),
            (Values::Texts(to), Values::Texts(more)) => more.iter().try_for_each(|text| to.push(text))?,
            (Values::Fixed(to), Values::Fixed(more)) if to.width == more.width => to.push(&more.bytes)?,
            _ => return Err("its events hold values of different types".to_owned()),
        }
        Ok(())
    }

    fn empty(column: &Column) -> Option<Values> {
        match column.kind {
            BOOLEAN => Some(Values::Booleans(Vec::new())),
            INT32 => Some(Values::Small(Vec::new())),
            INT64 => Some(Values::Integers(Vec::new())),
            FLOAT => Some(Values::Floats(Vec::new())),
            DOUBLE => Some(Values::Doubles(Vec::new())),
            BYTE_ARRAY => Some(Values::Texts(Texts::default())),
            FIXED_LEN_BYTE_ARRAY => {
                let width = usize::try_from(column.width).ok().filter(|width| (1..=TEXT_LIMIT).contains(width))?;
                Some(Values::Fixed(Fixed { width, bytes: Vec::new() }))
            }
            _ => None,
        }
    }

    /// Appends the values of `dictionary` at `indexes`.
    fn look_up(&mut self, dictionary: &Values, indexes: &[u32]) -> Result<(), Cause> {
        for &index in indexes {
            let at = index as usize;
            let missing = || format!("no value {index} in the dictionary");
            match (&mut *self, dictionary) {
                (Values::Booleans(to), Values::Booleans(from)) => to.push(*from.get(at).ok_or_else(missing)?),
                (Values::Small(to), Values::Small(from)) => to.push(*from.get(at).ok_or_else(missing)?),
                (Values::Integers(to), Values::Integers(from)) => to.push(*from.get(at).ok_or_else(missing)?),
                (Values::Floats(to), Values::Floats(from)) => to.push(*from.get(at).ok_or_else(missing)?),
                (Values::Doubles(to), Values::Doubles(from)) => to.push(*from.get(at).ok_or_else(missing)?),
                (Values::Texts(to), Values::Texts(from)) => to.push(from.get(at).ok_or_else(missing)?)?,
                (Values::Fixed(to), Values::Fixed(from)) => to.push(from.get(at).ok_or_else(missing)?)?,
                _ => return Err("the dictionary is of another type".to_owned()),
            }
        }
        Ok(())
    }

    /// Appends `count` plain values, which must be all there is.
    fn plain(&mut self, bytes: &[u8], count: usize) -> Result<(), Cause> {
        match self {
            Values::Booleans(values) => {
                let (have, needed) = (bytes.len(), count.div_ceil(8));
                if have != needed {
                    return Err(format!("{count} truth values in {have} bytes"));
                }
                values.extend((0..count).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1));
            }
            Values::Small(values) => values.extend(exact(bytes, count)?.iter().map(|value| i32::from_le_bytes(*value))),
            Values::Integers(values) => {
                values.extend(exact(bytes, count)?.iter().map(|value| i64::from_le_bytes(*value)));
            }
            Values::Floats(values) => {
                values.extend(exact(bytes, count)?.iter().map(|value| f32::from_le_bytes(*value)));
            }
            Values::Doubles(values) => {
                values.extend(exact(bytes, count)?.iter().map(|value| f64::from_le_bytes(*value)));
            }
            Values::Texts(texts) => return texts.plain(bytes, count),
            Values::Fixed(values) => {
                if count.checked_mul(values.width) != Some(bytes.len()) {
                    return Err(format!("{count} values of {} bytes in {}", values.width, bytes.len()));
                }
                values.push(bytes)?;
            }
        }
        Ok(())
    }
}

/// Bytes as values of `N` bytes, of which there must be `count`.
fn exact<const N: usize>(bytes: &[u8], count: usize) -> Result<&[[u8; N]], Cause> {
    let (values, rest) = bytes.as_chunks::<N>();
    match values.len() == count && rest.is_empty() {
        true => Ok(values),
        false => Err(format!("{count} values of {N} bytes in {}", bytes.len())),
    }
}

impl Texts {
    fn plain(&mut self, mut bytes: &[u8], count: usize) -> Result<(), Cause> {
        let cut = || "the values are cut".to_owned();
        for _ in 0..count {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
            self.push(text)?;
            bytes = rest;
        }
        if bytes.is_empty() { Ok(()) } else { Err(format!("{} bytes follow the last value", bytes.len())) }
    }
}

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

fn indexes(bytes: &[u8], count: usize) -> Result<Vec<u32>, Cause> {
    let mut indexes = Vec::new();
    let Some((width, runs)) = bytes.split_first() else {
        return if count == 0 { Ok(indexes) } else { Err("the indexes are cut".to_owned()) };
    };
    hybrid(runs, u32::from(*width), count, |index, times| indexes.resize(indexes.len() + times, index))?;
    Ok(indexes)
}

/// Runs of equal values and groups of bit-packed ones; `each` gets a value and how often it follows, `count` in all.
fn hybrid(bytes: &[u8], width: u32, count: usize, mut each: impl FnMut(u32, usize)) -> Result<(), Cause> {
    if width > 32 {
        return Err(format!("values of {width} bits"));
    }
    let mut bits = Bits { bytes, bit: 0 };
    let mut left = count;
    while left > 0 {
        let head = bits.varint()?;
        let number = usize::try_from(head >> 1).map_err(|_| "a run is too long".to_owned())?;
        if number == 0 {
            return Err("a run is empty".to_owned());
        }
        if head & 1 == 0 {
            let value = bits.take(width.div_ceil(8) * 8)?;
            let times = number.min(left);
            each(u32::try_from(value).map_err(|_| "a value is too large".to_owned())?, times);
            left -= times;
        } else {
            let packed = number.saturating_mul(8);
            if width == 0 {
                let times = packed.min(left);
                each(0, times);
                left -= times;
                continue;
            }
            for _ in 0..packed.min(left) {
                each(bits.take(width)? as u32, 1);
            }
            let padding = packed - packed.min(left);
            left -= packed.min(left);
            // Only the last group may be padded, and the padding may be left out.
            bits.bit = bits.bit.saturating_add(padding.saturating_mul(width as usize));
        }
    }
    Ok(())
}

/// Differences in blocks of mini-blocks, each packed with its own width.
fn deltas(bytes: &[u8], count: usize, values: &mut Vec<i64>) -> Result<(), Cause> {
    let mut bits = Bits { bytes, bit: 0 };
    let (block, minis, total) = (bits.varint()?, bits.varint()?, bits.varint()?);
    if total != count as u64 {
        return Err(format!("{total} packed values, the page has {count}"));
    }
    if block == 0
        || block % 128 != 0
        || block > 1 << 20
        || minis == 0
        || block % minis != 0
        || (block / minis) % 32 != 0
    {
        return Err(format!("blocks of {block} values in {minis} parts"));
    }
    let per_mini = block / minis;
    let mut left = total;
    if left == 0 {
        return Ok(());
    }
    let mut value = bits.zigzag()?;
    values.push(value);
    left -= 1;
    while left > 0 {
        let least = bits.zigzag()?;
        let widths = bits.bytes_at(usize::try_from(minis).map_err(|_| "too many parts".to_owned())?)?;
        for width in widths {
            if left == 0 {
                break;
            }
            if *width > 64 {
                return Err(format!("differences of {width} bits"));
            }
            let width = u32::from(*width);
            let here = left.min(per_mini);
            for _ in 0..here {
                let delta = bits.take(width)?.cast_signed();
                value = value.wrapping_add(least).wrapping_add(delta);
                values.push(value);
            }
            let padding = usize::try_from(per_mini - here).map_err(|_| "a part is too long".to_owned())?;
            bits.bit = bits.bit.saturating_add(padding.saturating_mul(width as usize));
            left -= here;
        }
    }
    Ok(())
}

/// Reads bits from the lowest up.
struct Bits<'a> {
    bytes: &'a [u8],
    bit: usize,
}

impl<'a> Bits<'a> {
    fn take(&mut self, width: u32) -> Result<u64, Cause> {
        let mut value = 0_u64;
        let mut have = 0;
        while have < width {
            let byte = self.bytes.get(self.bit / 8).ok_or_else(|| "the packed values are cut".to_owned())?;
            let offset = (self.bit % 8) as u32;
            let here = (8 - offset).min(width - have);
            let piece = (u64::from(*byte) >> offset) & ((1 << here) - 1);
            value |= piece << have;
            have += here;
            self.bit += here as usize;
        }
        Ok(value)
    }

    fn varint(&mut self) -> Result<u64, Cause> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(8)?;
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn zigzag(&mut self) -> Result<i64, Cause> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Whole bytes; only called where the position is one.
    fn bytes_at(&mut self, length: usize) -> Result<&'a [u8], Cause> {
        let start = self.bit.div_ceil(8);
        let taken = self.bytes.get(start..).and_then(|rest| rest.get(..length));
        self.bit = start.saturating_add(length).saturating_mul(8);
        taken.ok_or_else(|| "the packed values are cut".to_owned())
    }
}
