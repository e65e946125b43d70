//! The map of a cache and what can be looked up in it besides the key.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

use crate::key::{KeyOf, ObjectKey};

/// Objects by key, by owner and, for pods, by node.
pub(super) struct Index<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    owners: HashMap<String, BTreeSet<ObjectKey>>,
    nodes: HashMap<String, BTreeSet<ObjectKey>>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Index { objects: BTreeMap::new(), owners: HashMap::new(), nodes: HashMap::new() }
    }
}

impl<K: Resource + 'static> Index<K> {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn list(&self) -> Vec<Arc<K>> {
        self.objects.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = ObjectKey::new(namespace, "");
        let range = self.objects.range((Bound::Included(from), Bound::Unbounded));
        range
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    pub(super) fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.all_of(self.owners.get(uid))
    }

    pub(super) fn on_node(&self, node: &str) -> Vec<Arc<K>> {
        self.all_of(self.nodes.get(node))
    }

    fn all_of(&self, keys: Option<&BTreeSet<ObjectKey>>) -> Vec<Arc<K>> {
        let found = keys.into_iter().flatten().filter_map(|key| self.objects.get(key));
        found.cloned().collect()
    }

    /// Puts an object in; returns the one it replaces.
    pub(super) fn insert(&mut self, object: Arc<K>) -> Option<Arc<K>> {
        let key = object.key();
        let old = self.remove(&key);
        for owner in owners(&*object) {
            self.owners.entry(owner.to_owned()).or_default().insert(key.clone());
        }
        if let Some(node) = node(&*object) {
            self.nodes.entry(node.to_owned()).or_default().insert(key.clone());
        }
        self.objects.insert(key, object);
        old
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        for owner in owners(&*old) {
            unlink(&mut self.owners, owner, key);
        }
        if let Some(node) = node(&*old) {
            unlink(&mut self.nodes, node, key);
        }
        Some(old)
    }

    /// Keys of all objects that `keep` does not hold.
    pub(super) fn others(&self, keep: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        self.objects.keys().filter(|key| !keep.contains(key)).cloned().collect()
    }
}

fn unlink(links: &mut HashMap<String, BTreeSet<ObjectKey>>, from: &str, key: &ObjectKey) {
    if let Some(keys) = links.get_mut(from) {
        keys.remove(key);
        if keys.is_empty() {
            links.remove(from);
        }
    }
}

fn owners<K: Resource>(object: &K) -> impl Iterator<Item = &str> {
    object.meta().owner_references.iter().flatten().map(|owner| owner.uid.as_str())
}

fn node<K: 'static>(object: &K) -> Option<&str> {
    let pod = (object as &dyn Any).downcast_ref::<Pod>()?;
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}
