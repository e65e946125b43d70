//! `minik-node`: everything of a Kubernetes node in one process, and the questions one may ask it.

mod health;
mod settings;
mod watch_node;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use minik_config::NodeConfig;

/// Run a Kubernetes node: control plane, kubelet, proxy and DNS in one process
#[derive(Parser, Debug)]
#[command(name = "minik-node", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run what the node file says until told to stop
    Run {
        /// The node file
        #[arg(long, default_value = settings::NODE_FILE)]
        config: PathBuf,
    },
    /// Print whether the node is ready as JSON; exit code 0 when it is, 1 when not
    Status {
        /// How long to wait until it is ready, as `60s` or `2m`
        #[arg(long, default_value = "0s", value_parser = settings::duration)]
        wait: Duration,
        /// The node file
        #[arg(long, default_value = settings::NODE_FILE)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("MINIK_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // The journal adds the time.
        .without_time()
        .init();
    match run(&cli.command) {
        Ok(code) => code,
        Err(err) => {
            tracing::error!("{}", settings::chain(err.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, wire::Failure> {
    match command {
        Command::Run { config } => {
            let config = NodeConfig::load(config)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(wire::run(config))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { wait, config } => {
            let socket = NodeConfig::load(config)?.paths.run.join(settings::STATUS_SOCKET);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let status = runtime.block_on(health::ask(&socket, *wait))?;
            print(&serde_json::to_string(&status)?);
            Ok(if status.ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer to `minik-node status`")]
fn print(line: &str) {
    println!("{line}");
}
