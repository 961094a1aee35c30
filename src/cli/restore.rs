//! `restore`.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::create::{old_filter, watched};
use super::limits::LimitArgs;
use super::output::{self, Output};
use super::shell::Session;
use crate::engine::progress::Counters;
use crate::engine::task::{RestorePath, VerifyRestore};
use crate::exit;
use crate::local::filter::{Filter, Renames};
use crate::local::operations::{self, RestoreRequest};
use crate::local::tasks::default_name;

/// Arguments of `restore`.
#[derive(Debug, Default, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct RestoreArgs {
    /// Name of the backup.
    #[arg(short, long, required = true)]
    name: Option<String>,
    /// Collections by their names after --suffix or --rename: db.coll, coll, db.*, or db. for a database without its
    /// collections; all where none is given.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// Appended to the name of every collection.
    #[arg(short, long, conflicts_with = "rename")]
    suffix: Option<String>,
    /// New names, separated by commas: db.coll:db.new, coll:new, db1.*:db2.*.
    #[arg(short, long)]
    rename: Option<String>,
    /// Build the recorded indexes; =false leaves the collections without. The default is to build them.
    #[arg(long = "rebuild_index", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    rebuild_index: Option<bool>,
    /// Schemas and indexes without rows.
    #[arg(long = "meta_only", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    meta_only: bool,
    /// AUTOINDEX for vector fields.
    #[arg(long = "use_auto_index", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    use_auto_index: bool,
    /// Drop collections that are in the way first.
    #[arg(long = "drop_exist_collection", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    drop_exist_collection: bool,
    /// Drop the indexes of existing collections before those of the backup are made; with --skip_create_collection.
    #[arg(long = "drop_exist_index", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    drop_exist_index: bool,
    /// Add the rows to collections that exist; none is created. Keys that are there already are there twice afterwards.
    #[arg(long = "skip_create_collection", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    skip_create_collection: bool,
    /// With users, roles and grants.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    rbac: bool,
    /// Many segments for each import; always so.
    #[arg(long = "use_v2_restore", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    use_v2_restore: bool,
    /// How rows get in: auto takes the faster way for each partition, import lets the server read binlogs, insert reads
    /// them here and inserts rows (proven on Milvus 2.3).
    #[arg(long = "restore-path", value_enum, default_value_t)]
    restore_path: Way,
    /// How the restored rows are proven: rows counts them, sample also compares up to 100 rows of every collection field by
    /// field with the backup, none trusts the import.
    #[arg(long, value_enum, default_value_t)]
    verify: Proof,
    #[command(flatten)]
    limits: LimitArgs,
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Removed: use --filter.
    #[arg(short = 'c', long, hide = true, conflicts_with_all = ["filter", "databases", "database_collections"])]
    collections: Option<String>,
    /// Removed: use --filter with db.*.
    #[arg(short = 'd', long, hide = true, conflicts_with_all = ["filter", "database_collections"])]
    databases: Option<String>,
    /// Removed: use --filter.
    #[arg(short = 'a', long = "database_collections", hide = true, conflicts_with = "filter")]
    database_collections: Option<String>,
    /// Removed: use --rebuild_index.
    #[arg(long = "restore_index", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    restore_index: Option<bool>,
    #[command(subcommand)]
    kind: Option<Kind>,
}

/// Values of `--restore-path`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Way {
    #[default]
    Auto,
    Import,
    Insert,
}

impl From<Way> for RestorePath {
    fn from(way: Way) -> RestorePath {
        match way {
            Way::Auto => RestorePath::Auto,
            Way::Import => RestorePath::Import,
            Way::Insert => RestorePath::Insert,
        }
    }
}

/// Values of `--verify`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Proof {
    None,
    #[default]
    Rows,
    Sample,
}

