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
use crate::compat::{self, EngineOperations, Limits, Listening, TlsFiles, Token};
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
    /// Backups and restores that run at once; more are refused.
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().tasks)]
    max_tasks: usize,
    /// Requests answered at once; more wait for their turn.
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().requests)]
    max_requests: usize,
}

impl ServerArgs {
    /// Answers until it is told to stop.
    pub async fn run(self, session: Session) -> ExitCode {
        let ServerArgs { port, address, token_file, tls_cert, tls_key, max_body, max_tasks, max_requests } = self;
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
        let limits =
            Limits { body: max_body, tasks: max_tasks.max(1), requests: max_requests.max(1), ..Limits::default() };
        let operations = Arc::new(EngineOperations::new(session.settings().clone()));
        let stopped = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("asked to stop");
            stop.cancel();
        };
        tokio::join!(compat::serve(listening, operations, token, limits, stop.clone()), stopped);
        ExitCode::SUCCESS
    }
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
    use super::*;

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
