//! Cells of workloads, services and nodes.

use std::collections::BTreeSet;

use ::time::OffsetDateTime;
use minik_meta::{LabelSelector, object, time};
use serde_json::Value;

use super::cells::{join, labels_text, or_none};

const SHOWN_MAX: usize = 3;

pub(super) fn deployment_ready(item: &Value, _: OffsetDateTime) -> Value {
    let ready = object::integer(item, &["status", "readyReplicas"]).unwrap_or_default();
    let wanted = object::integer(item, &["spec", "replicas"]).unwrap_or_default();
    format!("{ready}/{wanted}").into()
}

pub(super) fn template_containers(item: &Value, _: OffsetDateTime) -> Value {
    of_containers(item, &[&["spec", "template"], &["template"]], "name")
}

pub(super) fn template_images(item: &Value, _: OffsetDateTime) -> Value {
    of_containers(item, &[&["spec", "template"], &["template"]], "image")
}

pub(super) fn template_labels(item: &Value, _: OffsetDateTime) -> Value {
    labels_text(object::map(item, &["template", "metadata", "labels"])).into()
}

pub(super) fn cronjob_containers(item: &Value, _: OffsetDateTime) -> Value {
    of_containers(item, &[&["spec", "jobTemplate", "spec", "template"]], "name")
}

pub(super) fn cronjob_images(item: &Value, _: OffsetDateTime) -> Value {
    of_containers(item, &[&["spec", "jobTemplate", "spec", "template"]], "image")
}

pub(super) fn cronjob_selector(item: &Value, _: OffsetDateTime) -> Value {
    selector_text(object::at(item, &["spec", "jobTemplate", "spec", "selector"])).into()
}

pub(super) fn cronjob_suspend(item: &Value, _: OffsetDateTime) -> Value {
    match object::at(item, &["spec", "suspend"]).and_then(Value::as_bool) {
        Some(true) => "True".into(),
        Some(false) => "False".into(),
        None => "<unset>".into(),
    }
}

pub(super) fn cronjob_active(item: &Value, _: OffsetDateTime) -> Value {
    object::list(item, &["status", "active"]).len().into()
}

pub(super) fn cronjob_last(item: &Value, now: OffsetDateTime) -> Value {
    match object::text(item, &["status", "lastScheduleTime"]) {
        "" => "<none>".into(),
        at => super::age(at, now),
    }
}

pub(super) fn selector_labels(item: &Value, _: OffsetDateTime) -> Value {
    selector_text(object::at(item, &["spec", "selector"])).into()
}

pub(super) fn selector_map(item: &Value, _: OffsetDateTime) -> Value {
    labels_text(object::map(item, &["spec", "selector"])).into()
}

pub(super) fn daemonset_node_selector(item: &Value, _: OffsetDateTime) -> Value {
    let path = ["spec", "template", "spec", "nodeSelector"];
    labels_text(object::map(item, &path)).into()
}

/// A `LabelSelector` object as text.
pub(super) fn selector_text(selector: Option<&Value>) -> String {
    match selector.map(|selector| LabelSelector::from_object(Some(selector))) {
        None => "<none>".to_owned(),
        Some(Err(_)) => "<error>".to_owned(),
        Some(Ok(selector)) => or_none(selector.to_string()),
    }
}

pub(super) fn job_status(item: &Value, _: OffsetDateTime) -> Value {
    let has = |kind: &str| {
        object::list(item, &["status", "conditions"]).iter().any(|one| {
            object::text(one, &["type"]) == kind && object::text(one, &["status"]) == "True"
        })
    };
    if has("Complete") {
        return "Complete".into();
    }
    if has("Failed") {
        return "Failed".into();
    }
    if object::deletion_timestamp(item).is_some() {
        return "Terminating".into();
    }
    let said =
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|one| has(one));
    said.unwrap_or("Running").into()
}

pub(super) fn job_completions(item: &Value, _: OffsetDateTime) -> Value {
    let done = object::integer(item, &["status", "succeeded"]).unwrap_or_default();
    let parallel = object::integer(item, &["spec", "parallelism"]).unwrap_or_default();
    match object::integer(item, &["spec", "completions"]) {
        Some(wanted) => format!("{done}/{wanted}").into(),
        None if parallel > 1 => format!("{done}/1 of {parallel}").into(),
        None => format!("{done}/1").into(),
    }
}

pub(super) fn job_duration(item: &Value, now: OffsetDateTime) -> Value {
    let Some(start) = time::parse(object::text(item, &["status", "startTime"])) else {
        return "".into();
    };
    let end = time::parse(object::text(item, &["status", "completionTime"])).unwrap_or(now);
    let taken = std::time::Duration::try_from(end - start).unwrap_or_default();
    time::human_duration(taken).into()
}

pub(super) fn service_external_ip(item: &Value, _: OffsetDateTime) -> Value {
    let external = texts(object::list(item, &["spec", "externalIPs"]));
    match object::text(item, &["spec", "type"]) {
        "ExternalName" => object::text(item, &["spec", "externalName"]).into(),
        "LoadBalancer" => {
            let balancers = object::list(item, &["status", "loadBalancer", "ingress"]);
            let all: Vec<&str> =
                balancers.iter().filter_map(balancer_address).chain(external).collect();
            if all.is_empty() { "<pending>".into() } else { all.join(",").into() }
        }
        _ => or_none(external.join(",")).into(),
    }
}

