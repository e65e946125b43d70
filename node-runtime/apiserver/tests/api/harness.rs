//! A server on an empty store, and ways to ask it things.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use minik_apiserver::{ApiServer, Body, Config, InProcess, Secrets, User};
use minik_config::Authentication;
use minik_pki::{CA_VALIDITY, Ca, LeafRequest, ec_key_pair};
use minik_store::{Storage, Store};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is asked in process.
pub(crate) struct Api {
    pub(crate) server: Option<ApiServer>,
    pub(crate) store: Store,
    pub(crate) ca: Ca,
    /// Who vouches for the certificate that other API servers are shown.
    pub(crate) front_proxy: Ca,
    admin: InProcess,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The object, if the request went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {}", self.code, self.body);
        self.body
    }

    /// `CODE REASON message`, if the request failed.
    pub(crate) fn failure(&self) -> String {
        let text = |key: &str| self.body[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}", self.code, text("reason"), text("message"))
    }

    /// Texts of the `Warning` headers.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let values = self.headers.get_all("warning").iter();
        values.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
    }
}

impl Api {
    /// A server with a store in memory, bound to a free loopback port.
    pub(crate) async fn new() -> Api {
        let storage = minik_store::Config::new(Storage::Memory);
        Api::on(Store::open(&storage).expect("store")).await
    }

    /// A server with these issuers of tokens.
    pub(crate) async fn trusting(authentication: Authentication) -> Api {
        Api::with(|config| config.authentication = authentication).await
    }

    /// The same with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Api {
        let storage = minik_store::Config::new(Storage::Memory);
        Api::configured(Store::open(&storage).expect("store"), change).await
    }

    pub(crate) async fn on(store: Store) -> Api {
        Api::configured(store, |_| {}).await
    }

    /// A server on a store of its own, with other settings.
    pub(crate) async fn configured(store: Store, change: impl FnOnce(&mut Config)) -> Api {
        let ca = Ca::new("test", CA_VALIDITY).expect("authority");
        let names = ["127.0.0.1", "localhost"].map(str::to_owned).to_vec();
        let issue = |request: &LeafRequest| ca.issue(request).expect("certificate");
        let front_proxy = Ca::new("front-proxy", CA_VALIDITY).expect("authority");
        let front_client = LeafRequest::client("front-proxy-client", &[]);
        let secrets = Secrets {
            front_proxy_ca_pem: front_proxy.cert_pem().to_owned(),
            front_proxy_client: front_proxy.issue(&front_client).expect("certificate"),
            serving: issue(&LeafRequest::server("kube-apiserver", names)),
            client_ca_pem: ca.cert_pem().to_owned(),
            kubelet_client: issue(&LeafRequest::client("apiserver", &["system:masters"])),
            service_account: ec_key_pair().expect("keys"),
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = Config::new(listen, listen.ip());
        change(&mut config);
        let server = config.build(store.clone(), secrets).await.expect("server");
        let admin = server.in_process(User::admin());
        let api = Api { server: Some(server), store, ca, front_proxy, admin };
        let made = api.post("/api/v1/namespaces/default/serviceaccounts", account("default")).await;
        // A store that was used before has it.
        assert!(matches!(made.code, 201 | 409), "{}", made.body);
        api
    }

    /// Serves on its socket, and does its chores, until the token is cancelled or the test ends.
    pub(crate) fn run(&mut self) -> (CancellationToken, JoinHandle<()>) {
        let server = self.server.take().expect("a server that does not run yet");
        let drain = CancellationToken::new();
        (drain.clone(), tokio::spawn(server.run(drain)))
    }

    /// What requests are made with.
    pub(crate) fn service(&self, user: User) -> InProcess {
        self.admin.with_user(user)
    }

    /// Asks as the administrator: `GET /api/v1/pods`.
    pub(crate) async fn ask(&self, what: &str, body: Option<Value>) -> Answer {
        self.ask_as(User::admin(), what, body, &[]).await
    }

    /// Asks as somebody, with more headers.
    pub(crate) async fn ask_as(
        &self,
        user: User,
        what: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        self.ask_bytes(user, what, body, headers).await
    }

    /// Asks with a body as it is written here.
    pub(crate) async fn ask_bytes(
        &self,
        user: User,
        what: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Answer {
        let response = self.raw(user, what, body, headers).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("body").to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code: head.status.as_u16(), headers: head.headers, body }
    }

    /// Asks with bytes and gets the response with its body unread.
    pub(crate) async fn raw(
        &self,
        user: User,
        what: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let (method, uri) = what.split_once(' ').expect("METHOD PATH");
        let method: Method = method.parse().expect("method");
        let mut request = Request::builder().method(&method).uri(uri);
        if method == Method::PATCH && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/merge-patch+json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("request");
        let mut service = self.admin.with_user(user);
        let answering = tokio::time::timeout(PATIENCE, service.call(request));
        answering.await.expect("answered in time").expect("never fails")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(&format!("POST {path}"), Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask(&format!("PUT {path}"), Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(&format!("PATCH {path}"), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(&format!("DELETE {path}"), None).await
    }

    /// Opens a watch as the administrator.
    pub(crate) async fn watch(&self, path: &str) -> Events {
        self.watch_with(path, &[]).await
    }

    pub(crate) async fn watch_with(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let what = format!("GET {path}");
        let response = self.raw(User::admin(), &what, Bytes::new(), headers).await;
        assert_eq!(response.status(), 200);
        Events { body: response.into_body(), rest: Vec::new() }
    }
}

/// The events of a watch.
pub(crate) struct Events {
    body: Body,
    rest: Vec<u8>,
}

impl Events {
    /// The next event; `None` when the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("event"));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("an event in time")?.expect("frame");
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }

    /// `TYPE name` of the next event.
    pub(crate) async fn line(&mut self) -> String {
        let Some(event) = self.next().await else { return "END".to_owned() };
        let kind = event["type"].as_str().unwrap_or_default();
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{kind} {name}").trim_end().to_owned()
    }
}

pub(crate) fn account(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    })
}

/// The path of config maps in `default`.
pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The path of pods in `default`.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
