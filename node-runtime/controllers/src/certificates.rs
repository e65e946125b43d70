//! Certificate requests: kubelets' own are approved, approved ones are signed, old ones deleted.

pub(crate) mod approver;
pub(crate) mod cleaner;
pub(crate) mod signer;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use minik_pki::SigningRequest;

/// The service account all three act as.
const ACCOUNT: &str = "certificate-controller";

/// Signer of the certificates with which kubelets talk to the API server.
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// The condition of that type, if it is true.
fn condition<'a>(
    request: &'a CertificateSigningRequest,
    wanted: &str,
) -> Option<&'a CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == wanted && one.status == "True")
}

fn is_signed(request: &CertificateSigningRequest) -> bool {
    let status = request.status.as_ref();
    status.and_then(|status| status.certificate.as_ref()).is_some_and(|bytes| !bytes.0.is_empty())
}

/// Adds a condition that is true from now on.
fn add_condition(request: &mut CertificateSigningRequest, kind: &str, reason: &str, message: &str) {
    let status = request.status.get_or_insert_default();
    status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..CertificateSigningRequestCondition::default()
    });
}

fn usages_of(request: &CertificateSigningRequest) -> Vec<&str> {
    let usages = request.spec.usages.as_deref().unwrap_or_default();
    usages.iter().map(String::as_str).collect()
}

/// Whether the usages are exactly those that a certificate of a node has for `purpose`; keys that
/// are not RSA cannot encipher other keys.
fn fits_node(usages: &[&str], purpose: &str) -> Result<(), String> {
    let needed = ["digital signature", purpose];
    let optional = "key encipherment";
    let known = |usage: &&str| needed.contains(usage) || *usage == optional;
    if usages.iter().all(known) && needed.iter().all(|usage| usages.contains(usage)) {
        return Ok(());
    }
    let mut all = [needed[0], optional, purpose];
    all.sort_unstable();
    Err(format!("usages did not match [{}]", all.join(" ")))
}

/// Why a request is none for the client certificate of a kubelet.
fn is_kubelet_client(asked: &SigningRequest, usages: &[&str]) -> Result<(), String> {
    if asked.organizations != [NODES] {
        return Err("subject organization is not system:nodes".to_owned());
    }
    for (what, is_absent) in [
        ("DNS", asked.dns_names.is_empty()),
        ("Email", asked.emails.is_empty()),
        ("IP", asked.addresses.is_empty()),
        ("URI", asked.uris.is_empty()),
    ] {
        if !is_absent {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    starts_like_a_node(asked)?;
    fits_node(usages, "client auth")
}

fn starts_like_a_node(asked: &SigningRequest) -> Result<(), String> {
    match asked.common_name.starts_with(NODE_PREFIX) {
        true => Ok(()),
        false => Err("subject common name does not begin with system:node:".to_owned()),
    }
}

/// Requests for tests.
#[cfg(test)]
mod fixture {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use serde_json::{Value, json};

    /// PEM of a request; `sans` are DNS names and addresses.
    pub(super) fn pem(organization: &str, common_name: &str, sans: &[&str]) -> String {
        let names: Vec<String> = sans.iter().map(|&san| san.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        params.serialize_request(&key).and_then(|request| request.pem()).expect("a request")
    }

    /// The object around it.
    pub(super) fn request(signer: &str, pem: String, usages: &Value) -> CertificateSigningRequest {
        let mut made: CertificateSigningRequest = serde_json::from_value(json!({
            "metadata": {"name": "r", "uid": "u"},
            "spec": {"request": "", "signerName": signer, "usages": usages, "username": "ann"},
        }))
        .expect("a request");
        made.spec.request = ByteString(pem.into_bytes());
        made
    }
}
