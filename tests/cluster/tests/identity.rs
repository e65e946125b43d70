//! Who somebody is: certificates that are asked for, approved, signed and used; bootstrap tokens.

use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use minik_client::connect::{CertificateFiles, with_certificates};
use minik_testkit::{Cluster, gone, until, yaml_like};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

/// A request for a certificate, and the key it is for.
fn ask(
    name: &str,
    signer: &str,
    organization: &str,
    common_name: &str,
) -> (CertificateSigningRequest, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, common_name);
    let pem = params.serialize_request(&key).and_then(|made| made.pem()).expect("a request");
    let mut request: CertificateSigningRequest = yaml_like(json!({
        "metadata": {"name": name},
        "spec": {"request": "", "signerName": signer, "expirationSeconds": 3600,
            "usages": ["digital signature", "client auth"]},
    }));
    request.spec.request = ByteString(pem.into_bytes());
    (request, key)
}

fn certificate_of(request: &CertificateSigningRequest) -> Option<String> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    String::from_utf8(certificate.0.clone()).ok()
}

fn condition_of<'a>(
    request: &'a CertificateSigningRequest,
    kind: &str,
) -> Option<&'a CertificateSigningRequestCondition> {
    request.status.as_ref()?.conditions.as_ref()?.iter().find(|one| one.type_ == kind)
}

/// A client over TLS that shows this certificate.
fn client_with(cluster: &Cluster, certificate: &str, key: &KeyPair) -> Client {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let files = CertificateFiles {
        ca: file("ca.crt", &cluster.ca_pem),
        certificate: file("tls.crt", certificate),
        key: file("tls.key", &key.serialize_pem()),
    };
    let server = format!("https://{}", cluster.address).parse().expect("an address");
    with_certificates(&server, &files).expect("a client")
}

async fn whoami(client: Client) -> (String, Vec<String>) {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let review = yaml_like(json!({}));
    let answer = reviews.create(&PostParams::default(), &review).await.expect("an answer");
    let user = answer.status.and_then(|status| status.user_info).expect("a user");
    (user.username.unwrap_or_default(), user.groups.unwrap_or_default())
}

#[tokio::test]
async fn an_approved_request_becomes_an_identity() {
    let cluster = Cluster::start().await.expect("a cluster");
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let (request, key) = ask("ann", "kubernetes.io/kube-apiserver-client", "dev", "ann");
    let mut made = requests.create(&PostParams::default(), &request).await.expect("made");
    assert_eq!(made.spec.username.as_deref(), Some("kubernetes-admin"));
    let status = made.status.get_or_insert_default();
    status.conditions = Some(vec![yaml_like(json!({
        "type": "Approved", "status": "True", "reason": "KubectlApprove", "message": "by hand"}))]);
    let post = PostParams::default();
    let decided = requests.replace_subresource("approval", "ann", &post, &made).await;
    decided.expect("approved");
    let signed = until(&requests, "ann", "it is signed", |one| certificate_of(one).is_some()).await;
    let certificate = certificate_of(&signed).expect("a certificate");
    let (name, groups) = whoami(client_with(&cluster, &certificate, &key)).await;
    assert_eq!(name, "ann");
    assert_eq!(groups, ["dev", "system:authenticated"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_kubelet_renews_its_certificate_if_it_may() {
    let cluster = Cluster::start().await.expect("a cluster");
    let kubelet: Api<CertificateSigningRequest> = Api::all(cluster.client("system:node:n1"));
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    let (request, key) = ask("renew", signer, "system:nodes", "system:node:n1");
    kubelet.create(&PostParams::default(), &request).await.expect("made");
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.admin());
    let binding = yaml_like(json!({
        "metadata": {"name": "renewal"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
            "name": "system:nodes"}],
    }));
    bindings.create(&PostParams::default(), &binding).await.expect("bound");
    let signed = until(&requests, "renew", "signed", |one| certificate_of(one).is_some()).await;
    let why = condition_of(&signed, "Approved").and_then(|one| one.reason.clone());
    assert_eq!(why.as_deref(), Some("AutoApproved"));
    let certificate = certificate_of(&signed).expect("a certificate");
    let (name, groups) = whoami(client_with(&cluster, &certificate, &key)).await;
    assert_eq!((name.as_str(), groups[0].as_str()), ("system:node:n1", "system:nodes"));

    // A kubelet gets no certificate for somebody else, and what does not fit fails for good.
    let (other, _) = ask("other", signer, "system:nodes", "system:node:n2");
    assert!(kubelet.create(&PostParams::default(), &other).await.is_err());
    let (other, _) = ask("serve", "kubernetes.io/kubelet-serving", "dev", "system:node:n1");
    let mut made = kubelet.create(&PostParams::default(), &other).await.expect("made");
    made.status.get_or_insert_default().conditions =
        Some(vec![yaml_like(json!({"type": "Approved", "status": "True", "reason": "x"}))]);
    let post = PostParams::default();
    let decided = requests.replace_subresource("approval", "serve", &post, &made).await;
    decided.expect("approved");
    let failed =
        until(&requests, "serve", "failed", |one| condition_of(one, "Failed").is_some()).await;
    let why = condition_of(&failed, "Failed").expect("it failed");
    assert_eq!(why.reason.as_deref(), Some("SignerValidationFailure"));
    assert_eq!(why.message.as_deref(), Some("subject organization is not system:nodes"));
    cluster.stop().await;
}

/// A bootstrap token that is good for `usage`.
fn bootstrap_token(id: &str, usage: &str, expiration: &str) -> Secret {
    yaml_like(json!({
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": id, "token-secret": "0123456789abcdef",
            usage: "true", "expiration": expiration},
    }))
}

#[tokio::test]
async fn public_facts_are_signed_with_the_tokens_of_those_who_join() {
    let cluster = Cluster::start().await.expect("a cluster");
    let secrets: Api<Secret> = Api::namespaced(cluster.admin(), "kube-system");
    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin(), "kube-public");
    let post = PostParams::default();
    let map = yaml_like(json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "k"}}));
    maps.create(&post, &map).await.expect("made");
    let good = bootstrap_token("abcdef", "usage-bootstrap-signing", "2100-01-01T00:00:00Z");
    secrets.create(&post, &good).await.expect("made");
    let other = bootstrap_token("000000", "usage-bootstrap-authentication", "");
    secrets.create(&post, &other).await.expect("made");
    let has = |map: &ConfigMap, id: &str| {
        let key = format!("jws-kubeconfig-{id}");
        map.data.as_ref().is_some_and(|data| data.contains_key(&key))
    };
    let signed = until(&maps, "cluster-info", "signed", |map| has(map, "abcdef")).await;
    assert!(!has(&signed, "000000"));
    secrets.delete("bootstrap-token-abcdef", &DeleteParams::default()).await.expect("deleted");
    until(&maps, "cluster-info", "no longer signed", |map| !has(map, "abcdef")).await;

    let over = bootstrap_token("111111", "usage-bootstrap-signing", "2020-01-01T00:00:00Z");
    secrets.create(&post, &over).await.expect("made");
    gone(&secrets, "bootstrap-token-111111").await;
    cluster.stop().await;
}
