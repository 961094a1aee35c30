//! A backup and requests for it, for the tests beside this.

use jiff::Timestamp;

use super::{names, restore};
use crate::config::Settings;
use crate::local::filter::Filter;
use crate::local::request::RestoreRequest;
use crate::manifest::{BackupInfo, CollectionBackupInfo};

pub(super) fn info(names: &[&str]) -> BackupInfo {
    let collection = |name: &&str| {
        let (database, collection) = name.split_once('.').unwrap();
        CollectionBackupInfo {
            db_name: database.into(),
            collection_name: collection.into(),
            ..CollectionBackupInfo::default()
        }
    };
    BackupInfo { collection_backups: names.iter().map(collection).collect(), ..BackupInfo::default() }
}

pub(super) fn shop() -> BackupInfo {
    info(&["default.docs", "sales.orders", "sales.items"])
}

pub(super) fn request() -> RestoreRequest {
    RestoreRequest { name: "b".into(), ..RestoreRequest::default() }
}

pub(super) fn filter(text: &str) -> Option<Filter> {
    Filter::parse(text).unwrap()
}

pub(super) fn shown(request: &RestoreRequest) -> Vec<String> {
    names(request, &shop()).unwrap().iter().map(|(source, target)| format!("{source}>{target}")).collect()
}

pub(super) fn refused(request: &RestoreRequest) -> String {
    restore(&Settings::default(), request, &shop()).unwrap_err().to_string()
}

pub(super) fn noon() -> Timestamp {
    "2026-11-21T01:40:43.417648966Z".parse().unwrap()
}
