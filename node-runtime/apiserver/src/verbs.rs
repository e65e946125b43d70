//! What can be done to a resource, one file per verb, each generic over all kinds.

mod create;
pub(crate) mod delete;
mod delete_collection;
pub(crate) mod get;
mod list;
pub(crate) mod patch;
pub(crate) mod select;
mod update;
mod watch;
pub(crate) mod write;

use std::pin::Pin;

use http::{Request, Response};
use minik_meta::{GroupResource, Status};

use crate::body::Body;
use crate::call::Call;
use crate::route::Verb;
use crate::subresource;

/// Does what the call asks for.
pub(crate) fn run(call: Call, request: Request<Body>) -> Running {
    // Boxed: the futures of some verbs are large, and most requests are small.
    Box::pin(async move { run_verb(&call, request).await })
}

/// A request being answered.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

async fn run_verb(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    if !call.target.subresource.is_empty() {
        return subresource::run(call, request).await;
    }
    // All namespaces at once can only be read.
    let reads = matches!(call.verb, Verb::List | Verb::Watch);
    if call.kind.namespaced && call.target.namespace.is_empty() && !reads {
        return Err(Status::wrong_method());
    }
    if !call.kind.has_verb(call.verb.as_str()) {
        return Err(not_supported(&call.resource(), call.verb));
    }
    let going = call.kind.custom.as_ref().is_some_and(|custom| custom.terminating);
    if going && call.verb == Verb::Create {
        let mut status = not_supported(&call.resource(), call.verb);
        status.message =
            "create not allowed while custom resource definition is terminating".into();
        return Err(status);
    }
    match call.verb {
        Verb::Get => get::get(call).await,
        Verb::List => list::list(call).await,
        Verb::Watch => watch::watch(call).await,
        Verb::Create if subresource::is_virtual(call) => {
            subresource::create_virtual(call, request).await
        }
        Verb::Create => create::create(call, request).await,
        Verb::Update => update::update(call, request).await,
        Verb::Patch => patch::patch(call, request).await,
        Verb::Delete => delete::delete(call, request).await,
        Verb::DeleteCollection => delete_collection::delete_collection(call, request).await,
    }
}

/// 405 for a verb the resource does not have.
pub(crate) fn not_supported(resource: &GroupResource, verb: Verb) -> Status {
    Status::method_not_supported(resource, verb.as_str())
}
