//! Deletes certificate requests that nobody needs any more.

use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, ObjectKey, ReconcileError, Requeue, WorkQueue};

use super::{ACCOUNT, is_signed};
use crate::wiring::{Running, Wiring, enqueue_each, now};

/// Name of the controller.
pub(crate) const NAME: &str = "certificatesigningrequest-cleaner-controller";

/// How long a request stays that was signed, denied, or has failed.
const DONE: SignedDuration = SignedDuration::from_hours(1);
/// How long one stays that waits for approval or signature.
const WAITING: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone)]
struct Context {
    client: Client,
    requests: Cache<CertificateSigningRequest>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context { client: wiring.client(ACCOUNT), requests: wiring.caches.watch() };
    let queue = WorkQueue::new();
    enqueue_each(&context.requests, &queue);
    wiring.work(NAME, queue, context, reconcile)
}

/// When the request goes; `None` if only a change can end it.
fn end(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_deref());
    let conditions = conditions.unwrap_or_default();
    if conditions.is_empty() {
        return after(request.metadata.creation_timestamp.as_ref(), WAITING);
    }
    let signed = is_signed(request);
    let ends = conditions.iter().filter_map(|one| {
        let stays = match one.type_.as_str() {
            "Denied" | "Failed" => DONE,
            "Approved" if signed => DONE,
            "Approved" => WAITING,
            _ => return None,
        };
        after(one.last_update_time.as_ref(), stays)
    });
    let is_approved = conditions.iter().any(|one| one.type_ == "Approved");
    ends.chain(is_approved.then(|| certificate_end(request)).flatten()).min()
}

fn after(time: Option<&Time>, stays: SignedDuration) -> Option<Timestamp> {
    time?.0.checked_add(stays).ok()
}

/// When the certificate that was issued is no longer valid.
fn certificate_end(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let pem = &request.status.as_ref()?.certificate.as_ref()?.0;
    let facts = minik_pki::inspect(std::str::from_utf8(pem).ok()?).ok()?;
    Timestamp::from_second(facts.not_after.unix_timestamp()).ok()
}

/// Looks at one request.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(request) = ctx.requests.get(&key) else { return Ok(Requeue::WhenChanged) };
    let Some(end) = end(&request) else { return Ok(Requeue::WhenChanged) };
    let left = Duration::try_from(end.duration_since(now())).unwrap_or_default();
    if !left.is_zero() {
        return Ok(Requeue::After(left));
    }
    let how = DeleteParams::default()
        .preconditions(Preconditions { uid: request.metadata.uid.clone(), resource_version: None });
    let requests: Api<CertificateSigningRequest> = Api::all(ctx.client.clone());
    match requests.delete(&key.name, &how).await {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => Ok(answer.map(|_| Requeue::WhenChanged)?),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use minik_pki::{CA_VALIDITY, Ca, LeafRequest};
    use serde_json::json;
    use test_case::test_case;

    use super::super::fixture;
    use super::*;

    #[test_case(None, false, Some("2026-01-02T00:00:00Z"); "pending a day")]
    #[test_case(Some("Denied"), false, Some("2026-01-03T01:00:00Z"); "denied an hour")]
    #[test_case(Some("Failed"), false, Some("2026-01-03T01:00:00Z"); "failed an hour")]
    #[test_case(Some("Approved"), false, Some("2026-01-04T00:00:00Z"); "unsigned a day")]
    #[test_case(Some("Approved"), true, Some("2026-01-03T01:00:00Z"); "signed an hour")]
    #[test_case(Some("Other"), false, None; "others know")]
    fn ends(condition: Option<&str>, signed: bool, expected: Option<&str>) {
        let pem = fixture::pem("dev", "ann", &[]);
        let mut request = fixture::request("example.com/s", pem, &json!(["client auth"]));
        let at = |text: &str| Some(Time(text.parse().expect("a time")));
        request.metadata.creation_timestamp = at("2026-01-01T00:00:00Z");
        if let Some(condition) = condition {
            super::super::add_condition(&mut request, condition, "", "");
            let conditions = request.status.as_mut().and_then(|status| status.conditions.as_mut());
            conditions.expect("one")[0].last_update_time = at("2026-01-03T00:00:00Z");
        }
        if signed {
            request.status.get_or_insert_default().certificate = Some(ByteString(b"x".to_vec()));
        }
        assert_eq!(end(&request).map(|at| at.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_request_goes_with_its_certificate() {
        let ca = Ca::new("ca", CA_VALIDITY).expect("an authority");
        let short = LeafRequest::client("ann", &[]).valid_for(Duration::from_secs(60));
        let certificate = ca.issue(&short).expect("a certificate").cert_pem;
        let pem = fixture::pem("dev", "ann", &[]);
        let mut request = fixture::request("example.com/s", pem, &json!(["client auth"]));
        super::super::add_condition(&mut request, "Approved", "", "");
        let status = request.status.get_or_insert_default();
        status.conditions.as_mut().expect("one")[0].last_update_time = Some(Time(now()));
        status.certificate = Some(ByteString(certificate.into_bytes()));
        let left = end(&request).expect("it ends").duration_since(now());
        assert!(left <= SignedDuration::from_secs(60), "{left}");
    }
}
