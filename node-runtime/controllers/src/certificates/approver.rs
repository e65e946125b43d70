//! Approves the requests of kubelets for their client certificates, if whoever made them may.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_pki::SigningRequest;
use minik_reconcile::{Cache, ObjectKey, ReconcileError, Requeue, WorkQueue};

use super::{
    ACCOUNT, KUBELET_CLIENT, add_condition, condition, is_kubelet_client, is_signed, usages_of,
};
use crate::wiring::{Running, Wiring, enqueue_each, now};

/// Name of the controller.
pub(crate) const NAME: &str = "certificatesigningrequest-approving-controller";

/// A request that may not be approved yet is looked at again after as long as it has waited, within
/// these bounds: roles can be bound later.
const AGAIN: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(1000);

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

/// A right that is enough for approval, and what the approval then says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ground {
    subresource: &'static str,
    message: &'static str,
}

const OWN: Ground = Ground {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const ANY: Ground = Ground {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// On which grounds the request could be approved; none if it is nobody's business here.
fn grounds(request: &CertificateSigningRequest) -> Result<Vec<Ground>, String> {
    let decided = ["Approved", "Denied"].iter().any(|kind| condition(request, kind).is_some());
    if is_signed(request) || decided || request.spec.signer_name != KUBELET_CLIENT {
        return Ok(Vec::new());
    }
    let asked = SigningRequest::from_pem(&request.spec.request.0);
    let asked = asked.map_err(|error| format!("unable to parse csr: {error}"))?;
    if is_kubelet_client(&asked, &usages_of(request)).is_err() {
        return Ok(Vec::new());
    }
    let own = request.spec.username.as_ref() == Some(&asked.common_name);
    Ok(if own { vec![OWN, ANY] } else { vec![ANY] })
}

/// What the API is asked about the one who made the request.
fn question(request: &CertificateSigningRequest, ground: Ground) -> SubjectAccessReview {
    let spec = &request.spec;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                verb: Some("create".to_owned()),
                subresource: Some(ground.subresource.to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

fn look_again(request: &CertificateSigningRequest, now: Timestamp) -> Requeue {
    let since = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Requeue::After(waited.clamp(*AGAIN.start(), *AGAIN.end()))
}

/// Looks at one request.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(request) = ctx.requests.get(&key) else { return Ok(Requeue::WhenChanged) };
    let grounds = match grounds(&request) {
        Ok(grounds) => grounds,
        Err(why) => {
            tracing::debug!(request = %key, why, "not approved");
            return Ok(Requeue::WhenChanged);
        }
    };
    let reviews: Api<SubjectAccessReview> = Api::all(ctx.client.clone());
    for ground in &grounds {
        let review = question(&request, *ground);
        let answer = reviews.create(&PostParams::default(), &review).await?;
        if answer.status.is_some_and(|status| status.allowed) {
            return approve(&ctx, &request, &key, *ground).await;
        }
    }
    match grounds.is_empty() {
        true => Ok(Requeue::WhenChanged),
        false => Ok(look_again(&request, now())),
    }
}

async fn approve(
    ctx: &Context,
    request: &CertificateSigningRequest,
    key: &ObjectKey,
    ground: Ground,
) -> Result<Requeue, ReconcileError> {
    let mut approved = request.clone();
    add_condition(&mut approved, "Approved", "AutoApproved", ground.message);
    let requests: Api<CertificateSigningRequest> = Api::all(ctx.client.clone());
    let post = PostParams::default();
    match requests.replace_subresource("approval", &key.name, &post, &approved).await {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => Ok(answer.map(|_| Requeue::WhenChanged)?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::super::fixture;
    use super::*;

    const CLIENT: &[&str] = &["digital signature", "client auth"];

    #[test_case(KUBELET_CLIENT, "system:nodes", "ann", &[], CLIENT, &[]; "no node")]
    #[test_case(KUBELET_CLIENT, "system:nodes", "system:node:n1", &[], CLIENT, &["nodeclient"];
        "a node, by somebody")]
    #[test_case(KUBELET_CLIENT, "other", "system:node:n1", &[], CLIENT, &[]; "another group")]
    #[test_case(KUBELET_CLIENT, "system:nodes", "system:node:n1", &["a.example"], CLIENT, &[];
        "with a name")]
    #[test_case(KUBELET_CLIENT, "system:nodes", "system:node:n1", &[], &["server auth"], &[];
        "for a server")]
    #[test_case("kubernetes.io/kubelet-serving", "system:nodes", "system:node:n1", &[], CLIENT, &[];
        "another signer")]
    fn who_could_be_approved(
        signer: &str,
        group: &str,
        name: &str,
        sans: &[&str],
        usages: &[&str],
        rights: &[&str],
    ) {
        let request = fixture::request(signer, fixture::pem(group, name, sans), &json!(usages));
        let found: Vec<_> =
            grounds(&request).expect("it parses").iter().map(|one| one.subresource).collect();
        assert_eq!(found, rights);
    }

    #[test]
    fn a_node_for_itself_may_more() {
        let pem = fixture::pem("system:nodes", "system:node:n1", &[]);
        let mut request = fixture::request(KUBELET_CLIENT, pem, &json!(CLIENT));
        request.spec.username = Some("system:node:n1".to_owned());
        assert_eq!(grounds(&request), Ok(vec![OWN, ANY]));
        add_condition(&mut request, "Denied", "no", "");
        assert_eq!(grounds(&request), Ok(vec![]));
    }
}
