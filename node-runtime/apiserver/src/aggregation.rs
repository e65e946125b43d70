//! Other API servers behind this one: whole versions of groups that a Service in the cluster
//! serves, as their `APIService` objects say.
//!
//! ```text
//! client ─> authn, authz ─> version is another server's? ─> proxy, with the user's name in headers
//!                             │ no                            (trusted for our certificate)
//!                             └─> our own verbs
//! ```
//!
//! `registry` knows who serves what, `proxy` passes requests on, `availability` finds out who
//! answers and what they serve, `documents` merges that into discovery and OpenAPI, `register`
//! keeps the objects of what is served here.

mod availability;
pub(crate) mod documents;
pub(crate) mod proxy;
mod register;
mod registry;

use std::sync::{Arc, Mutex};

use crate::vault::Store;
use http::HeaderValue;
use minik_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::config::Secrets;
use crate::core::Core;
use crate::live::Live;
use crate::webhook::Clients;
use documents::Documents;
use registry::{Registry, Remote};

/// What is known of other API servers.
pub(crate) struct Aggregation {
    registry: Live<Registry>,
    clients: Clients<Body>,
    documents: Mutex<Documents>,
}

impl Aggregation {
    pub(crate) fn new(store: &Store, secrets: &Secrets) -> Result<Aggregation, StoreError> {
        Ok(Aggregation {
            registry: Live::new(store)?,
            clients: Clients::new(Some(secrets.front_proxy_client.clone())),
            documents: Mutex::default(),
        })
    }

    /// The server of what a path is about, if that is not this one.
    pub(crate) fn server_of(&self, path: &str) -> Option<Arc<Remote>> {
        let below = path.strip_prefix("/openapi/v3").unwrap_or(path).strip_prefix("/apis/")?;
        let mut parts = below.split('/');
        let (group, version) = (parts.next()?, parts.next()?);
        self.registry.now().find(group, version)
    }

    /// All other servers' versions by name, and whether each can be reached.
    pub(crate) fn availability(&self) -> Vec<(String, bool)> {
        self.remotes().iter().map(|one| (one.name.clone(), one.is_available)).collect()
    }

    /// All other servers' versions.
    fn remotes(&self) -> Vec<Arc<Remote>> {
        self.registry.now().all()
    }
}

/// Does what has to be done without being asked, until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let registering = register::run(Arc::clone(&core), stop.clone());
    tokio::join!(registering, availability::run(core, stop));
}

/// A header value of any text: what has no place in one is left out.
fn header(text: &str) -> HeaderValue {
    let visible: String = text.chars().filter(|c| !c.is_control()).collect();
    HeaderValue::from_str(&visible).unwrap_or(HeaderValue::from_static(""))
}
