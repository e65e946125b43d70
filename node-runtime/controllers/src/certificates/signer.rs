//! Signs approved requests for the four signers of a cluster with the cluster's authority.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_pki::{Ca, KeyUsages, SigningRequest};
use minik_reconcile::{Cache, ObjectKey, ReconcileError, Requeue, WorkQueue};

use super::{
    ACCOUNT, KUBELET_CLIENT, NODES, add_condition, condition, fits_node, is_kubelet_client,
    is_signed, starts_like_a_node, usages_of,
};
use crate::wiring::{Running, Wiring, enqueue_each};

/// Name of the controller.
pub(crate) const NAME: &str = "certificatesigningrequest-signing-controller";

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// How long a certificate is valid if the request does not ask for less: a year.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const LIFE_MIN: Duration = Duration::from_secs(10 * 60);

#[derive(Clone)]
struct Context {
    client: Client,
    authority: Option<Arc<Ca>>,
    requests: Cache<CertificateSigningRequest>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(ACCOUNT),
        authority: wiring.config.authority.clone().map(Arc::new),
        requests: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    if context.authority.is_some() {
        enqueue_each(&context.requests, &queue);
    }
    wiring.work(NAME, queue, context, reconcile)
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Leave,
    /// It can never be signed, because of this.
    Fail(String),
    Sign(Box<SigningRequest>, Duration),
}

fn plan(request: &CertificateSigningRequest) -> Result<Step, String> {
    let is = |kind| condition(request, kind).is_some();
    if is_signed(request) || !is("Approved") || is("Denied") || is("Failed") {
        return Ok(Step::Leave);
    }
    let check = match request.spec.signer_name.as_str() {
        CLIENT => is_client,
        KUBELET_CLIENT => is_kubelet_client,
        KUBELET_SERVING => is_kubelet_server,
        LEGACY => |_: &SigningRequest, _: &[&str]| Ok(()),
        _ => return Ok(Step::Leave),
    };
    let asked = SigningRequest::from_pem(&request.spec.request.0);
    let asked = asked.map_err(|error| format!("unable to parse csr: {error}"))?;
    match check(&asked, &usages_of(request)) {
        Err(why) => Ok(Step::Fail(why)),
        Ok(()) => Ok(Step::Sign(Box::new(asked), life(request.spec.expiration_seconds))),
    }
}

fn life(seconds: Option<i32>) -> Duration {
    seconds.map_or(LIFE_MAX, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).clamp(LIFE_MIN, LIFE_MAX)
    })
}

