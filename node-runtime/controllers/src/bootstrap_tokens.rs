//! Bootstrap tokens, with which machines join: expired ones are deleted, and the public facts about
//! the cluster are signed with the others, so that who has a token can tell the right cluster.

pub(crate) mod cleaner;
pub(crate) mod signer;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use minik_reconcile::{Cache, Selection};

use crate::wiring::Wiring;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

/// The tokens, of which few live outside their namespace by mistake.
fn tokens(wiring: &Wiring) -> Cache<Secret> {
    wiring.caches.watch_some(Selection::all().fields(format!("type={TYPE}")))
}

/// A value of a token's Secret as text; empty if it is absent.
fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).unwrap_or_default()
}

/// When a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Never,
    At(Timestamp),
    /// Nobody can read when, so it counts as over.
    Unreadable,
}

fn end(secret: &Secret) -> End {
    match text(secret, "expiration") {
        "" => End::Never,
        text => text.parse().map_or(End::Unreadable, End::At),
    }
}

fn is_over(secret: &Secret, now: Timestamp) -> bool {
    match end(secret) {
        End::Never => false,
        End::At(end) => end <= now,
        End::Unreadable => true,
    }
}

/// Secrets for tests.
#[cfg(test)]
mod fixture {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    pub(super) fn token(name: &str, values: &[(&str, &str)]) -> Secret {
        let data = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(super::NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(super::TYPE.to_owned()),
            data: Some(data.collect()),
            ..Secret::default()
        }
    }
}
