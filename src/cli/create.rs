//! `create`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::limits::LimitArgs;
use super::output::{self, Ended, Output};
use super::shell::Session;
use crate::engine::progress::Counters;
use crate::engine::task::Report;
use crate::local::filter::{EmptyMeans, Filter};
use crate::local::operations::{self, CreateRequest};
use crate::local::request::{Format, Strategy};
use crate::local::tasks::default_name;
use crate::{exit, local};

/// Arguments of `create`.
#[derive(Debug, Default, Args)]
pub struct CreateArgs {
    /// Name: letters, digits and _, no digit first; backup_<time> where none is given.
    #[arg(short, long)]
    name: Option<String>,
    /// Collections, separated by commas: db.coll, coll (of default), db.*, or db. for a database without its collections; all
    /// where none is given.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// How the moment of consistency is made.
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,
    /// Shape of the backup.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// With what only Milvus' etcd knows of indexes and of the dynamic field (milvus.etcd.*): for a secondary restore.
    #[arg(long = "backup_index_extra", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    index_extra: bool,
    /// With users, roles and grants.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    rbac: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Removed: use --filter.
    #[arg(short = 'c', long, hide = true)]
    colls: Option<String>,
    /// Removed: use --filter with db.*.
    #[arg(short = 'd', long, hide = true)]
    databases: Option<String>,
    /// Removed: use --filter.
    #[arg(short = 'a', long = "database_collections", hide = true)]
    database_collections: Option<String>,
    /// Removed: use --strategy skip_flush.
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    force: bool,
    /// Removed: use --strategy meta_only.
    #[arg(long = "meta_only", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    meta_only: bool,
}

impl CreateArgs {
    /// The request, and a warning for each removed flag that was used.
    ///
    /// # Errors
    /// A filter that is not understood.
    pub fn request(&self) -> Result<(CreateRequest, Vec<String>), String> {
        let mut warnings = Vec::new();
        let mut removed = |used: bool, flag: &str, instead: &str| {
            if used {
                warnings.push(format!("{flag} is deprecated: use {instead}"));
            }
        };
        removed(self.colls.is_some(), "--colls", "--filter");
        removed(self.databases.is_some(), "--databases", "--filter db.*");
        removed(self.database_collections.is_some(), "--database_collections", "--filter");
        removed(self.force, "--force", "--strategy skip_flush");
        removed(self.meta_only, "--meta_only", "--strategy meta_only");
        let filter = match Filter::parse(&self.filter)? {
            Some(filter) => Some(filter),
            None => old_filter(self.database_collections.as_deref(), self.colls.as_deref(), self.databases.as_deref())?,
        };
        let request = CreateRequest {
            name: self.name.clone(),
            filter,
            strategy: match (self.strategy, self.force, self.meta_only) {
                (Some(strategy), ..) => strategy,
                (None, true, _) => Strategy::SkipFlush,
                (None, false, true) => Strategy::MetaOnly,
                (None, false, false) => Strategy::Auto,
            },
            format: self.format,
            rbac: self.rbac,
            index_extra: self.index_extra,
            ..CreateRequest::default()
        };
        Ok((request, warnings))
    }

    /// Makes the backup and says how it went.
    pub async fn run(self, session: Session) -> ExitCode {
        let (mut request, warnings) = match self.request() {
            Ok(parsed) => parsed,
            Err(why) => return output::fail(&why, exit::CONFIGURATION),
        };
        warnings.iter().for_each(|warning| output::warn(warning));
        let name = request.name.get_or_insert_with(|| default_name("backup", Timestamp::now())).clone();
        let id = request.id.get_or_insert_with(operations::new_id).clone();
        let settings = self.limits.onto(session.settings());
        let work = async |counters: &Counters, cancel: &CancellationToken| {
            operations::create(&settings, request, counters, cancel).await
        };
        watched(&session, self.output, (&name, &id), "create backup success", work).await
    }
}

/// Carries a run out under the eyes of the person before the screen, and says how it went. `run` is its name and id.
pub async fn watched(
    session: &Session,
    shape: Output,
    (name, id): (&str, &str),
    success: &str,
    work: impl AsyncFnOnce(&Counters, &CancellationToken) -> Report,
) -> ExitCode {
    let (counters, cancel, started) = (Counters::default(), CancellationToken::new(), Instant::now());
    let report = session.screen.watch(&counters, &cancel, work(&counters, &cancel)).await;
    finish(shape, &Ended { name, id, seconds: started.elapsed().as_secs_f64(), report: &report }, success)
}

