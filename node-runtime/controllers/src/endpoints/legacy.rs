//! Endpoints of a Service: the older kind, one object for each Service, still read by many.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};

use crate::endpoints::{
    HEADLESS, addresses, enqueue_services, hostname, is_headless, publishes_not_ready, selected,
    selector, service_ports, target_port, target_ref,
};
use crate::pods;
use crate::wiring::{Running, Wiring, enqueue_each, name_of, namespace_of};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "endpoint-controller";

/// Addresses in one object; what is beyond is cut off and noted.
const ADDRESSES_MAX: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    services: Cache<Service>,
    pods: Cache<Pod>,
    endpoints: Cache<Endpoints>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        services: wiring.caches.watch(),
        pods: wiring.caches.watch(),
        endpoints: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.services, &queue);
    enqueue_services(&context.pods, &context.services, &queue);
    enqueue_each(&context.endpoints, &queue);
    wiring.work(NAME, queue, context, reconcile)
}

/// Addresses behind one set of ports.
type ByPorts = Vec<(Vec<EndpointPort>, Vec<EndpointAddress>, Vec<EndpointAddress>)>;

/// The subsets that the pods of a Service amount to, and whether some were cut off.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let lax = publishes_not_ready(service);
    let mut groups: ByPorts = Vec::new();
    let (mut count, mut cut) = (0, false);
    for pod in pods.iter().filter(|pod| !pods::is_finished(pod)) {
        if pod.is_terminating() && !lax {
            continue;
        }
        let Some(ip) = addresses(pod).first().copied() else { continue };
        if count == ADDRESSES_MAX {
            cut = true;
            break;
        }
        count += 1;
        let address = EndpointAddress {
            ip: ip.to_owned(),
            hostname: hostname(pod, service),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(target_ref(pod)),
        };
        let ports = ports_of(service, pod);
        if ports.is_empty() && !(is_headless(service) && service_ports(service).is_empty()) {
            continue;
        }
        let index = groups.iter().position(|group| group.0 == ports).unwrap_or_else(|| {
            groups.push((ports, Vec::new(), Vec::new()));
            groups.len() - 1
        });
        if lax || pods::is_ready(pod) {
            groups[index].1.push(address);
        } else {
            groups[index].2.push(address);
        }
    }
    let some = |list: Vec<EndpointAddress>| {
        let mut list = list;
        list.sort_by(|a, b| a.ip.cmp(&b.ip));
        (!list.is_empty()).then_some(list)
    };
    let subsets = groups.into_iter().map(|(ports, ready, not_ready)| EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    });
    (subsets.collect(), cut)
}

fn ports_of(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service_ports(service).iter().filter_map(|port| {
        Some(EndpointPort {
            name: port.name.clone(),
            port: target_port(pod, port)?,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

/// What must be written so that the Endpoints of the Service hold its pods.
fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    there: Option<&Endpoints>,
) -> Option<Change<Endpoints>> {
    let (subsets, cut) = subsets(service, pods);
    let mut labels: BTreeMap<String, String> = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let wanted_subsets = (!subsets.is_empty()).then_some(subsets);
    let Some(there) = there else {
        let mut made = Endpoints {
            metadata: ObjectMeta {
                name: service.metadata.name.clone(),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            subsets: wanted_subsets,
        };
        note_capacity(&mut made, cut);
        return Some(Change::create(made));
    };
    let mut written = there.clone();
    written.metadata.labels = Some(labels);
    written.subsets = wanted_subsets;
    note_capacity(&mut written, cut);
    let same = written.metadata == there.metadata
        && written.subsets.as_deref().unwrap_or_default()
            == there.subsets.as_deref().unwrap_or_default();
    (!same).then(|| Change::Replace(Box::new(written)))
}

fn note_capacity(endpoints: &mut Endpoints, cut: bool) {
    if cut {
        let annotations = endpoints.metadata.annotations.get_or_insert_default();
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else if let Some(annotations) = &mut endpoints.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
    }
}

/// Reconciles the Endpoints of one Service.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let there = ctx.endpoints.get(&key);
    let Some(service) = ctx.services.get(&key) else {
        return forget(&ctx, there).await;
    };
    if selector(&service).is_none() {
        return Ok(Requeue::WhenChanged); // Somebody else writes them, `kubernetes` for example.
    }
    let pods = selected(&service, &ctx.pods);
    let Some(change) = plan(&service, &pods, there.as_deref()) else {
        return Ok(Requeue::WhenChanged);
    };
    match change.apply(&ctx.client).await {
        Err(refused) if refused.error.is_namespace_terminating() => Ok(Requeue::WhenChanged),
        answer => {
            if let Some(written) = answer? {
                ctx.endpoints.caught_up(&written).await?;
            }
            Ok(Requeue::WhenChanged)
        }
    }
}

/// The Service is gone: so are the Endpoints that were made for it.
async fn forget(ctx: &Context, there: Option<Arc<Endpoints>>) -> Result<Requeue, ReconcileError> {
    let ours = there.filter(|there| there.label(MANAGED_BY) == Some(MANAGER));
    if let Some(endpoints) = ours
        && !(name_of(&*endpoints) == "kubernetes" && namespace_of(&*endpoints) == "default")
    {
        Change::delete(&*endpoints).apply(&ctx.client).await?;
    }
    Ok(Requeue::WhenChanged)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::endpoints::samples::{service, some_pods};

    fn check(service: &Service, pods: &str, expected: &Expect) {
        let (subsets, _) = subsets(service, &some_pods(pods));
        let list = |addresses: &Option<Vec<EndpointAddress>>| {
            let ips: Vec<&str> = addresses.iter().flatten().map(|one| one.ip.as_str()).collect();
            ips.join(" ")
        };
        let lines: Vec<String> = subsets
            .iter()
            .map(|subset| {
                let ports: Vec<i32> = subset.ports.iter().flatten().map(|one| one.port).collect();
                let ready = list(&subset.addresses);
                format!("{ports:?} {ready}; not ready: {}", list(&subset.not_ready_addresses))
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn addresses_by_readiness() {
        let web = service(json!({}));
        check(&web, "a b! c- d?", &expect!["[8080] 10.244.0.1; not ready: 10.244.0.2"]);
        check(&web, "", &expect![[r""]]);
        let lax = service(json!({ "publishNotReadyAddresses": true }));
        check(&lax, "a b! c-", &expect!["[8080] 10.244.0.1 10.244.0.2 10.244.0.3; not ready: "]);
        let headless = service(json!({ "clusterIP": "None", "ports": null }));
        check(&headless, "a", &expect!["[] 10.244.0.1; not ready: "]);
    }

    #[test]
    fn nothing_is_written_twice() {
        let web = service(json!({}));
        let Some(Change::Create(made)) = plan(&web, &some_pods("a b"), None) else {
            panic!("it is missing")
        };
        assert_eq!(plan(&web, &some_pods("a b"), Some(&made)), None);
        assert!(plan(&web, &some_pods("a b!"), Some(&made)).is_some());
    }
}
