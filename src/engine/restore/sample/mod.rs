//! Content equality of a sample: rows that the target answers beside the same rows read from the backup.
//!
//! For drills. Must never show a value, and never change a row; a collection that has to be loaded for the question is left
//! as the task wants it.
//!
//! - `choose`: which rows, and how they are asked for (pure).
//! - `cells`: values that can be compared (pure).

mod cells;
mod choose;

use std::collections::HashMap;
use std::ops::RangeInclusive;

use self::cells::{Cell, Row, difference};
use self::choose::{ROWS, Spot, can_be_asked_for, expression, spread};
use super::columns::{self, Column, LeftOut};
use super::plan::{Action, Item};
use super::rows;
use super::{Restore, finish};
use crate::engine::error::{EngineError, bounded};
use crate::engine::patience::patient;
use crate::exit::Class;
use crate::manifest::binlog::{BinlogError, Key, Series, Values};

/// Bytes of rows in one answer, about.
const ANSWER_BYTES: usize = 4 << 20;

/// What a comparison amounted to.
#[derive(Debug, Default)]
pub struct Compared {
    /// Rows that are the same.
    pub rows: u64,
    /// What was not compared.
    pub warnings: Vec<String>,
}

/// Values of the columns at a place, and which of its rows are live.
type Live = (Vec<Series>, Vec<usize>);

/// A row of the backup.
struct Wanted {
    key: Key,
    row: Row,
}

/// The rows of a collection that are asked for.
struct Chosen {
    wanted: Vec<Wanted>,
    /// Why files were not read.
    unread: Option<String>,
    /// Whether there were rows with keys that no question can hold.
    unaskable: bool,
}

/// What is compared of a collection.
struct Table {
    columns: Vec<Column>,
    primary: usize,
    /// Fields that cannot be compared.
    left_out: LeftOut,
}

impl Table {
    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name().to_owned()).collect()
    }

    /// Without one of its columns, which is no key.
    fn leave_out(&mut self, at: usize) {
        let column = self.columns.remove(at);
        let why = "stored in another form than its type has";
        self.left_out.insert(column.name().to_owned(), why.to_owned());
        self.primary -= usize::from(at < self.primary);
    }
}

