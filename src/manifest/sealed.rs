//! Pure: which parts of a backup are encrypted by the server that wrote them, so that nobody else can look inside.

use std::collections::{BTreeMap, HashSet};

use super::backup_info::BackupInfo;

/// Beginning of the properties of databases and collections that belong to the encryption of one cluster
/// (milvus-wire.md 2.2).
pub const CIPHER: &str = "cipher.";
/// Property that names the encrypted zone (milvus-backup.md 2.3).
const ZONE: &str = "cipher.ezID";

/// Whether the properties of a database say that its files are encrypted.
pub fn is_sealed<'p>(properties: impl IntoIterator<Item = (&'p str, &'p str)>) -> bool {
    properties.into_iter().any(|(key, value)| key == ZONE && !value.is_empty())
}

/// Encrypted databases with their keys; an empty one is missing in the backup.
pub fn keys(info: &BackupInfo) -> BTreeMap<&str, &str> {
    let sealed = info.database_backups.iter().filter(|database| {
        !database.ezk.is_empty()
            || is_sealed(database.properties.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())))
    });
    sealed.map(|database| (database.db_name.as_str(), database.ezk.as_str())).collect()
}

/// Ids of the collections whose files are encrypted.
pub fn collections(info: &BackupInfo) -> HashSet<i64> {
    let keys = keys(info);
    let sealed = info.collection_backups.iter().filter(|one| keys.contains_key(one.db_name.as_str()));
    sealed.map(|one| one.collection_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::backup_info::{CollectionBackupInfo, DatabaseBackupInfo};
    use crate::manifest::schema::KeyValuePair;

    fn database(name: &str, zone: &str, ezk: &str) -> DatabaseBackupInfo {
        let properties = vec![KeyValuePair { key: ZONE.into(), value: zone.into() }];
        DatabaseBackupInfo { db_name: name.into(), properties, ezk: ezk.into(), ..Default::default() }
    }

    #[test]
    fn a_database_is_sealed_by_its_zone_or_by_its_key() {
        let collection =
            |id, name: &str| CollectionBackupInfo { collection_id: id, db_name: name.into(), ..Default::default() };
        let info = BackupInfo {
            database_backups: vec![
                database("open", "", ""),
                database("zone", "3", "k"),
                database("lost", "3", ""),
                DatabaseBackupInfo { db_name: "bare".into(), ezk: "b".into(), ..Default::default() },
            ],
            collection_backups: vec![collection(1, "open"), collection(2, "zone"), collection(3, "lost")],
            ..BackupInfo::default()
        };
        assert_eq!(keys(&info).into_iter().collect::<Vec<_>>(), [("bare", "b"), ("lost", ""), ("zone", "k")]);
        assert_eq!(collections(&info), HashSet::from([2, 3]));
    }
}
