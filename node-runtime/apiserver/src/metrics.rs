//! What the server counts of itself, under the names that dashboards and alerts know.
//!
//! [`Metrics`] is what is counted as it happens; `collect` adds what is looked up when somebody
//! asks: the store, the seats, the process.

mod collect;
mod families;
mod process;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::body::Body;
use crate::core::Core;
use crate::deadline;
use crate::route::{Action, Page, Query, Target, Verb};
use families::{Access, Health, Policies, Requests, Streams, Webhooks};

pub(crate) use collect::{render, render_health};
pub(crate) use registry::{Family, Kind as MetricKind, Text};

const COMPONENT: &str = "apiserver";

/// The counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Requests,
    streams: Streams,
    access: Access,
    webhooks: Webhooks,
    policies: Policies,
    health: Health,
}

/// What requests are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Labels<'a> {
    verb: &'static str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    scope: &'static str,
}

/// One answered request.
pub(crate) struct Answered<'a> {
    pub(crate) action: &'a Action,
    pub(crate) applies: bool,
    pub(crate) method: &'a Method,
    pub(crate) dry_run: bool,
    pub(crate) code: StatusCode,
    pub(crate) took: Duration,
    /// Without the time it waited for a seat.
    pub(crate) waited: Duration,
    /// Bytes, where known.
    pub(crate) size: Option<u64>,
    /// The server refused it to protect itself.
    pub(crate) dropped: bool,
}

impl<'a> Labels<'a> {
    /// Requests for what is not there, or must not be seen, are counted as one: clients shall not
    /// fill the memory with names they make up.
    fn of(action: &'a Action, method: &Method, applies: bool, known: bool) -> Labels<'a> {
        let blank = |verb| Labels {
            verb,
            group: "",
            version: "",
            resource: "",
            subresource: "",
            scope: "",
        };
        match action {
            Action::Page(page) => {
                Labels { subresource: page_path(page), ..blank(method_label(method)) }
            }
            Action::Resource(verb, target) => {
                let verb = verb_label(*verb, target, applies);
                if !known {
                    return Labels { scope: scope(target), ..blank(verb) };
                }
                Labels {
                    verb,
                    group: &target.group,
                    version: &target.version,
                    resource: &target.resource,
                    subresource: &target.subresource,
                    scope: scope(target),
                }
            }
        }
    }

    fn with<const N: usize>(&self, more: &[&'a str]) -> [&'a str; N] {
        let own =
            [self.verb, self.group, self.version, self.resource, self.subresource, self.scope];
        let mut all = [""; N];
        all.iter_mut().zip(own.iter().chain(more)).for_each(|(to, from)| *to = from);
        all
    }
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn record(&self, answered: &Answered<'_>) {
        let Answered { action, method, code, took, .. } = *answered;
        let known = code != StatusCode::NOT_FOUND && code != StatusCode::FORBIDDEN;
        let labels = Labels::of(action, method, answered.applies, known);
        let dry_run = if answered.dry_run { "All" } else { "" };
        self.requests.total.count(&labels.with::<9>(&[COMPONENT, dry_run, code.as_str()]));
        if answered.dropped {
            self.requests.terminations.count(&labels.with::<8>(&[COMPONENT, code.as_str()]));
            return;
        }
        if deadline::is_long_running(action) {
            return;
        }
        let seconds = took.as_secs_f64();
        self.requests.durations.observe(&labels.with::<8>(&[COMPONENT, dry_run]), seconds);
        if !answered.dry_run {
            let own = took.saturating_sub(answered.waited).as_secs_f64();
            self.requests.sli.observe(&labels.with::<7>(&[COMPONENT]), own);
        }
        if let (Action::Resource(Verb::Get | Verb::List, _), Some(size)) = (action, answered.size) {
            self.requests.sizes.observe(&labels.with::<7>(&[COMPONENT]), size as f64);
        }
    }

    /// Counts one request whose client went away, or that was given up.
    fn aborted(&self, action: &Action, method: &Method) {
        self.requests.aborts.count(&Labels::of(action, method, false, true).with::<6>(&[]));
    }

    /// Counts events that were sent to a watch, by their sizes in bytes.
    pub(crate) fn watched(&self, gvr: [&str; 3], sizes: &[usize]) {
        self.streams.watch_events.add(&gvr, sizes.len() as f64);
        self.streams.watch_sizes.observe_all(&gvr, sizes.iter().map(|size| *size as f64));
    }

    /// Counts a connection that ended in its TLS handshake.
    pub(crate) fn handshake_failed(&self) {
        self.access.tls_errors.count(&[]);
    }

    /// Counts whether it was found out who makes a request.
    pub(crate) fn authenticated(&self, user: Option<&str>) {
        self.access.authentications.count(&[if user.is_some() { "success" } else { "failure" }]);
        if let Some(user) = user {
            // As many names as there may be users would be too many.
            let own = ["admin", "kubecfg", "kubelet", "system:apiserver"];
            let name = own.iter().find(|name| **name == user).copied().unwrap_or("other");
            self.access.users.count(&[name]);
        }
    }

    /// Counts a decision of the roles.
    pub(crate) fn authorized(&self, allowed: bool) {
        self.access.authorizations.count(&[if allowed { "allowed" } else { "no-opinion" }]);
    }

    /// Notes how long a webhook took; `kind` is `admit` or `validating`.
    pub(crate) fn webhook(
        &self,
        name: &str,
        kind: &str,
        operation: &str,
        rejected: bool,
        took: Duration,
    ) {
        let rejected = if rejected { "true" } else { "false" };
        self.webhooks.durations.observe(&[name, kind, operation, rejected], took.as_secs_f64());
    }

    /// Counts a request that was refused because of a webhook: it said no, with `code`, or failed.
    pub(crate) fn webhook_rejected(
        &self,
        name: &str,
        kind: &str,
        operation: &str,
        error: &str,
        code: u16,
    ) {
        let code = code.min(600).to_string();
        self.webhooks.rejections.count(&[name, kind, operation, error, &code]);
    }

    /// Counts a failed webhook that was passed over.
    pub(crate) fn webhook_passed_over(&self, name: &str, kind: &str) {
        self.webhooks.open.count(&[name, kind]);
    }

    /// Counts a validation of a policy; `action` is what its binding made of it.
    pub(crate) fn validated(
        &self,
        policy: &str,
        binding: &str,
        failed: bool,
        action: &str,
        took: Duration,
    ) {
        let error = if failed { "invalid_error" } else { "no_error" };
        let labels = [policy, binding, error, action];
        self.policies.checks.count(&labels);
        self.policies.durations.observe(&labels, took.as_secs_f64());
    }

    /// Notes the result of a health check.
    pub(crate) fn health(&self, probe: &str, name: &str, good: bool) {
        self.health.healthy.set(&[name, probe], if good { 1.0 } else { 0.0 });
        let status = if good { "success" } else { "error" };
        self.health.checks.count(&[name, probe, status]);
    }

    fn families(&self) -> [&Family; 18] {
        [
            &self.requests.aborts,
            &self.requests.total,
            &self.requests.durations,
            &self.requests.sli,
            &self.requests.terminations,
            &self.requests.sizes,
            &self.streams.long_running,
            &self.streams.watch_events,
            &self.streams.watch_sizes,
            &self.access.tls_errors,
            &self.access.authentications,
            &self.access.users,
            &self.access.authorizations,
            &self.webhooks.durations,
            &self.webhooks.rejections,
            &self.webhooks.open,
            &self.policies.checks,
            &self.policies.durations,
        ]
    }
}

/// A request that is being answered: counted as aborted if it goes before its answer is there.
pub(crate) struct Pending {
    core: Arc<Core>,
    action: Arc<Action>,
    method: Method,
    answered: bool,
}

impl Pending {
    pub(crate) fn new(core: &Arc<Core>, action: &Arc<Action>, method: &Method) -> Pending {
        let (core, action) = (Arc::clone(core), Arc::clone(action));
        Pending { core, action, method: method.clone(), answered: false }
    }

    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered {
            self.core.metrics.aborted(&self.action, &self.method);
        }
    }
}

/// An open watch or stream: counted for as long as this lives.
pub(crate) struct LongRunning {
    core: Arc<Core>,
    action: Arc<Action>,
}

impl LongRunning {
    pub(crate) fn new(core: &Arc<Core>, action: &Arc<Action>) -> LongRunning {
        let one = LongRunning { core: Arc::clone(core), action: Arc::clone(action) };
        one.add(1.0);
        one
    }

