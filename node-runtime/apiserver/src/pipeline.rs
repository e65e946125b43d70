//! The one way of every request: who is it, what is asked, may they, do it, answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use minik_api::protobuf;
use minik_meta::{Status, names};
use tracing::{debug, error};

use crate::authn::impersonate::impersonated;
use crate::authn::{self, Connection};
use crate::authz::rbac::Wish;
use crate::authz::{self};
use crate::body::Body;
use crate::call::{Call, Stay};
use crate::core::Core;
use crate::deadline;
use crate::fairness::{self, Arriving, Asked, Class, Seat, What};
use crate::negotiate::Format;
use crate::route::{Action, Query, Target, Verb, route};
use crate::user::User;
use crate::{aggregation, owners, pages, respond, verbs};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Over the network: the request says who it is.
    Connection(Connection),
    /// From inside this process, as a known user.
    InProcess(User),
}

/// Answers one request. Never fails: what goes wrong becomes a `Status`.
pub(crate) async fn handle(
    core: Arc<Core>,
    caller: Caller,
    mut request: Request<Body>,
) -> Response<Body> {
    if let Caller::InProcess(user) = &caller
        && !request.headers().contains_key(USER_AGENT)
        && let Ok(agent) = HeaderValue::from_str(owners::agent_of(user))
    {
        request.headers_mut().insert(USER_AGENT, agent);
    }
    let started = Instant::now();
    let audit_id = audit_id(request.headers());
    let headers = request.headers().clone();
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let action = Arc::new(route(&method, &path, &query));

    let mut class = None;
    let mut response = match in_time(&core, &caller, &action, query, request, &mut class).await {
        Ok(response) => response,
        Err(status) => {
            if status.code >= 500 {
                error!(%method, %path, code = status.code, message = %status.message, "failed");
            }
            respond::status(&status, format_of_errors(&headers))
        }
    };
    if matches!(caller, Caller::Connection(_)) {
        response = respond::compress(response, &headers).await;
    }
    response.headers_mut().insert(AUDIT_ID, audit_id);
    if let Some(class) = class {
        class.mark(response.headers_mut());
    }
    let took = started.elapsed();
    core.metrics.record(&action, response.status(), took);
    debug!(%method, %path, code = response.status().as_u16(), took_us = took.as_micros(), "served");
    response
}

/// Serves the request, but for no longer than it may take.
async fn in_time(
    core: &Arc<Core>,
    caller: &Caller,
    action: &Arc<Action>,
    query: Query,
    request: Request<Body>,
    class: &mut Option<Class>,
) -> Result<Response<Body>, Status> {
    let Some(time) = deadline::time_of(action, &query)? else {
        return serve(core, caller, action, query, request, None, class).await;
    };
    let serving = serve(core, caller, action, query, request, Some(time), class);
    let served = tokio::time::timeout(time, serving).await;
    served.unwrap_or_else(|_| Err(Status::timeout(deadline::TOO_LONG, 0)))
}

/// Authentication, impersonation, a seat, authorization, and then the page or verb itself. Says in
/// `class` what the request was taken for.
async fn serve(
    core: &Arc<Core>,
    caller: &Caller,
    action: &Arc<Action>,
    query: Query,
    mut request: Request<Body>,
    time: Option<Duration>,
    class: &mut Option<Class>,
) -> Result<Response<Body>, Status> {
    let deadline = time.map(|time| Instant::now() + time);
    let user = match caller {
        Caller::Connection(connection) => {
            let path = request.uri().path().to_owned();
            authn::authenticate(core, connection, request.headers_mut(), &path).await?
        }
        Caller::InProcess(user) => user.clone(),
    };
    let user = impersonated(&core.authorizer, &user, request.headers())?.unwrap_or(user);
    let (verb, uri) = (request.method().as_str().to_ascii_lowercase(), request.uri().clone());
    let what = match &**action {
        Action::Page(_) => What::Page { verb: &verb, path: uri.path() },
        Action::Resource(verb, target) => What::Resource { verb: *verb, target },
    };
    let arriving = Arriving { asked: Asked { user: &user, what }, uri: &uri, action, time };
    let seat = match seat(core, arriving, &query, class).await {
        Ok(seat) => seat,
        Err(full) => return Ok(full),
    };
    authorize(core, &user, action, &request, &query)?;

    if let Some(remote) = core.aggregation.server_of(request.uri().path()) {
        // What a watch costs is the other server's to say.
        let _seat = seat.filter(|_| time.is_some());
        return Ok(aggregation::proxy::serve(core, &user, &remote, request).await);
    }
    match &**action {
        Action::Page(page) => pages::serve(core, page, &query, request.headers()),
        Action::Resource(verb, target) => {
            let stay = Stay { deadline, seat };
            let (core, target) = (Arc::clone(core), target.clone());
            let call = Call::new(core, user, *verb, target, query, &request, stay)?;
            verbs::run(call, request).await
        }
    }
}

