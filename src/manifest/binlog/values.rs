//! The values of a column in memory.

use super::parquet_file::{BOOLEAN, BYTE_ARRAY, Column, DOUBLE, FIXED_LEN_BYTE_ARRAY, FLOAT, INT32, INT64};
use super::thrift::Cause;

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

/// The values of a field that may be null, in row order.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    values: Values,
    /// Which rows have a value; none where all have.
    present: Option<Vec<bool>>,
}

impl Series {
    /// The values, with anything (zero, empty) in the place of nulls.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Whether a row has no value.
    pub fn is_null(&self, row: usize) -> bool {
        self.present.as_ref().is_some_and(|present| present.get(row) == Some(&false))
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of a column in which none is missing.
    pub(super) fn whole(self) -> Result<Values, Cause> {
        match self.present {
            None => Ok(self.values),
            Some(_) => Err("values are missing".to_owned()),
        }
    }

    /// Appends what `read` appends, of which nothing is missing.
    pub(super) fn extend_with<E>(&mut self, read: impl FnOnce(&mut Values) -> Result<(), E>) -> Result<(), E> {
        read(&mut self.values)?;
        if let Some(present) = &mut self.present {
            present.resize(self.values.len(), true);
        }
        Ok(())
    }

    /// Appends a row for each of `present`, and to those that are the values of `compact`.
    pub(super) fn extend_spread(&mut self, compact: &Values, present: &[bool]) -> Result<(), Cause> {
        let before = self.values.len();
        self.values.spread(compact, present)?;
        self.present.get_or_insert_with(|| vec![true; before]).extend_from_slice(present);
        Ok(())
    }

    /// Appends the rows of another file of the same field.
    pub(super) fn append(&mut self, more: Series) -> Result<(), Cause> {
        let (before, after) = (self.values.len(), more.values.len());
        self.values.append(more.values)?;
        if self.present.is_some() || more.present.is_some() {
            let present = self.present.get_or_insert_with(|| vec![true; before]);
            present.extend(more.present.unwrap_or_else(|| vec![true; after]));
        }
        Ok(())
    }
}

impl From<Values> for Series {
    fn from(values: Values) -> Series {
        Series { values, present: None }
    }
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

    /// Appends the values of `compact` in the places that are `present`, and zeros and empty texts in the others.
    fn spread(&mut self, compact: &Values, present: &[bool]) -> Result<(), Cause> {
        let mut at = 0;
        for present in present {
            let from = present.then_some(at);
            at += usize::from(*present);
            let cut = || "there are fewer values than the levels say".to_owned();
            match (&mut *self, compact) {
                (Values::Booleans(to), Values::Booleans(all)) => to.push(placed(all, from).ok_or_else(cut)?),
                (Values::Small(to), Values::Small(all)) => to.push(placed(all, from).ok_or_else(cut)?),
                (Values::Integers(to), Values::Integers(all)) => to.push(placed(all, from).ok_or_else(cut)?),
                (Values::Floats(to), Values::Floats(all)) => to.push(placed(all, from).ok_or_else(cut)?),
                (Values::Doubles(to), Values::Doubles(all)) => to.push(placed(all, from).ok_or_else(cut)?),
                (Values::Texts(to), Values::Texts(all)) => {
                    to.push(from.map_or(Some(&[][..]), |at| all.get(at)).ok_or_else(cut)?)?;
                }
                (Values::Fixed(to), Values::Fixed(all)) => match from {
                    Some(at) => to.push(all.get(at).ok_or_else(cut)?)?,
                    None => {
                        room(to.bytes.len(), to.width)?;
                        to.bytes.resize(to.bytes.len() + to.width, 0);
                    }
                },
                _ => return Err("the values are of another type".to_owned()),
            }
        }
        Ok(())
    }

    pub(super) fn empty(column: &Column) -> Option<Values> {
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
    pub(super) fn look_up(&mut self, dictionary: &Values, indexes: &[u32]) -> Result<(), Cause> {
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
    pub(super) fn plain(&mut self, bytes: &[u8], count: usize) -> Result<(), Cause> {
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

/// The value at a place, or a zero where there is no place.
fn placed<T: Copy + Default>(all: &[T], at: Option<usize>) -> Option<T> {
    at.map_or(Some(T::default()), |at| all.get(at).copied())
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
