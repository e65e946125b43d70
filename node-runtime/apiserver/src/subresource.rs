//! What lies under an object: its status, its scale, the streams into a pod, …

mod approval;
mod bind;
mod eviction;
mod finalize;
mod pod_parts;
pub(crate) mod review;
mod scale;
mod status;
mod stream;
mod token;

use http::{Request, Response};
use minik_meta::Status;

use crate::body::Body;
use crate::call::Call;
use crate::route::Verb;
use crate::verbs::not_supported;

/// Does what the call asks of the subresource it names.
pub(crate) async fn run(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let name = call.target.subresource.as_str();
    let Some(sub) = call.kind.subresource(name) else { return Err(Status::not_found_path()) };
    if !sub.verbs.iter().any(|verb| *verb == call.verb.as_str()) {
        return Err(not_supported(&call.resource(), call.verb));
    }
    match (call.kind.kind.as_ref(), name, call.verb) {
        (_, "status", _) => status::run(call, request).await,
        (_, "scale", _) => scale::run(call, request).await,
        ("Pod", "binding", Verb::Create) => bind::bind_named(call, request).await,
        ("Pod", "eviction", Verb::Create) => eviction::evict(call, request).await,
        ("Pod", "ephemeralcontainers" | "resize", _) => pod_parts::run(call, request).await,
        ("Pod", "log" | "exec" | "attach" | "portforward", _) => stream::pod(call, request).await,
        ("Pod" | "Node" | "Service", "proxy", _) => stream::proxy(call, request).await,
        ("ServiceAccount", "token", Verb::Create) => token::create(call, request).await,
        ("Namespace", "finalize", Verb::Update) => finalize::finalize(call, request).await,
        ("CertificateSigningRequest", "approval", _) => approval::run(call, request).await,
        _ => Err(Status::not_found_path()),
    }
}

/// Kinds that are asked or told, never stored: reviews, and the old way to bind pods.
pub(crate) fn is_virtual(call: &Call) -> bool {
    matches!(call.kind.group.as_ref(), "authentication.k8s.io" | "authorization.k8s.io")
        || call.kind.is("", "Binding")
}

/// Answers the creation of a kind that is never stored.
pub(crate) async fn create_virtual(
    call: &Call,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    if call.kind.is("", "Binding") {
        return bind::bind(call, request).await;
    }
    review::review(call, request).await
}
