//! Gives Services of type LoadBalancer their address: that of a node, which carries the Service's
//! ports itself. One machine, no cloud: what a node can be reached at is the balancer.

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use minik_client::{ApiErrorExt, EventRecorder, Level};
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue};
use serde_json::json;

use crate::node::taints;
use crate::wiring::{Running, Wiring, enqueue_each};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "service-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    services: Cache<Service>,
    nodes: Cache<Node>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        services: wiring.caches.watch(),
        nodes: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.services, &queue);
    let (services, wake) = (context.services.clone(), queue.clone());
    context.nodes.on_change(move |seen| {
        if let Seen::Applied { old: Some(old), new } = seen
            && address(old) == address(new)
            && is_ready(old) == is_ready(new)
        {
            return;
        }
        for service in services.list() {
            if is_balanced(&service) {
                wake.add(service.key());
            }
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

/// Whether it is for minik to give the Service an address.
fn is_balanced(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
    })
}

fn address(node: &Node) -> Option<&str> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let of = |kind: &str| addresses.iter().find(|one| one.type_ == kind);
    let found = of("ExternalIP").or_else(|| of("InternalIP"))?;
    Some(&found.address)
}

fn is_ready(node: &Node) -> bool {
    taints::condition(node, "Ready").is_some_and(|ready| ready.status == "True")
}

/// The address for Services: that of the first node that is up, or of the first at all, so that it
/// stays the same while nodes come and go.
fn balancer(nodes: &[std::sync::Arc<Node>]) -> Option<String> {
    let up = nodes.iter().find(|node| is_ready(node) && address(node).is_some());
    up.or(nodes.first()).and_then(|node| address(node)).map(str::to_owned)
}

/// The status the Service should have; `None` if it has it.
fn plan(service: &Service, balancer: Option<&str>) -> Option<LoadBalancerStatus> {
    let old = service.status.as_ref().and_then(|status| status.load_balancer.clone());
    let old_list = old.and_then(|old| old.ingress).unwrap_or_default();
    let wanted = match balancer.filter(|_| is_balanced(service) && !service.is_terminating()) {
        Some(address) => vec![LoadBalancerIngress {
            ip: Some(address.to_owned()),
            ip_mode: Some("VIP".to_owned()),
            ..LoadBalancerIngress::default()
        }],
        None => Vec::new(),
    };
    (wanted != old_list)
        .then(|| LoadBalancerStatus { ingress: (!wanted.is_empty()).then_some(wanted) })
}

/// Reconciles one Service.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(service) = ctx.services.get(&key) else { return Ok(Requeue::WhenChanged) };
    if service.spec.as_ref().is_some_and(|spec| spec.load_balancer_class.is_some()) {
        return Ok(Requeue::WhenChanged); // Somebody else's.
    }
    let balancer = balancer(&ctx.nodes.list());
    let Some(status) = plan(&service, balancer.as_deref()) else {
        return Ok(Requeue::WhenChanged);
    };
    let fields = json!({
        "metadata": { "resourceVersion": service.metadata.resource_version },
        "status": { "loadBalancer": { "ingress": status.ingress } },
    });
    let api: Api<Service> = Api::namespaced(ctx.client.clone(), &key.namespace);
    match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&fields)).await {
        Err(error) if error.is_not_found() => return Ok(Requeue::WhenChanged),
        answer => answer?,
    };
    if status.ingress.is_some() {
        let text = "Ensured load balancer";
        ctx.events.record(&*service, Level::Normal, "EnsuredLoadBalancer", text);
    }
    Ok(Requeue::WhenChanged)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    fn service(kind: &str, status: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "type": kind }, "status": status,
        }))
        .expect("a service")
    }

    fn node(name: &str, address: &str, ready: &str) -> Arc<Node> {
        let node = serde_json::from_value(json!({
            "metadata": { "name": name },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": address }],
                "conditions": [{ "type": "Ready", "status": ready }] },
        }));
        Arc::new(node.expect("a node"))
    }

    #[test]
    fn the_first_node_that_is_up() {
        let nodes = [node("a", "192.168.64.2", "Unknown"), node("b", "192.168.64.3", "True")];
        assert_eq!(balancer(&nodes).as_deref(), Some("192.168.64.3"));
        assert_eq!(balancer(&nodes[..1]).as_deref(), Some("192.168.64.2"));
        assert_eq!(balancer(&[]), None);
    }

    #[test]
    fn the_status_follows_the_type() {
        let told = json!({ "loadBalancer": { "ingress": [
            { "ip": "192.168.64.2", "ipMode": "VIP" }] } });
        let ip = |status: Option<LoadBalancerStatus>| {
            status.map(|status| {
                status.ingress.and_then(|list| list[0].ip.clone()).unwrap_or_default()
            })
        };
        let at = Some("192.168.64.2");
        let given = Some("192.168.64.2".to_owned());
        assert_eq!(ip(plan(&service("LoadBalancer", json!({})), at)), given);
        assert_eq!(ip(plan(&service("LoadBalancer", told.clone()), at)), None);
        assert_eq!(ip(plan(&service("ClusterIP", json!({})), at)), None);
        assert_eq!(ip(plan(&service("ClusterIP", told), at)), Some(String::new()));
    }
}
