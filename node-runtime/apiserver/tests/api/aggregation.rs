//! Another API server behind this one, on the loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use expect_test::expect;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use minik_apiserver::User;
use minik_pki::{CA_VALIDITY, Ca, LeafRequest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::custom::Running;
use crate::harness::{Api, Events};

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const THINGS: &str = "/apis/other.example.com/v1/namespaces/default/things";

type Out = UnsyncBoxBody<Bytes, Infallible>;

/// A server that takes nobody's word but that of the front proxy.
struct Other {
    address: SocketAddr,
    bundle: String,
    /// Whether it works.
    good: Arc<AtomicBool>,
}

fn full(value: Value) -> Out {
    Full::new(Bytes::from(value.to_string())).boxed_unsync()
}

/// Answers as the paths say; what has no meaning comes back as it was understood.
async fn answer(request: Request<Incoming>, good: bool) -> Response<Out> {
    let path = request.uri().path().to_owned();
    if !good {
        let mut response = Response::new(full(json!("broken")));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    }
    match path.as_str() {
        "/apis" | "/openapi/v2" if request.method() == "GET" => {
            let mut response = Response::new(full(json!({"paths": {
                "/apis/other.example.com/v1/things": {"get": {}}, "/apis/": {},
            }, "definitions": {"com.example.Thing": {"type": "object"}}})));
            response.headers_mut().insert("etag", "\"7\"".parse().expect("etag"));
            response
        }
        "/apis/other.example.com/v1" => Response::new(full(json!({
        "kind": "APIResourceList", "groupVersion": "other.example.com/v1", "resources": [
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get", "list", "watch"]},
        ]}))),
        "/openapi/v3" => Response::new(full(json!({"paths": {"apis/other.example.com/v1": {
            "serverRelativeURL": "/openapi/v3/apis/other.example.com/v1?hash=ABC"}}}))),
        _ if request.uri().query() == Some("watch=1") => {
            let lines = ["ADDED", "DELETED"].map(|kind| {
                let event = json!({"type": kind, "object": {"metadata": {"name": "t"}}});
                Ok(Frame::data(Bytes::from(format!("{event}\n"))))
            });
            let open = futures::stream::iter(lines).chain(futures::stream::pending());
            Response::new(StreamBody::new(open).boxed_unsync())
        }
        _ if request.headers().contains_key("upgrade") => upgraded(request),
        _ => {
            let headers = request.headers();
            let all = |name: &str| -> Vec<String> {
                let values = headers.get_all(name).iter();
                values.map(|value| value.to_str().expect("text").to_owned()).collect()
            };
            let mut said = json!({
                "method": request.method().as_str(), "path": "",
                "user": all("x-remote-user"), "groups": all("x-remote-group"),
                "extra": all("x-remote-extra-example.com%2fscopes"),
                "secrets": [headers.get("authorization").is_some(), headers.get("impersonate-user").is_some()],
            });
            let uri = request.uri().path_and_query().expect("path").to_string();
            said["path"] = uri.into();
            let body = request.into_body().collect().await.expect("body").to_bytes();
            said["body"] = String::from_utf8_lossy(&body).into_owned().into();
            let mut response = Response::new(full(said));
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
    }
}

/// Says back each byte.
fn upgraded(request: Request<Incoming>) -> Response<Out> {
    let user = request.headers()["x-remote-user"].to_str().expect("text").to_owned();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.expect("upgrade");
        let mut stream = TokioIo::new(upgraded);
        stream.write_all(format!("{user}:").as_bytes()).await.expect("write");
        let (mut from, mut to) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    });
    let mut response = Response::new(http_body_util::Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "Upgrade".parse().expect("header"));
    headers.insert("upgrade", "echo".parse().expect("header"));
    response
}

async fn other(api: &Api) -> Other {
    let ca = Ca::new("other", CA_VALIDITY).expect("authority");
    let leaf = LeafRequest::server("other", vec!["other.default.svc".to_owned()]);
    let leaf = ca.issue(&leaf).expect("certificate");
    let certificate = CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).expect("pem");
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("pem");
    let mut roots = rustls::RootCertStore::empty();
    let front = CertificateDer::from_pem_slice(api.front_proxy.cert_pem().as_bytes()).expect("pem");
    roots.add(front).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("verifier"))
        .with_single_cert(vec![certificate], key)
        .expect("config");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("address");
    let good = Arc::new(AtomicBool::new(true));
    let works = Arc::clone(&good);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, works) = (acceptor.clone(), Arc::clone(&works));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let good = works.load(Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(answer(request, good).await) }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let stream = TokioIo::new(stream);
                let _ = server.serve_connection_with_upgrades(stream, service).await;
            });
        }
    });
    Other { address, bundle: BASE64_STANDARD.encode(ca.cert_pem()), good }
}

