//! `server`: the REST API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output;
use super::shell::Session;
use crate::compat::{self, EngineOperations, Limits, Listening, OwnTasks, Service, TlsFiles, Token};
use crate::compat_cluster::{ClusterService, Scope};
use crate::exit;

/// Environment variable with the bearer token, for those who have no file. Never an argument: every user of the machine
/// can read those.
const TOKEN_ENV: &str = "MILVUS_BACKUP_API_TOKEN";

/// Arguments of `server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Port to listen on; 0 for one the system chooses.
    #[arg(short, long, env = "SERVER_PORT", default_value_t = 8080)]
    port: u16,
    /// Address to listen on: by default programs of this machine only; 0.0.0.0 or :: for everybody.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// File with the bearer token clients have to send; else the environment variable MILVUS_BACKUP_API_TOKEN, else none.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the certificate chain: answers by https.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Largest body of a request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body)]
    max_body: usize,
    /// Backups and restores that run at once; more are refused. With --kubernetes: requests that wait for one to end.
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().tasks)]
    max_tasks: usize,
    /// Requests answered at once; more wait for their turn.
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().requests)]
    max_requests: usize,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of a server that runs nothing itself.
#[derive(Debug, Args)]
struct ClusterArgs {
    /// Make and read MilvusBackup and MilvusRestore objects; the operator does the work. No configuration file is read.
    #[arg(long, requires = "namespace", requires = "milvus")]
    kubernetes: bool,
    /// Namespace of the Milvus resource and of the objects.
    #[arg(long, requires = "kubernetes")]
    namespace: Option<String>,
    /// Name of the Milvus resource.
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    milvus: Option<String>,
    /// MilvusBackupLocation of new backups; left out: the default one of the namespace.
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    location: Option<String>,
    /// Secret with `username` and `password` of the Milvus, named in new objects and never read by the server.
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    password_secret: Option<String>,
}

impl ServerArgs {
    /// Whether the work is done by objects in a cluster.
    pub fn in_cluster(&self) -> bool {
        self.cluster.kubernetes
    }

    fn limits(&self) -> Limits {
        let ServerArgs { max_body, max_tasks, max_requests, .. } = *self;
        Limits { body: max_body, tasks: max_tasks.max(1), requests: max_requests.max(1), ..Limits::default() }
    }

    /// Answers until it is told to stop, and does the work itself.
    pub async fn run(self, session: Session) -> ExitCode {
        let limits = self.limits();
        let operations = Arc::new(EngineOperations::new(session.settings().clone()));
        self.answer(Arc::new(OwnTasks::new(operations, limits)), limits).await
    }

    /// Answers until it is told to stop, and has the operator do the work.
    pub async fn run_in_cluster(self) -> ExitCode {
        let ClusterArgs { kubernetes: _, namespace, milvus, location, password_secret } = &self.cluster;
        let scope = Scope {
            namespace: namespace.clone().unwrap_or_default(),
            milvus: milvus.clone().unwrap_or_default(),
            location: location.clone(),
            password_secret: password_secret.clone(),
        };
        let client = match client().await {
            Ok(client) => client,
            Err(sentence) => return output::fail(&sentence, exit::CONFIGURATION),
        };
        let limits = self.limits();
        self.answer(Arc::new(ClusterService::new(client, scope, limits)), limits).await
    }

    async fn answer(self, service: Arc<dyn Service>, limits: Limits) -> ExitCode {
        let ServerArgs { port, address, token_file, tls_cert, tls_key, .. } = self;
        let token = match token(token_file) {
            Ok(token) => token,
            Err(sentence) => return output::fail(&sentence, exit::CONFIGURATION),
        };
        let tls = tls_cert.zip(tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
        let listening = match Listening::on(SocketAddr::new(address, port), tls).await {
            Ok(listening) => listening,
            Err(error) => return output::fail(&error.to_string(), error.class().exit_code()),
        };
        if token.is_none() && !address.is_loopback() {
            output::warn(&format!(
                "everybody who reaches {} may make, restore and delete backups: set --token-file or {TOKEN_ENV}",
                listening.address()
            ));
        }
        let Ok((mut term, mut interrupt)) = signals() else {
            return output::fail("cannot listen for signals", exit::RETRYABLE);
        };
        output::note(&format!("listening on {}://{}", listening.scheme(), listening.address()));
        let stop = CancellationToken::new();
        let stopped = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("asked to stop");
            stop.cancel();
        };
        tokio::join!(compat::serve_for(listening, service, token, limits, stop.clone()), stopped);
        ExitCode::SUCCESS
    }
}

/// The API server of this pod, or of the kubeconfig.
async fn client() -> Result<kube::Client, String> {
    let mut config = kube::Config::infer()
        .await
        .map_err(|error| format!("found no way to the API server: {error}; run in a pod, or set KUBECONFIG"))?;
    // Above the 290 s after which a watch is begun anew, so that a connection that died in silence is noticed.
    config.read_timeout = Some(std::time::Duration::from_secs(300));
    kube::Client::try_from(config).map_err(|error| format!("cannot speak to the API server: {error}"))
}

fn signals() -> std::io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

/// The token by file or environment. What is wrong is said without it.
fn token(file: Option<PathBuf>) -> Result<Option<Token>, String> {
    let (origin, text) = match file {
        Some(path) => {
            let origin = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{origin}: {error}"))?;
            (origin, text)
        }
        None => match std::env::var(TOKEN_ENV) {
            Ok(text) => (TOKEN_ENV.to_owned(), text),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => return Err(format!("{TOKEN_ENV} is not text")),
        },
    };
    Token::new(&text).map(Some).map_err(|cause| format!("{origin}: {cause}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        server: ServerArgs,
    }

    #[test]
    fn a_server_in_a_cluster_names_its_namespace_and_its_milvus() {
        let read = |text: &str| Line::try_parse_from(text.split(' ')).map(|line| line.server.in_cluster());
        assert!(read("server --kubernetes --namespace search --milvus prod").unwrap());
        assert!(!read("server").unwrap());
        for wrong in
            ["server --kubernetes --milvus prod", "server --kubernetes --namespace search", "server --milvus prod"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_comes_from_its_file_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        assert!(token(Some(path.clone())).unwrap().is_some());
        std::fs::write(&path, "\n").unwrap();
        let said = token(Some(path.clone())).unwrap_err();
        assert!(said.contains("token") && said.contains("empty"), "{said}");
        assert!(token(Some(folder.path().join("none"))).unwrap_err().contains("none"));
    }
}
