//! EndpointSlices of a Service: at most [`SLICE_MAX`] endpoints each, changed as little as possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Selection, WorkQueue,
};

use crate::endpoints::{
    HEADLESS, addresses, enqueue_services, hostname, is_headless, publishes_not_ready, selected,
    selector, service_ports, target_port, target_ref, write_slices,
};
use crate::owned::controller_ref;
use crate::pods;
use crate::wiring::{Running, Wiring, enqueue_each, name_of};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "endpointslice-controller";

/// Endpoints in one slice.
const SLICE_MAX: usize = 100;

/// Names the Service a slice belongs to.
pub(crate) const SERVICE: &str = "kubernetes.io/service-name";
/// Names who looks after a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

#[derive(Clone)]
struct Context {
    client: Client,
    services: Cache<Service>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    slices: Cache<EndpointSlice>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let ours = Selection::all().labels(format!("{MANAGED_BY}={MANAGER}"));
    let context = Context {
        client: wiring.client(NAME),
        services: wiring.caches.watch(),
        pods: wiring.caches.watch(),
        nodes: wiring.caches.watch(),
        slices: wiring.caches.watch_some(ours),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.services, &queue);
    enqueue_services(&context.pods, &context.services, &queue);
    let again = queue.clone();
    context.slices.on_change(move |seen| {
        let slice = seen.object();
        if let Some(service) = slice.label(SERVICE) {
            again.add(ObjectKey::new(slice.key().namespace, service));
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

/// Endpoints that share their ports and address family, and so a slice.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    family: &'static str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// What the pods of a Service amount to.
fn groups(
    service: &Service,
    pods: &[Arc<Pod>],
    zone_of: impl Fn(&str) -> Option<String>,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for pod in pods.iter().filter(|pod| !pods::is_finished(pod)) {
        let ports = ports_of(service, pod);
        for address in addresses(pod) {
            let family = if address.contains(':') { "IPv6" } else { "IPv4" };
            if !wants_family(service, family) {
                continue;
            }
            let endpoint = endpoint(service, pod, address, &zone_of);
            match groups.iter_mut().find(|one| one.family == family && one.ports == ports) {
                Some(group) => group.endpoints.push(endpoint),
                None => {
                    groups.push(Group { family, ports: ports.clone(), endpoints: vec![endpoint] })
                }
            }
        }
    }
    groups
}

fn wants_family(service: &Service, family: &str) -> bool {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    families.is_none_or(|families| families.is_empty() || families.iter().any(|one| one == family))
}

fn ports_of(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service_ports(service).iter().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    address: &str,
    zone_of: impl Fn(&str) -> Option<String>,
) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pod.is_terminating();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        zone: node.as_deref().and_then(zone_of),
        node_name: node,
        target_ref: Some(target_ref(pod)),
        ..Endpoint::default()
    }
}

/// What must be written so that the slices of the Service hold `groups`.
fn plan(
    service: &Service,
    groups: Vec<Group>,
    there: &[Arc<EndpointSlice>],
) -> Vec<Change<EndpointSlice>> {
    let mut changes = Vec::new();
    let mut spare: Vec<&Arc<EndpointSlice>> = there.iter().collect();
    let mut groups = groups;
    if groups.is_empty() {
        // An empty slice says that the Service is known and has nothing behind it.
        groups.push(Group { family: family(service), ports: Vec::new(), endpoints: Vec::new() });
    }
    for group in groups {
        let (mut fitting, rest): (Vec<_>, Vec<_>) =
            spare.into_iter().partition(|slice| fits(slice, &group));
        spare = rest;
        if fitting.is_empty() {
            // One that would be deleted can hold other ports just as well.
            let usable = spare.iter().position(|slice| slice.address_type == group.family);
            fitting.extend(usable.map(|index| spare.remove(index)));
        }
        changes.extend(distribute(service, group, &fitting));
    }
    changes.extend(spare.into_iter().map(|slice| Change::delete(&**slice)));
    changes
}

fn family(service: &Service) -> &'static str {
    if wants_family(service, "IPv4") { "IPv4" } else { "IPv6" }
}

fn fits(slice: &EndpointSlice, group: &Group) -> bool {
    slice.address_type == group.family
        && slice.ports.as_deref().unwrap_or_default() == group.ports.as_slice()
}

/// Keeps endpoints where they are, puts new ones where there is room, makes and drops slices.
fn distribute(
    service: &Service,
    group: Group,
    there: &[&Arc<EndpointSlice>],
) -> Vec<Change<EndpointSlice>> {
    let mut wanted: BTreeMap<(String, String), Endpoint> =
        group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint.clone())).collect();
    let mut kept: Vec<Vec<Endpoint>> = there
        .iter()
        .map(|slice| {
            let endpoints = slice.endpoints.iter().flatten();
            endpoints.filter_map(|endpoint| wanted.remove(&identity(endpoint))).collect()
        })
        .collect();
    let mut new = wanted.into_values();
    for endpoints in &mut kept {
        let room = SLICE_MAX.saturating_sub(endpoints.len());
        endpoints.extend(new.by_ref().take(room));
    }
    let mut changes = Vec::new();
    let mut alive = 0;
    for (slice, endpoints) in there.iter().zip(kept) {
        let needed = !endpoints.is_empty() || (group.endpoints.is_empty() && alive == 0);
        if !needed {
            changes.push(Change::delete(&***slice));
            continue;
        }
        alive += 1;
        let written = filled((***slice).clone(), service, &group, endpoints);
        if !same(&written, slice) {
            changes.push(Change::Replace(Box::new(written)));
        }
    }
    let rest: Vec<Endpoint> = new.collect();
    for endpoints in rest.chunks(SLICE_MAX) {
        changes.push(Change::create(made(service, &group, endpoints.to_vec())));
        alive += 1;
    }
    if alive == 0 {
        changes.push(Change::create(made(service, &group, Vec::new())));
    }
    changes
}

