//! The loop: a cache changes, the kernel follows.

use std::time::Duration;

use futures::future::Either;
use ipnetwork::Ipv4Network;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use minik_reconcile::{Cache, Caches};
use tokio_util::sync::CancellationToken;

use crate::conntrack;
use crate::diff::diff;
use crate::flows::{self, Roads};
use crate::kernel::{self, KernelError};
use crate::nft::{self, Network, NftError};
use crate::routes::{self, Routes};
use crate::rules::{Desired, Place, desired};

/// How often a wait for the API is mentioned.
const SYNC_REPORT: Duration = Duration::from_secs(30);
/// Wait after a failed change, doubled with each failure in a row.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest wait after a failed change.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What the proxy is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this node.
    pub node_name: String,
    /// Range of all pods.
    pub pod_cidr: Ipv4Network,
    /// Range of ClusterIPs.
    pub service_cidr: Ipv4Network,
}

/// Why the proxy gave up. Anything that may pass is logged and tried again instead.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A kernel setting that services need could not be made.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// No connection to the kernel's routes.
    #[error("could not open a netlink socket")]
    Netlink(#[source] std::io::Error),
}

/// What the proxy reads.
struct Objects {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    nodes: Cache<Node>,
}

/// Keeps the kernel as the API says, until `stop`. Leaves the table behind when it stops, so that
/// services go on working while minik-node restarts.
///
/// # Errors
/// [`ProxyError`] if it cannot start.
pub async fn run(
    config: Config,
    client: kube::Client,
    stop: CancellationToken,
) -> Result<(), ProxyError> {
    let bridge_filtered = kernel::prepare().await?;
    let network = Network { pods: config.pod_cidr, services: config.service_cidr, bridge_filtered };
    let (connection, handle, _) = rtnetlink::new_connection().map_err(ProxyError::Netlink)?;
    let connection = tokio::spawn(connection);
    let caches = Caches::new(client, stop.clone());
    let objects =
        Objects { services: caches.watch(), slices: caches.watch(), nodes: caches.watch() };
    // A table made from half of the objects would cut connections that work.
    while let Err(error) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        synced = caches.synced(SYNC_REPORT) => synced,
    } {
        tracing::warn!(%error, "still waiting for the API");
    }
    let kernel = Kernel { network, handle, applied: None, routes: None };
    follow(&config, &objects, kernel, stop).await;
    connection.abort();
    Ok(())
}

async fn follow(config: &Config, objects: &Objects, mut kernel: Kernel, stop: CancellationToken) {
    let mut services = objects.services.changes();
    let mut slices = objects.slices.changes();
    let mut nodes = objects.nodes.changes();
    let mut failures = 0;
    loop {
        let result = kernel.follow(config, objects).await;
        let retry = match &result {
            Ok(()) => {
                failures = 0;
                Either::Left(std::future::pending())
            }
            Err(error) => {
                let delay = RETRY_FIRST.saturating_mul(1 << failures.min(10)).min(RETRY_MAX);
                failures += 1;
                tracing::warn!(%error, ?delay, "services are not up to date, will try again");
                Either::Right(tokio::time::sleep(delay))
            }
        };
        let open = tokio::select! {
            () = stop.cancelled() => return,
            open = services.changed() => open,
            open = slices.changed() => open,
            open = nodes.changed() => open,
            () = retry => true,
        };
        if !open {
            return;
        }
    }
}

/// The kernel's side and what we know it to be.
struct Kernel {
    network: Network,
    handle: rtnetlink::Handle,
    /// The table's content; `None` if it is not known: at the start and after a failure.
    applied: Option<Desired>,
    routes: Option<Routes>,
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Nft(#[from] NftError),
    #[error("could not set routes to other nodes: {0}")]
    Routes(#[from] rtnetlink::Error),
}

impl Kernel {
    async fn follow(&mut self, config: &Config, objects: &Objects) -> Result<(), FollowError> {
        let nodes = objects.nodes.list();
        let here = nodes.iter().find(|node| node.metadata.name.as_ref() == Some(&config.node_name));
        let pods = here.and_then(|node| routes::pod_range(node));
        let place = Place { node: config.node_name.clone(), pods };
        let want = desired(&objects.services.list(), &objects.slices.list(), &place);
        self.follow_services(want).await?;
        let mut routes = routes::to_pods(&nodes, &config.node_name);
        if let Some(here) = here {
            let services = config.service_cidr;
            routes.extend(routes::to_services(&self.handle, here, services).await?);
        }
        self.follow_routes(routes).await
    }

    async fn follow_services(&mut self, want: Desired) -> Result<(), FollowError> {
        let nothing = Desired::default();
        let (mut text, have) = match &self.applied {
            Some(applied) => (String::new(), applied),
            None => (nft::base(&self.network), &nothing),
        };
        let steps = diff(have, &want);
        let concerns_udp = flows::concerns_udp(&steps);
        text += &nft::render(&steps);
        if !text.is_empty() {
            // Until it has worked it is not known what the table holds.
            self.applied = None;
            tracing::debug!(lines = text.lines().count(), "changing the table");
            nft::apply(&text).await?;
        }
        if concerns_udp {
            self.forget_flows(&want).await;
        }
        self.applied = Some(want);
        Ok(())
    }

    /// Without this, UDP clients that go on sending would go on sending to where nobody is.
    async fn forget_flows(&self, want: &Desired) {
        let roads = Roads::new(want);
        let services = self.network.services;
        match conntrack::forget(|flow| roads.is_stale(flow, services)).await {
            Ok(count) => tracing::debug!(count, "forgot UDP flows"),
            Err(error) => tracing::warn!(%error, "could not forget UDP flows of changed services"),
        }
    }

    async fn follow_routes(&mut self, want: Routes) -> Result<(), FollowError> {
        if self.routes.as_ref() != Some(&want) {
            routes::apply(&self.handle, &want).await?;
            self.routes = Some(want);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What one step of a test sees.
    pub(crate) type State = (Vec<Service>, Vec<EndpointSlice>, Vec<Node>);

    /// Brings the kernel of the current network namespace to one state after the other, each
    /// twice: the second time nothing may be left to do. Calls `between` after each. Blocks.
    pub(crate) fn follow(node: &str, states: Vec<State>, mut between: impl FnMut(usize)) {
        let config = Config {
            node_name: node.to_owned(),
            pod_cidr: "10.244.0.0/16".parse().expect("a range"),
            service_cidr: "10.96.0.0/12".parse().expect("a range"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let bridge_filtered = kernel::prepare().await.expect("root");
            let network =
                Network { pods: config.pod_cidr, services: config.service_cidr, bridge_filtered };
            let (connection, handle, _) = rtnetlink::new_connection().expect("a socket");
            tokio::spawn(connection);
            let mut kernel = Kernel { network, handle, applied: None, routes: None };
            for (n, (services, slices, nodes)) in states.into_iter().enumerate() {
                let objects = Objects {
                    services: Cache::of(services),
                    slices: Cache::of(slices),
                    nodes: Cache::of(nodes),
                };
                kernel.follow(&config, &objects).await.expect("the kernel follows");
                let before = (kernel.applied.clone(), kernel.routes.clone());
                kernel.follow(&config, &objects).await.expect("the kernel follows");
                assert_eq!(before, (kernel.applied.clone(), kernel.routes.clone()));
                between(n);
            }
        });
    }
}
