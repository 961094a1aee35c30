//! Pure: which databases a restore makes, and as what.

use std::collections::{BTreeMap, BTreeSet};

use super::mapping;
use super::plan::{Action, Item};
use crate::engine::select;
use crate::engine::task::RestoreTask;
use crate::manifest::BackupInfo;
use crate::manifest::backup_info::DatabaseBackupInfo;

/// Name in the target, and what is recorded of the database.
pub type Wanted<'i> = BTreeMap<String, Option<&'i DatabaseBackupInfo>>;

/// Databases that come back without regard to their collections: those named, and where everything is selected those that have
/// none.
///
/// # Errors
/// A database that is not in the backup, or a name Milvus would refuse.
pub fn bare<'i>(task: &RestoreTask, info: &'i BackupInfo) -> Result<Wanted<'i>, String> {
    let recorded: Vec<String> = info.database_backups.iter().map(|database| database.db_name.clone()).collect();
    let filled: BTreeSet<&str> = info.collection_backups.iter().map(|one| one.db_name.as_str()).collect();
    let named = &task.selection.databases;
    let mut wanted = Wanted::new();
    for name in select::databases(&task.selection, &recorded)? {
        if named.contains(&name) || !filled.contains(name.as_str()) {
            let database = info.database_backups.iter().find(|database| database.db_name == name);
            for target in mapping::target_databases(&task.mapping, &name)? {
                wanted.insert(target, database);
            }
        }
    }
    Ok(wanted)
}

/// The databases of all collections that are restored, and `bare` ones.
pub fn wanted<'i>(info: &'i BackupInfo, items: &[Item], bare: Wanted<'i>) -> Wanted<'i> {
    let mut wanted = Wanted::new();
    for item in items.iter().filter(|item| item.action != Action::Skip) {
        let recorded = info.database_backups.iter().find(|database| database.db_name == item.source.database);
        wanted.entry(item.target.database.clone()).or_insert(recorded);
    }
    for (name, recorded) in bare {
        wanted.entry(name).or_insert(recorded);
    }
    wanted
}