impl From<Proof> for VerifyRestore {
    fn from(proof: Proof) -> VerifyRestore {
        match proof {
            Proof::None => VerifyRestore::None,
            Proof::Rows => VerifyRestore::RowCounts,
            Proof::Sample => VerifyRestore::Sample,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Prepare a cluster for replication (not supported yet).
    Secondary(SecondaryArgs),
}

#[derive(Debug, Args)]
struct SecondaryArgs {
    /// Name of the backup.
    #[arg(short, long)]
    name: String,
    /// Cluster the backup was made from.
    #[arg(long = "source_cluster_id")]
    source_cluster_id: String,
    /// Cluster it is restored into.
    #[arg(long = "target_cluster_id")]
    target_cluster_id: String,
}

impl RestoreArgs {
    /// The request, and a warning for each removed flag that was used.
    ///
    /// # Errors
    /// A filter or a renaming that is not understood; what no run can carry out.
    pub fn request(&self) -> Result<(RestoreRequest, Vec<String>), String> {
        if let Some(Kind::Secondary(SecondaryArgs { name, .. })) = &self.kind {
            return Err(format!("restore secondary is not supported by this version: restore {name} without it"));
        }
        let mut warnings = Vec::new();
        let mut removed = |used: bool, flag: &str, instead: &str| {
            if used {
                warnings.push(format!("{flag} is deprecated: use {instead}"));
            }
        };
        removed(self.collections.is_some(), "--collections", "--filter");
        removed(self.databases.is_some(), "--databases", "--filter db.*");
        removed(self.database_collections.is_some(), "--database_collections", "--filter");
        removed(self.restore_index.is_some(), "--restore_index", "--rebuild_index");
        let (collections, databases) = (self.collections.as_deref(), self.databases.as_deref());
        let request = RestoreRequest {
            name: self.name.clone().unwrap_or_default(),
            source: old_filter(self.database_collections.as_deref(), collections, databases)?,
            target: Filter::parse(&self.filter)?,
            suffix: self.suffix.clone().filter(|suffix| !suffix.is_empty()),
            renames: Renames::parse(self.rename.as_deref().unwrap_or_default())?,
            rebuild_index: self.rebuild_index.or(self.restore_index),
            meta_only: self.meta_only,
            use_auto_index: self.use_auto_index,
            drop_exist_collection: self.drop_exist_collection,
            drop_exist_index: self.drop_exist_index,
            skip_create_collection: self.skip_create_collection,
            restore_path: self.restore_path.into(),
            verify: self.verify.into(),
            rbac: self.rbac,
            use_v2_restore: self.use_v2_restore,
            ..RestoreRequest::default()
        };
        Ok((request, warnings))
    }

    /// Restores and says how it went.
    pub async fn run(self, session: Session) -> ExitCode {
        let (mut request, warnings) = match self.request() {
            Ok(parsed) => parsed,
            Err(why) => return output::fail(&why, exit::CONFIGURATION),
        };
        warnings.iter().for_each(|warning| output::warn(warning));
        let name = request.name.clone();
        let id = request.id.get_or_insert_with(|| default_name("restore", Timestamp::now())).clone();
        let settings = self.limits.onto(session.settings());
        let work = async |counters: &Counters, cancel: &CancellationToken| {
            operations::restore(&settings, request, counters, cancel).await
        };
        watched(&session, self.output, (&name, &id), "restore backup success", work).await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::engine::select::Name;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        restore: RestoreArgs,
    }

    fn parse(arguments: &str) -> Result<RestoreArgs, clap::Error> {
        let arguments = std::iter::once("restore").chain(arguments.split_whitespace());
        Line::try_parse_from(arguments).map(|line| line.restore)
    }

    fn read(arguments: &str) -> (RestoreRequest, Vec<String>) {
        parse(arguments).unwrap().request().unwrap()
    }

    #[test]
    fn flags_of_today_give_no_warning() {
        let (request, warnings) =
            read("-n b -s _r --filter a.b_r --drop_exist_collection --use_auto_index --use_v2_restore");
        assert_eq!((request.name.as_str(), request.suffix.as_deref()), ("b", Some("_r")));
        assert!(request.drop_exist_collection && request.use_auto_index && request.use_v2_restore);
        assert!(request.target.unwrap().admits(&Name::new("a", "b_r")) && request.source.is_none());
        assert!(warnings.is_empty());
        let (request, _) = read("-n b -r a.b:a.c,x:y");
        assert_eq!(request.renames.targets(&Name::new("default", "x")), [Name::new("default", "y")]);
    }

    #[test]
    fn indexes_may_be_asked_for_or_declined_by_either_name() {
        assert_eq!(read("-n b").0.rebuild_index, None);
        assert_eq!(read("-n b --rebuild_index").0.rebuild_index, Some(true));
        assert_eq!(read("-n b --rebuild_index=false").0.rebuild_index, Some(false));
        let (request, warnings) = read("-n b --restore_index");
        assert_eq!((request.rebuild_index, warnings.len()), (Some(true), 1));
    }

    #[test]
    fn the_way_of_the_rows_may_be_asked_for_and_is_chosen_otherwise() {
        assert_eq!(read("-n b").0.restore_path, RestorePath::Auto);
        assert_eq!(read("-n b --restore-path insert").0.restore_path, RestorePath::Insert);
        assert_eq!(read("-n b --restore-path=import").0.restore_path, RestorePath::Import);
        assert!(parse("-n b --restore-path copy").is_err());
    }

    #[test]
    fn rows_are_counted_unless_something_else_is_asked_for() {
        assert_eq!(read("-n b").0.verify, VerifyRestore::RowCounts);
        assert_eq!(read("-n b --verify sample").0.verify, VerifyRestore::Sample);
        assert_eq!(read("-n b --verify none").0.verify, VerifyRestore::None);
        assert!(parse("-n b --verify all").is_err());
    }

    #[test]
    fn removed_flags_speak_of_names_in_the_backup() {
        for (flag, admitted) in [("-c a.b", "b"), ("-d a", "any"), (r#"-a {"a":["b"]}"#, "b")] {
            let (request, warnings) = read(&format!("-n b -s _r {flag}"));
            assert!(request.source.unwrap().admits(&Name::new("a", admitted)), "{flag}");
            assert!(request.target.is_none() && warnings.len() == 1, "{flag}");
        }
    }

    #[test]
    fn what_excludes_each_other_is_refused_by_the_parser() {
        for arguments in ["-n b -s _r -r a:b", "-n b -c a --filter a", "-n b -c a -d b", "-n b -d a -a {}", "-s _r"] {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
    }

    #[test]
    fn a_secondary_restore_is_understood_and_refused() {
        let args = parse("secondary -n b --source_cluster_id s --target_cluster_id t").unwrap();
        assert!(args.request().unwrap_err().contains("restore secondary is not supported"));
        assert!(parse("secondary -n b --source_cluster_id s").is_err());
    }
}
