//! Pure: which rows of a file are not deleted.

use super::Column;
use crate::manifest::binlog::{Deletes, Key, Series, Values};

/// The rows that are not deleted, and not newer than `cut`, by their places. `stamps` may be missing where there are neither
/// deletes nor a cut.
///
/// # Errors
/// Files of one place that do not hold the same rows.
pub fn kept(
    columns: &[Column],
    values: &[Series],
    stamps: Option<&Series>,
    deletes: &Deletes,
    cut: Option<u64>,
) -> Result<Vec<usize>, String> {
    let count = values.first().map_or(0, Series::len);
    let lengths = columns.iter().zip(values).map(|(column, values)| (column.name.as_str(), values.len()));
    let mut lengths = lengths.chain(stamps.map(|stamps| ("of timestamps", stamps.len())));
    if let Some((name, length)) = lengths.find(|(_, length)| *length != count) {
        return Err(format!("field {name} has {length} values for {count} rows"));
    }
    let Some(stamps) = stamps else { return Ok((0..count).collect()) };
    let Values::Integers(stamps) = stamps.values() else { return Err("timestamps are no numbers".to_owned()) };
    let keys = columns.iter().zip(values).find(|(column, _)| column.primary).map(|(_, keys)| keys.values());
    let mut rows = Vec::new();
    for (row, stamp) in stamps.iter().enumerate() {
        let stamp = stamp.cast_unsigned();
        let key = match keys {
            Some(Values::Integers(keys)) => Key::Int(keys[row]),
            Some(Values::Texts(keys)) => {
                let text = std::str::from_utf8(keys.get(row).unwrap_or_default()).map(str::to_owned);
                Key::Text(text.map_err(|_| "a key is no UTF-8".to_owned())?)
            }
            _ => return Err("keys are neither numbers nor texts".to_owned()),
        };
        if cut.is_none_or(|cut| stamp <= cut) && !deletes.take(&key, stamp) {
            rows.push(row);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::key_column;
    use super::*;
    use crate::manifest::binlog::Delete;

    #[test]
    fn rows_of_one_key_stay_as_often_as_they_are_newer_than_its_delete() {
        let keys: [Series; 1] = [Values::Integers(vec![1, 2, 1, 1, 3]).into()];
        let stamps: Series = Values::Integers(vec![10, 10, 20, 30, 40]).into();
        let deletes: Deletes = [Delete { key: Key::Int(1), timestamp: 20 }, Delete { key: Key::Int(4), timestamp: 99 }]
            .into_iter()
            .collect();
        let rows = |stamps: Option<&Series>, deletes: &Deletes, cut| kept(&key_column(), &keys, stamps, deletes, cut);
        assert_eq!(rows(Some(&stamps), &deletes, None), Ok(vec![1, 2, 3, 4]));
        assert_eq!(rows(Some(&stamps), &deletes, Some(30)), Ok(vec![1, 2, 3]));
        assert_eq!(rows(None, &Deletes::default(), None), Ok(vec![0, 1, 2, 3, 4]));
        let short: Series = Values::Integers(vec![10]).into();
        assert!(rows(Some(&short), &deletes, None).unwrap_err().contains("of timestamps has 1 values for 5 rows"));
    }
}
