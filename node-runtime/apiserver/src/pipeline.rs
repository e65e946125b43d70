//! The one way of every request: who is it, what is asked, may they, do it, answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body as _;
use minik_api::protobuf;
use minik_meta::{Status, names};
use tracing::{debug, error};

use crate::audit::{Head, Trail};
use crate::authn::impersonate::impersonated;
use crate::authn::{self, Connection};
use crate::authz::rbac::Wish;
use crate::authz::{self};
use crate::body::Body;
use crate::call::{Call, Stay, Warnings};
use crate::core::Core;
use crate::deadline;
use crate::fairness::{self, Arriving, Class, Seat, What};
use crate::metrics::{self, Answered, LongRunning, Pending};
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

/// What is known of a request before anything was looked up.
struct Asked<'a> {
    caller: &'a Caller,
    action: &'a Arc<Action>,
    wish: Wish<'a>,
}

impl<'a> Asked<'a> {
    /// As the audit log wants it.
    fn head(&self, audit_id: &HeaderValue) -> Head<'a> {
        let (peer, action) = match self.caller {
            Caller::Connection(connection) => (Some(connection.peer.ip()), self.action),
            Caller::InProcess(_) => (None, self.action),
        };
        Head {
            id: audit_id.to_str().unwrap_or_default().to_owned(),
            wish: self.wish,
            version: match &**action {
                Action::Page(_) => "",
                Action::Resource(_, target) => &target.version,
            },
            peer,
            is_long: deadline::is_long_running(action),
        }
    }
}

/// What is told beside the answer, be it a failure.
#[derive(Default)]
struct Noted {
    class: Option<Class>,
    warnings: Warnings,
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
    let name = name_for_roles(&action, &query);
    let asked =
        Asked { caller: &caller, action: &action, wish: wish_of(&action, &method, &path, &name) };
    let trail = Trail::begin(core.audit.as_ref(), &mut request, || asked.head(&audit_id));

    let pending = Pending::new(&core, &action, &method);
    let (applies, dry_run) = (is_apply(&headers), metrics::is_dry_run(&query));
    let mut noted = Noted::default();
    let mut response = match in_time(&core, &asked, query, request, &mut noted).await {
        Ok(response) => response,
        Err(status) => {
            if status.code >= 500 {
                error!(%method, %path, code = status.code, message = %status.message, "failed");
            }
            trail.failed(&status);
            respond::status(&status, format_of_errors(&headers))
        }
    };
    respond::warn(response.headers_mut(), &noted.warnings.take());
    response = trail.finish(response).await;
    if matches!(caller, Caller::Connection(_)) {
        response = respond::compress(response, &headers).await;
    }
    response.headers_mut().insert(AUDIT_ID, audit_id);
    response = respond::finished(response, &method);
    let (took, class) = (started.elapsed(), noted.class);
    core.metrics.record(&Answered {
        action: &action,
        applies,
        method: &method,
        dry_run,
        code: response.status(),
        took,
        waited: class.as_ref().map_or(Duration::ZERO, |class| class.waited),
        size: response.body().size_hint().exact(),
        dropped: class.as_ref().is_some_and(|class| class.refused),
    });
    pending.answered();
    if let Some(class) = class {
        class.mark(response.headers_mut());
    }
    if response.status().is_success() && deadline::is_long_running(&action) {
        let counted = LongRunning::new(&core, &action);
        response = response.map(|body| counted.attached(body));
    }
    debug!(%method, %path, code = response.status().as_u16(), took_us = took.as_micros(), "served");
    response
}

/// Serves the request, but for no longer than it may take.
async fn in_time(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    query: Query,
    request: Request<Body>,
    noted: &mut Noted,
) -> Result<Response<Body>, Status> {
    let Some(time) = deadline::time_of(asked.action, &query)? else {
        return serve(core, asked, query, request, None, noted).await;
    };
    let serving = serve(core, asked, query, request, Some(time), noted);
    let served = tokio::time::timeout(time, serving).await;
    served.unwrap_or_else(|_| Err(Status::timeout(deadline::TOO_LONG, 0)))
}

