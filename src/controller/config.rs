//! Settings of the controller process: flags, each with an environment variable.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::ResourceRequirements;

/// Settings of `milvus-backup controller`.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Image of the Jobs; it must hold `milvus-backup` as its entry point's program.
    #[arg(long, env = "MILVUS_BACKUP_RUNNER_IMAGE")]
    pub runner_image: String,

    /// Pull policy of the Jobs' image.
    #[arg(long, env = "MILVUS_BACKUP_RUNNER_PULL_POLICY", default_value = "IfNotPresent",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    pub runner_pull_policy: String,

    /// Secrets with registry log-ins for the Jobs' image; looked up in each Job's own namespace.
    #[arg(long, env = "MILVUS_BACKUP_RUNNER_PULL_SECRETS", value_delimiter = ',')]
    pub runner_pull_secrets: Vec<String>,

    /// Resources of a Job whose object names none, as JSON of a container's `resources`.
    #[arg(long, env = "MILVUS_BACKUP_RUNNER_RESOURCES", value_parser = parse_resources,
          default_value = r#"{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"512Mi"}}"#)]
    pub job_resources: ResourceRequirements,

    /// Priority class of a Job whose object names none.
    #[arg(long, env = "MILVUS_BACKUP_JOB_PRIORITY_CLASS")]
    pub job_priority_class: Option<String>,

    /// Log filter handed to the Jobs, as in `RUST_LOG`.
    #[arg(long, env = "MILVUS_BACKUP_RUNNER_LOG", default_value = "info")]
    pub runner_log: String,

    /// Namespaces to watch, separated by commas; none means all.
    #[arg(long, env = "MILVUS_BACKUP_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Namespace of this process: holds the leader's Lease and one Lease per Milvus with a run.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// Name of this process in the leader's Lease and in Events; the host name where none is given.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,

    /// Whether several replicas agree on one leader. Without it exactly one replica may run.
    #[arg(long, env = "MILVUS_BACKUP_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,

    /// Name of the leader's Lease.
    #[arg(long, env = "MILVUS_BACKUP_LEASE_NAME", default_value = "milvus-backup-operator")]
    pub lease_name: String,

    /// Seconds after which a leader that does not renew its Lease may be replaced.
    #[arg(long, env = "MILVUS_BACKUP_LEASE_SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u32).range(3..=300))]
    pub lease_seconds: u32,

    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "MILVUS_BACKUP_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// DNS domain of the cluster.
    #[arg(long, env = "MILVUS_BACKUP_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Objects of one kind reconciled at once.
    #[arg(long, env = "MILVUS_BACKUP_CONCURRENCY", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

impl Config {
    /// The namespaces to watch: one entry each, or `[None]` for the whole cluster. Empty names (an empty environment
    /// variable) do not count.
    pub fn scopes(&self) -> Vec<Option<String>> {
        let mut named: Vec<_> =
            self.watch_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
        named.sort_unstable();
        named.dedup();
        match named.as_slice() {
            [] => vec![None],
            names => names.iter().map(|name| Some((*name).to_owned())).collect(),
        }
    }
}

fn parse_resources(text: &str) -> Result<ResourceRequirements, String> {
    serde_json::from_str(text).map_err(|error| format!("not the JSON of a container's resources: {error}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    fn parse(arguments: &[&str]) -> Config {
        let mut all = vec!["controller", "--runner-image", "registry.test/runner:1"];
        all.extend(arguments);
        Program::try_parse_from(all).unwrap().config
    }

    #[test]
    fn no_namespace_means_the_whole_cluster() {
        assert_eq!(parse(&[]).scopes(), [None]);
        assert_eq!(parse(&["--watch-namespaces", ""]).scopes(), [None]);
    }

    #[test]
    fn a_namespace_named_twice_is_watched_once() {
        let config = parse(&["--watch-namespaces", "b,a, b"]);
        assert_eq!(config.scopes(), [Some("a".to_owned()), Some("b".to_owned())]);
    }

    #[test]
    fn leader_election_can_be_switched_off() {
        assert!(parse(&[]).leader_election);
        assert!(!parse(&["--leader-election", "false"]).leader_election);
    }

    #[test]
    fn job_resources_that_are_not_resources_are_refused() {
        let error = Program::try_parse_from(["controller", "--runner-image", "i", "--job-resources", "[]"]).err();
        assert!(error.unwrap().to_string().contains("container's resources"));
    }
}
