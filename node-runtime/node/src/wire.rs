//! Builds every part of the node in order, then spawns them: the one place that knows all of them.
//!
//! ```text
//! control plane:  store ─► API server ─┬─(in process, full pipeline)─► controllers, scheduler
//!                                      └────────────────────────────► kubelet, proxy, DNS
//! worker:         API server of the cluster ──(TLS, own certificate)─► kubelet, proxy, DNS
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::{IpNetwork, Ipv4Network};
use kube::Client;
use minik_apiserver::{ApiServer, Secrets, User};
use minik_client::connect::{self, CertificateFiles};
use minik_client::identity;
use minik_config::NodeConfig;
use minik_cri::grpc::GrpcRuntime;
use minik_kubelet::ServerConfig;
use minik_pki::Ca;
use minik_store::{Storage, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::health::Board;
use crate::settings;
use crate::watch_node;

/// How long the parts may take to end after the signal.
const GRACE: Duration = Duration::from_secs(10);

/// Port of the kubelet's server, by Kubernetes' convention.
const KUBELET_PORT: u16 = 10250;

/// Why the node ended: an error of any part.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the node until SIGTERM or SIGINT, or until a part fails.
pub(crate) async fn run(config: NodeConfig) -> Result<(), Failure> {
    std::fs::create_dir_all(&config.paths.run)?;
    let board = Board::new();
    let stop = CancellationToken::new();
    let mut parts = Parts { running: JoinSet::new() };
    // These two only report, have nothing to finish, and end with the process.
    tokio::spawn(board.clone().tell_systemd());
    let socket = config.paths.run.join(settings::STATUS_SOCKET);
    tokio::spawn(board.clone().serve(socket));

    let clients = if config.is_control_plane() {
        let server = build_control_plane(&config).await?;
        info!(address = %server.address, "the API server is bound");
        let clients = Clients::in_process(&server);
        spawn_control_plane(&config, &mut parts, server, &board, &stop)?;
        clients
    } else {
        Clients::over_tls(&config)?
    };
    spawn_node(&config, &mut parts, &clients, &board, &stop)?;

    let ended = tokio::select! {
        () = told_to_stop()? => Ok(()),
        failed = parts.first_to_fail() => Err(failed),
    };
    stop.cancel();
    parts.wait(GRACE).await;
    ended
}

/// Where each part gets its client from.
enum Clients {
    InProcess { make: Box<dyn Fn(&str) -> Client + Send + Sync>, admin: Client },
    Tls { kubelet: Client, proxy: Client },
}

impl Clients {
    fn in_process(server: &ApiServer) -> Clients {
        Clients::InProcess {
            make: Box::new(maker(server)),
            admin: connect::in_process(server.in_process(User::admin())),
        }
    }

    fn over_tls(config: &NodeConfig) -> Result<Clients, Failure> {
        let server = config.api_url().parse()?;
        let pki = &config.paths.pki;
        let client = |name: &str| {
            connect::with_certificates(
                &server,
                &CertificateFiles {
                    ca: pki.join("ca.crt"),
                    certificate: pki.join(format!("{name}.crt")),
                    key: pki.join(format!("{name}.key")),
                },
            )
        };
        Ok(Clients::Tls { kubelet: client("kubelet-client")?, proxy: client("kube-proxy")? })
    }

    fn of_kubelet(&self, node: &str) -> Client {
        match self {
            Clients::InProcess { make, .. } => make(&identity::node(node)),
            Clients::Tls { kubelet, .. } => kubelet.clone(),
        }
    }

    /// Who writes what a new cluster holds from the start; only the control plane has one.
    fn of_administrator(&self) -> Option<Client> {
        match self {
            Clients::InProcess { admin, .. } => Some(admin.clone()),
            Clients::Tls { .. } => None,
        }
    }

    fn of_proxy(&self) -> Client {
        match self {
            Clients::InProcess { make, .. } => make(identity::PROXY),
            Clients::Tls { proxy, .. } => proxy.clone(),
        }
    }
}

/// Clients of the server in this process, by user name.
fn maker(server: &ApiServer) -> impl Fn(&str) -> Client + Send + Sync + 'static {
    let handle = server.in_process(User::admin());
    move |user| connect::in_process(handle.with_user(User::new(user, identity::groups_of(user))))
}

async fn build_control_plane(config: &NodeConfig) -> Result<ApiServer, Failure> {
    let folder = config.paths.data.clone();
    let store = tokio::task::spawn_blocking(move || {
        Store::open(&minik_store::Config::new(Storage::Folder(folder)))
    })
    .await??;
    let mut settings =
        minik_apiserver::Config::new(config.api_server.listen, config.api_server.advertise_address);
    settings.service_cidr = config.cluster.service_cidr.to_string().parse()?;
    settings.domain.clone_from(&config.cluster.domain);
    settings.audit = config.api_server.flags.audit()?;
    settings.encryption = config.api_server.flags.encryption()?;
    settings.authentication = config.api_server.flags.authentication()?;
    settings.front_proxy_names = config.api_server.flags.front_proxy_names();
    Ok(settings.build(store, Secrets::read(&config.paths.pki)?).await?)
}

