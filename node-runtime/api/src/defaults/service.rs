//! Defaults of Services. Addresses and node ports are given out by the API server.

use serde_json::{Map, Value, json};

use super::{DefaultsHook, child, fill, fill_absent, text};

const AFFINITY_TIMEOUT_SECONDS: i32 = 10_800;

pub(super) fn hook(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "ServiceSpec" => service_spec,
        "ServicePort" => service_port,
        "LoadBalancerIngress" => |map| {
            if !text(map, "ip").is_empty() {
                fill_absent(map, "ipMode", "VIP");
            }
        },
        _ => return None,
    })
}

fn service_spec(map: &mut Map<String, Value>) {
    fill(map, "sessionAffinity", "None");
    match text(map, "sessionAffinity") {
        "ClientIP" => {
            let client_ip = child(child(map, "sessionAffinityConfig"), "clientIP");
            fill_absent(client_ip, "timeoutSeconds", AFFINITY_TIMEOUT_SECONDS);
        }
        "None" => {
            map.shift_remove("sessionAffinityConfig");
        }
        _ => {}
    }
    fill(map, "type", "ClusterIP");
    let kind = text(map, "type").to_owned();
    let external_ips =
        map.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    let balanced = kind == "LoadBalancer";
    if balanced || kind == "NodePort" || (kind == "ClusterIP" && external_ips) {
        fill(map, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        fill_absent(map, "internalTrafficPolicy", "Cluster");
    }
    if balanced {
        fill_absent(map, "allocateLoadBalancerNodePorts", true);
    }
}

fn service_port(map: &mut Map<String, Value>) {
    let unset = matches!(map.get("targetPort"), None | Some(Value::Null))
        || map.get("targetPort") == Some(&json!(0))
        || map.get("targetPort") == Some(&json!(""));
    if unset && let Some(port) = map.get("port").cloned() {
        map.insert("targetPort".into(), port);
    }
}
