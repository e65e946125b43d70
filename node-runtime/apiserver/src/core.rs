//! What all requests share: the store, the kinds, who may do what, and the way to the kubelets.

use std::sync::Arc;

use crate::vault::Store;
use bytes::Bytes;
use http_body_util::Full;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::admission::hooks::Hooks;
use crate::admission::policies::registry::Policies;
use crate::aggregation::Aggregation;
use crate::alloc::Allocator;
use crate::audit::Audit;
use crate::authn::certificate::Vouchers;
use crate::authn::jwt::Issuers;
use crate::authn::token::Tokens;
use crate::authz::Authorizer;
use crate::config::{Authorities, BuildError, Config, Secrets};
use crate::fairness::Fairness;
use crate::kinds::Kinds;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::tls::Trust;
use crate::webhook::Clients;
use crate::{objects, tls};

/// The shared state of a server. All of it is read only or has its own lock.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) kinds: Kinds,
    pub(crate) authorizer: Authorizer,
    pub(crate) tokens: Tokens,
    /// Others whose tokens are taken.
    pub(crate) issuers: Issuers,
    pub(crate) allocator: Allocator,
    pub(crate) metrics: Metrics,
    /// How to talk to kubelets.
    pub(crate) kubelet_tls: Arc<ClientConfig>,
    /// How to talk to pods and services that serve TLS.
    pub(crate) pod_tls: Arc<ClientConfig>,
    /// One counted creation at a time, so that two cannot share what is left of a quota.
    pub(crate) quota_lock: Arc<Mutex<()>>,
    /// Connections to webhooks.
    pub(crate) webhooks: Clients<Full<Bytes>>,
    /// Who vouches for client certificates.
    pub(crate) vouchers: Vouchers,
    /// Whose certificates are trusted.
    pub(crate) authorities: Authorities,
    /// Other API servers behind this one.
    pub(crate) aggregation: Aggregation,
    /// Whom to ask before something is served.
    pub(crate) hooks: Live<Hooks>,
    pub(crate) policies: Live<Policies>,
    /// Who may be served now, and who waits.
    pub(crate) fairness: Arc<Fairness>,
    /// Where requests are recorded; none where they are not.
    pub(crate) audit: Option<Arc<Audit>>,
    ending: CancellationToken,
    draining: CancellationToken,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        store: minik_store::Store,
        secrets: &Secrets,
    ) -> Result<Arc<Core>, BuildError> {
        let store = Store::new(store, config.encryption.as_ref())?;
        let authorities = Authorities::of(secrets, &config);
        let authority = Trust::Bundle(secrets.client_ca_pem.clone());
        let kubelet_tls = tls::outgoing_config(&authority, Some(&secrets.kubelet_client))?;
        Ok(Arc::new(Core {
            kinds: Kinds::new(&store)?,
            authorizer: Authorizer::new(&store)?,
            tokens: Tokens::new(&config.issuer(), &secrets.service_account)?,
            issuers: Issuers::new(&config.authentication, &config.issuer())?,
            allocator: Allocator::new(&store, &config)?,
            metrics: Metrics::default(),
            kubelet_tls: Arc::new(kubelet_tls),
            pod_tls: Arc::new(tls::outgoing_config(&Trust::Anybody, None)?),
            quota_lock: Arc::default(),
            webhooks: Clients::new(None),
            vouchers: Vouchers::new(secrets, authorities.front_proxy_names.clone())?,
            authorities,
            aggregation: Aggregation::new(&store, secrets)?,
            hooks: Live::new(&store)?,
            policies: Live::new(&store)?,
            fairness: Fairness::new(&store, config.requests_max)?,
            audit: Audit::open(config.audit.as_ref())?,
            ending: CancellationToken::new(),
            draining: CancellationToken::new(),
            config,
            store,
        }))
    }

    /// Says that the server is not ready any more, while it still serves.
    pub(crate) fn begin_shutdown(&self) {
        self.ending.cancel();
    }

    /// Whether whoever asks should look for another server.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Ends open watches, so that their connections can end.
    pub(crate) fn begin_drain(&self) {
        self.draining.cancel();
    }

    /// Cancelled when the server is told to stop.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// An object of a core kind as it is stored, for the server's own decisions.
    pub(crate) fn read_core_object(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Value> {
        self.read_object("core", plural, namespace, name)
    }

    /// The same for another group.
    pub(crate) fn read_object(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Value> {
        let slash = if namespace.is_empty() { "" } else { "/" };
        let key = format!("{}{group}/{plural}/{namespace}{slash}{name}", objects::ROOT);
        serde_json::from_slice(&self.store.get(&key)?.value).ok()
    }
}