impl Restore<'_> {
    /// Compares rows of a finished collection; `whole` says that it is loaded.
    ///
    /// # Errors
    /// [`EngineError::ContentMismatch`], naming collection, key and field; what reading and asking may end with.
    pub(super) async fn compare_sample(
        &self,
        item: &Item<'_>,
        whole: bool,
        expected: &RangeInclusive<u64>,
    ) -> Result<Compared, EngineError> {
        let not = |why: &str| Ok(not_compared(item, why));
        if item.action == Action::Append {
            return not("it was there before, and other rows may be in it under the same keys");
        }
        if item.key.is_some() {
            return not("its files are encrypted, and only a Milvus with their key can read them");
        }
        let (columns, left_out) = match columns::comparable(&item.info) {
            Ok(comparable) => comparable,
            Err(why) => return not(&why),
        };
        let primary = columns.iter().position(|column| column.primary).unwrap_or_default();
        let mut table = Table { columns, primary, left_out };
        let Chosen { wanted, unread, unaskable } = self.wanted(item, &mut table).await?;
        if wanted.is_empty() {
            return match (expected.end(), unread) {
                (0, _) => Ok(Compared::default()),
                (_, Some(why)) => not(&format!("none of its files can be read here ({why})")),
                _ => not("none of its rows can be read from the backup and asked for by its key"),
            };
        }
        if !whole && let Some(why) = self.load_for_comparison(item, expected).await? {
            return not(&why);
        }
        let outcome = self.ask_and_compare(item, &table, &wanted).await;
        if !whole {
            finish::unload(self.milvus, item, self.task).await?;
        }
        outcome?;
        let mut warnings = Vec::new();
        if let Some(why) = unread {
            warnings.push(format!("some files of {} were not compared with the backup: {why}", item.target));
        }
        if unaskable {
            warnings.push(format!(
                "rows of {} whose keys hold quotes, backslashes or control characters were not compared with the backup: servers \
                 differ in how they read those in a question",
                item.target
            ));
        }
        if !table.left_out.is_empty() {
            let told: Vec<String> = table.left_out.iter().map(|(name, why)| format!("{name} (it is {why})")).collect();
            warnings.push(format!("fields of {} that were not compared: {}", item.target, told.join(", ")));
        }
        tracing::info!(collection = %item.target, rows = wanted.len(), "compared with the backup");
        Ok(Compared { rows: wanted.len() as u64, warnings })
    }

    /// Loads a collection that is not loaded as a whole; answers why it cannot be.
    async fn load_for_comparison(
        &self,
        item: &Item<'_>,
        expected: &RangeInclusive<u64>,
    ) -> Result<Option<String>, EngineError> {
        if !finish::can_be_loaded(item, self.task.indexes) {
            return Ok(Some("without its indexes it cannot be loaded".to_owned()));
        }
        match finish::load_whole(self.milvus, item, self.task).await {
            Err(EngineError::Milvus(error)) if error.class() != Class::Retry => {
                Ok(Some(format!("it cannot be loaded: {}", bounded(&error.to_string(), 200))))
            }
            loaded => {
                loaded?;
                // What is imported is not seen at once.
                finish::count(self.milvus, item, expected).await?;
                Ok(None)
            }
        }
    }

    /// Live rows of the backup that are asked for.
    async fn wanted(&self, item: &Item<'_>, table: &mut Table) -> Result<Chosen, EngineError> {
        let (all, primary) = (table.columns.clone(), table.primary);
        let spots = choose::spots(&item.info, &all);
        let (mut wanted, mut unaskable): (Vec<Wanted>, _) = (Vec::new(), false);
        let mut unread = choose::uneven(&item.info, &all).map(|segment| {
            format!("segment {segment} has not as many files of every field, as where one was added later")
        });
        for (spots_left, spot) in (1..=spots.len()).rev().zip(spots) {
            let (values, mut kept) = match self.live_at(item, &all, spot).await? {
                Ok(live) => live,
                Err(why) => {
                    unread = Some(why.to_string());
                    continue;
                }
            };
            let askable = |row: &usize| key_at(values.get(primary)?, *row).filter(can_be_asked_for);
            let live = kept.len();
            kept.retain(|row| askable(row).is_some());
            unaskable |= kept.len() < live;
            let part = ROWS.saturating_sub(wanted.len()).div_ceil(spots_left);
            let places: Vec<usize> = spread(kept.len(), part).into_iter().map(|at| kept[at]).collect();
            wanted.extend(taken(item, &all, &values, &places, table)?);
        }
        // A field that was left out at a later place is in the rows of the earlier ones.
        let keep: Vec<bool> = all.iter().map(|column| !table.left_out.contains_key(column.name())).collect();
        for one in &mut wanted {
            let mut kept = keep.iter();
            one.row.retain(|_| kept.next().copied().unwrap_or_default());
        }
        Ok(Chosen { wanted, unread, unaskable })
    }

    /// The values at a place and which of its rows are live, or why this version does not read them.
    async fn live_at(
        &self,
        item: &Item<'_>,
        columns: &[Column],
        Spot { segment, at }: Spot<'_>,
    ) -> Result<Result<Live, BinlogError>, EngineError> {
        let cut = self.counted_to(item);
        let deletes = rows::all_deletes(self.artifact, &item.info, segment, cut).await?;
        let timed = !deletes.is_empty() || cut.is_some();
        let (values, stamps) = match self.values(segment, columns, at, timed).await {
            Err(EngineError::Binlog { key, source: source @ BinlogError::Unsupported { .. } }) => {
                tracing::info!(key, "not compared: {source}");
                return Ok(Err(source));
            }
            values => values?,
        };
        let damaged = |why| EngineError::Damaged(format!("segment {} of {}: {why}", segment.segment_id, item.source));
        let kept = columns::kept(columns, &values, stamps.as_ref(), &deletes, cut).map_err(damaged)?;
        Ok(Ok((values, kept)))
    }

    async fn ask_and_compare(&self, item: &Item<'_>, table: &Table, wanted: &[Wanted]) -> Result<(), EngineError> {
        let mut doubted: Vec<(&Wanted, Vec<Row>)> = Vec::new();
        for some in answers(wanted) {
            let found = self.ask(item, table, some).await?;
            for one in some {
                let of_key = |row: &&Row| row.get(table.primary).and_then(key_of).as_ref() == Some(&one.key);
                // A server may leave out a key among many that it answers when it is asked for it alone (see `Milvus::rows`).
                let alone = match found.iter().any(|row| of_key(&row)) {
                    true => Vec::new(),
                    false => self.ask(item, table, std::slice::from_ref(one)).await?,
                };
                let rows: Vec<Row> = found.iter().chain(&alone).filter(of_key).cloned().collect();
                if rows.is_empty() || difference(&one.row, &rows).is_some() {
                    doubted.push((one, rows));
                }
            }
        }
        if doubted.is_empty() {
            return Ok(());
        }
        self.other_rows(item, table, &mut doubted).await?;
        let Some((first, rows)) = doubted.first() else { return Ok(()) };
        let key = told(&first.key);
        let said = match difference(&first.row, rows).and_then(|at| table.columns.get(at)) {
            None => format!("the row with key {key} of the backup is not in {}", item.target),
            Some(column) => format!(
                "the row with key {key} of {} has another value in field {} than in the backup",
                item.target,
                column.name()
            ),
        };
        Err(EngineError::ContentMismatch(format!(
            "{said}; {} of {} rows that were compared differ",
            doubted.len(),
            wanted.len()
        )))
    }

    /// What the server has under these keys.
    async fn ask(&self, item: &Item<'_>, table: &Table, wanted: &[Wanted]) -> Result<Vec<Row>, EngineError> {
        let names = table.names();
        let expression = expression(&names[table.primary], wanted.iter().map(|one| &one.key));
        let (database, collection) = (&item.target.database, &item.target.collection);
        let answer = patient(|| self.milvus.rows(database, collection, &expression, &names)).await?;
        let strange = |what: &str| EngineError::ContentMismatch(format!("{}: {what}", item.target));
        let by_name: HashMap<&str, _> = answer.iter().map(|column| (column.field_name.as_str(), column)).collect();
        let column = |name: &String| {
            // Some servers tell the hidden field by its flag and not by its name.
            let dynamic = || answer.iter().find(|one| one.is_dynamic && name == columns::DYNAMIC);
            let found = by_name.get(name.as_str()).copied().or_else(dynamic);
            found.cloned().ok_or_else(|| strange(&format!("the server answers rows without field {name}")))
        };
        let columns = names.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let count = columns.get(table.primary).and_then(|keys| keys.field.as_ref()).map_or(0, cells::length);
        if count == 0 {
            return Ok(Vec::new());
        }
        let unreadable = |at: usize| strange(&format!("the server answers field {} in another form", names[at]));
        cells::rows(&columns, count).map_err(unreadable)
    }

    /// Takes away from the doubted what is another row of the backup with the same key: Milvus lets keys be there twice, and
    /// answers one of their rows.
    async fn other_rows(
        &self,
        item: &Item<'_>,
        table: &Table,
        doubted: &mut Vec<(&Wanted, Vec<Row>)>,
    ) -> Result<(), EngineError> {
        let keys = &table.columns[table.primary..=table.primary];
        for spot in choose::readable(&item.info, &table.columns) {
            doubted.retain(|(wanted, found)| found.is_empty() || difference(&wanted.row, found).is_some());
            if doubted.iter().all(|(_, found)| found.is_empty()) {
                return Ok(());
            }
            let Ok((values, kept)) = self.live_at(item, keys, spot).await? else { continue };
            let wanted =
                |row: &usize| key_at(&values[0], *row).is_some_and(|key| doubted.iter().any(|(one, _)| one.key == key));
            let places: Vec<usize> = kept.into_iter().filter(wanted).collect();
            if places.is_empty() {
                continue;
            }
            let (values, _) = self.values(spot.segment, &table.columns, spot.at, false).await?;
            let columns = table.columns.iter().zip(&values);
            let data = columns.map(|(column, values)| columns::field_data(column, values, &places));
            let Ok(data) = data.collect::<Result<Vec<_>, String>>() else { continue };
            let Ok(others) = cells::rows(&data, places.len()) else { continue };
            doubted.retain(|(one, found)| {
                let of_key = |row: &&Row| row.get(table.primary).and_then(key_of).as_ref() == Some(&one.key);
                !others.iter().filter(of_key).any(|row| found.contains(row))
            });
        }
        Ok(())
    }
}