/// What tells endpoints apart: the address and the pod behind it.
fn identity(endpoint: &Endpoint) -> (String, String) {
    let address = endpoint.addresses.first().cloned().unwrap_or_default();
    let pod = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (address, pod.unwrap_or_default())
}

fn made(service: &Service, group: &Group, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let slice = EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name_of(service))),
            namespace: service.metadata.namespace.clone(),
            owner_references: Some(vec![controller_ref(service)]),
            ..ObjectMeta::default()
        },
        address_type: group.family.to_owned(),
        ..EndpointSlice::default()
    };
    filled(slice, service, group, endpoints)
}

fn filled(
    mut slice: EndpointSlice,
    service: &Service,
    group: &Group,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    slice.ports = (!group.ports.is_empty()).then(|| group.ports.clone());
    slice.endpoints = Some(endpoints);
    slice.metadata.labels = Some(labels_of(service));
    slice
}

fn labels_of(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE.to_owned(), name_of(service).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn same(written: &EndpointSlice, there: &EndpointSlice) -> bool {
    let endpoints = |slice: &EndpointSlice| slice.endpoints.clone().unwrap_or_default();
    endpoints(written) == endpoints(there)
        && written.ports.as_deref().unwrap_or_default()
            == there.ports.as_deref().unwrap_or_default()
        && written.metadata.labels == there.metadata.labels
}

/// Reconciles the slices of one Service.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let mut there = ctx.slices.in_namespace(&key.namespace);
    there.retain(|slice| slice.label(SERVICE) == Some(&*key.name));
    let service = ctx.services.get(&key).filter(|service| !service.is_terminating());
    let Some(service) = service else { return Ok(Requeue::WhenChanged) }; // Slices are owned by it.
    let changes = if selector(&service).is_some() {
        let zone_of = |node: &str| {
            let node = ctx.nodes.get(&ObjectKey::cluster(node))?;
            node.label(ZONE).map(str::to_owned)
        };
        let groups = groups(&service, &selected(&service, &ctx.pods), zone_of);
        plan(&service, groups, &there)
    } else {
        there.iter().map(|slice| Change::delete(&**slice)).collect()
    };
    write_slices(&ctx.client, &ctx.slices, &changes).await
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::endpoints::samples::{service, some_pods};

    fn show(slice: &EndpointSlice) -> String {
        let ports: Vec<String> = slice
            .ports
            .iter()
            .flatten()
            .map(|port| {
                format!("{}:{}", port.name.as_deref().unwrap_or(""), port.port.unwrap_or(0))
            })
            .collect();
        let endpoints: Vec<String> = slice
            .endpoints
            .iter()
            .flatten()
            .map(|endpoint| {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                let flags = [
                    ("ready", conditions.ready),
                    ("serving", conditions.serving),
                    ("terminating", conditions.terminating),
                ];
                let set = flags.iter().filter(|(_, flag)| *flag == Some(true));
                let set: Vec<&str> = set.map(|(name, _)| *name).collect();
                format!("{}({})", endpoint.addresses[0], set.join(","))
            })
            .collect();
        format!("{} [{}] {}", slice.address_type, ports.join(" "), endpoints.join(" "))
    }

    fn check(service: &Service, pods: &str, there: &[Arc<EndpointSlice>], expected: &Expect) {
        let groups = groups(service, &some_pods(pods), |_| None);
        let lines: Vec<String> = plan(service, groups, there)
            .into_iter()
            .map(|change| match change {
                Change::Create(slice) => format!("create {}", show(&slice)),
                Change::Replace(slice) => format!("update {}", show(&slice)),
                Change::Delete { key, .. } => format!("delete {}", key.name),
                other => format!("{other:?}"),
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    fn written(service: &Service, pods: &str) -> Vec<Arc<EndpointSlice>> {
        let changes = plan(service, groups(service, &some_pods(pods), |_| None), &[]);
        let slices = changes.into_iter().enumerate().map(|(index, change)| {
            let Change::Create(mut slice) = change else { panic!("{change:?}") };
            slice.metadata.name = Some(format!("web-{index}"));
            Arc::new(*slice)
        });
        slices.collect()
    }

    #[test]
    fn conditions_follow_the_pods() {
        let web = service(json!({}));
        check(
            &web,
            "a b! c- d?",
            &[],
            &expect![
                "create IPv4 [http:8080] 10.244.0.1(ready,serving) 10.244.0.2() 10.244.0.3(serving,terminating)"
            ],
        );
        let lax = service(json!({ "publishNotReadyAddresses": true }));
        check(
            &lax,
            "a b! c-",
            &[],
            &expect![
                "create IPv4 [http:8080] 10.244.0.1(ready,serving) 10.244.0.2(ready) 10.244.0.3(ready,serving,terminating)"
            ],
        );
        check(&web, "", &[], &expect!["create IPv4 [] "]);
    }

    #[test]
    fn only_what_changed_is_written() {
        let web = service(json!({}));
        let there = written(&web, "a b");
        check(&web, "a b", &there, &expect![[r""]]);
        check(
            &web,
            "a b! c",
            &there,
            &expect![
                "update IPv4 [http:8080] 10.244.0.1(ready,serving) 10.244.0.2() 10.244.0.3(ready,serving)"
            ],
        );
        check(&web, "", &there, &expect!["update IPv4 [] "]);
    }

    #[test]
    fn a_port_name_that_no_container_has_is_left_out() {
        let ports = json!([{ "name": "http", "port": 80, "targetPort": "web" },
                           { "name": "admin", "port": 81, "targetPort": "none" },
                           { "name": "plain", "port": 82 }]);
        check(
            &service(json!({ "ports": ports })),
            "a",
            &[],
            &expect!["create IPv4 [http:8080 plain:82] 10.244.0.1(ready,serving)"],
        );
    }

    #[test]
    fn a_slice_holds_a_hundred() {
        let names: Vec<String> = (0..150).map(|number| format!("p{number}")).collect();
        let sizes: Vec<usize> = written(&service(json!({})), &names.join(" "))
            .iter()
            .map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len))
            .collect();
        assert_eq!(sizes, [100, 50]);
    }

    #[test]
    fn headless_is_marked() {
        let slices = written(&service(json!({ "clusterIP": "None", "ports": null })), "a");
        assert_eq!(slices[0].label(HEADLESS), Some(""));
        assert_eq!(slices[0].label("team"), Some("a"));
        assert_eq!(show(&slices[0]), "IPv4 [] 10.244.0.1(ready,serving)");
    }
}
