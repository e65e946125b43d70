//! Waiting for the API to show something, by watching it.

use std::fmt::Debug;
use std::time::Duration;

use kube::{Api, Resource};
use minik_reconcile::{Cache, Selection};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// How long a wait may take. Far more than anything needs: a test that fails here hangs otherwise.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A kind that can be waited for: every built-in one.
pub trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// Waits until the object called `name` satisfies `holds`, and returns it.
///
/// # Panics
/// After [`DEADLINE`], with `what` and the object as it was seen last.
pub async fn until<K: Watched>(
    api: &Api<K>,
    name: &str,
    what: &str,
    holds: impl Fn(&K) -> bool,
) -> K {
    let found =
        wait(api, Some(name), what, |objects| objects.iter().find(|object| holds(object)).cloned());
    found.await
}

/// Waits until no object is called `name`.
///
/// # Panics
/// After [`DEADLINE`], with the object as it was seen last.
pub async fn gone<K: Watched>(api: &Api<K>, name: &str) {
    let what = format!("{name} is gone");
    wait(api, Some(name), &what, |objects| objects.is_empty().then_some(())).await;
}

/// Waits until all objects that `api` reaches together satisfy `holds`, and returns them.
///
/// # Panics
/// After [`DEADLINE`], with `what` and the objects as they were seen last.
pub async fn until_list<K: Watched>(
    api: &Api<K>,
    what: &str,
    holds: impl Fn(&[K]) -> bool,
) -> Vec<K> {
    wait(api, None, what, |objects| holds(objects).then(|| objects.to_vec())).await
}

async fn wait<K: Watched, R>(
    api: &Api<K>,
    name: Option<&str>,
    what: &str,
    look: impl Fn(&[K]) -> Option<R>,
) -> R {
    let stop = CancellationToken::new();
    let _ends_with_this_call = stop.clone().drop_guard();
    let selection = match name {
        Some(name) => Selection::all().fields(format!("metadata.name={name}")),
        None => Selection::all(),
    };
    let cache = Cache::start(api.clone(), &K::kind(&()), &selection, stop);
    let mut changes = cache.changes();
    let seen = || -> Vec<K> { cache.list().iter().map(|object| (**object).clone()).collect() };
    let found = async {
        cache.synced().await;
        loop {
            if let Some(found) = look(&seen()) {
                return found;
            }
            changes.changed().await;
        }
    };
    match tokio::time::timeout(DEADLINE, found).await {
        Ok(found) => found,
        Err(_) => panic!("not within {DEADLINE:?}: {what}; last seen:\n{}", show(&seen())),
    }
}

fn show<K: Serialize>(objects: &[K]) -> String {
    serde_json::to_string_pretty(objects).unwrap_or_else(|error| error.to_string())
}