fn api_service(other: &Other) -> Value {
    json!({"metadata": {"name": "v1.other.example.com"}, "spec": {
        "group": "other.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "caBundle": other.bundle,
        "service": {"namespace": "default", "name": "other", "port": other.address.port()},
    }})
}

async fn make_service(api: &Api) {
    let service = json!({"metadata": {"name": "other"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    api.post("/api/v1/namespaces/default/services", service).await.ok();
}

/// Waits for a condition of this status and returns its reason and message.
async fn until(events: &mut Events, status: &str) -> String {
    loop {
        let event = events.next().await.expect("the watch goes on");
        let condition = &event["object"]["status"]["conditions"][0];
        if condition["status"] == status {
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            return format!("{}: {}", text("reason"), text("message"));
        }
    }
}

async fn watch(api: &Api) -> Events {
    api.watch(&format!("{API_SERVICES}?watch=1&fieldSelector=metadata.name=v1.other.example.com"))
        .await
}

async fn registered() -> (Running, Other) {
    let running = Running::new().await;
    let api = &running.api;
    let other = other(api).await;
    make_service(api).await;
    let mut events = watch(api).await;
    let answer = api.post(API_SERVICES, api_service(&other)).await;
    assert!(answer.warnings().is_empty(), "{:?}", answer.warnings());
    answer.ok();
    assert_eq!(until(&mut events, "True").await, "Passed: all checks passed");
    (running, other)
}

#[tokio::test]
async fn requests_are_passed_on_in_the_name_of_who_makes_them() {
    let (running, _other) = registered().await;
    let api = &running.api;
    let mut ann = User::new("ann", ["system:masters"]);
    ann.extra.insert("example.com/scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    let headers = [("authorization", "Bearer secret"), ("x-remote-user", "forged")];
    let what = format!("POST {THINGS}?dryRun=All&x=a%20b");
    let answer = api.ask_as(ann, &what, Some(json!({"a": 1})), &headers).await;
    assert_eq!(answer.code, 202);
    expect![[r#"{"method":"POST","path":"/apis/other.example.com/v1/namespaces/default/things?dryRun=All&x=a%20b","user":["ann"],"groups":["system:masters","system:authenticated"],"extra":["a","b"],"secrets":[false,false],"body":"{\"a\":1}"}"#]]
        .assert_eq(&answer.body.to_string());
    for what in ["PUT", "PATCH", "DELETE", "GET"] {
        let answer = api.ask(&format!("{what} {THINGS}/a/any/thing"), None).await;
        assert_eq!(answer.body["method"], what);
    }
    let stranger = User::new("bob", ["dev"]);
    let refused = api.ask_as(stranger, &format!("GET {THINGS}"), None, &[]).await;
    assert_eq!(refused.code, 403, "rights are ours to judge");
    let mut events = api.watch(&format!("{THINGS}?watch=1")).await;
    assert_eq!((events.line().await, events.line().await), ("ADDED t".into(), "DELETED t".into()));
    drop(events);
    running.stop().await;
}

#[tokio::test]
async fn discovery_and_openapi_are_merged() {
    let (running, other) = registered().await;
    let api = &running.api;
    let groups = api.get("/apis").await.ok();
    let last = groups["groups"].as_array().expect("groups").last().cloned().expect("one");
    expect![[r#"{"name":"other.example.com","versions":[{"groupVersion":"other.example.com/v1","version":"v1"}],"preferredVersion":{"groupVersion":"other.example.com/v1","version":"v1"}}"#]]
        .assert_eq(&last.to_string());
    assert_eq!(api.get("/apis/other.example.com").await.ok()["name"], "other.example.com");
    assert_eq!(api.get("/apis/other.example.com/v1").await.ok()["resources"][0]["name"], "things");
    let accept =
        [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let aggregated = async || {
        let list = api.ask_as(User::admin(), "GET /apis", None, &accept).await.ok();
        list["items"].as_array().expect("items").last().expect("one")["versions"].to_string()
    };
    expect![[r#"[{"version":"v1","resources":[{"resource":"things","responseKind":{"group":"other.example.com","version":"v1","kind":"Thing"},"scope":"Namespaced","singularResource":"thing","verbs":["get","list","watch"]}],"freshness":"Current"}]"#]]
        .assert_eq(&aggregated().await);
    let index = api.get("/openapi/v3").await.ok();
    assert_eq!(
        index["paths"]["apis/other.example.com/v1"]["serverRelativeURL"],
        "/openapi/v3/apis/other.example.com/v1?hash=ABC"
    );
    let document = api.get("/openapi/v3/apis/other.example.com/v1?hash=ABC").await;
    assert_eq!(document.body["path"], "/openapi/v3/apis/other.example.com/v1?hash=ABC");
    let v2 = api.get("/openapi/v2").await.ok();
    assert!(v2["paths"].get("/apis/other.example.com/v1/things").is_some());
    assert!(v2["definitions"].get("com.example.Thing").is_some());

    // What it said is kept, but marked, when it breaks; a change of its object makes us look.
    other.good.store(false, Ordering::SeqCst);
    let mut events = watch(api).await;
    let path = format!("{API_SERVICES}/v1.other.example.com");
    api.patch(&path, json!({"spec": {"versionPriority": 11}})).await.ok();
    let said = until(&mut events, "False").await;
    let url =
        format!("https://other.default.svc:{}/apis/other.example.com/v1", other.address.port());
    assert_eq!(
        said,
        format!(
            "FailedDiscoveryCheck: failing or missing response from {url}: bad status from {url}: 500"
        )
    );
    assert!(aggregated().await.contains(r#""freshness":"Stale""#));
    let answer = api.get(THINGS).await;
    assert_eq!((answer.code, answer.body.as_str()), (503, Some("service unavailable\n")));
    // And it comes back by itself.
    other.good.store(true, Ordering::SeqCst);
    assert_eq!(until(&mut events, "True").await, "Passed: all checks passed");
    api.delete(&path).await.ok();
    assert_eq!(api.get(THINGS).await.code, 404);
    running.stop().await;
}

#[tokio::test]
async fn an_upgrade_goes_through_to_the_other_server() {
    let (running, _other) = registered().await;
    let mut stream = running.connect().await;
    let request = format!(
        "GET {THINGS}/a/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("head"));
    }
    let head = String::from_utf8_lossy(&head);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"hello").await.expect("write");
    let mut back = [0; "kubernetes-admin:hello".len()];
    stream.read_exact(&mut back).await.expect("echo");
    assert_eq!(String::from_utf8_lossy(&back), "kubernetes-admin:hello");
    drop(stream);
    running.stop().await;
}

#[tokio::test]
async fn obstacles_are_told_and_removed_by_what_happens_in_the_cluster() {
    let running = Running::new().await;
    let api = &running.api;
    let other = other(api).await;
    let mut events = watch(api).await;
    api.post(API_SERVICES, api_service(&other)).await.ok();
    assert_eq!(
        until(&mut events, "False").await,
        "ServiceNotFound: service/other in \"default\" is not present"
    );
    assert_eq!(api.get(THINGS).await.code, 503);
    make_service(api).await;
    assert_eq!(until(&mut events, "True").await, "Passed: all checks passed");
    assert_eq!(api.get(THINGS).await.code, 202);
    // Somebody else's certificate.
    let bundle = Ca::new("stranger", CA_VALIDITY).expect("authority");
    let patch = json!({"spec": {"caBundle": BASE64_STANDARD.encode(bundle.cert_pem())}});
    let path = format!("{API_SERVICES}/v1.other.example.com");
    api.patch(&path, patch).await.ok();
    let answer = api.get(THINGS).await;
    assert_eq!(answer.code, 503);
    let said = answer.body.as_str().expect("text").to_owned();
    assert!(said.contains("certificate signed by unknown authority"), "{said}");
    let insecure = json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}});
    api.patch(&path, insecure).await.ok();
    assert_eq!(api.get(THINGS).await.code, 202);
    running.stop().await;
}

#[tokio::test]
async fn what_is_served_here_has_api_services_too() {
    let running = Running::new().await;
    let api = &running.api;
    let apps = api.get(&format!("{API_SERVICES}/v1.apps")).await.ok();
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!(
        apps["spec"],
        json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15})
    );
    let condition = &apps["status"]["conditions"][0];
    assert_eq!(condition["message"], "Local APIServices are always available");
    let mut events = api
        .watch(&format!("{API_SERVICES}?watch=1&fieldSelector=metadata.name=v1.example.com"))
        .await;
    let schema = json!({"type": "object"});
    let versions = json!([crate::custom::version("v1", true, schema)]);
    running.define(crate::custom::definition(versions)).await;
    let event = events.next().await.expect("an event");
    assert_eq!(
        (&event["type"], &event["object"]["spec"]["groupPriorityMinimum"]),
        (&json!("ADDED"), &json!(1000))
    );
    let path = format!("{}/widgets.example.com", crate::custom::DEFINITIONS);
    api.delete(&path).await.ok();
    assert_eq!(events.line().await, "DELETED v1.example.com");
    let refused = api.post(API_SERVICES, json!({"metadata": {"name": "wrong"}, "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 0, "versionPriority": 10}})).await;
    expect![[r#"422 Invalid: APIService.apiregistration.k8s.io "wrong" is invalid: [metadata.name: Invalid value: "wrong": must be `spec.version+"."+spec.group`: "v1.a.b", spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000]"#]]
        .assert_eq(&refused.failure());
    let map =
        api.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication");
    let data = map.await.ok()["data"].take();
    assert_eq!(data["requestheader-allowed-names"], r#"["front-proxy-client"]"#);
    assert_eq!(data["client-ca-file"], api.ca.cert_pem());
    assert_eq!(data["requestheader-client-ca-file"], api.front_proxy.cert_pem());
    running.stop().await;
}