/// A seat for the request, or the answer that there is none. Streams take none.
async fn seat(
    core: &Core,
    arriving: Arriving<'_>,
    query: &Query,
    class: &mut Option<Class>,
) -> Result<Option<Seat>, Response<Body>> {
    let action = arriving.action;
    if matches!(&**action, Action::Resource(_, one) if deadline::is_stream(&one.subresource)) {
        return Ok(None);
    }
    let seats = |most| fairness::seats(core, action, query, most);
    let (known, seat) = core.fairness.enter(arriving, seats).await;
    *class = Some(known);
    seat.map(Some).ok_or_else(fairness::too_many)
}

/// Whether the roles (and for kubelets the node rules) allow the request.
fn authorize(
    core: &Core,
    user: &User,
    action: &Action,
    request: &Request<Body>,
    query: &Query,
) -> Result<(), Status> {
    let (verb, target) = match action {
        Action::Page(_) => {
            let verb = request.method().as_str().to_ascii_lowercase();
            let wish = Wish::Page { verb: &verb, path: request.uri().path() };
            return decide(core, user, &wish);
        }
        Action::Resource(verb, target) => (*verb, target),
    };
    let name = name_for_roles(verb, target, query);
    decide(core, user, &wish(verb.as_str(), target, &name))?;
    // Opening a stream with GET, as web sockets must, takes the right to create one.
    let stream = matches!(target.subresource.as_str(), "exec" | "attach" | "portforward");
    if stream && request.method() == Method::GET {
        decide(core, user, &wish(Verb::Create.as_str(), target, &name))?;
    }
    Ok(())
}

/// Whether the one who writes an object that is not there may create it.
pub(crate) fn may_create(call: &Call) -> Result<(), Status> {
    let wish = wish(Verb::Create.as_str(), &call.target, &call.target.name);
    decide(&call.core, &call.user, &wish)
}

fn decide(core: &Core, user: &User, wish: &Wish<'_>) -> Result<(), Status> {
    core.authorizer
        .decide(user, wish)
        .map_err(|reason| authz::forbidden_because(user, wish, &reason))
}

fn wish<'a>(verb: &'a str, target: &'a Target, name: &'a str) -> Wish<'a> {
    // Rights inside a namespace object are rights in that namespace.
    let in_itself = target.group.is_empty() && target.resource == "namespaces";
    Wish::Resource {
        verb,
        group: &target.group,
        resource: &target.resource,
        subresource: &target.subresource,
        namespace: if in_itself { name } else { &target.namespace },
        name,
    }
}

/// The object's name; for lists and watches of one object by field selector, that one.
fn name_for_roles(verb: Verb, target: &Target, query: &Query) -> String {
    if target.name.is_empty() && matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
        let selector = query.get("fieldSelector").unwrap_or_default();
        let one = selector.split(',').find_map(|term| term.strip_prefix("metadata.name="));
        return one.unwrap_or_default().trim_start_matches('=').to_owned();
    }
    target.name.clone()
}

fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(&AUDIT_ID).filter(|id| (1..=64).contains(&id.len()));
    match given {
        Some(id) => id.clone(),
        None => HeaderValue::from_str(&names::new_uid()).expect("a uid is hex and dashes"),
    }
}

/// Failures are in the format the client names first.
fn format_of_errors(headers: &HeaderMap) -> Format {
    let accept = headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
    match accept {
        Some(accept) if accept.starts_with("application/yaml") => Format::Yaml,
        Some(accept) if accept.starts_with(protobuf::MEDIA_TYPE) => Format::Protobuf,
        _ => Format::Json,
    }
}