/// Prints how a run ended; answers its code.
pub fn finish(shape: Output, ended: &Ended<'_>, success: &str) -> ExitCode {
    let report = ended.report;
    report.summary.warnings.iter().for_each(|warning| output::warn(warning));
    report.failed_collections.iter().for_each(|failed| output::warn(&format!("left out: {failed}")));
    let code = output::code(report);
    if shape == Output::Json {
        output::json(ended);
    }
    if let Some(found) = report.verification.as_ref().filter(|_| shape == Output::Text) {
        let lists = [&found.missing, &found.corrupt, &found.stray];
        lists.into_iter().flat_map(|names| &names.first).for_each(|what| output::note(&format!("damaged: {what}")));
    }
    if !report.ok {
        return output::fail(&report.message, code);
    }
    if shape == Output::Text {
        local::print(success);
        local::print(&format!("{}: {}", ended.name, report.message));
        local::print(&format!("duration:{:.2} s", ended.seconds));
    }
    ExitCode::from(code)
}

/// The filter of the removed flags, in the Go tool's order (milvus-backup 0.5.16, `cmd/create`).
///
/// # Errors
/// Text that is not understood.
pub fn old_filter(
    database_collections: Option<&str>,
    collections: Option<&str>,
    databases: Option<&str>,
) -> Result<Option<Filter>, String> {
    if let Some(text) = database_collections.filter(|text| !text.is_empty()) {
        let map: std::collections::BTreeMap<String, Vec<String>> = serde_json::from_str(text).map_err(|_| {
            "--database_collections is JSON such as {\"db1\":[\"c1\",\"c2\"],\"db2\":[]}; better use --filter"
                .to_owned()
        })?;
        return Filter::of_map(map, EmptyMeans::All).map(Some);
    }
    if let Some(text) = collections.filter(|text| !text.is_empty()) {
        return Filter::of_words(text.split(','));
    }
    match databases.filter(|text| !text.is_empty()) {
        Some(text) => {
            Filter::of_map(text.split(',').map(|name| (name, Vec::<String>::new())), EmptyMeans::All).map(Some)
        }
        None => Ok(None),
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
        create: CreateArgs,
    }

    fn read(arguments: &str) -> (CreateRequest, Vec<String>) {
        let arguments = std::iter::once("create").chain(arguments.split_whitespace());
        Line::try_parse_from(arguments).unwrap().create.request().unwrap()
    }

    fn admits(request: &CreateRequest, database: &str, collection: &str) -> bool {
        request.filter.as_ref().unwrap().admits(&Name::new(database, collection))
    }

    #[test]
    fn flags_of_today_give_no_warning() {
        let (request, warnings) =
            read("-n nightly --filter a.*,b --strategy skip_flush --rbac --backup_index_extra=false");
        assert_eq!((request.name.as_deref(), request.strategy), (Some("nightly"), Strategy::SkipFlush));
        assert!(request.rbac && !request.index_extra && warnings.is_empty());
        assert!(admits(&request, "a", "any") && admits(&request, "default", "b") && !admits(&request, "b", "b"));
        assert_eq!(read("").0, CreateRequest::default());
        for (word, strategy) in [
            ("auto", Strategy::Auto),
            ("meta_only", Strategy::MetaOnly),
            ("bulk_flush", Strategy::BulkFlush),
            ("serial_flush", Strategy::SerialFlush),
        ] {
            assert_eq!(read(&format!("--strategy {word}")).0.strategy, strategy);
        }
    }

    #[test]
    fn removed_flags_still_work_with_a_warning_each() {
        let (request, warnings) = read("-c one,b.two -f");
        assert!(admits(&request, "default", "one") && admits(&request, "b", "two"));
        assert_eq!(request.strategy, Strategy::SkipFlush);
        assert_eq!(
            warnings,
            ["--colls is deprecated: use --filter", "--force is deprecated: use --strategy skip_flush"]
        );
        let (request, warnings) = read("-d a,b --meta_only=true");
        assert!(admits(&request, "a", "x") && admits(&request, "b", "x") && !admits(&request, "c", "x"));
        assert_eq!((request.strategy, warnings.len()), (Strategy::MetaOnly, 2));
        let (request, _) = read(r#"-a {"a":["x"],"b":[]}"#);
        assert!(admits(&request, "a", "x") && !admits(&request, "a", "y") && admits(&request, "b", "y"));
    }

    #[test]
    fn todays_flags_win_over_removed_ones() {
        let (request, warnings) = read("--filter a.b -c other --strategy auto --force --meta_only");
        assert!(admits(&request, "a", "b") && !admits(&request, "default", "other"));
        assert_eq!((request.strategy, warnings.len()), (Strategy::Auto, 3));
    }

    #[test]
    fn a_map_that_is_no_json_is_answered_with_an_example() {
        let args = CreateArgs { database_collections: Some("a:b".into()), ..CreateArgs::default() };
        assert!(args.request().unwrap_err().contains("{\"db1\":[\"c1\",\"c2\"],\"db2\":[]}"));
    }
}
