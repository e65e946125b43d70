//! A kubelet alone, to try things against: `cargo run -p minik-kubelet --example alone -- \
//! KUBECONFIG RUNTIME_SOCKET FOLDER [PKI_FOLDER]`
//!
//! Registers this machine as `alone`, with plain control groups. With the folder that has the
//! `ca.crt`, `kubelet.crt` and `kubelet.key`, its server listens on 127.0.0.1:10250. Stops on
//! Ctrl-C.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use minik_cri::grpc::GrpcRuntime;
use minik_kubelet::{CgroupDriver, Config, ServerConfig};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("MINIK_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("which {what}?"));
    let (kubeconfig, socket, folder) = (next("kubeconfig")?, next("socket")?, next("folder")?);
    let mut config = Config::for_guest("alone", "127.0.0.1".parse()?);
    config.cgroup_driver = CgroupDriver::Cgroupfs;
    config.paths.root = folder.join("kubelet");
    config.paths.pod_logs = folder.join("logs");
    config.server = arguments.next().map(|pki| ServerConfig {
        listen: ([127, 0, 0, 1], 10250).into(),
        certificate: pki.join("kubelet.crt"),
        key: pki.join("kubelet.key"),
        client_ca: pki.join("ca.crt"),
    });
    let client = minik_client::connect::from_kubeconfig(&kubeconfig).await?;
    let drain = CancellationToken::new();
    let stop = drain.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    Ok(minik_kubelet::run(config, client, Arc::new(GrpcRuntime::new(socket)), drain).await?)
}
