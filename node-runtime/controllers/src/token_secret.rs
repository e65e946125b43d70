//! Puts a token into a Secret of the type `kubernetes.io/service-account-token`: the older way to
//! give a program outside the cluster the identity of a ServiceAccount.

use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use minik_client::{ApiErrorExt, identity};
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, Selection, WorkQueue,
};
use std::sync::Arc;

use crate::wiring::{Running, Wiring, enqueue_each, namespace_of};

/// Name of the controller.
pub(crate) const NAME: &str = "tokens-controller";

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// How long such a token is asked to be valid: it goes with its Secret before that.
const VALID_SECONDS: i64 = 10 * 365 * 24 * 3600;

#[derive(Clone)]
struct Context {
    client: Client,
    ca: Arc<str>,
    secrets: Cache<Secret>,
    accounts: Cache<ServiceAccount>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        // The one controller that acts as the manager itself, whose role lets it make tokens.
        client: (wiring.clients)(identity::CONTROLLER_MANAGER),
        ca: Arc::from(wiring.config.ca_pem.as_str()),
        secrets: wiring.caches.watch_some(Selection::all().fields(format!("type={TYPE}"))),
        accounts: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.secrets, &queue);
    let (secrets, wake) = (context.secrets.clone(), queue.clone());
    context.accounts.on_change(move |seen| {
        let account = seen.object();
        let appeared_or_gone =
            matches!(seen, Seen::Applied { old: None, .. } | Seen::Deleted { .. });
        for secret in secrets.in_namespace(namespace_of(&**account)) {
            if appeared_or_gone && secret.annotation(ACCOUNT) == Some(&*account.key().name) {
                wake.add(secret.key());
            }
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

/// What becomes of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Leave,
    /// It lacks its token.
    Fill,
    /// Its account is gone.
    Delete,
}

fn plan(secret: &Secret, account: Option<&ServiceAccount>) -> Step {
    let Some(account) = account else { return Step::Delete };
    if secret.annotation(ACCOUNT_UID).is_some_and(|uid| uid != account.uid_str()) {
        return Step::Delete; // It was another account of that name.
    }
    let has = |key: &str| {
        let data = secret.data.as_ref().and_then(|data| data.get(key));
        data.is_some_and(|bytes| !bytes.0.is_empty())
    };
    if secret.is_terminating() || (has("token") && has("ca.crt") && has("namespace")) {
        Step::Leave
    } else {
        Step::Fill
    }
}

/// Reconciles one Secret.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(secret) = ctx.secrets.get(&key) else { return Ok(Requeue::WhenChanged) };
    let Some(name) = secret.annotation(ACCOUNT) else { return Ok(Requeue::WhenChanged) };
    let at = ObjectKey::new(&*key.namespace, name);
    let account = match ctx.accounts.get(&at) {
        Some(account) => Some((*account).clone()),
        None => {
            let api: Api<ServiceAccount> = Api::namespaced(ctx.client.clone(), &at.namespace);
            api.get_opt(name).await?
        }
    };
    match (plan(&secret, account.as_ref()), account) {
        (Step::Fill, Some(account)) => fill(&ctx, &secret, &account).await?,
        (Step::Delete, _) => {
            Change::delete(&*secret).apply(&ctx.client).await?;
        }
        (Step::Leave | Step::Fill, _) => {}
    }
    Ok(Requeue::WhenChanged)
}

async fn fill(
    ctx: &Context,
    secret: &Secret,
    account: &ServiceAccount,
) -> Result<(), ReconcileError> {
    let api: Api<ServiceAccount> = Api::namespaced(ctx.client.clone(), namespace_of(account));
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(VALID_SECONDS),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: secret.metadata.name.clone(),
                uid: secret.metadata.uid.clone(),
            }),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let post = PostParams::default();
    let made: TokenRequest =
        api.create_subresource("token", &account.key().name, &post, &request).await?;
    let Some(token) = made.status.and_then(|status| status.token) else {
        return Err(ReconcileError::Other("the API made no token".to_owned()));
    };
    let mut written = secret.clone();
    let data = written.data.get_or_insert_default();
    data.insert("token".to_owned(), ByteString(token.into_bytes()));
    data.insert("ca.crt".to_owned(), ByteString(ctx.ca.as_bytes().to_vec()));
    data.insert("namespace".to_owned(), ByteString(namespace_of(secret).as_bytes().to_vec()));
    let annotations = written.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT_UID.to_owned(), account.uid_str().to_owned());
    match Change::Replace(Box::new(written)).apply(&ctx.client).await {
        Err(gone) if gone.error.is_not_found() => Ok(()),
        answer => Ok(ctx.secrets.caught_up(&answer?.unwrap_or_default()).await?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;

    #[test_case(json!({}), None, Some("u"), Step::Fill; "empty")]
    #[test_case(json!({ "token": "eA==", "ca.crt": "eA==", "namespace": "eA==" }), Some("u"),
        Some("u"), Step::Leave; "full")]
    #[test_case(json!({}), None, None, Step::Delete; "no account")]
    #[test_case(json!({}), Some("before"), Some("u"), Step::Delete; "another account")]
    fn steps(data: Value, noted: Option<&str>, account: Option<&str>, expected: Step) {
        let mut annotations = json!({ ACCOUNT: "robot" });
        if let Some(uid) = noted {
            annotations[ACCOUNT_UID] = json!(uid);
        }
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": "t", "annotations": annotations }, "type": TYPE, "data": data,
        }))
        .expect("a secret");
        let account: Option<ServiceAccount> = account.map(|uid| {
            serde_json::from_value(json!({ "metadata": { "name": "robot", "uid": uid } }))
                .expect("an account")
        });
        assert_eq!(plan(&secret, account.as_ref()), expected);
    }
}
