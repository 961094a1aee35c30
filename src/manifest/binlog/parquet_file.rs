//! The footer of a Parquet file: its columns and where their pages lie.
//!
//! Source: the Parquet format's Thrift definitions (format 2.x). Checks that all sums agree and all chunks are in
//! bounds.

use super::BinlogError;
use super::thrift::{Cause, Thrift};

pub(super) const MAGIC: &[u8; 4] = b"PAR1";
const TAIL: usize = 8;
/// Most elements of a schema; Milvus has at most some hundred fields. One takes a byte in the file and 50 here.
const ELEMENTS_LIMIT: usize = 1 << 14;

/// Physical types.
pub(super) const BOOLEAN: u64 = 0;
pub(super) const INT32: u64 = 1;
pub(super) const INT64: u64 = 2;
pub(super) const FLOAT: u64 = 4;
pub(super) const DOUBLE: u64 = 5;
pub(super) const BYTE_ARRAY: u64 = 6;
pub(super) const FIXED_LEN_BYTE_ARRAY: u64 = 7;

/// Whether values of a Milvus type (`schema.DataType`) are stored as this physical type. Types not known are believed.
pub(super) fn stores(data_type: i32, kind: u64) -> bool {
    match data_type {
        1 => kind == BOOLEAN,
        2..=4 => kind == INT32,
        5 => kind == INT64,
        10 => kind == FLOAT,
        11 => kind == DOUBLE,
        20..=23 | 104 => kind == BYTE_ARRAY,
        100..=103 | 105 => matches!(kind, BYTE_ARRAY | FIXED_LEN_BYTE_ARRAY),
        _ => true,
    }
}

/// A Parquet file by its footer.
#[derive(Debug)]
pub(super) struct ParquetFile<'a> {
    /// The file.
    pub(super) bytes: &'a [u8],
    /// Where it begins in the log file.
    pub(super) base: u64,
    /// Rows.
    pub(super) rows: u64,
    /// Leaves of the schema.
    pub(super) columns: Vec<Column>,
    /// Row groups with one chunk for every column, in the order of `columns`.
    pub(super) row_groups: Vec<RowGroup>,
}

/// One leaf of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Physical type.
    pub(super) kind: u64,
    /// Bytes of a value of fixed length; 0 for other types.
    pub(super) width: u64,
    /// Levels of values that may be missing.
    pub(super) definition_levels: u32,
    /// Levels of values that repeat.
    pub(super) repetition_levels: u32,
    /// Field id, where the writer gave one.
    pub(super) field: Option<i64>,
}

