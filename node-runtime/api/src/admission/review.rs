//! `AdmissionReview`: what a webhook is asked, and how its answer is read.

use minik_meta::status::Details;
use minik_meta::{GroupVersionKind, GroupVersionResource, Reason, Status, object};
use serde_json::{Value, json};

use super::{Attributes, Matched, Objects};
use crate::decode::octets;

/// What goes into a review besides the request's attributes.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Identifies the question.
    pub uid: &'a str,
    /// The version of `AdmissionReview`.
    pub version: &'a str,
    /// The version of the object that the webhook named.
    pub matched: &'a Matched,
    /// The states of the object, in that version.
    pub objects: Objects<'a>,
    /// Who makes the request, as `userInfo`.
    pub user: &'a Value,
    /// The request's options; null where it has none.
    pub options: &'a Value,
    /// Whether nothing will be written.
    pub dry_run: bool,
}

/// The review to send.
pub fn request(request: &Attributes, asked: &Asked<'_>) -> Value {
    let mut body = json!({"uid": asked.uid});
    let fields = object::fields(&mut body);
    fields.insert("kind".into(), kind(&asked.matched.kind));
    fields.insert("resource".into(), resource(&asked.matched.resource));
    let text = |fields: &mut object::Object, key: &str, text: &str| {
        if !text.is_empty() {
            fields.insert(key.into(), text.into());
        }
    };
    text(fields, "subResource", &request.subresource);
    fields.insert("requestKind".into(), kind(&request.kind));
    fields.insert("requestResource".into(), resource(&request.resource));
    text(fields, "requestSubResource", &request.subresource);
    text(fields, "name", &request.name);
    text(fields, "namespace", &request.namespace);
    fields.insert("operation".into(), request.operation.as_str().into());
    fields.insert("userInfo".into(), asked.user.clone());
    fields.insert("object".into(), asked.objects.new.cloned().unwrap_or_default());
    fields.insert("oldObject".into(), asked.objects.old.cloned().unwrap_or_default());
    fields.insert("dryRun".into(), asked.dry_run.into());
    fields.insert("options".into(), asked.options.clone());
    json!({"kind": KIND, "apiVersion": api_version(asked.version), "request": body})
}

const KIND: &str = "AdmissionReview";

fn api_version(version: &str) -> String {
    format!("admission.k8s.io/{version}")
}

fn kind(kind: &GroupVersionKind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn resource(resource: &GroupVersionResource) -> Value {
    let GroupVersionResource { group, version, resource } = resource;
    json!({"group": group, "version": version, "resource": resource})
}

/// The request as expressions see it: without the objects, which they are given apart.
pub fn seen(request: &Attributes, asked: &Asked<'_>) -> Value {
    let mut review = self::request(request, asked);
    let mut seen = review["request"].take();
    for key in ["uid", "object", "oldObject"] {
        object::remove(&mut seen, &[key]);
    }
    seen
}

/// What a webhook said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why not, as a `Status` of the webhook's.
    pub result: Option<Value>,
    /// The operations of a JSON patch, as bytes; empty for none.
    pub patch: Vec<u8>,
    /// The kind of the patch, if there is one.
    pub patch_type: String,
    /// What the client should be told.
    pub warnings: Vec<String>,
    /// What belongs into the audit log, by key.
    pub annotations: Vec<(String, String)>,
}

