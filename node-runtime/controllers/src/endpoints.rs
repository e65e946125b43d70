//! Which addresses stand behind a Service: facts about its pods, for both of the kinds that
//! publish them, [`slices`] (EndpointSlice) and [`legacy`] (Endpoints). [`mirror`] copies what was
//! written by hand from one to the other.

pub(crate) mod legacy;
pub(crate) mod mirror;
pub(crate) mod slices;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Client;
use minik_client::ApiErrorExt;
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue, apply_each, labels,
};

use crate::pods;

/// Marks what belongs to a headless Service.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Puts every Service that a changed pod is or was behind into `queue`.
fn enqueue_services(pods: &Cache<Pod>, services: &Cache<Service>, queue: &WorkQueue<ObjectKey>) {
    let (services, queue) = (services.clone(), queue.clone());
    pods.on_change(move |seen| {
        if let Seen::Applied { old: Some(old), new } = seen
            && !matters(old, new)
        {
            return;
        }
        let before = match seen {
            Seen::Applied { old, .. } => old.and_then(|old| old.metadata.labels.as_ref()),
            Seen::Deleted { .. } => None,
        };
        let pod = seen.object();
        for service in services.in_namespace(&pod.key().namespace) {
            let Some(selector) = selector(&service) else { continue };
            if labels::selects_all(selector, pod.metadata.labels.as_ref())
                || before.is_some_and(|before| labels::selects_all(selector, Some(before)))
            {
                queue.add(service.key());
            }
        }
    });
}

/// Whether a change of a pod can change an endpoint.
fn matters(old: &Pod, new: &Pod) -> bool {
    let facts = |pod: &Pod| {
        let status = pod.status.as_ref();
        (
            pods::is_ready(pod),
            pods::is_finished(pod),
            pod.is_terminating(),
            status.and_then(|status| status.pod_ips.clone()),
            pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        )
    };
    facts(old) != facts(new) || old.metadata.labels != new.metadata.labels
}

/// The labels a Service looks for. `None` if somebody else tells its endpoints.
fn selector(service: &Service) -> Option<&std::collections::BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

fn service_ports(service: &Service) -> &[ServicePort] {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

/// The pods a Service selects.
fn selected(service: &Service, pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
    let Some(selector) = selector(service) else { return Vec::new() };
    let mut pods = pods.in_namespace(&service.key().namespace);
    pods.retain(|pod| labels::selects_all(selector, pod.metadata.labels.as_ref()));
    pods
}

/// The addresses of a pod, one for each family.
fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else { return Vec::new() };
    match status.pod_ips.as_deref() {
        Some(ips) if !ips.is_empty() => ips.iter().map(|one| one.ip.as_str()).collect(),
        _ => status.pod_ip.as_deref().filter(|ip| !ip.is_empty()).into_iter().collect(),
    }
}

/// The number behind `port` on this pod; a name is looked up among its containers.
fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    containers.into_iter().find_map(|container| named_port(container, name, protocol))
}

fn named_port(container: &Container, name: &str, protocol: &str) -> Option<i32> {
    let ports = container.ports.iter().flatten();
    let mut matching = ports.filter(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    matching.next().map(|port| port.container_port)
}

/// How an endpoint names its pod.
fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The name a pod has below the Service's own, if it asks for one there.
fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let name = spec.hostname.as_ref().filter(|name| !name.is_empty())?;
    (spec.subdomain == service.metadata.name).then(|| name.clone())
}

/// Writes slices and waits until the cache shows them. Nothing is to be done in a namespace that
/// is going away.
async fn write_slices(
    client: &Client,
    slices: &Cache<EndpointSlice>,
    changes: &[Change<EndpointSlice>],
) -> Result<Requeue, ReconcileError> {
    match apply_each(client, changes).await {
        Ok(written) => {
            for slice in written {
                slices.caught_up(&slice).await?;
            }
            Ok(Requeue::WhenChanged)
        }
        Err(refused) if refused.error.is_namespace_terminating() => Ok(Requeue::WhenChanged),
        Err(refused) => Err(refused.into()),
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Services and pods for the tests of both kinds.

    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn service(extra: Value) -> Service {
        let mut spec = json!({
            "selector": { "app": "web" },
            "clusterIP": "10.96.0.20",
            "ipFamilies": ["IPv4"],
            "ports": [{ "name": "http", "port": 80, "targetPort": "web", "protocol": "TCP" }],
        });
        if let (Value::Object(spec), Value::Object(extra)) = (&mut spec, extra) {
            spec.extend(extra);
        }
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "svc",
                          "labels": { "team": "a" } },
            "spec": spec,
        }))
        .expect("a service")
    }

    /// `a` ready, `b!` not ready, `c-` being deleted, `d?` without address; the number is the last
    /// part of its address.
    pub(crate) fn some_pods(names: &str) -> Vec<Arc<Pod>> {
        let parse = |(index, name): (usize, &str)| {
            let ip = (!name.ends_with('?')).then(|| format!("10.244.0.{}", index + 1));
            let ips: Vec<Value> = ip.iter().map(|ip| json!({ "ip": ip })).collect();
            let ready = if name.ends_with('!') { "False" } else { "True" };
            serde_json::from_value(json!({
                "metadata": { "name": name, "namespace": "default", "uid": name,
                    "labels": { "app": "web" },
                    "deletionTimestamp": name.ends_with('-').then_some("2026-01-01T00:00:00Z") },
                "spec": { "nodeName": "minik", "containers": [{ "name": "c", "ports": [
                    { "name": "web", "containerPort": 8080, "protocol": "TCP" }] }] },
                "status": { "phase": "Running", "podIP": ip, "podIPs": ips,
                    "conditions": [{ "type": "Ready", "status": ready }] },
            }))
            .map(Arc::new)
            .expect("a pod")
        };
        names.split_whitespace().enumerate().map(parse).collect()
    }
}
