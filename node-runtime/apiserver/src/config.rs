//! Settings of the API server and the step from settings to a bound server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use minik_config::{AuditSettings, Authentication, EncryptionConfiguration};
use minik_pki::{CertKey, KeyPairPem};
use minik_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authn::certificate;
use crate::authn::jwt::AuthenticationError;
use crate::authn::token::TokenError;
use crate::core::Core;
use crate::server::Listener;
use crate::tls::{self, TlsError};
use crate::{ApiServer, bootstrap};

/// Plain settings. Holds no sockets and no tasks.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address under which nodes and pods reach this server.
    pub advertise_address: IpAddr,
    /// The port that goes with it.
    pub advertise_port: u16,
    /// Where cluster addresses of Services come from.
    pub service_cidr: Cidr,
    /// Where node ports of Services come from.
    pub node_ports: RangeInclusive<u16>,
    /// The cluster's DNS domain.
    pub domain: String,
    /// What is recorded of requests, and where; none records nothing.
    pub audit: Option<AuditSettings>,
    /// What is encrypted in the store; none keeps everything as it is.
    pub encryption: Option<EncryptionConfiguration>,
    /// Common names that a certificate of a front proxy may have. Empty: that of the certificate
    /// this server shows to other API servers.
    pub front_proxy_names: Vec<String>,
    /// Whose tokens are taken beside those of service accounts, and who may stay unknown.
    pub authentication: Authentication,
    /// Seats for requests that are served at the same time, divided among the priority levels.
    pub requests_max: u32,
    /// How long the server goes on serving after it was told to stop and says that it is not ready,
    /// so that others stop sending requests here.
    pub shutdown_delay: Duration,
}

impl Config {
    /// The settings of a cluster with the usual networks, listening on `listen`.
    pub fn new(listen: SocketAddr, advertise_address: IpAddr) -> Config {
        Config {
            listen,
            advertise_address,
            advertise_port: listen.port(),
            service_cidr: Cidr { base: Ipv4Addr::new(10, 96, 0, 0), prefix: 12 },
            node_ports: 30000..=32767,
            domain: "cluster.local".to_owned(),
            audit: None,
            encryption: None,
            front_proxy_names: Vec::new(),
            authentication: Authentication::default(),
            requests_max: 600,
            shutdown_delay: Duration::ZERO,
        }
    }

    /// The issuer of service-account tokens.
    pub(crate) fn issuer(&self) -> String {
        format!("https://kubernetes.default.svc.{}", self.domain)
    }

    /// Checks the keys, binds, and writes what a new cluster holds. Nothing is accepted yet.
    ///
    /// # Errors
    /// [`BuildError`] says which key, address or write failed.
    pub async fn build(self, store: Store, secrets: Secrets) -> Result<ApiServer, BuildError> {
        let address = self.listen;
        let tcp = TcpListener::bind(address)
            .await
            .map_err(|source| BuildError::Listen { address, source })?;
        let address = tcp.local_addr().map_err(|source| BuildError::Listen { address, source })?;
        let mut config = self;
        if config.advertise_port == 0 {
            config.advertise_port = address.port();
        }
        let authorities = [&*secrets.client_ca_pem, &*secrets.front_proxy_ca_pem];
        let tls = tls::server_config(&secrets.serving, &authorities)?;
        let listener = Listener { tcp, acceptor: TlsAcceptor::from(Arc::new(tls)) };
        let core = Core::new(config, store, &secrets)?;
        bootstrap::run(&core.store, &core.kinds, &core.config, &core.authorities).await?;
        Ok(ApiServer::new(address, listener, core))
    }
}

/// The keys and certificates the server works with. Never logged.
#[derive(Clone)]
pub struct Secrets {
    /// What the server shows to its clients.
    pub serving: CertKey,
    /// The authority that signs client certificates (and those of kubelets), PEM.
    pub client_ca_pem: String,
    /// What the server shows to kubelets.
    pub kubelet_client: CertKey,
    /// The keys of service-account tokens.
    pub service_account: KeyPairPem,
    /// The authority that signs what the server shows to other API servers, PEM: they trust it to
    /// say who makes a request.
    pub front_proxy_ca_pem: String,
    /// What the server shows to other API servers.
    pub front_proxy_client: CertKey,
}

impl Secrets {
    /// Reads the usual files of the folder `pki`: `ca.crt`, `apiserver.{crt,key}`,
    /// `apiserver-kubelet-client.{crt,key}`, `sa.{key,pub}`, `front-proxy-ca.crt`,
    /// `front-proxy-client.{crt,key}`.
    ///
    /// # Errors
    /// [`BuildError::File`] names the file that cannot be read.
    pub fn read(pki: &Path) -> Result<Secrets, BuildError> {
        let read = |name: &str| {
            let path = pki.join(name);
            std::fs::read_to_string(&path).map_err(|source| BuildError::File { path, source })
        };
        let pair = |name: &str| -> Result<CertKey, BuildError> {
            Ok(CertKey {
                cert_pem: read(&format!("{name}.crt"))?,
                key_pem: read(&format!("{name}.key"))?,
            })
        };
        Ok(Secrets {
            serving: pair("apiserver")?,
            client_ca_pem: read("ca.crt")?,
            kubelet_client: pair("apiserver-kubelet-client")?,
            service_account: KeyPairPem {
                private_pem: read("sa.key")?,
                public_pem: read("sa.pub")?,
            },
            front_proxy_ca_pem: read("front-proxy-ca.crt")?,
            front_proxy_client: pair("front-proxy-client")?,
        })
    }
}

/// Whose certificates are trusted, as far as everybody may know.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    pub(crate) client_ca_pem: String,
    pub(crate) front_proxy_ca_pem: String,
    /// The names that certificates of front proxies may have; any, if there are none.
    pub(crate) front_proxy_names: Vec<String>,
}

impl Authorities {
    pub(crate) fn of(secrets: &Secrets, config: &Config) -> Authorities {
        let own = || certificate::name_in(&secrets.front_proxy_client.cert_pem);
        Authorities {
            client_ca_pem: secrets.client_ca_pem.clone(),
            front_proxy_ca_pem: secrets.front_proxy_ca_pem.clone(),
            front_proxy_names: match config.front_proxy_names.is_empty() {
                true => own().into_iter().collect(),
                false => config.front_proxy_names.clone(),
            },
        }
    }
}

/// Why a server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A key or certificate file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys of service-account tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The settings of authentication break rules.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The audit log cannot be written.
    #[error("cannot write the audit log {path}")]
    AuditLog {
        /// The file, or `-`.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store cannot be read or written.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// How many addresses there are, the first and last included.
    pub(crate) fn size(self) -> u32 {
        u32::try_from((1u64 << (32 - u32::from(self.prefix))).min(u64::from(u32::MAX)))
            .unwrap_or(u32::MAX)
    }

    /// The address at `offset` from the base.
    pub(crate) fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).wrapping_add(offset))
    }

    /// The first address that a Service can have: that of `kubernetes`.
    pub(crate) fn first_address(self) -> Ipv4Addr {
        self.at(1)
    }

    /// Whether `address` is one that a Service can have.
    pub(crate) fn usable(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.base));
        offset > 0 && offset < self.size() - 1
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Why a text is no network for Services.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 network between /8 and /30")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let wrong = || CidrError(text.to_owned());
        let (base, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let base: Ipv4Addr = base.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=30).contains(&prefix) {
            return Err(wrong());
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Ok(Cidr { base: Ipv4Addr::from(u32::from(base) & mask), prefix })
    }
}
