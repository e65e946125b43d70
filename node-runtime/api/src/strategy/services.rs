//! Services keep what was given out to them: addresses and node ports.

use minik_meta::object;
use serde_json::{Value, json};

pub(super) fn prepare_create(new: &mut Value) {
    drop_unused(new);
}

/// A user who leaves an address or a node port out means the one there is.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    if needs_cluster_ip(new) && needs_cluster_ip(old) {
        for key in ["clusterIP", "clusterIPs"] {
            copy_missing(new, old, &["spec", key]);
        }
    }
    for key in ["ipFamilies", "ipFamilyPolicy"] {
        if needs_cluster_ip(new) {
            copy_missing(new, old, &["spec", key]);
        }
    }
    if needs_node_port(new) && needs_node_port(old) {
        copy_node_ports(new, old);
    }
    if needs_health_check_port(new) && needs_health_check_port(old) {
        copy_missing(new, old, &["spec", "healthCheckNodePort"]);
    }
    drop_unused(new);
    drop_of_other_type(new, old);
}

/// A change of type takes away what the new type has no use for and the user did not set.
fn drop_of_other_type(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if object::at(new, &["spec", key]) == object::at(old, &["spec", key]) {
                object::remove(new, &["spec", key]);
            }
        }
    }
    if needs_node_port(old) && !needs_node_port(new) {
        let before = node_ports(old);
        for port in ports_mut(new) {
            if before.iter().any(|(_, number)| port.get("nodePort") == Some(&json!(number))) {
                object::remove(port, &["nodePort"]);
            }
        }
    }
    let policy = |service: &Value| object::at(service, &["spec", "externalTrafficPolicy"]).cloned();
    if !needs_node_port(new) && needs_node_port(old) && policy(new) == policy(old) {
        object::remove(new, &["spec", "externalTrafficPolicy"]);
    }
    if kind(new) != "LoadBalancer" && kind(old) == "LoadBalancer" {
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if object::at(new, &["spec", key]) == object::at(old, &["spec", key]) {
                object::remove(new, &["spec", key]);
            }
        }
    }
}

fn drop_unused(new: &mut Value) {
    if kind(new) == "ExternalName" {
        object::remove(new, &["spec", "internalTrafficPolicy"]);
    }
}

fn kind(service: &Value) -> &str {
    object::text(service, &["spec", "type"])
}

fn needs_cluster_ip(service: &Value) -> bool {
    matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_port(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => object::at(service, &["spec", "allocateLoadBalancerNodePorts"])
            .and_then(Value::as_bool)
            .unwrap_or(true),
        _ => false,
    }
}

fn needs_health_check_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer"
        && object::text(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

fn copy_missing(new: &mut Value, old: &Value, path: &[&str]) {
    let missing = match object::at(new, path) {
        None => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    };
    if let Some(value) = object::at(old, path).filter(|_| missing) {
        object::set(new, path, value.clone());
    }
}

type PortId = (String, i64);

fn port_id(port: &Value) -> PortId {
    let number = object::integer(port, &["port"]).unwrap_or_default();
    (object::text(port, &["protocol"]).to_owned(), number)
}

fn node_ports(service: &Value) -> Vec<(PortId, i64)> {
    let ports = object::list(service, &["spec", "ports"]).iter();
    ports
        .filter_map(|port| Some((port_id(port), object::integer(port, &["nodePort"])?)))
        .filter(|(_, number)| *number != 0)
        .collect()
}

/// Ports of the same protocol and number keep their node port, unless it was taken by another.
fn copy_node_ports(new: &mut Value, old: &Value) {
    let before = node_ports(old);
    let mut used: Vec<i64> = node_ports(new).into_iter().map(|(_, number)| number).collect();
    for port in ports_mut(new) {
        let absent = object::integer(port, &["nodePort"]).unwrap_or_default() == 0;
        let id = port_id(port);
        let known = before.iter().find(|(one, number)| *one == id && !used.contains(number));
        if let Some((_, number)) = known.filter(|_| absent) {
            object::set(port, &["nodePort"], *number);
            used.push(*number);
        }
    }
}

fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten()
}
