//! Rules of Services.

use minik_meta::{FieldError, names};
use serde_json::json;

use super::at::{At, Errors};
use super::{labels, pod};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITY_SECONDS_MAX: i64 = 86_400;

pub(super) fn service(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    let kind = spec.get("type");
    if kind.is_empty() {
        errors.required(&kind, "");
    }
    errors.one_of(&kind, TYPES);
    let headless = spec.get("clusterIP").text() == "None";
    if spec.get("ports").is_empty() && !headless && kind.text() != "ExternalName" {
        errors.required(&spec.get("ports"), "");
    }
    by_type(&spec, kind.text(), headless, errors);
    ports(&spec, kind.text(), errors);
    labels::labels(&spec.get("selector"), errors);
    affinity(&spec, errors);
    addresses(&spec, kind.text(), errors);
    for ip in spec.get("externalIPs").items() {
        pod::ip(&ip, errors);
    }
    errors.one_of(&spec.get("externalTrafficPolicy"), &["Cluster", "Local"]);
    errors.one_of(&spec.get("internalTrafficPolicy"), &["Cluster", "Local"]);
    let balanced =
        matches!(kind.text(), "NodePort" | "LoadBalancer") || !spec.get("externalIPs").is_empty();
    if !spec.get("externalTrafficPolicy").is_empty() && !balanced {
        errors.invalid(
            &spec.get("externalTrafficPolicy"),
            "may only be set for externally-accessible services",
        );
    }
}

fn by_type(spec: &At<'_>, kind: &str, headless: bool, errors: &mut Errors) {
    match kind {
        "LoadBalancer" | "NodePort" if headless => errors.push(FieldError::invalid(
            &spec.get("clusterIPs").path.index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        )),
        "ExternalName" => {
            if !spec.get("clusterIP").is_empty() {
                errors.forbidden(
                    &spec.get("clusterIP"),
                    "may not be set when `type` is 'ExternalName'",
                );
            }
            let name = spec.get("externalName");
            if errors.require(&name) {
                // The trailing dot of an absolute name is fine.
                let text = name.text().strip_suffix('.').unwrap_or(name.text());
                errors.all_invalid(&name, names::dns1123_subdomain(text));
            }
        }
        _ => {}
    }
    if kind != "LoadBalancer" {
        for key in ["loadBalancerClass", "allocateLoadBalancerNodePorts"] {
            if !spec.get(key).is_absent() {
                errors.forbidden(&spec.get(key), "may only be used when `type` is 'LoadBalancer'");
            }
        }
    }
}

fn ports(spec: &At<'_>, kind: &str, errors: &mut Errors) {
    let all = spec.get("ports");
    let several = all.len() > 1;
    let mut names_seen: Vec<&str> = Vec::new();
    let mut seen: Vec<(i64, &str)> = Vec::new();
    let mut node_ports: Vec<(i64, &str)> = Vec::new();
    for port in all.items() {
        let name = port.get("name");
        if name.is_empty() && several {
            errors.required(&name, "");
        } else if !name.is_empty() {
            errors.all_invalid(&name, names::dns1123_label(name.text()));
            if names_seen.contains(&name.text()) {
                errors.duplicate(&name);
            }
            names_seen.push(name.text());
        }
        let (number, protocol) = (port.get("port"), port.get("protocol"));
        let value = number.integer().unwrap_or_default();
        errors.all_invalid(&number, names::port_number(value));
        if protocol.is_empty() {
            errors.required(&protocol, "");
        }
        errors.one_of(&protocol, &["SCTP", "TCP", "UDP"]);
        pod::port(&port.get("targetPort"), errors);
        let id = (value, protocol.text());
        if seen.contains(&id) {
            errors.push(FieldError::duplicate(
                &port.path,
                json!({"protocol": protocol.text(), "port": value}),
            ));
        }
        seen.push(id);
        node_port(&port.get("nodePort"), protocol.text(), kind, &mut node_ports, errors);
    }
}

fn node_port<'a>(
    at: &At<'_>,
    protocol: &'a str,
    kind: &str,
    seen: &mut Vec<(i64, &'a str)>,
    errors: &mut Errors,
) {
    let Some(number) = at.integer().filter(|number| *number != 0) else { return };
    if matches!(kind, "ClusterIP" | "ExternalName") {
        errors.forbidden(at, &format!("may not be used when `type` is '{kind}'"));
    }
    if seen.contains(&(number, protocol)) {
        errors.duplicate(at);
    }
    seen.push((number, protocol));
}

fn affinity(spec: &At<'_>, errors: &mut Errors) {
    let affinity = spec.get("sessionAffinity");
    if affinity.is_empty() {
        errors.required(&affinity, "");
    }
    errors.one_of(&affinity, &["ClientIP", "None"]);
    let config = spec.get("sessionAffinityConfig");
    match affinity.text() {
        "ClientIP" => {
            let seconds = config.down(&["clientIP", "timeoutSeconds"]);
            let value = seconds.integer();
            if value.is_some_and(|value| !(1..=AFFINITY_SECONDS_MAX).contains(&value)) {
                errors.invalid(
                    &seconds,
                    &format!(
                        "must be greater than 0 and less than or equal to {AFFINITY_SECONDS_MAX}"
                    ),
                );
            }
        }
        "None" if !config.is_absent() => {
            errors.forbidden(&config, "must not be set when session affinity is None")
        }
        _ => {}
    }
}

fn addresses(spec: &At<'_>, kind: &str, errors: &mut Errors) {
    let (one, all) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    if kind == "ExternalName" {
        return;
    }
    let first = all.items().next();
    if let Some(first) = &first
        && first.text() != one.text()
    {
        errors.invalid(&all, "first value must match `clusterIP`");
    }
    let checked: Vec<At<'_>> =
        if first.is_some() { all.items().collect() } else { one.present().into_iter().collect() };
    for address in checked {
        if address.text() != "None" && !address.is_empty() {
            pod::ip(&address, errors);
        }
    }
}

/// The address of a service cannot change while its type needs one.
pub(super) fn update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    let needs = |spec: &At<'_>| spec.get("type").text() != "ExternalName";
    let (now, before) = (new.get("clusterIP"), old.get("clusterIP"));
    if needs(&new) && needs(&old) && !before.is_empty() && now.text() != before.text() {
        errors.push(FieldError::invalid(
            &new.path.child("clusterIPs").index(0),
            now.value.clone(),
            "may not change once set",
        ));
    }
}
