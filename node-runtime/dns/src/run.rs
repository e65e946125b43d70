//! Puts the parts together and keeps the zone up to date.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hickory_server::proto::rr::Name;
use ipnetwork::Ipv4Network;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use minik_reconcile::{Cache, Caches};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::address::{self, AddressError};
use crate::forward::Forwarder;
use crate::listen::{self, Handler};
use crate::zone::{Settings, Zone};

const PORT: u16 = 53;
/// How often a wait for the API is mentioned.
const SYNC_REPORT: Duration = Duration::from_secs(30);
/// Names under which pods find the machine that runs the cluster; the second is minikube's.
const HOST_NAMES: [&str; 2] = ["host.minik.internal", "host.minikube.internal"];

/// What the DNS server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// ClusterIP of the DNS service; this node takes it and answers there on port 53.
    pub address: IpAddr,
    /// The cluster's domain.
    pub domain: String,
    /// What `host.minik.internal` stands for.
    pub host_address: Option<IpAddr>,
    /// The file that names the servers for the rest of the world.
    pub resolv_conf: PathBuf,
    /// Ranges whose addresses have no names except those of services and pods.
    pub reverse_ranges: Vec<Ipv4Network>,
}

impl Default for Config {
    /// As in a cluster with the usual ranges.
    fn default() -> Self {
        let range = |ip: [u8; 4], prefix| Ipv4Network::new(Ipv4Addr::from(ip), prefix);
        Self {
            address: Ipv4Addr::new(10, 96, 0, 10).into(),
            domain: "cluster.local".to_owned(),
            host_address: None,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            reverse_ranges: [range([10, 96, 0, 0], 12), range([10, 244, 0, 0], 16)]
                .into_iter()
                .flatten()
                .collect(),
        }
    }
}

/// Why the DNS server gave up.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The cluster's domain is no domain name.
    #[error("{domain:?} is not a domain name")]
    Domain {
        /// What was given.
        domain: String,
    },
    /// The address is not an IPv4 address.
    #[error("the DNS service is at {0}, only IPv4 is supported")]
    NotIpv4(IpAddr),
    /// The node could not take the address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The sockets could not be opened.
    #[error("could not listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// The server's sockets failed.
    #[error("the server ended: {0}")]
    Ended(String),
}

/// Answers questions until `stop`.
///
/// # Errors
/// [`DnsError`] if it cannot start, or its sockets fail.
pub async fn run(
    config: Config,
    client: kube::Client,
    stop: CancellationToken,
) -> Result<(), DnsError> {
    let settings = Arc::new(settings(&config)?);
    let IpAddr::V4(address) = config.address else {
        return Err(DnsError::NotIpv4(config.address));
    };
    let caches = Caches::new(client, stop.clone());
    let objects = Objects { services: caches.watch(), slices: caches.watch() };
    address::attach(address).await?;
    let address = SocketAddr::from((address, PORT));
    let (udp, tcp) =
        listen::bind(address).await.map_err(|source| DnsError::Bind { address, source })?;
    // Answering from half a zone would tell clients that services do not exist.
    while let Err(error) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        synced = caches.synced(SYNC_REPORT) => synced,
    } {
        tracing::warn!(%error, "still waiting for the API");
    }
    let (sender, zone) = watch::channel(Arc::new(objects.zone(&settings, 1)));
    let forwarder = Forwarder::new(config.resolv_conf.clone(), config.address);
    let handler = Handler { zone, forwarder, turn: AtomicUsize::new(0) };
    let mut server = listen::serve(handler, udp, tcp);
    tracing::info!(%address, domain = %config.domain, "answering names");
    tokio::select! {
        () = stop.cancelled() => {}
        () = objects.follow(&settings, &sender) => {}
        ended = server.block_until_done() => {
            return Err(DnsError::Ended(ended.err().map_or_else(String::new, |e| e.to_string())));
        }
    }
    // What is being answered is answered; an error here has nobody to go to.
    let _ = server.shutdown_gracefully().await;
    Ok(())
}

fn settings(config: &Config) -> Result<Settings, DnsError> {
    let domain = || DnsError::Domain { domain: config.domain.clone() };
    let mut name = Name::from_utf8(&config.domain).map_err(|_| domain())?;
    name.set_fqdn(true);
    let hosts = config.host_address.into_iter().flat_map(|address| {
        HOST_NAMES.iter().filter_map(move |host| {
            let mut host = Name::from_utf8(host).ok()?;
            host.set_fqdn(true);
            Some((host, address))
        })
    });
    Ok(Settings {
        domain: name.to_lowercase(),
        address: config.address,
        hosts: hosts.collect::<BTreeMap<_, _>>(),
        reverse_ranges: config.reverse_ranges.clone(),
    })
}

/// What the zone is made of.
struct Objects {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
}

impl Objects {
    fn zone(&self, settings: &Arc<Settings>, serial: u32) -> Zone {
        Zone::new(Arc::clone(settings), serial, &self.services.list(), &self.slices.list())
    }

    /// Makes a new zone after each change; changes while one is made are in the next.
    async fn follow(&self, settings: &Arc<Settings>, zone: &watch::Sender<Arc<Zone>>) {
        let mut services = self.services.changes();
        let mut slices = self.slices.changes();
        loop {
            let serial = zone.borrow().serial.wrapping_add(1);
            // Sent without looking whether anybody listens: the handler does, until the end.
            zone.send_replace(Arc::new(self.zone(settings, serial)));
            let open = tokio::select! {
                open = services.changed() => open,
                open = slices.changed() => open,
            };
            if !open {
                return std::future::pending().await;
            }
        }
    }
}