/// Why a request is none for a certificate to talk to the API server with.
fn is_client(_: &SigningRequest, usages: &[&str]) -> Result<(), String> {
    let known = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !known.contains(usage)) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    match usages.contains(&"client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

/// Why a request is none for the certificate that a kubelet shows to its clients.
fn is_kubelet_server(asked: &SigningRequest, usages: &[&str]) -> Result<(), String> {
    if asked.organizations != [NODES] {
        return Err("subject organization is not system:nodes".to_owned());
    }
    if asked.dns_names.is_empty() && asked.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    for (what, is_absent) in [("Email", asked.emails.is_empty()), ("URI", asked.uris.is_empty())] {
        if !is_absent {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    fits_node(usages, "server auth")?;
    starts_like_a_node(asked)
}

/// Looks at one request.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(request) = ctx.requests.get(&key) else { return Ok(Requeue::WhenChanged) };
    let Some(authority) = &ctx.authority else { return Ok(Requeue::WhenChanged) };
    let mut written = (*request).clone();
    match plan(&request).map_err(ReconcileError::Other)? {
        Step::Leave => return Ok(Requeue::WhenChanged),
        Step::Fail(why) => {
            add_condition(&mut written, "Failed", "SignerValidationFailure", &why);
        }
        Step::Sign(asked, life) => {
            let signed = sign(authority, &asked, &usages_of(&request), life);
            let signed = signed.map_err(|error| {
                ReconcileError::Other(format!("error auto signing csr: {error}"))
            })?;
            let status = written.status.get_or_insert_default();
            status.certificate = Some(ByteString(signed.into_bytes()));
        }
    }
    let requests: Api<CertificateSigningRequest> = Api::all(ctx.client.clone());
    match requests.replace_status(&key.name, &PostParams::default(), &written).await {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => Ok(ctx.requests.caught_up(&answer?).await.map(|()| Requeue::WhenChanged)?),
    }
}

fn sign(
    authority: &Ca,
    asked: &SigningRequest,
    usages: &[&str],
    life: Duration,
) -> Result<String, minik_pki::PkiError> {
    authority.sign(
        asked,
        &KeyUsages::from_names(usages)?,
        life,
        std::time::SystemTime::now().into(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::super::fixture;
    use super::*;

    fn approved(signer: &str, pem: String, usages: &[&str]) -> CertificateSigningRequest {
        let mut request = fixture::request(signer, pem, &json!(usages));
        add_condition(&mut request, "Approved", "by hand", "");
        request
    }

    fn outcome(request: &CertificateSigningRequest) -> String {
        match plan(request).expect("it parses") {
            Step::Leave => "left".to_owned(),
            Step::Fail(why) => why,
            Step::Sign(_, life) => format!("signed for {life:?}"),
        }
    }

    #[test_case("example.com/other", "dev", "ann", &[], &["client auth"], "left"; "not ours")]
    #[test_case(CLIENT, "dev", "ann", &[], &["client auth"], "signed for 31536000s"; "client")]
    #[test_case(CLIENT, "dev", "ann", &[], &["digital signature"],
        "missing required usage for client certificate: client auth"; "client of nothing")]
    #[test_case(CLIENT, "dev", "ann", &[], &["client auth", "server auth"],
        "invalid usage for client certificate: server auth"; "client that serves")]
    #[test_case(KUBELET_CLIENT, "dev", "ann", &[], &["client auth"],
        "subject organization is not system:nodes"; "no kubelet")]
    #[test_case(KUBELET_CLIENT, "system:nodes", "system:node:a", &["10.0.0.1"], &["client auth"],
        "IP subjectAltNames are not allowed"; "kubelet client with address")]
    #[test_case(KUBELET_CLIENT, "system:nodes", "system:node:a", &[], &["client auth"],
        "usages did not match [client auth digital signature key encipherment]"; "usages")]
    #[test_case(KUBELET_SERVING, "system:nodes", "system:node:a", &[],
        &["server auth", "digital signature"], "DNS or IP subjectAltName is required"; "nameless")]
    #[test_case(KUBELET_SERVING, "system:nodes", "node:a", &["a.example"],
        &["server auth", "digital signature"],
        "subject common name does not begin with system:node:"; "misnamed")]
    #[test_case(KUBELET_SERVING, "system:nodes", "system:node:a", &["a.example"],
        &["server auth", "digital signature", "key encipherment"], "signed for 31536000s"; "serving")]
    #[test_case(LEGACY, "dev", "ann", &["a.example"], &["any"], "signed for 31536000s"; "legacy")]
    fn steps(
        signer: &str,
        group: &str,
        name: &str,
        sans: &[&str],
        usages: &[&str],
        expected: &str,
    ) {
        assert_eq!(outcome(&approved(signer, fixture::pem(group, name, sans), usages)), expected);
    }

    #[test_case(None, 365 * 24 * 3600; "a year")]
    #[test_case(Some(60), 600; "not too short")]
    #[test_case(Some(3600), 3600; "as asked")]
    #[test_case(Some(i32::MAX), 365 * 24 * 3600; "not too long")]
    fn lives(asked: Option<i32>, seconds: u64) {
        assert_eq!(life(asked), Duration::from_secs(seconds));
    }

    #[test]
    fn what_is_not_approved_or_failed_is_left() {
        let pem = fixture::pem("dev", "ann", &[]);
        let plain = fixture::request(CLIENT, pem.clone(), &json!(["client auth"]));
        assert_eq!(outcome(&plain), "left");
        for end in ["Denied", "Failed"] {
            let mut request = approved(CLIENT, pem.clone(), &["client auth"]);
            add_condition(&mut request, end, "x", "");
            assert_eq!(outcome(&request), "left");
        }
    }
}