/// Who makes the request: whom it comes from, or whom that one acts as.
async fn identify(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    request: &mut Request<Body>,
) -> Result<User, Status> {
    let trail = Trail::of(request);
    let user = match asked.caller {
        Caller::Connection(connection) => {
            let path = request.uri().path().to_owned();
            let found = authn::authenticate(core, connection, request.headers_mut(), &path).await;
            core.metrics.authenticated(found.as_ref().ok().map(|user| user.name.as_str()));
            match found {
                Ok(user) => user,
                Err(status) => {
                    trail.turned_away(&asked.wish, &status).await;
                    return Err(status);
                }
            }
        }
        Caller::InProcess(user) => user.clone(),
    };
    trail.identified(&user, &asked.wish).await;
    let Some(other) = impersonated(&core.authorizer, &user, request.headers())? else {
        return Ok(user);
    };
    trail.impersonated(&other);
    Ok(other)
}

/// Authentication, impersonation, a seat, authorization, and then the page or verb itself. Says in
/// `noted` what the request was taken for.
async fn serve(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    query: Query,
    mut request: Request<Body>,
    time: Option<Duration>,
    noted: &mut Noted,
) -> Result<Response<Body>, Status> {
    let deadline = time.map(|time| Instant::now() + time);
    let Asked { action, ref wish, .. } = *asked;
    let user = identify(core, asked, &mut request).await?;
    let (verb, uri) = (request.method().as_str().to_ascii_lowercase(), request.uri().clone());
    let what = match &**action {
        Action::Page(_) => What::Page { verb: &verb, path: uri.path() },
        Action::Resource(verb, target) => What::Resource { verb: *verb, target },
    };
    let arriving =
        Arriving { asked: fairness::Asked { user: &user, what }, uri: &uri, action, time };
    let seat = match seat(core, arriving, &query, &mut noted.class).await {
        Ok(seat) => seat,
        Err(full) => return Ok(full),
    };
    Trail::of(&request).authorized(core, &user, wish);
    let allowed = authorize(core, &user, wish, &request);
    core.metrics.authorized(allowed.is_ok());
    allowed?;

    if let Some(remote) = core.aggregation.server_of(request.uri().path()) {
        // What a watch costs is the other server's to say.
        let _seat = seat.filter(|_| time.is_some());
        return Ok(aggregation::proxy::serve(core, &user, &remote, request).await);
    }
    match &**action {
        Action::Page(page) => pages::serve(core, page, &query, request.headers()),
        Action::Resource(verb, target) => {
            let stay = Stay { deadline, seat, warnings: noted.warnings.clone() };
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
    wish: &Wish<'_>,
    request: &Request<Body>,
) -> Result<(), Status> {
    decide(core, user, wish)?;
    // Opening a stream with GET, as web sockets must, takes the right to create one.
    if let Wish::Resource { subresource: "exec" | "attach" | "portforward", .. } = *wish
        && request.method() == Method::GET
    {
        decide(core, user, &wish.with_verb(Verb::Create.as_str()))?;
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

/// What the request takes the right to do.
fn wish_of<'a>(action: &'a Action, method: &'a Method, path: &'a str, name: &'a str) -> Wish<'a> {
    match action {
        Action::Page(_) => Wish::Page { verb: page_verb(method), path },
        Action::Resource(verb, target) => wish(verb.as_str(), target, name),
    }
}

/// A method as rules for pages name it.
fn page_verb(method: &Method) -> &str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => method.as_str(),
    }
}

/// The object's name; for lists and watches of one object by field selector, that one.
fn name_for_roles(action: &Action, query: &Query) -> String {
    let Action::Resource(verb, target) = action else { return String::new() };
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

fn is_apply(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|text| text.starts_with(b"application/apply-patch"))
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