    /// The same answer, counted until its end.
    pub(crate) fn attached(self, body: Body) -> Body {
        let frames = body.map_frame(move |frame| {
            let _counted = &self;
            frame
        });
        frames.boxed_unsync()
    }

    fn add(&self, amount: f64) {
        let labels = Labels::of(&self.action, &Method::GET, false, true);
        self.core.metrics.streams.long_running.add(&labels.with::<7>(&[COMPONENT]), amount);
    }
}

impl Drop for LongRunning {
    fn drop(&mut self) {
        self.add(-1.0);
    }
}

fn verb_label(verb: Verb, target: &Target, applies: bool) -> &'static str {
    match verb {
        _ if deadline::is_stream(&target.subresource) && target.subresource != "log" => "CONNECT",
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch if applies => "APPLY",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" | "HEAD" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn scope(target: &Target) -> &'static str {
    match (target.name.is_empty(), target.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    }
}

/// Where a page is, without what clients can make up.
fn page_path(page: &Page) -> &'static str {
    match page {
        Page::Index => "/",
        Page::Health { probe: "livez", .. } => "/livez",
        Page::Health { probe: "readyz", .. } => "/readyz",
        Page::Health { .. } => "/healthz",
        Page::Version => "/version",
        Page::Metrics => "/metrics",
        Page::HealthMetrics => "/metrics/slis",
        Page::OpenApiV2 => "/openapi/v2",
        Page::OpenApiV3 { .. } => "/openapi/v3",
        Page::OpenIdConfiguration => "/.well-known/openid-configuration",
        Page::Jwks => "/openid/v1/jwks",
        Page::Fairness(_) => "/debug/api_priority_and_fairness",
        Page::Legacy => "/api",
        Page::Groups | Page::Group { .. } | Page::Resources { .. } => "/apis",
        Page::WrongMethod | Page::Unknown => "",
    }
}

/// Whether a query asks for a dry run, as far as metrics care.
pub(crate) fn is_dry_run(query: &Query) -> bool {
    query.get("dryRun").is_some()
}

#[cfg(test)]
mod tests;
