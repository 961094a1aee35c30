//! `migrate`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::create::finish;
use super::output::{self, Ended, Output};
use super::shell::Session;
use crate::engine::progress::Counters;
use crate::local::migrate::{self, MigrateRequest};

/// Arguments of `migrate`. The API key is none of them: other users of a machine see arguments.
#[derive(Debug, Default, Args)]
pub struct MigrateArgs {
    /// Name of the backup.
    #[arg(short, long)]
    name: String,
    /// Id of the cluster in Zilliz Cloud.
    #[arg(short, long = "cluster_id", value_name = "ID")]
    cluster: String,
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// How it ended, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Migrated<'r> {
    /// Id of the migration in Zilliz Cloud.
    job_id: Option<&'r str>,
    #[serde(flatten)]
    ended: &'r Ended<'r>,
}

impl MigrateArgs {
    /// Uploads the backup, starts the migration and says how it went.
    pub async fn run(self, session: Session) -> ExitCode {
        let MigrateArgs { name, cluster, output } = self;
        let counters = Counters::default();
        let cancel = CancellationToken::new();
        let started = Instant::now();
        let request = MigrateRequest { name, cluster };
        let work = migrate::migrate(session.settings(), &request, &counters, &cancel);
        let migration = session.screen.watch(&counters, &cancel, work).await;
        let (report, job) = (&migration.report, migration.job.as_deref());
        let ended = Ended { name: &request.name, id: "", seconds: started.elapsed().as_secs_f64(), report };
        if output == Output::Json {
            output::json(&Migrated { job_id: job, ended: &ended });
            report.summary.warnings.iter().for_each(|warning| output::warn(warning));
            return match report.ok {
                true => ExitCode::SUCCESS,
                false => output::fail(&report.message, output::code(report)),
            };
        }
        finish(output, &ended, &format!("migration job id: {}", job.unwrap_or_default()))
    }
}
