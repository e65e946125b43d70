//! The record of one request, from its arrival to its end.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use ::time::OffsetDateTime;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use minik_config::{AuditLevel, AuditStage};
use minik_meta::{Status, object, time};
use serde_json::{Value, json};

use super::event::{Event, ObjectRef, Outcome, agent};
use super::{Audit, policy};
use crate::authz::rbac::Wish;
use crate::body::{Body, BodyError};
use crate::core::Core;
use crate::user::User;

/// The record of a request, shared by all who add to it; empty where nothing is recorded.
///
/// A request that streams is complete when the last of them is dropped.
#[derive(Clone, Default)]
pub(crate) struct Trail {
    record: Option<Arc<Record>>,
}

struct Record {
    audit: Arc<Audit>,
    /// Whether the answer may take as long as the client likes.
    is_long: bool,
    draft: Mutex<Draft>,
}

struct Draft {
    event: Event,
    omit_stages: Vec<AuditStage>,
    omit_managed_fields: bool,
    /// Whether the policy was asked; before, nothing is written.
    is_decided: bool,
    /// Whether the last line was written.
    is_complete: bool,
}

/// What a request asks, from its head.
pub(crate) struct Head<'a> {
    pub(crate) id: String,
    pub(crate) wish: Wish<'a>,
    /// Version of the resource.
    pub(crate) version: &'a str,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) is_long: bool,
}

