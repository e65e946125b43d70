//! The ConfigMaps and Secrets that pods here use: one watch per object, shared by all its users,
//! opened with the first and closed with the last.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::object;
use crate::spec::env::{self, Objects};

/// How long a pod waits to hear whether an object is there.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Why nothing is known about an object.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("failed to read {} \"{}\": {message}", kind_name(.key.kind), .key.name)]
    Refused { key: Key, message: String },
    #[error("timed out waiting for {} \"{}\"", kind_name(.0.kind), .0.name)]
    TimedOut(Key),
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap => "configmap",
        Kind::Secret => "secret",
    }
}

#[derive(Clone)]
enum Object {
    ConfigMap(Arc<ConfigMap>),
    Secret(Arc<Secret>),
}

/// What the watch said last.
#[derive(Clone)]
enum Known {
    Nothing,
    Absent,
    Present(Object),
    Refused(String),
}

struct Entry {
    known: watch::Sender<Known>,
    users: HashMap<String, Arc<Notify>>,
    _watch: AbortOnDropHandle<()>,
}

/// All watches of this kubelet.
pub(crate) struct Sources {
    client: Client,
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
}

impl Sources {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, entries: Arc::default() }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().expect("nothing panics while it holds the entries")
    }

    /// Says which objects a pod uses from now on; `changed` is notified when one of them changes.
    pub(crate) fn set_used(&self, uid: &str, keys: &BTreeSet<Key>, changed: &Arc<Notify>) {
        let mut entries = self.entries();
        entries.retain(|key, entry| {
            if !keys.contains(key) {
                entry.users.remove(uid);
            }
            !entry.users.is_empty()
        });
        for key in keys {
            let entry = entries.entry(key.clone()).or_insert_with(|| self.open(key));
            entry.users.insert(uid.to_owned(), changed.clone());
        }
    }

    /// Forgets a pod and closes watches that nobody needs any more.
    pub(crate) fn forget(&self, uid: &str) {
        self.set_used(uid, &BTreeSet::new(), &Arc::new(Notify::new()));
    }

    fn open(&self, key: &Key) -> Entry {
        let known = watch::Sender::new(Known::Nothing);
        let task = match key.kind {
            Kind::ConfigMap => tokio::spawn(follow(
                Api::<ConfigMap>::namespaced(self.client.clone(), &key.namespace),
                key.clone(),
                known.clone(),
                self.entries.clone(),
                |map| Object::ConfigMap(Arc::new(map)),
            )),
            Kind::Secret => tokio::spawn(follow(
                Api::<Secret>::namespaced(self.client.clone(), &key.namespace),
                key.clone(),
                known.clone(),
                self.entries.clone(),
                |secret| Object::Secret(Arc::new(secret)),
            )),
        };
        Entry { known, users: HashMap::new(), _watch: AbortOnDropHandle::new(task) }
    }

    /// The object, or that it is not there. It must be among those its pod uses.
    async fn get(&self, key: &Key) -> Result<Option<Object>, SourceError> {
        let Some(mut known) = self.entries().get(key).map(|entry| entry.known.subscribe()) else {
            let message = "the pod does not use it".to_owned();
            return Err(SourceError::Refused { key: key.clone(), message });
        };
        let answered = known.wait_for(|known| !matches!(known, Known::Nothing));
        match tokio::time::timeout(ANSWER_DEADLINE, answered).await {
            Ok(Ok(known)) => match &*known {
                Known::Present(object) => Ok(Some(object.clone())),
                Known::Refused(message) => {
                    Err(SourceError::Refused { key: key.clone(), message: message.clone() })
                }
                Known::Absent | Known::Nothing => Ok(None),
            },
            Ok(Err(_)) | Err(_) => Err(SourceError::TimedOut(key.clone())),
        }
    }

    /// A ConfigMap that the pod uses.
    pub(crate) async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<ConfigMap>>, SourceError> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        match self.get(&Key { kind: Kind::ConfigMap, namespace, name }).await? {
            Some(Object::ConfigMap(map)) => Ok(Some(map)),
            Some(Object::Secret(_)) | None => Ok(None),
        }
    }

    /// A Secret that the pod uses.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Secret>>, SourceError> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        match self.get(&Key { kind: Kind::Secret, namespace, name }).await? {
            Some(Object::Secret(secret)) => Ok(Some(secret)),
            Some(Object::ConfigMap(_)) | None => Ok(None),
        }
    }

    /// The objects that a container's environment reads, as far as they are there.
    pub(crate) async fn for_environment(
        &self,
        pod: &Pod,
        container: &k8s_openapi::api::core::v1::Container,
    ) -> Result<Objects, SourceError> {
        let (config_maps, secrets) = env::references(container);
        let namespace = object::namespace(pod);
        let mut objects = Objects::default();
        for name in config_maps {
            if let Some(map) = self.config_map(namespace, &name).await? {
                objects.config_maps.insert(name, map);
            }
        }
        for name in secrets {
            if let Some(secret) = self.secret(namespace, &name).await? {
                objects.secrets.insert(name, secret);
            }
        }
        Ok(objects)
    }
}

/// Keeps `known` up to date and tells the users of a change.
async fn follow<K>(
    api: Api<K>,
    key: Key,
    known: watch::Sender<Known>,
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
    wrap: fn(K) -> Object,
) where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Sync,
    K::DynamicType: Default,
{
    let stream = watcher::watch_object(api, &key.name).default_backoff();
    pin_mut!(stream);
    while let Some(said) = stream.next().await {
        let is_first = matches!(*known.borrow(), Known::Nothing);
        match said {
            Ok(Some(object)) => known.send_replace(Known::Present(wrap(object))),
            Ok(None) => known.send_replace(Known::Absent),
            // What is known stays; only somebody who waits for a first answer needs the reason.
            Err(error) if is_first => known.send_replace(Known::Refused(error.to_string())),
            Err(error) => {
                tracing::debug!(?key, %error, "watch of a pod's source broke");
                continue;
            }
        };
        let entries = entries.lock().expect("nothing panics while it holds the entries");
        for user in entries.get(&key).iter().flat_map(|entry| entry.users.values()) {
            user.notify_one();
        }
    }
}

/// Everything a pod uses: volumes, environments, pull secrets.
pub(crate) fn used_by(pod: &Pod) -> BTreeSet<Key> {
    let spec = object::spec(pod);
    let mut keys = BTreeSet::new();
    let namespace = object::namespace(pod).to_owned();
    let mut add = |kind, name: &str| {
        if !name.is_empty() {
            keys.insert(Key { kind, namespace: namespace.clone(), name: name.to_owned() });
        }
    };
    for volume in spec.volumes.iter().flatten() {
        if let Some(source) = &volume.config_map {
            add(Kind::ConfigMap, &source.name);
        }
        if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()) {
            add(Kind::Secret, name);
        }
        let projected = volume.projected.iter().flat_map(|projected| &projected.sources);
        for source in projected.flatten() {
            if let Some(map) = &source.config_map {
                add(Kind::ConfigMap, &map.name);
            }
            if let Some(secret) = &source.secret {
                add(Kind::Secret, &secret.name);
            }
        }
    }
    for container in object::containers(pod) {
        let (config_maps, secrets) = env::references(&container.container);
        config_maps.iter().for_each(|name| add(Kind::ConfigMap, name));
        secrets.iter().for_each(|name| add(Kind::Secret, name));
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        add(Kind::Secret, &secret.name);
    }
    keys
}
