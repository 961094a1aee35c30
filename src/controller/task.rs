//! Pure: the task of an attempt, from validated sources and the spec.

use super::{
    discovery::Resolved,
    mounts::{Mounts, StorePlace},
    validate::{Destined, ValidBackup, ValidRestore},
};
use crate::{
    api::{self, Auth, MilvusBackup, MilvusRestore, ProbeKind},
    engine::secret::KeyMapping,
    engine::task::{
        AuthFiles, BackupTask, Content, DeleteTask, Flush, Format, Indexes, Limits, Load, Mapping, MilvusTarget,
        OnCollectionError, OnConflict, Pattern, ProbeTask, Rename, RestorePath, RestoreTask, Run, Selection,
        TASK_VERSION, Task, TlsTarget, VerifyBackup, VerifyRestore, Work,
    },
};

/// Key of Milvus' configuration in its ConfigMap.
const LIVE_CONFIG: &str = "user.yaml";

/// A task and what it needs mounted.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The task.
    pub task: Task,
    /// Its mounts.
    pub mounts: Mounts,
}

fn written(run: Run, work: Work, mounts: Mounts) -> Written {
    Written { task: Task { version: TASK_VERSION, run, work }, mounts }
}

/// The task of a backup's attempt.
pub fn backup(run: Run, backup: &MilvusBackup, valid: &ValidBackup) -> Written {
    let spec = &backup.spec;
    let mut mounts = Mounts::default();
    let work = Work::Backup(Box::new(BackupTask {
        artifact: valid.artifact.name.clone(),
        milvus: milvus(&valid.milvus, spec.auth.as_ref(), &mut mounts),
        destination: mounts.store(&valid.destination.place),
        selection: selection(&spec.selection),
        content: content(spec.content.data),
        index_metadata: spec.content.index_metadata,
        // Objects have no field for it.
        etcd: None,
        flush: match spec.consistency.flush {
            api::Flush::Auto => Flush::Auto,
            api::Flush::Skip => Flush::Skip,
        },
        format: Format::Auto,
        on_collection_error: match spec.on_collection_error {
            api::CollectionErrors::Fail => OnCollectionError::Fail,
            api::CollectionErrors::Continue => OnCollectionError::Continue,
        },
        verify: match spec.verify {
            api::BackupVerify::None => VerifyBackup::None,
            api::BackupVerify::Manifest => VerifyBackup::Manifest,
            api::BackupVerify::Checksum => VerifyBackup::Checksum,
        },
        rbac: spec.content.rbac,
        pause_gc: spec.consistency.pause_gc,
        limits: limits(&spec.limits),
    }));
    written(run, work, mounts)
}

/// The task of a restore's attempt. `last_attempt`: no other follows, so a failure is final.
pub fn restore(run: Run, restore: &MilvusRestore, valid: &ValidRestore, last_attempt: bool) -> Written {
    let spec = &restore.spec;
    let mut mounts = Mounts::default();
    let work = Work::Restore(Box::new(RestoreTask {
        artifact: valid.artifact.name.clone(),
        manifest_digest: valid.artifact.manifest_digest.clone(),
        source: mounts.store(&valid.source.place),
        target: milvus(&valid.milvus, spec.target.auth.as_ref(), &mut mounts),
        selection: selection(&spec.selection),
        mapping: Mapping {
            databases: renames(&spec.mapping.databases),
            collections: renames(&spec.mapping.collections),
            suffix: spec.mapping.suffix.clone(),
            ..Mapping::default()
        },
        on_conflict: match spec.on_conflict {
            api::OnConflict::Fail => OnConflict::Fail,
            api::OnConflict::Skip => OnConflict::Skip,
            api::OnConflict::Replace => OnConflict::Replace,
            api::OnConflict::Append => OnConflict::Append,
        },
        create_missing: true,
        drop_indexes: false,
        content: content(spec.content.data),
        indexes: match spec.indexes {
            api::Indexes::Rebuild => Indexes::Rebuild,
            api::Indexes::Auto => Indexes::Auto,
            api::Indexes::Skip => Indexes::Skip,
        },
        load: match spec.load {
            api::Load::Original => Load::Original,
            api::Load::All => Load::All,
            api::Load::None => Load::None,
        },
        verify: match spec.verify {
            api::RestoreVerify::None => VerifyRestore::None,
            api::RestoreVerify::RowCounts => VerifyRestore::RowCounts,
            api::RestoreVerify::Sample => VerifyRestore::Sample,
        },
        preflight_only: spec.preflight_only,
        cleanup_on_failure: spec.cleanup_on_failure,
        last_attempt,
        restore_path: match spec.restore_path {
            api::RestorePath::Auto => RestorePath::Auto,
            api::RestorePath::Import => RestorePath::Import,
            api::RestorePath::Insert => RestorePath::Insert,
        },
        rbac: spec.content.rbac,
        keys: KeyMapping::default(),
        cut_to_recovery_point: false,
        limits: limits(&spec.limits),
    }));
    written(run, work, mounts)
}

/// The task that removes a copy.
pub fn delete(run: Run, artifact: &str, place: &Destined) -> Written {
    let mut mounts = Mounts::default();
    let location = mounts.store(&place.place);
    written(run, Work::Delete(DeleteTask { artifact: artifact.to_owned(), location }), mounts)
}

