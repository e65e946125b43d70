//! The control plane in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use minik_apiserver::{ApiServer, BuildError, InProcess, Secrets, User};
use minik_client::{connect, identity};
use minik_pki::{Ca, Credentials, Entry, Kubeconfig, LeafRequest, Pem, PkiError};
use minik_store::{Storage, Store, StoreError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::hollow::HollowNode;
use crate::scripted::ScriptedNode;
use crate::wait::until;

const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys or certificates could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The API server could not be built.
    #[error(transparent)]
    Api(#[from] BuildError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running control plane. Dropping it stops everything.
pub struct Cluster {
    /// Where the API is served over TLS, on loopback.
    pub address: SocketAddr,
    /// The cluster's authority, PEM.
    pub ca_pem: String,
    authority: Ca,
    service: InProcess,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    /// Starts a control plane that keeps nothing on disk. Set `RUST_LOG` to see what it does.
    ///
    /// # Errors
    /// [`StartError`] if a part cannot be built.
    pub async fn start() -> Result<Cluster, StartError> {
        Cluster::with_storage(Storage::Memory, controller_settings()).await
    }

    /// Starts a control plane whose store is in `folder`.
    ///
    /// # Errors
    /// [`StartError`] if a part cannot be built.
    pub async fn on_disk(folder: &Path) -> Result<Cluster, StartError> {
        let storage = Storage::Folder(folder.to_owned());
        Cluster::with_storage(storage, controller_settings()).await
    }

    /// Starts a control plane in which a node may be silent for `grace` only.
    ///
    /// # Errors
    /// [`StartError`] if a part cannot be built.
    pub async fn with_node_grace(grace: Duration) -> Result<Cluster, StartError> {
        let settings = minik_controllers::Config { node_grace: grace, ..controller_settings() };
        Cluster::with_storage(Storage::Memory, settings).await
    }

    /// Starts a control plane that keeps the volumes of the class `standard` in `folder`.
    ///
    /// # Errors
    /// [`StartError`] if a part cannot be built.
    pub async fn with_volumes(folder: &Path) -> Result<Cluster, StartError> {
        let volume_root = Some(folder.to_owned());
        let settings = minik_controllers::Config { volume_root, ..controller_settings() };
        Cluster::with_storage(Storage::Memory, settings).await
    }

    async fn with_storage(
        storage: Storage,
        controllers: minik_controllers::Config,
    ) -> Result<Cluster, StartError> {
        log_to_stderr();
        let authority = Ca::new("minik-test", VALIDITY)?;
        let server = build_server(&authority, storage).await?;
        let address = server.address;
        let service = server.in_process(User::admin());
        let stop = CancellationToken::new();
        let mut cluster = Cluster {
            address,
            ca_pem: authority.cert_pem().to_owned(),
            authority,
            service,
            stop: stop.clone(),
            running: JoinSet::new(),
        };
        cluster.running.spawn({
            let stop = stop.clone();
            async move {
                server.run(stop).await;
            }
        });
        let controllers = minik_controllers::Config {
            ca_pem: cluster.ca_pem.clone(),
            authority: Some(cluster.authority.clone()),
            ..controllers
        };
        let service = cluster.service.clone();
        let clients = move |user: &str| client_of(&service, user);
        cluster.running.spawn(minik_controllers::run(controllers, clients, stop.clone()));
        let scheduler = cluster.client(identity::SCHEDULER);
        cluster.running.spawn(minik_scheduler::run(scheduler, stop));
        // Pods are refused before that.
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.admin(), "default");
        until(&accounts, "default", "pods have an account to run as", |_| true).await;
        Ok(cluster)
    }

    /// A client that may do everything.
    #[must_use]
    pub fn admin(&self) -> Client {
        connect::in_process(self.service.clone())
    }

    /// A client that acts as `user`, in the groups that go with the name.
    #[must_use]
    pub fn client(&self, user: &str) -> Client {
        client_of(&self.service, user)
    }

    /// Adds a node that has room for a hundred pods and runs them at once.
    #[must_use]
    pub fn add_node(&self, name: &str) -> HollowNode {
        HollowNode::start(name, self.client(&identity::node(name)), &self.stop)
    }

    /// Adds a node with the real kubelet on a scripted runtime.
    ///
    /// # Errors
    /// If its folders cannot be made.
    pub fn add_scripted_node(&self, name: &str) -> std::io::Result<ScriptedNode> {
        ScriptedNode::start(name, self.client(&identity::node(name)), &self.stop)
    }

    /// Certificate and key of an administrator, PEM, for clients outside the process.
    ///
    /// # Errors
    /// [`PkiError`] if they cannot be made.
    pub fn admin_certificate(&self) -> Result<minik_pki::CertKey, PkiError> {
        self.authority.issue(&LeafRequest::client("kubernetes-admin", &["system:masters"]))
    }

    /// The kubeconfig of an administrator, for clients outside the process; `name` is that of its
    /// only context.
    ///
    /// # Errors
    /// [`PkiError`] if the certificate or the document cannot be made.
    pub fn admin_kubeconfig(&self, name: &str) -> Result<String, PkiError> {
        let admin = self.admin_certificate()?;
        let mut file = Kubeconfig { current_context: name.to_owned(), ..Kubeconfig::default() };
        file.put(&Entry {
            name: name.to_owned(),
            server: format!("https://{}", self.address),
            credentials: Credentials {
                authority: Pem::Text(self.ca_pem.clone()),
                certificate: Pem::Text(admin.cert_pem),
                key: Pem::Text(admin.key_pem),
            },
            namespace: None,
        });
        file.to_yaml()
    }

    /// Stops everything and waits for it.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

fn controller_settings() -> minik_controllers::Config {
    // No folder is made outside a test's own.
    minik_controllers::Config { volume_root: None, ..minik_controllers::Config::default() }
}

fn client_of(service: &InProcess, user: &str) -> Client {
    connect::in_process(service.with_user(User::new(user, identity::groups_of(user))))
}

async fn build_server(authority: &Ca, storage: Storage) -> Result<ApiServer, StartError> {
    let loopback = Ipv4Addr::LOCALHOST;
    let names = vec!["localhost".to_owned(), loopback.to_string()];
    let front_proxy = Ca::new("front-proxy", minik_pki::CA_VALIDITY)?;
    let secrets = Secrets {
        front_proxy_ca_pem: front_proxy.cert_pem().to_owned(),
        front_proxy_client: front_proxy.issue(&LeafRequest::client("front-proxy-client", &[]))?,
        serving: authority.issue(&LeafRequest::server("kube-apiserver", names))?,
        client_ca_pem: authority.cert_pem().to_owned(),
        kubelet_client: authority
            .issue(&LeafRequest::client("kube-apiserver-kubelet-client", &["system:masters"]))?,
        service_account: minik_pki::ec_key_pair()?,
    };
    let store = Store::open(&minik_store::Config::new(storage))?;
    let config = minik_apiserver::Config::new((loopback, 0).into(), loopback.into());
    Ok(config.build(store, secrets).await?)
}

/// The first cluster of a test program decides where the log goes: to standard error, filtered by
/// `RUST_LOG`, which the test harness shows for failed tests.
fn log_to_stderr() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false);
        let _ = log.try_init();
    });
}