impl Trail {
    /// Begins a record and leaves it in the request, for all who get that.
    pub(crate) fn begin<'a>(
        audit: Option<&Arc<Audit>>,
        request: &mut Request<Body>,
        asked: impl FnOnce() -> Head<'a>,
    ) -> Trail {
        let Some(audit) = audit else { return Trail::default() };
        let Head { id, wish, version, peer, is_long } = asked();
        let uri = request.uri();
        let (verb, object) = match wish {
            Wish::Page { verb, .. } => (verb, None),
            Wish::Resource { verb, group, resource, subresource, namespace, name } => {
                let own = str::to_owned;
                let object = ObjectRef {
                    resource: own(resource),
                    namespace: own(namespace),
                    name: own(name),
                    group: own(group),
                    version: own(version),
                    subresource: own(subresource),
                    ..ObjectRef::default()
                };
                (verb, Some(object))
            }
        };
        let event = Event {
            level: AuditLevel::None,
            id,
            uri: uri.path_and_query().map_or("/", |both| both.as_str()).to_owned(),
            verb: verb.to_owned(),
            user: None,
            impersonated: None,
            source_ips: source_ips(request.headers(), peer),
            agent: request
                .headers()
                .get(USER_AGENT)
                .map_or_else(String::new, |value| agent(value.as_bytes())),
            object,
            status: None,
            request: None,
            response: None,
            received: time::now(),
            annotations: std::collections::BTreeMap::new(),
        };
        let draft = Draft {
            event,
            omit_stages: Vec::new(),
            omit_managed_fields: false,
            is_decided: false,
            is_complete: false,
        };
        let record = Record { audit: Arc::clone(audit), is_long, draft: Mutex::new(draft) };
        let trail = Trail { record: Some(Arc::new(record)) };
        request.extensions_mut().insert(trail.clone());
        trail
    }

    /// The record that was left in a request.
    pub(crate) fn of<B>(request: &Request<B>) -> Trail {
        request.extensions().get::<Trail>().cloned().unwrap_or_default()
    }

    /// It is known who asks: the policy decides, and the first line is written.
    pub(crate) async fn identified(&self, user: &User, wish: &Wish<'_>) {
        let Some(record) = &self.record else { return };
        record.decide(Some(user), wish);
        if let Some(line) = record.line(AuditStage::RequestReceived) {
            record.audit.log.write(line).await;
        }
    }

    /// Nobody known asked: one line tells that.
    pub(crate) async fn turned_away(&self, wish: &Wish<'_>, status: &Status) {
        let Some(record) = &self.record else { return };
        record.decide(None, wish);
        record.answered_with(status);
        if let Some(line) = record.line(AuditStage::ResponseStarted) {
            record.audit.log.write(line).await;
        }
        record.draft().is_complete = true;
    }

    pub(crate) fn impersonated(&self, user: &User) {
        if let Some(mut draft) = self.draft(AuditLevel::Metadata) {
            draft.event.impersonated = Some(user.clone());
        }
    }

    /// Notes what the authorizer says of the request.
    pub(crate) fn authorized(&self, core: &Core, user: &User, wish: &Wish<'_>) {
        let Some(mut draft) = self.draft(AuditLevel::Metadata) else { return };
        if draft.event.annotations.contains_key(DECISION) {
            return;
        }
        let (decision, reason) = match core.authorizer.explain(user, wish) {
            Ok(reason) => ("allow", reason),
            Err(reason) => ("forbid", reason),
        };
        draft.event.annotations.insert(DECISION.to_owned(), decision.to_owned());
        draft.event.annotations.insert(REASON.to_owned(), reason);
    }

    /// Notes something beside the fields; what is there stays.
    pub(crate) fn annotate(&self, key: String, value: String) {
        if let Some(mut draft) = self.draft(AuditLevel::Metadata) {
            draft.event.annotations.entry(key).or_insert(value);
        }
    }

    /// Notes one more value, if it is not there yet.
    pub(crate) fn annotate_more(&self, key: String, value: &str) {
        let Some(mut draft) = self.draft(AuditLevel::Metadata) else { return };
        let noted = draft.event.annotations.entry(key).or_default();
        if noted.is_empty() {
            noted.push_str(value);
        } else if !noted.split(", ").any(|one| one == value) {
            noted.push_str(", ");
            noted.push_str(value);
        }
    }

    /// Notes the object that was sent.
    pub(crate) fn sent(&self, value: &Value) {
        let Some(mut draft) = self.draft(AuditLevel::Metadata) else { return };
        if let Some(about) = &mut draft.event.object {
            for (field, key) in [
                (&mut about.namespace, "namespace"),
                (&mut about.name, "name"),
                (&mut about.uid, "uid"),
                (&mut about.resource_version, "resourceVersion"),
            ] {
                if field.is_empty() {
                    object::text(value, &["metadata", key]).clone_into(field);
                }
            }
        }
        if draft.event.level >= AuditLevel::Request {
            let omit = draft.omit_managed_fields;
            draft.event.request = Some(recorded(value.clone(), omit));
        }
    }

    /// Notes the patch that was sent.
    pub(crate) fn sent_patch(&self, value: &Value) {
        if let Some(mut draft) = self.draft(AuditLevel::Request) {
            draft.event.request = Some(value.clone());
        }
    }

    /// Notes the object that is answered.
    pub(crate) fn answers(&self, value: &Value) {
        let Some(mut draft) = self.draft(AuditLevel::Metadata) else { return };
        if value["kind"] == "Status" && value["apiVersion"] == "v1" {
            draft.event.status = Some(Outcome::Status(value.clone()));
        }
        if draft.event.level >= AuditLevel::RequestResponse {
            let omit = draft.omit_managed_fields;
            draft.event.response = Some(recorded(value.clone(), omit));
        }
    }

    /// Notes the object that is answered as these bytes of JSON.
    pub(crate) fn answers_json(&self, json: &Bytes) {
        if self.draft(AuditLevel::RequestResponse).is_some()
            && let Ok(value) = serde_json::from_slice(json)
        {
            self.answers(&value);
        }
    }

    /// Notes the failure that is answered.
    pub(crate) fn failed(&self, status: &Status) {
        if let Some(record) = &self.record {
            record.answered_with(status);
        }
    }

    /// The answer begins. Writes the last line, unless the answer may go on: then the record stays with
    /// its body.
    pub(crate) async fn finish(self, response: Response<Body>) -> Response<Body> {
        let Some(record) = self.record else { return response };
        let code = response.status();
        {
            let mut draft = record.draft();
            if draft.is_complete || draft.event.level == AuditLevel::None {
                return response;
            }
            match &mut draft.event.status {
                Some(Outcome::Status(status)) => status["code"] = code.as_u16().into(),
                status => *status = Some(Outcome::Code(code)),
            }
        }
        let stage = match record.is_long {
            true => AuditStage::ResponseStarted,
            false => AuditStage::ResponseComplete,
        };
        if let Some(line) = record.line(stage) {
            record.audit.log.write(line).await;
        }
        if !record.is_long {
            record.draft().is_complete = true;
            return response;
        }
        response.map(|body| Kept { body, _record: record }.boxed_unsync())
    }

    /// The record, if it is at least of this level.
    fn draft(&self, level: AuditLevel) -> Option<MutexGuard<'_, Draft>> {
        let draft = self.record.as_ref()?.draft();
        (draft.event.level >= level).then_some(draft)
    }
}

const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

