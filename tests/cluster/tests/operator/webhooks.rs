//! The webhooks of the operator, served by the test itself over TLS on the loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use minik_pki::{CA_VALIDITY, Ca, LeafRequest};
use minik_testkit::yaml_like;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::site::Site;

/// A running server. Dropping it stops it.
pub(crate) struct Webhooks {
    address: SocketAddr,
    bundle: ByteString,
    _serving: JoinSet<()>,
}

impl Webhooks {
    pub(crate) async fn serve() -> Webhooks {
        let ca = Ca::new("site-operator", CA_VALIDITY).expect("an authority");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of the loopback");
        let address = listener.local_addr().expect("its address");
        let acceptor = TlsAcceptor::from(Arc::new(tls(&ca)));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                });
            }
        });
        let bundle = ByteString(ca.cert_pem().as_bytes().to_vec());
        Webhooks { address, bundle, _serving: serving }
    }

    pub(crate) fn mutating(&self) -> MutatingWebhookConfiguration {
        self.configuration("defaults.sites.shop.example.com", "/mutate")
    }

    pub(crate) fn validating(&self) -> ValidatingWebhookConfiguration {
        self.configuration("rules.sites.shop.example.com", "/validate")
    }

    fn configuration<K: serde::de::DeserializeOwned>(&self, name: &str, path: &str) -> K {
        yaml_like(json!({
            "metadata": { "name": "sites" },
            "webhooks": [{
                "name": name,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {
                    "url": format!("https://{}{path}", self.address), "caBundle": self.bundle },
                "rules": [{ "apiGroups": ["shop.example.com"], "apiVersions": ["v1"],
                    "resources": ["sites"], "operations": ["CREATE", "UPDATE"] }],
            }],
        }))
    }
}

fn tls(ca: &Ca) -> rustls::ServerConfig {
    let names = vec!["127.0.0.1".to_owned()];
    let leaf = ca.issue(&LeafRequest::server("site-operator", names)).expect("a certificate");
    let chain = vec![CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("key and certificate belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mutates = request.uri().path() == "/mutate";
    let body = request.into_body().collect().await?.to_bytes();
    let review = match serde_json::from_slice::<AdmissionReview<Site>>(&body) {
        Ok(review) => review_of(review, mutates),
        Err(error) => AdmissionResponse::invalid(error).into_review(),
    };
    let text = serde_json::to_vec(&review).expect("a review can be written");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}

fn review_of(review: AdmissionReview<Site>, mutates: bool) -> AdmissionReview<DynamicObject> {
    let request: AdmissionRequest<Site> = match review.try_into() {
        Ok(request) => request,
        Err(error) => return AdmissionResponse::invalid(error).into_review(),
    };
    let response = AdmissionResponse::from(&request);
    let Some(site) = &request.object else {
        return AdmissionResponse::invalid("no object was sent").into_review();
    };
    let answered = if mutates { mutate(response, site) } else { validate(response, site) };
    answered.into_review()
}

/// Sites without a host get one.
fn mutate(response: AdmissionResponse, site: &Site) -> AdmissionResponse {
    if site.spec.host.is_some() {
        return response;
    }
    let host = format!("{}.example.com", site.metadata.name.as_deref().unwrap_or_default());
    let operations: Value = json!([{ "op": "add", "path": "/spec/host", "value": host }]);
    let patch = serde_json::from_value(operations).expect("a patch");
    response.with_patch(patch).expect("a patch can be written")
}

/// Images must say which one they are.
fn validate(mut response: AdmissionResponse, site: &Site) -> AdmissionResponse {
    if site.spec.image.ends_with(":latest") {
        return response.deny("the newest image is not a version");
    }
    if !site.spec.image.contains(':') {
        response.warnings = Some(vec!["the image has no version".to_owned()]);
    }
    response
}