/// The task that tries a location.
pub fn probe(run: Run, place: &StorePlace, kind: ProbeKind) -> Written {
    let mut mounts = Mounts::default();
    let location = mounts.store(place);
    written(run, Work::Probe(ProbeTask { location, write: kind == ProbeKind::ReadWrite }), mounts)
}

fn milvus(resolved: &Resolved, auth: Option<&Auth>, mounts: &mut Mounts) -> MilvusTarget {
    let store = StorePlace::of_milvus(&resolved.store, &resolved.store.root_path.value);
    MilvusTarget {
        host: resolved.grpc_host.value.clone(),
        port: resolved.grpc_port.value,
        tls: resolved.tls.as_ref().map(|tls| TlsTarget {
            ca_file: tls.ca.as_ref().map(|ca| mounts.pem(&ca.value)),
            server_name: tls.server_name.as_ref().map(|name| name.value.clone()),
            client: tls
                .client
                .as_ref()
                .map(|client| (mounts.pem(&client.value.certificate), mounts.pem(&client.value.private_key))),
        }),
        auth: auth.and_then(|auth| auth_files(auth, mounts)),
        store: mounts.store(&store),
        rest: None,
        management: None,
        live_config: resolved.live_config.as_ref().map(|config| mounts.config_map(&config.value, LIVE_CONFIG)),
    }
}

fn auth_files(auth: &Auth, mounts: &mut Mounts) -> Option<AuthFiles> {
    if let Some(secret) = &auth.password_secret_ref {
        return Some(AuthFiles::Password {
            username: mounts.secret(&secret.name, &secret.username_key),
            password: mounts.secret(&secret.name, &secret.password_key),
        });
    }
    let secret = auth.token_secret_ref.as_ref()?;
    Some(AuthFiles::Token { token: mounts.secret(&secret.name, &secret.key) })
}

fn selection(selection: &api::Selection) -> Selection {
    let patterns = |patterns: &[api::Pattern]| {
        let pattern = |pattern: &api::Pattern| Pattern {
            database: pattern.database.clone(),
            collections: pattern.collections.clone(),
        };
        patterns.iter().map(pattern).collect()
    };
    let api::Selection { include, exclude, allow_empty } = selection;
    Selection {
        include: patterns(include),
        exclude: patterns(exclude),
        allow_empty: *allow_empty,
        ..Selection::default()
    }
}

fn content(data: api::ContentData) -> Content {
    match data {
        api::ContentData::Full => Content::Full,
        api::ContentData::SchemaOnly => Content::SchemaOnly,
    }
}

fn renames(renames: &[api::Rename]) -> Vec<Rename> {
    renames.iter().map(|rename| Rename { from: rename.from.clone(), to: rename.to.clone() }).collect()
}

fn limits(limits: &api::Limits) -> Limits {
    let concurrency = limits.concurrency.and_then(|bound| u32::try_from(bound).ok());
    Limits {
        concurrency,
        bytes_per_second: limits.bytes_per_second.and_then(|bound| u64::try_from(bound).ok()),
        requests_per_second: limits.requests_per_second.and_then(|bound| u32::try_from(bound).ok()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::fetch::{LocationFetched, MilvusFetched, MilvusSeen, Sources};
    use crate::controller::validate;

    /// The task of a restore whose spec has this besides its backup and its target.
    fn restore_of(mut spec: Value) -> RestoreTask {
        let connection = json!({"grpc": {"host": "milvus.example"}, "storage": {"bucket": "b", "rootPath": "files"}});
        spec["from"] = json!({"artifact": {"name": "some"}});
        spec["target"] = json!({"connection": connection});
        let object: MilvusRestore = serde_json::from_value(json!({
            "apiVersion": api::API_VERSION, "kind": "MilvusRestore", "metadata": {"name": "r", "namespace": "search"},
            "spec": spec
        }))
        .unwrap();
        let seen = MilvusSeen::Written(Box::new(serde_json::from_value(connection).unwrap()));
        let milvus = MilvusFetched { name: "milvus.example".to_owned(), seen, overrides: None };
        let sources = Sources { milvus, location: LocationFetched::Default(None), backup: None };
        let valid = validate::restore(&object, "search", None, &sources).unwrap();
        let run = Run { uid: "u".to_owned(), namespace: "search".to_owned(), name: "r".to_owned(), attempt: 1 };
        match restore(run, &object, &valid, false).task.work {
            Work::Restore(task) => *task,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_take_the_way_that_the_spec_asks_for_and_else_the_faster_one() {
        assert_eq!(restore_of(json!({})).restore_path, RestorePath::Auto);
        for (asked, way) in
            [("Auto", RestorePath::Auto), ("Import", RestorePath::Import), ("Insert", RestorePath::Insert)]
        {
            assert_eq!(restore_of(json!({"restorePath": asked})).restore_path, way);
        }
    }

    #[test]
    fn every_name_of_a_collection_is_in_the_task_in_the_order_of_the_spec() {
        let rules =
            json!([{"from": "docs", "to": "z"}, {"from": "docs", "to": "docs"}, {"from": "docs", "to": "shop.a"}]);
        let task = restore_of(json!({"mapping": {"collections": rules}}));
        let to: Vec<&str> = task.mapping.collections.iter().map(|rule| rule.to.as_str()).collect();
        assert_eq!(to, ["z", "docs", "shop.a"]);
    }
}