fn spawn_control_plane(
    config: &NodeConfig,
    parts: &mut Parts,
    server: ApiServer,
    board: &Board,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let make = maker(&server);
    let scheduler = make(identity::SCHEDULER);
    let authority = |file| std::fs::read_to_string(config.paths.pki.join(file));
    let ca_pem = authority("ca.crt")?;
    let controllers = minik_controllers::Config {
        authority: Some(Ca::from_pem(&ca_pem, &authority("ca.key")?)?),
        ca_pem,
        pod_cidr: config.cluster.pod_cidr.to_string(),
        ..minik_controllers::Config::default()
    };
    parts.spawn("apiserver", {
        let (stop, board) = (stop.clone(), board.clone());
        async move {
            // The listener is bound: from here on connections are answered.
            board.api_is(true);
            server.run(stop).await;
            Ok(())
        }
    });
    parts.spawn("controllers", {
        let stop = stop.clone();
        async move {
            minik_controllers::run(controllers, make, stop).await;
            Ok(())
        }
    });
    parts.spawn("scheduler", {
        let stop = stop.clone();
        async move {
            minik_scheduler::run(scheduler, stop).await;
            Ok(())
        }
    });
    Ok(())
}

fn spawn_node(
    config: &NodeConfig,
    parts: &mut Parts,
    clients: &Clients,
    board: &Board,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let kubelet = clients.of_kubelet(&config.node.name);
    parts.spawn("readiness", {
        let (client, board, stop) = (kubelet.clone(), board.clone(), stop.clone());
        let name = config.node.name.clone();
        async move {
            watch_node::run(&name, client, board, stop).await;
            Ok(())
        }
    });
    let endpoint = config.runtime.endpoint.trim_start_matches("unix://").to_owned();
    let runtime = Arc::new(GrpcRuntime::new(endpoint));
    parts.spawn("kubelet", {
        let (settings, stop) = (kubelet_settings(config), stop.clone());
        async move { Ok(minik_kubelet::run(settings, kubelet, runtime, stop).await?) }
    });
    let proxy = minik_proxy::Config {
        node_name: config.node.name.clone(),
        pod_cidr: v4(config.cluster.pod_cidr)?,
        service_cidr: v4(config.cluster.service_cidr)?,
    };
    parts.spawn("proxy", {
        let (client, stop) = (clients.of_proxy(), stop.clone());
        async move { Ok(minik_proxy::run(proxy, client, stop).await?) }
    });
    let dns = minik_dns::Config {
        address: config.cluster.dns_address,
        domain: config.cluster.domain.clone(),
        host_address: config.host_address,
        reverse_ranges: vec![v4(config.cluster.service_cidr)?, v4(config.cluster.pod_cidr)?],
        ..minik_dns::Config::default()
    };
    parts.spawn("dns", {
        let (client, stop) = (clients.of_proxy(), stop.clone());
        let publisher = clients.of_administrator();
        async move {
            if let Some(publisher) = publisher {
                minik_dns::publish_service(publisher, dns.address).await?;
            }
            Ok(minik_dns::run(dns, client, stop).await?)
        }
    });
    Ok(())
}

fn kubelet_settings(config: &NodeConfig) -> minik_kubelet::Config {
    let pki: &Path = &config.paths.pki;
    let mut settings = minik_kubelet::Config::for_guest(&config.node.name, config.node.address);
    settings.labels = config.node.labels.clone();
    settings.taints = config.node.taints.iter().map(taint).collect();
    settings.control_plane = config.is_control_plane();
    settings.cluster_dns = vec![config.cluster.dns_address];
    settings.cluster_domain.clone_from(&config.cluster.domain);
    settings.pause_image.clone_from(&config.runtime.pause_image);
    settings.runtime_endpoint.clone_from(&config.runtime.endpoint);
    settings.paths.root.clone_from(&config.paths.kubelet);
    settings.paths.cni_bin.clone_from(&config.runtime.cni_plugin_dir);
    settings.server = Some(ServerConfig {
        listen: SocketAddr::from(([0, 0, 0, 0], KUBELET_PORT)),
        certificate: pki.join("kubelet.crt"),
        key: pki.join("kubelet.key"),
        client_ca: pki.join("ca.crt"),
    });
    settings
}

fn taint(taint: &minik_config::Taint) -> k8s_openapi::api::core::v1::Taint {
    let effect = match taint.effect {
        minik_config::Effect::NoSchedule => "NoSchedule",
        minik_config::Effect::PreferNoSchedule => "PreferNoSchedule",
        minik_config::Effect::NoExecute => "NoExecute",
    };
    k8s_openapi::api::core::v1::Taint {
        key: taint.key.clone(),
        value: Some(taint.value.clone()).filter(|value| !value.is_empty()),
        effect: effect.to_owned(),
        time_added: None,
    }
}

fn v4(network: IpNetwork) -> Result<Ipv4Network, Failure> {
    match network {
        IpNetwork::V4(network) => Ok(network),
        IpNetwork::V6(network) => Err(format!("{network}: services and pods are IPv4 here").into()),
    }
}

/// The tasks of this process, by name.
struct Parts {
    running: JoinSet<(&'static str, Result<(), Failure>)>,
}

impl Parts {
    fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) {
        self.running.spawn(async move { (name, part.await) });
    }

    /// Waits until a part ends although nobody told it to.
    async fn first_to_fail(&mut self) -> Failure {
        match self.running.join_next().await {
            Some(Ok((name, Ok(())))) => format!("{name} ended by itself").into(),
            Some(Ok((name, Err(err)))) => {
                error!(part = name, "{}", settings::chain(err.as_ref()));
                format!("{name} failed: {err}").into()
            }
            Some(Err(err)) => format!("a part panicked: {err}").into(),
            None => "nothing runs".into(),
        }
    }

    /// Waits until all have ended, for at most `grace`; ends the rest.
    async fn wait(mut self, grace: Duration) {
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Ok((name, Err(err))) = ended {
                    error!(part = name, "{}", settings::chain(err.as_ref()));
                }
            }
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(?grace, "some parts did not end in time");
        }
    }
}

/// Completes at SIGTERM or SIGINT.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("told to stop");
    })
}
