//! Pure: how large rows are, and how they are cut into requests.

use std::ops::Range;

use crate::engine::restore::plan::{Batch, BatchKind, Item};
use crate::manifest::SegmentBackupInfo;
use crate::manifest::binlog::{Series, Values};
use crate::milvus::DataType;

/// Bytes a batch has once it is unpacked, as far as that is known before: numbers and vectors by their width, texts by their
/// size in the backup.
pub fn estimate(item: &Item<'_>, batch: &Batch) -> u64 {
    let rows: i64 = segments(item, batch).map(|segment| segment.num_of_rows).sum();
    let fixed: u64 = item.info.schema.fields.iter().map(|field| width(field.data_type, &field.type_params)).sum();
    u64::try_from(rows).unwrap_or_default().saturating_mul(fixed).max(batch.bytes)
}

fn width(data_type: i32, params: &[crate::manifest::KeyValuePair]) -> u64 {
    let dim = || {
        let dim = params.iter().find(|pair| pair.key == "dim").and_then(|pair| pair.value.parse::<u64>().ok());
        dim.unwrap_or_default()
    };
    match DataType::try_from(data_type) {
        Ok(DataType::FloatVector) => dim().saturating_mul(4),
        Ok(DataType::Float16Vector | DataType::BFloat16Vector) => dim().saturating_mul(2),
        Ok(DataType::Int8Vector) => dim(),
        Ok(DataType::BinaryVector) => dim() / 8,
        _ => 8,
    }
}

/// The segments a batch of rows is made of.
pub fn segments<'i>(item: &'i Item<'_>, batch: &'i Batch) -> impl Iterator<Item = &'i SegmentBackupInfo> {
    let of_rows = batch.kind == BatchKind::Rows;
    item.info
        .segments()
        .filter(move |segment| of_rows && !segment.is_l0 && batch.segments.contains(&segment.segment_id))
}

/// Bytes a value takes in a request, about.
fn size(series: &Series, row: usize) -> usize {
    match series.values() {
        _ if series.is_null(row) => 1,
        Values::Booleans(_) => 1,
        Values::Small(_) | Values::Floats(_) => 4,
        Values::Integers(_) | Values::Doubles(_) => 9,
        Values::Texts(texts) => texts.get(row).map_or(0, <[u8]>::len) + 4,
        Values::Fixed(vectors) => vectors.width(),
    }
}

/// Cuts rows into requests of at most `limit` bytes, or of one row where that is larger.
pub fn requests(values: &[Series], rows: &[usize], limit: usize) -> Vec<Range<usize>> {
    let mut cut = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let more: usize = values.iter().map(|column| size(column, *row)).sum();
        if at > start && bytes + more > limit {
            cut.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    if start < rows.len() {
        cut.push(start..rows.len());
    }
    cut
}

/// Bytes of rows in a request, about.
pub fn bytes(values: &[Series], rows: &[usize]) -> u64 {
    rows.iter().map(|row| values.iter().map(|column| size(column, *row) as u64).sum::<u64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::item;
    use super::*;

    #[test]
    fn a_partition_is_as_large_as_its_rows_unpacked_or_its_files() {
        let item = item();
        let batch = |bytes| Batch {
            partition: String::new(),
            kind: BatchKind::Rows,
            directories: Vec::new(),
            storage_version: 0,
            segments: vec![7],
            bytes,
            objects: 0,
        };
        assert_eq!(estimate(&item, &batch(0)), 10 * (8 + 8 + 32 * 4));
        assert_eq!(estimate(&item, &batch(1 << 30)), 1 << 30);
    }

    #[test]
    fn requests_are_cut_by_bytes_and_hold_at_least_one_row() {
        // Nine bytes each.
        let values: [Series; 1] = [Values::Integers(vec![0; 10]).into()];
        let rows: Vec<usize> = (0..10).step_by(2).collect();
        assert_eq!(requests(&values, &rows, 20), [0..2, 2..4, 4..5]);
        assert_eq!(requests(&values, &rows, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(requests(&values, &rows, 1000), vec![0..5]);
        assert!(requests(&values, &[], 20).is_empty());
        assert_eq!(bytes(&values, &rows), 45);
    }
}