fn not_compared(item: &Item<'_>, why: &str) -> Compared {
    let warning = format!("rows of {} were counted and not compared with the backup: {why}", item.target);
    Compared { rows: 0, warnings: vec![warning] }
}

/// Rows at some places. A column whose values are of no known form is left out from now on.
fn taken(
    item: &Item<'_>,
    all: &[Column],
    values: &[Series],
    places: &[usize],
    table: &mut Table,
) -> Result<Vec<Wanted>, EngineError> {
    let mut rows: Vec<Row> = vec![Row::new(); places.len()];
    for (column, values) in all.iter().zip(values) {
        let data = columns::field_data(column, values, places).ok();
        match data.and_then(|data| cells::cells(&data, places.len())) {
            Some(cells) => rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell)),
            None if column.primary => {
                return Err(EngineError::Damaged(format!("keys of {} are neither numbers nor texts", item.source)));
            }
            None => {
                if let Some(at) = table.columns.iter().position(|one| one.id == column.id) {
                    table.leave_out(at);
                }
                // Keeps the places of the others; taken out with the column.
                rows.iter_mut().for_each(|row| row.push(Cell::Bool(false)));
            }
        }
    }
    let primary = all.iter().position(|column| column.primary).unwrap_or_default();
    let keyed = rows.into_iter().filter_map(|row| Some(Wanted { key: key_of(row.get(primary)?)?, row }));
    Ok(keyed.collect())
}

/// Cut into questions whose answers are not too large.
fn answers(wanted: &[Wanted]) -> Vec<&[Wanted]> {
    let mut cut = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, one) in wanted.iter().enumerate() {
        let more: usize = one.row.iter().map(Cell::size).sum();
        if at > start && bytes + more > ANSWER_BYTES {
            cut.push(&wanted[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    cut.push(&wanted[start..]);
    cut
}

fn key_of(cell: &Cell) -> Option<Key> {
    match cell {
        Cell::Int(number) => Some(Key::Int(*number)),
        Cell::Text(text) => Some(Key::Text(text.clone())),
        _ => None,
    }
}

fn key_at(keys: &Series, row: usize) -> Option<Key> {
    match keys.values() {
        Values::Integers(keys) => keys.get(row).copied().map(Key::Int),
        Values::Texts(keys) => String::from_utf8(keys.get(row)?.to_vec()).ok().map(Key::Text),
        _ => None,
    }
}

fn told(key: &Key) -> String {
    match key {
        Key::Int(number) => number.to_string(),
        Key::Text(text) => format!("{:?}", bounded(text, 100)),
    }
}
