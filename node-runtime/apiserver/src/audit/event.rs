//! A record as it is written: `audit.k8s.io/v1` as JSON, or one line of text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ::time::OffsetDateTime;
use http::StatusCode;
use minik_config::{AuditFormat, AuditLevel, AuditStage};
use minik_meta::field::go_quote;
use minik_meta::time;
use serde_json::{Map, Value, json};

use crate::user::User;

/// Longest user agent that is recorded whole, in bytes.
const AGENT_BYTES_MAX: usize = 1024;

/// What is known of a request so far.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) level: AuditLevel,
    pub(super) id: String,
    pub(super) uri: String,
    pub(super) verb: String,
    /// None until it is known who asks.
    pub(super) user: Option<User>,
    pub(super) impersonated: Option<User>,
    pub(super) source_ips: Vec<String>,
    pub(super) agent: String,
    pub(super) object: Option<ObjectRef>,
    pub(super) status: Option<Outcome>,
    pub(super) request: Option<Value>,
    pub(super) response: Option<Value>,
    pub(super) received: OffsetDateTime,
    pub(super) annotations: BTreeMap<String, String>,
}

/// What a request is about.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectRef {
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource_version: String,
    pub(super) subresource: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Only this.
    Code(StatusCode),
    /// A `Status` object.
    Status(Value),
}

impl Event {
    /// The line for `stage`, with its end.
    pub(super) fn line(
        &self,
        format: AuditFormat,
        stage: AuditStage,
        now: OffsetDateTime,
    ) -> Vec<u8> {
        let mut line = match format {
            AuditFormat::Json => serde_json::to_vec(&self.json(stage, now)).unwrap_or_default(),
            AuditFormat::Legacy => self.text(stage).into_bytes(),
        };
        line.push(b'\n');
        line
    }

    fn json(&self, stage: AuditStage, now: OffsetDateTime) -> Value {
        let at = match stage {
            AuditStage::RequestReceived => self.received,
            _ => now,
        };
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": self.level.as_str(),
            "auditID": self.id,
            "stage": stage.as_str(),
            "requestURI": self.uri,
            "verb": self.verb,
            "user": self.user.as_ref().map_or_else(|| json!({}), User::info),
        });
        let map = event.as_object_mut().expect("made as an object");
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        };
        put("impersonatedUser", self.impersonated.as_ref().map(User::info));
        put("sourceIPs", (!self.source_ips.is_empty()).then(|| json!(self.source_ips)));
        put("userAgent", (!self.agent.is_empty()).then(|| self.agent.as_str().into()));
        put("objectRef", self.object.as_ref().map(ObjectRef::json));
        put("responseStatus", self.status.as_ref().map(Outcome::json));
        put("requestObject", self.request.clone());
        put("responseObject", self.response.clone());
        put("requestReceivedTimestamp", Some(time::rfc3339_micro(self.received).into()));
        put("stageTimestamp", Some(time::rfc3339_micro(at).into()));
        put("annotations", (!self.annotations.is_empty()).then(|| json!(self.annotations)));
        event
    }

    fn text(&self, stage: AuditStage) -> String {
        let list = |groups: &[String]| {
            groups.iter().map(|group| go_quote(group)).collect::<Vec<_>>().join(",")
        };
        let (name, groups) = match &self.user {
            Some(user) if !user.groups.is_empty() => (user.name.clone(), list(&user.groups)),
            Some(user) => (user.name.clone(), "<none>".to_owned()),
            None => ("<none>".to_owned(), "<none>".to_owned()),
        };
        let (as_user, as_groups) = match &self.impersonated {
            Some(user) => (user.name.as_str(), list(&user.groups)),
            None => ("<self>", "<lookup>".to_owned()),
        };
        let namespace = self.object.as_ref().map(|object| object.namespace.as_str());
        let namespace = namespace.filter(|name| !name.is_empty()).unwrap_or("<none>");
        let response = self.status.as_ref().map_or_else(|| "<deferred>".to_owned(), Outcome::code);
        let ip = self.source_ips.first().map_or("<unknown>", String::as_str);
        let mut line = format!("{} AUDIT:", time::rfc3339_micro(self.received));
        for (key, value) in [
            ("id", self.id.as_str()),
            ("stage", stage.as_str()),
            ("ip", ip),
            ("method", &self.verb),
            ("user", &name),
            ("groups", &groups),
            ("as", as_user),
            ("asgroups", &as_groups),
            ("user-agent", &self.agent),
            ("namespace", namespace),
            ("uri", &self.uri),
            ("response", &response),
        ] {
            let _ = write!(line, " {key}={}", go_quote(value));
        }
        line
    }
}

