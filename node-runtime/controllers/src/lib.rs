//! minik-controllers: the loops that bring the cluster to what its objects ask for.
//!
//! One file per controller, each a pure `plan` and a thin `reconcile`. They share one watched copy
//! of each kind, and each writes through the API with its own identity. [`run`] starts those of
//! `CONTROLLERS`.

mod bootstrap_tokens;
mod certificates;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod garbage;
mod history;
mod job;
mod load_balancer;
mod metadata;
mod namespace;
mod node;
mod owned;
mod pod_control;
mod pod_garbage;
mod pods;
mod quota;
mod replica_set;
mod root_ca;
mod service_account;
mod service_cidr;
mod share;
mod stateful_set;
mod storage;
mod token_secret;
mod ttl;
mod wiring;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use minik_client::identity;
use minik_pki::Ca;
use minik_reconcile::Caches;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metadata::Monitors;
use crate::wiring::{Running, Wiring};

/// How long the first lists may take before the log says which are missing.
const FIRST_LISTS_MAX: Duration = Duration::from_secs(30);

/// What the controllers need to know of the cluster. Plain data.
#[derive(Clone, Debug)]
pub struct Config {
    /// Certificate of the cluster's authority in PEM, published to every namespace.
    pub ca_pem: String,
    /// The cluster's authority with its key, which signs certificates that were approved. Without
    /// one, nothing is signed.
    pub authority: Option<Ca>,
    /// The range pods get their addresses from, `10.244.0.0/16`; each node is given a part.
    pub pod_cidr: String,
    /// Prefix length of a node's part.
    pub node_cidr_prefix: u8,
    /// How long a node may be silent before it counts as unreachable.
    pub node_grace: Duration,
    /// Folder on this machine that holds the volumes of the class `standard`, one folder each.
    /// Without one no volumes are made and the class is not either.
    pub volume_root: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            ca_pem: String::new(),
            authority: None,
            pod_cidr: "10.244.0.0/16".to_owned(),
            node_cidr_prefix: 24,
            node_grace: Duration::from_secs(40),
            volume_root: Some(PathBuf::from("/var/lib/minik/volumes")),
        }
    }
}

type Start = fn(&Wiring) -> Running;

/// Every controller: its name and how it is started.
pub(crate) const CONTROLLERS: &[(&str, Start)] = &[
    (namespace::NAME, namespace::start),
    (service_account::NAME, service_account::start),
    (root_ca::NAME, root_ca::start),
    (token_secret::NAME, token_secret::start),
    (garbage::NAME, garbage::start),
    (bootstrap_tokens::cleaner::NAME, bootstrap_tokens::cleaner::start),
    (bootstrap_tokens::signer::NAME, bootstrap_tokens::signer::start),
    (certificates::approver::NAME, certificates::approver::start),
    (certificates::signer::NAME, certificates::signer::start),
    (certificates::cleaner::NAME, certificates::cleaner::start),
    (endpoints::slices::NAME, endpoints::slices::start),
    (endpoints::legacy::NAME, endpoints::legacy::start),
    (endpoints::mirror::NAME, endpoints::mirror::start),
    (deployment::NAME, deployment::start),
    (replica_set::NAME, replica_set::start),
    (replica_set::REPLICATION_CONTROLLER, replica_set::start_replication_controllers),
    (disruption::NAME, disruption::start),
    (quota::NAME, quota::start),
    (daemon_set::NAME, daemon_set::start),
    (stateful_set::NAME, stateful_set::start),
    (job::NAME, job::start),
    (cron_job::NAME, cron_job::start),
    (ttl::NAME, ttl::start),
    (node::addresses::NAME, node::addresses::start),
    (node::lifecycle::NAME, node::lifecycle::start),
    (node::eviction::NAME, node::eviction::start),
    (load_balancer::NAME, load_balancer::start),
    (service_cidr::NAME, service_cidr::start),
    (pod_garbage::NAME, pod_garbage::start),
    (storage::claims::NAME, storage::claims::start),
    (storage::volumes::NAME, storage::volumes::start),
    (storage::host_path::NAME, storage::host_path::start),
    (storage::ephemeral::NAME, storage::ephemeral::start),
    (storage::protection::CLAIMS, storage::protection::start_claims),
    (storage::protection::VOLUMES, storage::protection::start_volumes),
];

/// Names of all controllers, for reports.
pub fn names() -> impl Iterator<Item = &'static str> {
    CONTROLLERS.iter().map(|(name, _)| *name)
}

/// Runs all controllers until `stop`.
///
/// `clients` makes the client of a user: it is called with `system:kube-controller-manager`, whose
/// client fills the shared caches, and with `system:serviceaccount:kube-system:NAME` for each
/// controller. Returns when all have stopped.
pub async fn run(
    config: Config,
    clients: impl Fn(&str) -> Client + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let shared = clients(identity::CONTROLLER_MANAGER);
    let caches = Caches::new(shared.clone(), stop.clone());
    let monitors = Monitors::new(shared, stop.clone());
    let wiring = Wiring {
        config: Arc::new(config),
        caches: caches.clone(),
        monitors: monitors.clone(),
        clients: Arc::new(clients),
        stop: stop.clone(),
    };
    let loops: Vec<Running> = CONTROLLERS.iter().map(|(_, start)| start(&wiring)).collect();

    let mut running = JoinSet::new();
    running.spawn(monitors.follow_discovery());
    // Plans made from half a list would create what exists already.
    wait_for_first_lists(&caches, &stop).await;
    for one in loops {
        running.spawn(one);
    }
    info!(controllers = CONTROLLERS.len(), "controllers are running");
    while running.join_next().await.is_some() {}
}

async fn wait_for_first_lists(caches: &Caches, stop: &CancellationToken) {
    loop {
        let listed = tokio::select! {
            () = stop.cancelled() => return,
            listed = caches.synced(FIRST_LISTS_MAX) => listed,
        };
        match listed {
            Ok(()) => return,
            Err(missing) => warn!(%missing, "controllers wait for their caches"),
        }
    }
}