/// Reads the review that came back.
///
/// # Errors
/// What is wrong with it.
pub fn answer(review: &Value, asked: &Asked<'_>, mutating: bool) -> Result<Answer, String> {
    let Some(response) = object::at(review, &["response"]) else {
        return Err("webhook response was absent".to_owned());
    };
    let old_version = asked.version == "v1beta1";
    let uid = object::text(response, &["uid"]);
    if uid != asked.uid && !(old_version && uid.is_empty()) {
        return Err(format!("expected response.uid={:?}, got {uid:?}", asked.uid));
    }
    check_kind(review, asked.version, old_version)?;
    // Text, or numbers: kube's webhooks send those.
    let patch = object::at(response, &["patch"]).filter(|patch| !patch.is_null());
    let patch = patch.map_or(Ok(Vec::new()), octets::bytes);
    let patch = patch.map_err(|_| "response.patch: neither base64 nor bytes".to_owned())?;
    let patch_type =
        object::at(response, &["patchType"]).map(|one| one.as_str().unwrap_or_default());
    match (mutating, patch.is_empty(), patch_type) {
        (false, false, _) if !old_version => {
            return Err("validating webhook may not return response.patch".to_owned());
        }
        (false, _, Some(_)) if !old_version => {
            return Err("validating webhook may not return response.patchType".to_owned());
        }
        (true, false, None) if !old_version => {
            return Err("webhook returned response.patch but not response.patchType".to_owned());
        }
        (true, true, Some(_)) if !old_version => {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        (true, _, Some("")) => {
            return Err("webhook returned invalid response.patchType of \"\"".to_owned());
        }
        _ => {}
    }
    let patch = if mutating { patch } else { Vec::new() };
    let texts = object::list(response, &["warnings"]).iter();
    let annotations = object::map(response, &["auditAnnotations"]).into_iter().flatten();
    Ok(Answer {
        allowed: object::boolean(response, &["allowed"]),
        result: object::at(response, &["status"]).cloned(),
        patch,
        patch_type: patch_type.unwrap_or("JSONPatch").to_owned(),
        warnings: texts.filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        annotations: annotations
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}

/// The answer must be a review of the version that was asked in; only older webhooks may leave
/// that out.
fn check_kind(review: &Value, version: &str, may_lack: bool) -> Result<(), String> {
    let (got_version, got_kind) =
        (object::text(review, &["apiVersion"]), object::text(review, &["kind"]));
    let lacking = got_version.is_empty() && got_kind.is_empty();
    if (lacking && may_lack) || (got_version == api_version(version) && got_kind == KIND) {
        return Ok(());
    }
    let expected = format!("admission.k8s.io/{version}, Kind={KIND}");
    Err(format!("expected webhook response of {expected}, got {got_version}, Kind={got_kind}"))
}

/// The failure of a request that a webhook denied, in the webhook's words and with its code.
pub fn denied(webhook: &str, result: Option<&Value>) -> Status {
    let by = format!("admission webhook {webhook:?} denied the request");
    let text = |key: &str| result.map_or("", |result| object::text(result, &[key]));
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let code = result.and_then(|result| object::integer(result, &["code"])).unwrap_or_default();
    // A rejection is a failure, whatever the webhook calls it.
    let code = u16::try_from(code).ok().filter(|code| (400..1000).contains(code)).unwrap_or(400);
    let state = match text("status") {
        "" | "Success" => "Failure",
        other => other,
    };
    let mut whole = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": state, "message": message,
    });
    if !text("reason").is_empty() {
        whole["reason"] = text("reason").into();
    }
    let mut details = None;
    if let Some(given) = result.and_then(|result| object::at(result, &["details"])) {
        whole["details"] = given.clone();
        let after = object::integer(given, &["retryAfterSeconds"]);
        let retry_after_seconds = after.and_then(|after| u32::try_from(after).ok()).unwrap_or(0);
        details = Some(Box::new(Details { retry_after_seconds, ..Details::default() }));
    }
    whole["code"] = code.into();
    let mut status = Status::new(Reason::Unknown, message);
    status.code = code;
    status.details = details;
    status.verbatim = Some(Box::new(whole));
    status
}

/// The failure of a request whose webhook could not be asked.
pub fn failed(webhook: &str, why: &str) -> Status {
    Status::internal(format!("failed calling webhook {webhook:?}: {why}"))
}

/// The failure of a dry run that a webhook does not support.
pub fn no_dry_run(webhook: &str) -> Status {
    Status::bad_request(format!("admission webhook {webhook:?} does not support dry run"))
}