fn balancer_address(ingress: &Value) -> Option<&str> {
    ["ip", "hostname"]
        .into_iter()
        .map(|key| object::text(ingress, &[key]))
        .find(|text| !text.is_empty())
}

pub(super) fn service_ports(item: &Value, _: OffsetDateTime) -> Value {
    let port = |port: &Value| {
        let number = |key: &str| object::integer(port, &[key]).unwrap_or_default();
        let protocol = object::text(port, &["protocol"]);
        match number("nodePort") {
            0 => format!("{}/{protocol}", number("port")),
            node_port => format!("{}:{node_port}/{protocol}", number("port")),
        }
    };
    or_none(join(object::list(item, &["spec", "ports"]).iter().map(port), ",")).into()
}

pub(super) fn endpoints(item: &Value, _: OffsetDateTime) -> Value {
    let mut all = Vec::new();
    for subset in object::list(item, &["subsets"]) {
        let addresses = texts_of(object::list(subset, &["addresses"]), "ip");
        let ports = object::list(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(addresses.iter().map(|ip| (*ip).to_owned()));
        }
        for port in ports {
            let number = object::integer(port, &["port"]).unwrap_or_default();
            all.extend(addresses.iter().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{number}"),
                false => format!("{ip}:{number}"),
            }));
        }
    }
    or_none(few(&all)).into()
}

pub(super) fn slice_ports(item: &Value, _: OffsetDateTime) -> Value {
    let port = |port: &Value| match object::integer(port, &["port"]) {
        Some(number) => number.to_string(),
        None => "*".to_owned(),
    };
    let ports: Vec<String> = object::list(item, &["ports"]).iter().map(port).collect();
    if ports.is_empty() { "<unset>".into() } else { few(&ports).into() }
}

pub(super) fn slice_endpoints(item: &Value, _: OffsetDateTime) -> Value {
    let endpoints = object::list(item, &["endpoints"]).iter();
    let all: Vec<String> = endpoints
        .flat_map(|one| texts(object::list(one, &["addresses"])))
        .map(str::to_owned)
        .collect();
    if all.is_empty() { "<unset>".into() } else { few(&all).into() }
}

pub(super) fn ingress_hosts(item: &Value, _: OffsetDateTime) -> Value {
    let mut hosts: Vec<String> = Vec::new();
    for host in texts_of(object::list(item, &["spec", "rules"]), "host") {
        if !hosts.iter().any(|one| one == host) {
            hosts.push(host.to_owned());
        }
    }
    if hosts.is_empty() { "*".into() } else { few(&hosts).into() }
}

pub(super) fn ingress_address(item: &Value, _: OffsetDateTime) -> Value {
    let balancers = object::list(item, &["status", "loadBalancer", "ingress"]);
    let all: BTreeSet<&str> = balancers.iter().filter_map(balancer_address).collect();
    join(all.into_iter(), ",").into()
}

pub(super) fn ingress_ports(item: &Value, _: OffsetDateTime) -> Value {
    let tls = !object::list(item, &["spec", "tls"]).is_empty();
    if tls { "80, 443".into() } else { "80".into() }
}

pub(super) fn node_status(item: &Value, _: OffsetDateTime) -> Value {
    let conditions = object::list(item, &["status", "conditions"]);
    let ready = conditions.iter().find(|one| object::text(one, &["type"]) == "Ready");
    let status = match ready.map(|one| object::text(one, &["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match object::boolean(item, &["spec", "unschedulable"]) {
        true => format!("{status},SchedulingDisabled").into(),
        false => status.into(),
    }
}

pub(super) fn node_roles(item: &Value, _: OffsetDateTime) -> Value {
    let labels = object::labels(item).into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    or_none(join(roles.into_iter(), ",")).into()
}

pub(super) fn node_internal_ip(item: &Value, _: OffsetDateTime) -> Value {
    node_address(item, "InternalIP")
}

pub(super) fn node_external_ip(item: &Value, _: OffsetDateTime) -> Value {
    node_address(item, "ExternalIP")
}

fn node_address(item: &Value, kind: &str) -> Value {
    let addresses = object::list(item, &["status", "addresses"]);
    let found = addresses.iter().find(|one| object::text(one, &["type"]) == kind);
    or_none(found.map_or("", |one| object::text(one, &["address"])).to_owned()).into()
}

fn of_containers(item: &Value, templates: &[&[&str]], key: &str) -> Value {
    let template = templates.iter().find_map(|path| object::at(item, path));
    let containers = template.map_or(&[][..], |one| object::list(one, &["spec", "containers"]));
    join(containers.iter().map(|one| object::text(one, &[key])), ",").into()
}

/// The first few and how many more there are.
fn few(all: &[String]) -> String {
    let shown = all[..all.len().min(SHOWN_MAX)].join(",");
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn texts(list: &[Value]) -> Vec<&str> {
    list.iter().filter_map(Value::as_str).collect()
}

fn texts_of<'a>(list: &'a [Value], key: &str) -> Vec<&'a str> {
    list.iter().map(|one| object::text(one, &[key])).filter(|text| !text.is_empty()).collect()
}
