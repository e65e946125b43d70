//! Certificate requests say who made them, and only the server says it.

use minik_meta::{Status, object};
use serde_json::{Value, json};

use crate::call::Call;

const MASTERS: &str = crate::user::MASTERS;
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Writes the requester into a new request.
pub(super) fn of_new_request(call: &Call, request: &mut Value) -> Result<(), Status> {
    let signer = object::text(request, &["spec", "signerName"]);
    if signer == CLIENT_SIGNER && asks_for_masters(request) {
        let why = format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed");
        return Err(super::forbidden(call, object::name(request), why));
    }
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
    Ok(())
}

/// A request stays what it was: only its metadata can be changed.
pub(super) fn of_old_request(old: &Value, new: &mut Value) {
    object::set(new, &["spec"], old["spec"].clone());
}

/// Whether the certificate would make its holder all-powerful.
fn asks_for_masters(request: &Value) -> bool {
    use base64::Engine;
    use x509_parser::prelude::{FromDer, X509CertificationRequest};
    let encoded = object::text(request, &["spec", "request"]);
    let pem = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&pem) else { return false };
    let Ok((_, csr)) = X509CertificationRequest::from_der(&pem.contents) else { return false };
    let subject = &csr.certification_request_info.subject;
    subject.iter_organization().any(|group| group.as_str() == Ok(MASTERS))
}
