//! Deletes bootstrap tokens that have expired.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, Change, ObjectKey, ReconcileError, Requeue, WorkQueue};

use super::{End, NAMESPACE, end};
use crate::wiring::{Running, Wiring, enqueue_each, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "token-cleaner";

#[derive(Clone)]
struct Context {
    client: Client,
    tokens: Cache<Secret>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context { client: wiring.client(NAME), tokens: super::tokens(wiring) };
    let queue = WorkQueue::new();
    enqueue_each(&context.tokens, &queue);
    wiring.work(NAME, queue, context, reconcile)
}

/// How long the token may still stay; `None` if for ever.
fn plan(secret: &Secret, now: Timestamp) -> Option<Duration> {
    if secret.metadata.namespace.as_deref() != Some(NAMESPACE) {
        return None;
    }
    match end(secret) {
        End::Never => None,
        End::Unreadable => Some(Duration::ZERO),
        End::At(end) => Some(Duration::try_from(end.duration_since(now)).unwrap_or_default()),
    }
}

/// Looks at one token.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(secret) = ctx.tokens.get(&key) else { return Ok(Requeue::WhenChanged) };
    match plan(&secret, now()) {
        None => return Ok(Requeue::WhenChanged),
        Some(left) if !left.is_zero() => return Ok(Requeue::After(left)),
        Some(_) => {}
    }
    match Change::delete(&*secret).apply(&ctx.client).await {
        // It is another one now.
        Err(gone) if gone.error.is_conflict() => Ok(Requeue::WhenChanged),
        answer => Ok(answer.map(|_| Requeue::WhenChanged)?),
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::super::fixture::token;
    use super::*;

    #[test_case("", None; "for ever")]
    #[test_case("2026-01-01T00:01:00Z", Some(60); "a minute")]
    #[test_case("2025-01-01T00:00:00Z", Some(0); "over")]
    #[test_case("soon", Some(0); "unreadable")]
    fn time_left(expiration: &str, seconds: Option<u64>) {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut secret = token("bootstrap-token-abcdef", &[("expiration", expiration)]);
        assert_eq!(plan(&secret, now), seconds.map(Duration::from_secs));
        secret.metadata.namespace = Some("default".to_owned());
        assert_eq!(plan(&secret, now), None);
    }
}