impl Record {
    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn decide(&self, user: Option<&User>, wish: &Wish<'_>) {
        let mut draft = self.draft();
        draft.is_decided = true;
        let rule = policy::rule_for(&self.audit.policy, user, wish);
        let level = rule.map_or(AuditLevel::None, |rule| rule.level);
        self.audit.counts.of_level(level).fetch_add(1, Ordering::Relaxed);
        let Some(rule) = rule else { return };
        draft.event.level = level;
        draft.event.user = user.cloned();
        draft.omit_stages.clone_from(&rule.omit_stages);
        draft.omit_managed_fields = rule.omit_managed_fields;
    }

    fn answered_with(&self, status: &Status) {
        let mut draft = self.draft();
        let value = status.to_value();
        if draft.event.level >= AuditLevel::RequestResponse {
            draft.event.response = Some(value.clone());
        }
        draft.event.status = Some(Outcome::Status(value));
    }

    /// The line for a stage, if it is wanted.
    fn line(&self, stage: AuditStage) -> Option<Vec<u8>> {
        let draft = self.draft();
        let wanted = draft.is_decided
            && draft.event.level > AuditLevel::None
            && !draft.omit_stages.contains(&stage);
        wanted.then(|| draft.event.line(self.audit.format, stage, OffsetDateTime::now_utc()))
    }
}

impl Drop for Record {
    /// The end of a stream, of a request whose client went away, or of one that made the server panic.
    fn drop(&mut self) {
        let stage = {
            let mut draft = self.draft();
            if draft.is_complete {
                return;
            }
            if std::thread::panicking() {
                draft.event.status = Some(Outcome::Status(json!({
                    "status": "Failure",
                    "message": "APIServer panic'd",
                    "reason": "InternalError",
                    "code": 500,
                })));
                AuditStage::Panic
            } else {
                if draft.event.status.is_none() {
                    draft.event.status = Some(Outcome::Status(json!({
                        "status": "Success",
                        "message": "Connection closed early",
                        "code": StatusCode::OK.as_u16(),
                    })));
                }
                AuditStage::ResponseComplete
            }
        };
        let Some(mut line) = self.line(stage) else { return };
        if self.audit.log.try_write(&mut line) {
            return;
        }
        let audit = Arc::clone(&self.audit);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move { audit.log.write(line).await });
            }
            Err(_) => {
                self.audit.counts.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A body that keeps its record until it ends.
struct Kept {
    body: Body,
    _record: Arc<Record>,
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An object as it is recorded.
fn recorded(mut value: Value, omit_managed_fields: bool) -> Value {
    fn forget(object: &mut Value) {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("managedFields");
        }
    }
    if omit_managed_fields {
        forget(&mut value);
        for (list, item) in [("items", None), ("rows", Some("object"))] {
            let items = value.get_mut(list).and_then(Value::as_array_mut);
            for entry in items.into_iter().flatten() {
                match item {
                    None => forget(entry),
                    Some(key) => entry.get_mut(key).into_iter().for_each(forget),
                }
            }
        }
    }
    value
}

/// Where a request came from: what proxies say of it, and the other end of the connection.
fn source_ips(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut ips: Vec<IpAddr> =
        text("x-forwarded-for").unwrap_or_default().split(',').filter_map(parse).collect();
    ips.extend(text("x-real-ip").and_then(parse).filter(|ip| !ips.contains(ip)));
    let peer = peer.map(|peer| peer.to_canonical());
    ips.extend(peer.filter(|peer| ips.last() != Some(peer)));
    ips.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(&[], "10.0.0.9"; "the connection")]
    #[test_case(&[("x-forwarded-for", "1.2.3.4, junk, ::1")], "1.2.3.4 ::1 10.0.0.9"; "proxies")]
    #[test_case(&[("x-forwarded-for", "10.0.0.9")], "10.0.0.9"; "a proxy that names itself")]
    #[test_case(&[("x-real-ip", "5.6.7.8")], "5.6.7.8 10.0.0.9"; "real")]
    #[test_case(&[("x-real-ip", "1.2.3.4"), ("x-forwarded-for", "1.2.3.4")], "1.2.3.4 10.0.0.9"; "real and forwarded")]
    fn where_from(given: &[(&'static str, &str)], expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, value.parse().unwrap());
        }
        let ips = source_ips(&headers, Some([10, 0, 0, 9].into()));
        assert_eq!(ips.join(" "), expected);
    }

    #[test]
    fn managed_fields_are_left_out_everywhere() {
        let object = || json!({"metadata": {"name": "a", "managedFields": []}});
        let list = json!({"items": [object()], "rows": [{"object": object()}, {}], "metadata": {}});
        let without = recorded(list.clone(), true).to_string();
        assert!(!without.contains("managedFields"), "{without}");
        assert_eq!(recorded(list.clone(), false), list);
    }
}