/// Rows stored together.
#[derive(Debug, Default)]
pub(super) struct RowGroup {
    pub(super) rows: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// The pages of one column in one row group.
#[derive(Debug, Default, Clone)]
pub(super) struct Chunk {
    /// Physical type.
    pub(super) kind: u64,
    /// Compression.
    pub(super) codec: u64,
    /// Values, missing ones included.
    pub(super) values: u64,
    /// First byte in the Parquet file.
    pub(super) start: usize,
    /// First byte after.
    pub(super) end: usize,
}

impl<'a> ParquetFile<'a> {
    /// Reads the footer of the file that begins at `base`.
    pub(super) fn parse(bytes: &'a [u8], base: u64) -> Result<ParquetFile<'a>, BinlogError> {
        let damaged = |cause: Cause| BinlogError::Corrupt { what: "Parquet footer", at: base, cause };
        if bytes.len() < MAGIC.len() + TAIL || !bytes.starts_with(MAGIC) || !bytes.ends_with(MAGIC) {
            return Err(damaged("no Parquet file: the marks at its ends are missing".to_owned()));
        }
        let tail = bytes.len() - TAIL;
        let mut length = [0; 4];
        length.copy_from_slice(&bytes[tail..tail + 4]);
        let length = u32::from_le_bytes(length);
        let start = tail
            .checked_sub(length as usize)
            .filter(|start| *start >= MAGIC.len())
            .ok_or_else(|| damaged(format!("it says it is {length} bytes long, the file has {}", bytes.len())))?;
        let mut footer = Footer::default();
        footer.read(&mut Thrift::new(&bytes[start..tail])).map_err(damaged)?;
        footer.finish(bytes, base, start).map_err(damaged)
    }
}

#[derive(Default)]
struct Footer {
    schema: Vec<SchemaElement>,
    rows: Option<u64>,
    row_groups: Option<Vec<RowGroup>>,
    /// Offsets of dictionary and first data page, and size, in the order of row groups and chunks.
    places: Vec<Place>,
}

#[derive(Default)]
struct SchemaElement {
    kind: Option<u64>,
    width: u64,
    repetition: u64,
    children: u64,
    field: Option<i64>,
}

#[derive(Default)]
struct Place {
    dictionary: Option<u64>,
    data: u64,
    size: u64,
}

impl Footer {
    fn read(&mut self, thrift: &mut Thrift<'_>) -> Result<(), Cause> {
        thrift.structure(|thrift, id, kind| {
            match id {
                2 => thrift.structures(kind, |thrift| {
                    if self.schema.len() == ELEMENTS_LIMIT {
                        return Err(format!("the schema has more than {ELEMENTS_LIMIT} elements"));
                    }
                    let mut element = SchemaElement::default();
                    thrift.structure(|thrift, id, kind| {
                        match id {
                            1 => element.kind = Some(thrift.count(kind)?),
                            2 => element.width = thrift.count(kind)?,
                            3 => element.repetition = thrift.count(kind)?,
                            5 => element.children = thrift.count(kind)?,
                            9 => element.field = Some(thrift.signed(kind)?),
                            _ => return Ok(false),
                        }
                        Ok(true)
                    })?;
                    self.schema.push(element);
                    Ok(())
                })?,
                3 => self.rows = Some(thrift.count(kind)?),
                4 => {
                    self.row_groups.get_or_insert_default();
                    thrift.structures(kind, |thrift| self.row_group(thrift))?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn row_group(&mut self, thrift: &mut Thrift<'_>) -> Result<(), Cause> {
        let (mut group, mut rows) = (RowGroup::default(), None);
        thrift.structure(|thrift, id, kind| {
            match id {
                1 => thrift.structures(kind, |thrift| {
                    let (chunk, place) = read_chunk(thrift)?;
                    group.chunks.push(chunk);
                    self.places.push(place);
                    Ok(())
                })?,
                3 => rows = Some(thrift.count(kind)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        group.rows = needed(rows)?;
        self.row_groups.get_or_insert_default().push(group);
        Ok(())
    }

    /// Everything that can be checked without reading a page.
    fn finish<'a>(self, bytes: &'a [u8], base: u64, footer_start: usize) -> Result<ParquetFile<'a>, Cause> {
        let columns = leaves(&self.schema)?;
        let (file_rows, mut row_groups) = (needed(self.rows)?, needed(self.row_groups)?);
        let mut places = self.places.into_iter();
        let (mut rows, mut unclaimed) = (0_u64, footer_start);
        for group in &mut row_groups {
            if group.chunks.len() != columns.len() {
                return Err(format!("a row group has {} columns, the schema {}", group.chunks.len(), columns.len()));
            }
            rows = rows.saturating_add(group.rows);
            for ((chunk, column), place) in group.chunks.iter_mut().zip(&columns).zip(&mut places) {
                if chunk.kind != column.kind {
                    return Err(format!("a column is of type {}, its schema says {}", chunk.kind, column.kind));
                }
                if column.repetition_levels == 0 && chunk.values != group.rows {
                    return Err(format!("a column holds {} values for {} rows", chunk.values, group.rows));
                }
                let start = place.dictionary.filter(|at| *at > 0).map_or(place.data, |at| at.min(place.data));
                let bounds = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(place.size)).ok());
                (chunk.start, chunk.end) = bounds
                    .filter(|(start, end)| *start >= MAGIC.len() && *end <= footer_start)
                    .ok_or_else(|| format!("a column lies at {start} with {} bytes, outside the file", place.size))?;
                // Else a small file of many row groups that all name the same pages would be unpacked again and again.
                unclaimed = unclaimed
                    .checked_sub(chunk.end - chunk.start)
                    .ok_or_else(|| "its columns are longer than the file: some of them overlap".to_owned())?;
            }
        }
        if rows != file_rows {
            return Err(format!("it counts {file_rows} rows, its row groups {rows}"));
        }
        Ok(ParquetFile { bytes, base, rows, columns, row_groups })
    }
}

fn read_chunk(thrift: &mut Thrift<'_>) -> Result<(Chunk, Place), Cause> {
    let (mut kind_of_values, mut codec, mut values, mut size, mut data, mut dictionary) =
        (None, None, None, None, None, None);
    thrift.structure(|thrift, id, _| {
        if id != 3 {
            return Ok(false);
        }
        thrift.structure(|thrift, id, kind| {
            let field = match id {
                1 => &mut kind_of_values,
                4 => &mut codec,
                5 => &mut values,
                7 => &mut size,
                9 => &mut data,
                11 => &mut dictionary,
                _ => return Ok(false),
            };
            *field = Some(thrift.count(kind)?);
            Ok(true)
        })?;
        Ok(true)
    })?;
    let chunk =
        Chunk { kind: needed(kind_of_values)?, codec: needed(codec)?, values: needed(values)?, start: 0, end: 0 };
    Ok((chunk, Place { dictionary, data: needed(data)?, size: needed(size)? }))
}

/// A field the format requires.
fn needed<T>(field: Option<T>) -> Result<T, Cause> {
    field.ok_or_else(|| "a field is missing".to_owned())
}

/// Walks the flattened schema tree; the first element is the root.
fn leaves(schema: &[SchemaElement]) -> Result<Vec<Column>, Cause> {
    let Some((root, elements)) = schema.split_first() else {
        return Err("the schema is empty".to_owned());
    };
    let mut columns = Vec::new();
    // Children still to come, definition and repetition levels of each open branch.
    let mut open = vec![(root.children, 0_u32, 0_u32)];
    for element in elements {
        while open.last().is_some_and(|(left, _, _)| *left == 0) {
            open.pop();
        }
        let Some((left, definition, repetition)) = open.last_mut() else {
            return Err("the schema has elements outside its tree".to_owned());
        };
        *left -= 1;
        let definition = *definition + u32::from(element.repetition != 0);
        let repetition = *repetition + u32::from(element.repetition == 2);
        match element.kind {
            Some(kind) if element.children == 0 => {
                columns.push(Column {
                    kind,
                    width: if kind == FIXED_LEN_BYTE_ARRAY { element.width } else { 0 },
                    definition_levels: definition,
                    repetition_levels: repetition,
                    field: element.field,
                });
            }
            _ => open.push((element.children, definition, repetition)),
        }
    }
    if open.iter().any(|(left, _, _)| *left > 0) {
        return Err("the schema misses elements of its tree".to_owned());
    }
    if columns.is_empty() { Err("the schema has no column".to_owned()) } else { Ok(columns) }
}
