//! Certificate requests: they say who made them, and only those who may decide about them or sign
//! them do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minik_meta::{Status, object};
use minik_pki::SigningRequest;
use serde_json::{Value, json};

use crate::authz::rbac::Wish;
use crate::call::Call;
use crate::user::{MASTERS, NODE_PREFIX};

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// Writes the requester into a new request.
pub(super) fn of_new_request(call: &Call, request: &mut Value) {
    let spec = object::fields(&mut request["spec"]);
    let user = &call.user;
    spec.insert("username".to_owned(), user.name.clone().into());
    spec.insert("groups".to_owned(), json!(user.groups));
    match user.uid.is_empty() {
        true => spec.shift_remove("uid"),
        false => spec.insert("uid".to_owned(), user.uid.clone().into()),
    };
    match user.extra.is_empty() {
        true => spec.shift_remove("extra"),
        false => spec.insert("extra".to_owned(), json!(user.extra)),
    };
}

/// A request stays what it was: only its metadata can be changed.
pub(super) fn of_old_request(old: &Value, new: &mut Value) {
    object::set(new, &["spec"], old["spec"].clone());
}

/// Nobody gets a certificate that makes its holder all-powerful, and no kubelet one of another.
pub(super) fn check_create(call: &Call, request: &Value) -> Result<(), Status> {
    if !call.kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        return Ok(());
    }
    let refused = |why: String| super::forbidden(call, object::name(request), why);
    let signer = object::text(request, &["spec", "signerName"]);
    if let Some(node) = call.user.node_name().filter(|_| KUBELET_SIGNERS.contains(&signer)) {
        let parsed =
            parse(request).map_err(|why| refused(format!("unable to parse csr: {why}")))?;
        let own = format!("{NODE_PREFIX}{node}");
        if parsed.common_name != own {
            return Err(refused(format!("can only create a node CSR with CN={own}")));
        }
    }
    if signer != CLIENT_SIGNER {
        return Ok(());
    }
    let parsed =
        parse(request).map_err(|error| refused(format!("failed to parse CSR: {error}")))?;
    match parsed.organizations.iter().any(|group| group == MASTERS) {
        true => Err(refused(format!(
            "use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
        ))),
        false => Ok(()),
    }
}

/// Only those decide who may `approve` for the signer, and only those sign who may `sign` for it.
pub(super) fn check_update(call: &Call, old: &Value, new: &Value) -> Result<(), Status> {
    if !call.kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        return Ok(());
    }
    let verb = match call.target.subresource.as_str() {
        "approval" => "approve",
        "status" if is_signed_or_judged(old, new) => "sign",
        _ => return Ok(()),
    };
    let signer = object::text(old, &["spec", "signerName"]);
    if may(call, verb, signer) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(super::forbidden(call, object::name(old), why))
}

fn is_signed_or_judged(old: &Value, new: &Value) -> bool {
    let conditions = |request| object::list(request, &["status", "conditions"]);
    let certificate = |request| object::text(request, &["status", "certificate"]);
    certificate(old) != certificate(new) || conditions(old) != conditions(new)
}

/// Whether the user has the verb for the signer, by its name or for its whole domain.
fn may(call: &Call, verb: &str, signer: &str) -> bool {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    [signer, &domain].into_iter().any(|name| {
        let wish = Wish::Resource {
            verb,
            group: "certificates.k8s.io",
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
        };
        call.core.authorizer.allows(&call.user, &wish)
    })
}

fn parse(request: &Value) -> Result<SigningRequest, minik_pki::RequestError> {
    let encoded = object::text(request, &["spec", "request"]);
    SigningRequest::from_pem(&STANDARD.decode(encoded).unwrap_or_default())
}
