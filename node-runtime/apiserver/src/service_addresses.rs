//! Every cluster address of a Service has an IPAddress object: this task makes and removes them.
//!
//! Addresses are given out by what Services hold, so these objects only tell of it, to people and to
//! whoever looks after the ranges.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use minik_api::Resource;
use minik_meta::object;
use minik_store::{Event, EventKind, Expect, ListOptions, WatchError, Write};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::alloc::{MANAGED_BY, addresses_of, service_of};
use crate::core::Core;
use crate::vault::Watch;
use crate::{bootstrap, objects};

/// Follows Services and IPAddresses until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let kind = core.kinds.find("networking.k8s.io", "v1", "ipaddresses");
    let Some(kind) = kind else { return };
    let task = Task { core: &core, kind: &kind };
    tokio::select! {
        () = stop.cancelled() => {}
        () = task.follow() => {}
    }
}

struct Task<'a> {
    core: &'a Core,
    kind: &'a Resource,
}

impl Task<'_> {
    /// Ends only with the store.
    async fn follow(&self) {
        loop {
            // Watched before looked at: nothing is missed in between.
            let after = self.core.store.revision();
            let watch = |prefix: &str| self.core.store.watch(prefix, after);
            let services = format!("{}core/services/", objects::ROOT);
            let (Ok(mut services), Ok(mut addresses)) =
                (watch(&services), watch(&objects::prefix(self.kind, "")))
            else {
                return;
            };
            self.level().await;
            if let Err(WatchError::Closed) = self.changes(&mut services, &mut addresses).await {
                return;
            }
        }
    }

    /// Brings all objects to what Services hold.
    async fn level(&self) {
        let owners: HashMap<_, _> = self.core.allocator.owners().into_iter().collect();
        let page = self.core.store.list(&objects::prefix(self.kind, ""), &ListOptions::default());
        for entry in page.map(|page| page.entries).unwrap_or_default() {
            let name = entry.key.rsplit('/').next().unwrap_or_default();
            if let Ok(address) = name.parse()
                && !owners.contains_key(&address)
            {
                self.remove(address).await;
            }
        }
        for (address, owner) in &owners {
            self.make(*address, owner).await;
        }
    }

    async fn changes(&self, services: &mut Watch, addresses: &mut Watch) -> Result<(), WatchError> {
        loop {
            tokio::select! {
                event = services.next() => {
                    let event = event?;
                    self.service_changed(&event).await;
                },
                event = addresses.next() => {
                    let event = event?;
                    self.address_changed(&event).await;
                },
            }
        }
    }

    async fn service_changed(&self, event: &Event) {
        let Some(service) = service_of(&event.key) else { return };
        let held = |bytes: &[u8]| {
            serde_json::from_slice(bytes)
                .map(|value: Value| addresses_of(&value))
                .unwrap_or_default()
        };
        let before = event.previous.as_ref().map(|previous| held(&previous.value));
        let now = if event.kind == EventKind::Put { held(&event.value) } else { Vec::new() };
        for address in before.unwrap_or_default() {
            if !now.contains(&address) && self.core.allocator.owner(address).is_none() {
                self.remove(address).await;
            }
        }
        for address in now {
            self.make(address, &service).await;
        }
    }

    /// Makes again what somebody removed.
    async fn address_changed(&self, event: &Event) {
        let name = event.key.rsplit('/').next().unwrap_or_default();
        if let (EventKind::Delete, Ok(address)) = (event.kind, name.parse())
            && let Some(owner) = self.core.allocator.owner(address)
        {
            self.make(address, &owner).await;
        }
    }

    async fn make(&self, address: Ipv4Addr, (namespace, name): &(String, String)) {
        let key = objects::key(self.kind, "", &address.to_string());
        let parent = json!({
            "group": "", "resource": "services", "namespace": namespace, "name": name,
        });
        let write = match self.core.store.get(&key) {
            Some(entry) => {
                let mut current = objects::read(self.kind, &entry.value, entry.modified);
                let names = |what: &str| {
                    object::text(&current, &["spec", "parentRef", what]) == parent[what]
                };
                if !is_ours(&current) || ["resource", "namespace", "name"].into_iter().all(names) {
                    return;
                }
                object::set(&mut current, &["spec", "parentRef"], parent);
                Write::put(key, Expect::At(entry.modified), objects::write(self.kind, current))
            }
            None => {
                let mut made = json!({
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "IPAddress",
                    "metadata": {
                        "name": address.to_string(),
                        "labels": {
                            "ipaddress.kubernetes.io/ip-family": "IPv4",
                            MANAGED_BY.0: MANAGED_BY.1,
                        },
                    },
                    "spec": {"parentRef": parent},
                });
                bootstrap::stamp(self.kind, &mut made, &minik_meta::time::now_rfc3339());
                Write::create(key, objects::write(self.kind, made))
            }
        };
        self.commit(write, address).await;
    }

    async fn remove(&self, address: Ipv4Addr) {
        let key = objects::key(self.kind, "", &address.to_string());
        let Some(entry) = self.core.store.get(&key) else { return };
        let current = objects::read(self.kind, &entry.value, entry.modified);
        if is_ours(&current) {
            self.commit(Write::delete(key, Expect::At(entry.modified)), address).await;
        }
    }

    async fn commit(&self, write: Write, address: Ipv4Addr) {
        if let Err(error) = self.core.store.commit(write).await {
            // Somebody else wrote it in between: their write is the next event.
            debug!(%address, %error, "the object of an address was not written");
        }
    }
}

fn is_ours(address: &Value) -> bool {
    object::label(address, MANAGED_BY.0) == Some(MANAGED_BY.1)
}
