//! EndpointSlices for Services without selector: copies of the Endpoints that somebody wrote for
//! them by hand, so that whoever reads slices sees those too.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Selection, WorkQueue,
};

use crate::endpoints::slices::SERVICE;
use crate::endpoints::{selector, write_slices};
use crate::owned::controller_ref;
use crate::wiring::{Running, Wiring, enqueue_each, name_of};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "endpointslicemirroring-controller";

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Label that keeps Endpoints from being copied.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Marks Endpoints that elect a leader and hold no addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Addresses of one subset that are copied.
const ADDRESSES_MAX: usize = 1000;

#[derive(Clone)]
struct Context {
    client: Client,
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Cache<EndpointSlice>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let ours = Selection::all().labels(format!("{MANAGED_BY}={MANAGER}"));
    let context = Context {
        client: wiring.client(NAME),
        services: wiring.caches.watch(),
        endpoints: wiring.caches.watch(),
        slices: wiring.caches.watch_some(ours),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.services, &queue);
    enqueue_each(&context.endpoints, &queue);
    let wake = queue.clone();
    context.slices.on_change(move |seen| {
        let slice = seen.object();
        if let Some(service) = slice.label(SERVICE) {
            wake.add(ObjectKey::new(slice.key().namespace, service));
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

/// Whether these Endpoints were written by hand for this Service.
fn is_by_hand(service: &Service, endpoints: &Endpoints) -> bool {
    let is_kubernetes = name_of(service) == "kubernetes"
        && service.metadata.namespace.as_deref() == Some("default"); // It has slices of its own.
    selector(service).is_none()
        && !is_kubernetes
        && endpoints.label(SKIP) != Some("true")
        && endpoints.annotation(LEADER).is_none()
}

/// The slices the Endpoints amount to: one for each subset and family.
fn wanted(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let subsets = endpoints.subsets.iter().flatten();
    let slices = subsets.flat_map(|subset| {
        ["IPv4", "IPv6"].into_iter().filter_map(|family| slice(endpoints, subset, family))
    });
    slices.collect()
}

fn slice(endpoints: &Endpoints, subset: &EndpointSubset, family: &str) -> Option<EndpointSlice> {
    let of_family = |address: &&EndpointAddress| address.ip.contains(':') == (family == "IPv6");
    let ready = subset.addresses.iter().flatten().filter(of_family);
    let not_ready = subset.not_ready_addresses.iter().flatten().filter(of_family);
    let ready = ready.map(|address| endpoint(address, true));
    let all: Vec<Endpoint> = ready
        .chain(not_ready.map(|address| endpoint(address, false)))
        .take(ADDRESSES_MAX)
        .collect();
    if all.is_empty() {
        return None;
    }
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    });
    Some(EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name_of(endpoints))),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels(endpoints)),
            owner_references: Some(vec![controller_ref(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(all),
        ports: Some(ports.collect()),
    })
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn labels(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE.to_owned(), name_of(endpoints).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// What must be written so that the slices are copies. A slice is reused for any subset of its
/// family; what is left over goes.
fn plan(wanted: Vec<EndpointSlice>, there: &[Arc<EndpointSlice>]) -> Vec<Change<EndpointSlice>> {
    let mut spare: Vec<&Arc<EndpointSlice>> = there.iter().collect();
    let mut changes = Vec::new();
    for new in wanted {
        let same_ports = spare
            .iter()
            .position(|old| old.address_type == new.address_type && old.ports == new.ports);
        let usable = || spare.iter().position(|old| old.address_type == new.address_type);
        let Some(index) = same_ports.or_else(usable) else {
            changes.push(Change::create(new));
            continue;
        };
        let old = spare.remove(index);
        let mut written = (**old).clone();
        written.endpoints = new.endpoints;
        written.ports = new.ports;
        written.metadata.labels = new.metadata.labels;
        if written != **old {
            changes.push(Change::Replace(Box::new(written)));
        }
    }
    changes.extend(spare.into_iter().map(|slice| Change::delete(&**slice)));
    changes
}

/// Reconciles the slices of one Service.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let mut there = ctx.slices.in_namespace(&key.namespace);
    there.retain(|slice| slice.label(SERVICE) == Some(&*key.name));
    let wanted = match (ctx.services.get(&key), ctx.endpoints.get(&key)) {
        (Some(service), Some(endpoints)) if is_by_hand(&service, &endpoints) => wanted(&endpoints),
        _ => Vec::new(),
    };
    write_slices(&ctx.client, &ctx.slices, &plan(wanted, &there)).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(subsets: Value) -> Endpoints {
        serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "default", "uid": "e" }, "subsets": subsets,
        }))
        .expect("endpoints")
    }

    fn one(ip: &str) -> Value {
        json!([{ "addresses": [{ "ip": ip }], "ports": [{ "name": "sql", "port": 5432 }] }])
    }

    #[test]
    fn a_copy_for_each_family() {
        let both = json!([{ "addresses": [{ "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }],
            "notReadyAddresses": [{ "ip": "192.0.2.2" }], "ports": [{ "port": 80 }] }]);
        let slices = wanted(&endpoints(both));
        let facts: Vec<(&str, usize)> = slices
            .iter()
            .map(|slice| {
                (slice.address_type.as_str(), slice.endpoints.as_ref().map_or(0, Vec::len))
            })
            .collect();
        assert_eq!(facts, [("IPv4", 2), ("IPv6", 1)]);
    }

    #[test]
    fn copies_follow() {
        let first = wanted(&endpoints(one("192.0.2.1")));
        let there: Vec<Arc<EndpointSlice>> = first.iter().cloned().map(Arc::new).collect();
        assert!(plan(first, &there).is_empty(), "nothing is written twice");
        let moved = plan(wanted(&endpoints(one("192.0.2.9"))), &there);
        assert!(matches!(&moved[..], [Change::Replace(_)]), "{moved:?}");
        assert!(matches!(&plan(Vec::new(), &there)[..], [Change::Delete { .. }]));
    }

    #[test]
    fn only_what_was_written_by_hand() {
        let service = |spec: Value| -> Service {
            serde_json::from_value(json!({
                "metadata": { "name": "db", "namespace": "default" }, "spec": spec }))
            .expect("a service")
        };
        let by_hand = endpoints(one("192.0.2.1"));
        assert!(is_by_hand(&service(json!({})), &by_hand));
        assert!(!is_by_hand(&service(json!({ "selector": { "app": "db" } })), &by_hand));
    }
}
