//! Signs the kubeconfig in the ConfigMap `cluster-info` of `kube-public`, once with each bootstrap
//! token that is for it: a detached JWS per token.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, Change, ObjectKey, ReconcileError, Requeue, Selection, WorkQueue};

use super::{End, NAMESPACE, end, is_over, text};
use crate::wiring::{Running, Wiring, enqueue_each, name_of, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "bootstrap-signer";

const PUBLIC: &str = "kube-public";
const MAP: &str = "cluster-info";
const CONTENT: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

#[derive(Clone)]
struct Context {
    client: Client,
    tokens: Cache<Secret>,
    maps: Cache<ConfigMap>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        tokens: super::tokens(wiring),
        maps: wiring.caches.watch_some(Selection::all().fields(format!("metadata.name={MAP}"))),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.maps, &queue);
    let again = queue.clone();
    context.tokens.on_change(move |_| again.add(ObjectKey::new(PUBLIC, MAP)));
    wiring.work(NAME, queue, context, reconcile)
}

/// Id and secret of a token that is good for signing.
fn signing_token(secret: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let (id, key) = (text(secret, "token-id"), text(secret, "token-secret"));
    let named = name_of(secret).strip_prefix("bootstrap-token-") == Some(id);
    let form = id.len() == 6 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let good = text(secret, "usage-bootstrap-signing") == "true" && !is_over(secret, now);
    let here = secret.metadata.namespace.as_deref() == Some(NAMESPACE);
    (here && named && form && good && !key.is_empty()).then_some((id, key))
}

/// The signature without what is signed: `HEADER..SIGNATURE`.
fn sign(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{header}..{signature}")
}

/// The map with the signatures it should have, if it has others.
fn plan<'a>(
    map: &ConfigMap,
    tokens: impl IntoIterator<Item = &'a Secret>,
    now: Timestamp,
) -> Option<ConfigMap> {
    let data = map.data.as_ref()?;
    let content = data.get(CONTENT)?;
    let mut wanted: BTreeMap<String, String> = data
        .iter()
        .filter(|(key, _)| !key.starts_with(SIGNATURE_PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (id, secret) in tokens.into_iter().filter_map(|token| signing_token(token, now)) {
        wanted.insert(format!("{SIGNATURE_PREFIX}{id}"), sign(content, id, secret));
    }
    (wanted != *data).then(|| ConfigMap { data: Some(wanted), ..map.clone() })
}

/// Looks at the map.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    if *key.namespace != *PUBLIC {
        return Ok(Requeue::WhenChanged);
    }
    let Some(map) = ctx.maps.get(&key) else { return Ok(Requeue::WhenChanged) };
    let (tokens, now) = (ctx.tokens.list(), now());
    if let Some(signed) = plan(&map, tokens.iter().map(|token| &**token), now) {
        match Change::Replace(Box::new(signed)).apply(&ctx.client).await {
            Err(gone) if gone.error.is_not_found() => {}
            answer => ctx.maps.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    // Its signature goes when the first token ends, even if nobody deletes that.
    let ends = tokens.iter().filter_map(|token| match end(token) {
        End::At(end) if end > now => Some(end),
        _ => None,
    });
    Ok(ends.min().map_or(Requeue::WhenChanged, |end| {
        Requeue::After(end.duration_since(now).try_into().unwrap_or_default())
    }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::token;
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("a time")
    }

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ConfigMap { data: Some(data.collect()), ..ConfigMap::default() }
    }

    fn good(id: &str) -> Secret {
        token(
            &format!("bootstrap-token-{id}"),
            &[("token-id", id), ("token-secret", SECRET), ("usage-bootstrap-signing", "true")],
        )
    }

    #[test]
    fn a_signature_is_the_one_that_others_compute() {
        let content = "Hello from the other side. I must have called a thousand times.";
        assert_eq!(
            sign(content, "joshua", "my voice is my passcode"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
        );
    }

    #[test]
    fn signatures_follow_the_tokens() {
        let plain = map(&[("kubeconfig", "k"), ("jws-kubeconfig-gone00", "old"), ("more", "m")]);
        let signed = plan(&plain, [&good("abcdef")], now()).expect("it changes");
        let keys: Vec<_> = signed.data.as_ref().expect("data").keys().cloned().collect();
        assert_eq!(keys, ["jws-kubeconfig-abcdef", "kubeconfig", "more"]);
        assert_eq!(plan(&signed, [&good("abcdef")], now()), None);
        assert_eq!(plan(&map(&[("other", "k")]), [&good("abcdef")], now()), None);
    }

    #[test]
    fn not_every_token_signs() {
        let set = |key: &str, value: &str| {
            let mut token = good("abcdef");
            let data = token.data.get_or_insert_default();
            data.insert(key.to_owned(), k8s_openapi::ByteString(value.as_bytes().to_vec()));
            token
        };
        assert!(signing_token(&good("abcdef"), now()).is_some());
        for (key, value) in [
            ("token-id", "abcdee"),
            ("token-secret", ""),
            ("usage-bootstrap-signing", "no"),
            ("expiration", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(signing_token(&set(key, value), now()), None, "{key}");
        }
    }
}
