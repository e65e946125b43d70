//! What an administrator makes so that the operator can work: its kind, its home, its rights.

use http::Uri;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::AuthInfo;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Config, CustomResourceExt as _};
use minik_testkit::{Cluster, DEADLINE, yaml_like};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::reconcile::MANAGER;
use crate::site::Site;

/// The namespace of the operator.
pub(crate) const HOME: &str = "operators";
/// Name of its Lease.
pub(crate) const LEASE: &str = "site-operator";
/// The ConfigMap that stands for what is outside of the cluster.
pub(crate) const LEDGER: &str = "ledger";
const ACCOUNT: &str = "site-operator";

/// Makes the kind by server-side apply, and waits until it is served.
pub(crate) async fn define(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = Site::crd();
    let as_operator = PatchParams::apply(MANAGER);
    for _ in ["first", "again"] {
        let applied =
            definitions.patch(Site::crd_name(), &as_operator, &Patch::Apply(&definition)).await;
        applied.expect("it is applied");
    }
    let established = conditions::is_crd_established();
    let served = await_condition(definitions, Site::crd_name(), established);
    tokio::time::timeout(DEADLINE, served).await.expect("in time").expect("it is established");
}

/// Everything else but the webhooks.
pub(crate) async fn install(client: &Client) {
    let post = PostParams::default();
    let home: Namespace = yaml_like(json!({"metadata": {"name": HOME}}));
    Api::all(client.clone()).create(&post, &home).await.expect("a namespace");
    let account: ServiceAccount = yaml_like(json!({"metadata": {"name": ACCOUNT}}));
    Api::namespaced(client.clone(), HOME).create(&post, &account).await.expect("an account");
    let lease: Lease = yaml_like(json!({"metadata": {"name": LEASE}, "spec": {}}));
    Api::namespaced(client.clone(), HOME).create(&post, &lease).await.expect("a lease");
    let ledger: ConfigMap = yaml_like(json!({"metadata": {"name": LEDGER}}));
    Api::namespaced(client.clone(), HOME).create(&post, &ledger).await.expect("a ledger");
    grant(client).await;
}

/// No more than it needs.
async fn grant(client: &Client) {
    let post = PostParams::default();
    let subjects = json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}]);
    let binding = |kind: &str| {
        json!({"metadata": {"name": MANAGER}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": MANAGER}})
    };
    let children = ["get", "list", "watch", "create", "patch"];
    let everywhere: ClusterRole = yaml_like(json!({"metadata": {"name": MANAGER}, "rules": [
        {"apiGroups": ["shop.example.com"], "resources": ["sites"],
            "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["shop.example.com"], "resources": ["sites/status"], "verbs": ["patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": children},
        {"apiGroups": [""], "resources": ["services"], "verbs": children},
    ]}));
    Api::all(client.clone()).create(&post, &everywhere).await.expect("a role");
    let everywhere: ClusterRoleBinding = yaml_like(binding("ClusterRole"));
    Api::all(client.clone()).create(&post, &everywhere).await.expect("a binding");
    let at_home: Role = yaml_like(json!({"metadata": {"name": MANAGER}, "rules": [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEASE],
            "verbs": ["get", "list", "watch", "update"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [LEDGER],
            "verbs": ["patch"]},
    ]}));
    Api::namespaced(client.clone(), HOME).create(&post, &at_home).await.expect("a role");
    let at_home: RoleBinding = yaml_like(binding("Role"));
    Api::namespaced(client.clone(), HOME).create(&post, &at_home).await.expect("a binding");
}

/// A client of the operator: over TLS, with a token of its service account and nothing else.
pub(crate) async fn operator_client(cluster: &Cluster) -> Client {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.admin(), HOME);
    let request: TokenRequest = yaml_like(json!({"spec": {"expirationSeconds": 3600}}));
    let post = PostParams::default();
    let answer: TokenRequest = accounts
        .create_subresource("token", ACCOUNT, &post, &request)
        .await
        .expect("a token is issued");
    let token = answer.status.and_then(|status| status.token).expect("a token");
    let server: Uri = format!("https://{}", cluster.address).parse().expect("an address");
    let ca = CertificateDer::from_pem_slice(cluster.ca_pem.as_bytes()).expect("PEM");
    let mut config = Config::new(server);
    config.root_cert = Some(vec![ca.to_vec()]);
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Client::try_from(config).expect("a client")
}