/// A user agent, cut where it is unreasonably long.
pub(super) fn agent(bytes: &[u8]) -> String {
    match bytes.get(..AGENT_BYTES_MAX) {
        Some(start) if bytes.len() > AGENT_BYTES_MAX => {
            format!("{}...TRUNCATED", String::from_utf8_lossy(start))
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

impl ObjectRef {
    fn json(&self) -> Value {
        let fields = [
            ("resource", &self.resource),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("uid", &self.uid),
            ("apiGroup", &self.group),
            ("apiVersion", &self.version),
            ("resourceVersion", &self.resource_version),
            ("subresource", &self.subresource),
        ];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        fields
            .map(|(key, value)| (key.to_owned(), value.as_str().into()))
            .collect::<Map<_, _>>()
            .into()
    }
}

impl Outcome {
    fn json(&self) -> Value {
        let mut out = json!({"metadata": {}});
        match self {
            Outcome::Code(code) => out["code"] = code.as_u16().into(),
            Outcome::Status(status) => {
                for key in ["status", "message", "reason", "details", "code"] {
                    if let Some(value) = status.get(key) {
                        out[key] = value.clone();
                    }
                }
            }
        }
        out
    }

    fn code(&self) -> String {
        match self {
            Outcome::Code(code) => code.as_u16().to_string(),
            Outcome::Status(status) => status["code"].to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn event() -> Event {
        Event {
            level: AuditLevel::Metadata,
            id: "7f3a".to_owned(),
            uri: "/api/v1/namespaces/web/pods?dryRun=All".to_owned(),
            verb: "create".to_owned(),
            user: Some(User::new("ann", ["dev \"ops\""])),
            impersonated: None,
            source_ips: vec!["10.0.0.1".to_owned()],
            agent: "kubectl/v1.36".to_owned(),
            object: Some(ObjectRef {
                resource: "pods".to_owned(),
                namespace: "web".to_owned(),
                version: "v1".to_owned(),
                ..ObjectRef::default()
            }),
            status: None,
            request: None,
            response: None,
            received: OffsetDateTime::UNIX_EPOCH,
            annotations: BTreeMap::new(),
        }
    }

    fn line(event: &Event, format: AuditFormat, stage: AuditStage) -> String {
        let at = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_micros(1_500_001);
        String::from_utf8(event.line(format, stage, at)).unwrap()
    }

    #[test]
    fn json_lines() {
        let mut event = event();
        expect![[r#"
            {"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7f3a","stage":"RequestReceived","requestURI":"/api/v1/namespaces/web/pods?dryRun=All","verb":"create","user":{"username":"ann","groups":["dev \"ops\"","system:authenticated"]},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1.36","objectRef":{"resource":"pods","namespace":"web","apiVersion":"v1"},"requestReceivedTimestamp":"1970-01-01T00:00:00.000000Z","stageTimestamp":"1970-01-01T00:00:00.000000Z"}
        "#]]
        .assert_eq(&line(&event, AuditFormat::Json, AuditStage::RequestReceived));
        event.impersonated = Some(User::new("bob", Vec::<String>::new()));
        event.status = Some(Outcome::Status(json!({
            "kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden",
            "details": {"kind": "pods"}, "code": 403,
        })));
        event.request = Some(json!({"kind": "Pod"}));
        event.annotations.insert("authorization.k8s.io/decision".into(), "forbid".into());
        expect![[r#"
            {"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7f3a","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/web/pods?dryRun=All","verb":"create","user":{"username":"ann","groups":["dev \"ops\"","system:authenticated"]},"impersonatedUser":{"username":"bob","groups":["system:authenticated"]},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1.36","objectRef":{"resource":"pods","namespace":"web","apiVersion":"v1"},"responseStatus":{"metadata":{},"status":"Failure","message":"no","reason":"Forbidden","details":{"kind":"pods"},"code":403},"requestObject":{"kind":"Pod"},"requestReceivedTimestamp":"1970-01-01T00:00:00.000000Z","stageTimestamp":"1970-01-01T00:00:01.500001Z","annotations":{"authorization.k8s.io/decision":"forbid"}}
        "#]]
        .assert_eq(&line(&event, AuditFormat::Json, AuditStage::ResponseComplete));
    }

    #[test]
    fn text_lines() {
        let mut event = event();
        event.status = Some(Outcome::Code(StatusCode::CREATED));
        expect![[r#"
            1970-01-01T00:00:00.000000Z AUDIT: id="7f3a" stage="ResponseComplete" ip="10.0.0.1" method="create" user="ann" groups="\"dev \\\"ops\\\"\",\"system:authenticated\"" as="<self>" asgroups="<lookup>" user-agent="kubectl/v1.36" namespace="web" uri="/api/v1/namespaces/web/pods?dryRun=All" response="201"
        "#]]
        .assert_eq(&line(&event, AuditFormat::Legacy, AuditStage::ResponseComplete));
        event.uri = "/a\nb".to_owned();
        assert_eq!(line(&event, AuditFormat::Legacy, AuditStage::Panic).lines().count(), 1);
    }

    #[test]
    fn long_user_agents_are_cut() {
        assert_eq!(agent(b"curl"), "curl");
        assert_eq!(agent(&[b'x'; 2000]).len(), AGENT_BYTES_MAX + "...TRUNCATED".len());
    }
}
