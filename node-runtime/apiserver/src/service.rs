//! The server as its owner holds it: something to run, and something to call in process.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::policies::type_check;
use crate::authz::aggregate;
use crate::body::{Body, BodyError};
use crate::core::Core;
use crate::pipeline::{self, Caller};
use crate::server::{Listener, serve};
use crate::user::User;
use crate::{aggregation, bootstrap, definitions, expiry, fairness, service_addresses};

/// A bound server that has not accepted a connection yet.
pub struct ApiServer {
    /// Where it listens.
    pub address: SocketAddr,
    listener: Listener,
    core: Arc<Core>,
}

impl ApiServer {
    pub(crate) fn new(address: SocketAddr, listener: Listener, core: Arc<Core>) -> ApiServer {
        ApiServer { address, listener, core }
    }

    /// A service that makes requests as `user`, without a socket but otherwise on the same way as
    /// all others. Works before and beside [`ApiServer::run`], and as long as the store is open.
    pub fn in_process(&self, user: User) -> InProcess {
        InProcess { core: Arc::clone(&self.core), user }
    }

    /// Waits until all that was recorded of requests so far is in the audit log.
    pub async fn flush_audit_log(&self) {
        if let Some(audit) = &self.core.audit {
            audit.flush().await;
        }
    }

    /// Serves until `drain` is cancelled; then ends watches, lets other requests finish, and
    /// returns.
    pub async fn run(self, drain: CancellationToken) {
        let stop = CancellationToken::new();
        let mut chores = JoinSet::new();
        let store = &self.core.store;
        chores.spawn(expiry::run(store.clone(), expiry::EVENT_LIFE, stop.clone()));
        chores.spawn(bootstrap::keep(Arc::clone(&self.core), stop.clone()));
        chores.spawn(definitions::lifecycle::run(Arc::clone(&self.core), stop.clone()));
        chores.spawn(type_check::run(Arc::clone(&self.core), stop.clone()));
        chores.spawn(aggregation::run(Arc::clone(&self.core), stop.clone()));
        chores.spawn(fairness::keep::run(Arc::clone(&self.core), stop.clone()));
        chores.spawn(service_addresses::run(Arc::clone(&self.core), stop.clone()));
        if let Some(kind) = self.core.kinds.find("rbac.authorization.k8s.io", "v1", "clusterroles")
        {
            chores.spawn(aggregate::run(store.clone(), kind, stop.clone()));
        }
        let audit = self.core.audit.clone();
        serve(self.listener, self.core, drain).await;
        stop.cancel();
        if let Some(audit) = audit {
            audit.flush().await;
        }
        // They end at their next wait and cannot fail; a panic was reported when it happened.
        while chores.join_next().await.is_some() {}
    }
}

/// Requests from inside the process, as one user: what `kube::Client::new` takes.
#[derive(Clone)]
pub struct InProcess {
    core: Arc<Core>,
    user: User,
}

impl InProcess {
    /// The same server as somebody else.
    pub fn with_user(&self, user: User) -> InProcess {
        InProcess { core: Arc::clone(&self.core), user }
    }
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let caller = Caller::InProcess(self.user.clone());
        let core = Arc::clone(&self.core);
        let request = request.map(|body| body.map_err(BodyError::new).boxed_unsync());
        Box::pin(async move { Ok(pipeline::handle(core, caller, request).await) })
    }
}
