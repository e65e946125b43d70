//! The functions behind named cells, and those of configuration, storage and policy kinds.

use std::collections::BTreeMap;
use std::fmt::Display;

use ::time::OffsetDateTime;
use minik_meta::object::{self, Object};
use minik_meta::time;
use serde_json::Value;

use super::{pods, workloads};

/// Makes a cell of an object; ages are counted to the second argument.
pub(super) type CellFn = fn(&Value, OffsetDateTime) -> Value;

/// The function of a name in the table of kinds.
pub(super) fn function(name: &str) -> Option<CellFn> {
    CELLS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
}

const CELLS: &[(&str, CellFn)] = &[
    ("age", |item, now| created(item).map_or("<unknown>".into(), |at| super::age(at, now))),
    ("created", |item, _| created(item).unwrap_or("<unknown>").into()),
    ("pod.ready", pods::ready),
    ("pod.status", pods::status),
    ("pod.restarts", pods::restarts),
    ("pod.ip", pods::ip),
    ("pod.gates", pods::gates),
    ("deployment.ready", workloads::deployment_ready),
    ("statefulset.ready", workloads::deployment_ready),
    ("template.containers", workloads::template_containers),
    ("template.images", workloads::template_images),
    ("template.labels", workloads::template_labels),
    ("cronjob.containers", workloads::cronjob_containers),
    ("cronjob.images", workloads::cronjob_images),
    ("cronjob.selector", workloads::cronjob_selector),
    ("cronjob.suspend", workloads::cronjob_suspend),
    ("cronjob.active", workloads::cronjob_active),
    ("cronjob.last", workloads::cronjob_last),
    ("selector.labels", workloads::selector_labels),
    ("selector.map", workloads::selector_map),
    ("daemonset.node-selector", workloads::daemonset_node_selector),
    ("job.status", workloads::job_status),
    ("job.completions", workloads::job_completions),
    ("job.duration", workloads::job_duration),
    ("service.external-ip", workloads::service_external_ip),
    ("service.ports", workloads::service_ports),
    ("endpoints.endpoints", workloads::endpoints),
    ("endpointslice.ports", workloads::slice_ports),
    ("endpointslice.endpoints", workloads::slice_endpoints),
    ("ingress.hosts", workloads::ingress_hosts),
    ("ingress.address", workloads::ingress_address),
    ("ingress.ports", workloads::ingress_ports),
    ("node.status", workloads::node_status),
    ("node.roles", workloads::node_roles),
    ("node.internal-ip", workloads::node_internal_ip),
    ("node.external-ip", workloads::node_external_ip),
    ("event.last", event_last),
    ("event.first", event_first),
    ("event.object", event_object),
    ("event.source", event_source),
    ("event.message", |item, _| either(item, "message", "note").trim().into()),
    ("event.count", event_count),
    ("configmap.data", |item, _| (count(item, &["data"]) + count(item, &["binaryData"])).into()),
    ("secret.data", |item, _| count(item, &["data"]).into()),
    ("serviceaccount.secrets", |item, _| count(item, &["secrets"]).to_string().into()),
    ("pvc.status", terminating_or_phase),
    ("pv.status", terminating_or_phase),
    ("pvc.capacity", |item, _| bound(item, &["status", "capacity", "storage"])),
    ("pvc.access", |item, _| match object::text(item, &["spec", "volumeName"]) {
        "" => "".into(),
        _ => access_modes(object::list(item, &["status", "accessModes"])),
    }),
    ("pvc.class", storage_class),
    ("pv.access", |item, _| access_modes(object::list(item, &["spec", "accessModes"]))),
    ("pv.claim", |item, _| match object::at(item, &["spec", "claimRef"]) {
        None => "".into(),
        Some(claim) => {
            let (namespace, name) =
                (object::text(claim, &["namespace"]), object::text(claim, &["name"]));
            format!("{namespace}/{name}").into()
        }
    }),
    ("pv.class", storage_class),
    ("storageclass.name", storage_class_name),
    ("storageclass.expansion", |item, _| object::boolean(item, &["allowVolumeExpansion"]).into()),
    ("quota.request", |item, _| quota(item, false)),
    ("quota.limit", |item, _| quota(item, true)),
    ("binding.role", |item, _| {
        let role = |key: &str| object::text(item, &["roleRef", key]);
        format!("{}/{}", role("kind"), role("name")).into()
    }),
    ("binding.users", |item, _| subjects(item, "User")),
    ("binding.groups", |item, _| subjects(item, "Group")),
    ("binding.serviceaccounts", |item, _| subjects(item, "ServiceAccount")),
    ("csr.duration", |item, _| match object::integer(item, &["spec", "expirationSeconds"]) {
        None => "<none>".into(),
        Some(seconds) => duration(seconds),
    }),
    ("csr.condition", csr_condition),
    ("hpa.reference", |item, _| {
        let target = |key: &str| object::text(item, &["spec", "scaleTargetRef", key]);
        format!("{}/{}", target("kind"), target("name")).into()
    }),
    ("hpa.targets", hpa_targets),
    ("networkpolicy.selector", |item, _| {
        workloads::selector_text(object::at(item, &["spec", "podSelector"])).into()
    }),
    ("ingressclass.parameters", ingress_class_parameters),
    ("ipaddress.parent", ip_address_parent),
    ("servicecidr.cidrs", |item, _| {
        join(object::list(item, &["spec", "cidrs"]).iter().filter_map(Value::as_str), ",").into()
    }),
    ("controllerrevision.controller", controller),
    ("csinode.drivers", |item, _| count(item, &["spec", "drivers"]).into()),
    ("csidriver.attach", |item, _| object::boolean(item, &["spec", "attachRequired"]).into()),
    ("csidriver.podinfo", |item, _| object::boolean(item, &["spec", "podInfoOnMount"]).into()),
    ("csidriver.capacity", |item, _| object::boolean(item, &["spec", "storageCapacity"]).into()),
    ("csidriver.republish", |item, _| object::boolean(item, &["spec", "requiresRepublish"]).into()),
    ("csidriver.tokens", |item, _| {
        let tokens = object::list(item, &["spec", "tokenRequests"]).iter();
        let audiences = join(tokens.map(|one| object::text(one, &["audience"])), ",");
        if audiences.is_empty() { "<unset>".into() } else { audiences.into() }
    }),
    ("csidriver.modes", |item, _| {
        let modes = object::list(item, &["spec", "volumeLifecycleModes"]);
        or_none(join(modes.iter().filter_map(Value::as_str), ",")).into()
    }),
    ("volumeattachment.attached", |item, _| object::boolean(item, &["status", "attached"]).into()),
    ("policy.validations", |item, _| count(item, &["spec", "validations"]).into()),
    ("policy.mutations", |item, _| count(item, &["spec", "mutations"]).into()),
    ("policy.paramkind", policy_param_kind),
    ("policybinding.paramref", policy_param_ref),
    ("webhooks.count", |item, _| count(item, &["webhooks"]).into()),
    ("priorityclass.global", |item, _| object::boolean(item, &["globalDefault"]).into()),
    ("apiservice.service", |item, _| match object::at(item, &["spec", "service"]) {
        None => "Local".into(),
        Some(service) => {
            let part = |key: &str| object::text(service, &[key]);
            format!("{}/{}", part("namespace"), part("name")).into()
        }
    }),
    ("apiservice.available", |item, _| match condition(item, "Available") {
        None => "Unknown".into(),
        Some(one) => match object::text(one, &["status"]) {
            "True" => "True".into(),
            status => format!("{status} ({})", object::text(one, &["reason"])).into(),
        },
    }),
    ("flowschema.missing", |item, _| match condition(item, "Dangling") {
        None => "?".into(),
        Some(one) => object::text(one, &["status"]).into(),
    }),
    ("prioritylevel.shares", |item, _| {
        let shares = ["limited", "exempt"]
            .iter()
            .find_map(|kind| object::integer(item, &["spec", kind, "nominalConcurrencyShares"]));
        shares.map_or("<none>".into(), |shares| shares.to_string().into())
    }),
    ("prioritylevel.queues", |item, _| queuing(item, "queues")),
    ("prioritylevel.handsize", |item, _| queuing(item, "handSize")),
    ("prioritylevel.limit", |item, _| queuing(item, "queueLengthLimit")),
    ("resourceclaim.state", resource_claim_state),
    ("resourceslice.node", |item, _| match object::text(item, &["spec", "nodeName"]) {
        "" if object::boolean(item, &["spec", "allNodes"]) => "<all nodes>".into(),
        "" => "<unset>".into(),
        node => node.into(),
    }),
    ("componentstatus.status", |item, _| {
        match component(item).map(|one| object::text(one, &["status"])) {
            Some("True") => "Healthy".into(),
            Some("False") => "Unhealthy".into(),
            _ => "Unknown".into(),
        }
    }),
    ("componentstatus.message", |item, _| {
        component(item).map_or("", |one| object::text(one, &["message"])).into()
    }),
    ("componentstatus.error", |item, _| {
        component(item).map_or("", |one| object::text(one, &["error"])).into()
    }),
];

pub(super) fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

pub(super) fn join<T: Display>(items: impl Iterator<Item = T>, separator: &str) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
}

/// `a=b,c=d`, sorted.
pub(super) fn labels_text(labels: Option<&Object>) -> String {
    let sorted: BTreeMap<&str, &str> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    or_none(join(sorted.iter().map(|(key, value)| format!("{key}={value}")), ","))
}

fn created(item: &Value) -> Option<&str> {
    object::at(item, &["metadata", "creationTimestamp"]).and_then(Value::as_str)
}

fn count(item: &Value, path: &[&str]) -> usize {
    match object::at(item, path) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}

fn duration(seconds: i64) -> Value {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    time::human_duration(std::time::Duration::from_secs(seconds)).into()
}

fn condition<'a>(item: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object::list(item, &["status", "conditions"]);
    conditions.iter().find(|one| object::text(one, &["type"]) == kind)
}

fn component(item: &Value) -> Option<&Value> {
    let conditions = object::list(item, &["conditions"]);
    conditions.iter().find(|one| object::text(one, &["type"]) == "Healthy")
}

/// The first of two keys that holds text: the two event APIs name things differently.
fn either<'a>(item: &'a Value, first: &str, second: &str) -> &'a str {
    match object::text(item, &[first]) {
        "" => object::text(item, &[second]),
        text => text,
    }
}

fn event_first_time(item: &Value) -> &str {
    match either(item, "firstTimestamp", "deprecatedFirstTimestamp") {
        "" => object::text(item, &["eventTime"]),
        at => at,
    }
}

fn event_first(item: &Value, now: OffsetDateTime) -> Value {
    super::age(event_first_time(item), now)
}

fn event_last(item: &Value, now: OffsetDateTime) -> Value {
    let at = match object::text(item, &["series", "lastObservedTime"]) {
        "" => match either(item, "lastTimestamp", "deprecatedLastTimestamp") {
            "" => event_first_time(item),
            at => at,
        },
        at => at,
    };
    super::age(at, now)
}

fn event_object(item: &Value, _: OffsetDateTime) -> Value {
    let about = ["involvedObject", "regarding"].iter().find_map(|key| object::at(item, &[key]));
    let Some(about) = about else { return "".into() };
    let kind = object::text(about, &["kind"]).to_lowercase();
    match object::text(about, &["name"]) {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

fn event_source(item: &Value, _: OffsetDateTime) -> Value {
    let source = ["source", "deprecatedSource"].iter().find_map(|key| object::at(item, &[key]));
    let part = |key: &str| source.map_or("", |source| object::text(source, &[key]));
    let (component, host) = match part("component") {
        "" => (
            either(item, "reportingComponent", "reportingController"),
            object::text(item, &["reportingInstance"]),
        ),
        component => (component, part("host")),
    };
    join([component, host].into_iter().filter(|text| !text.is_empty()), ", ").into()
}

fn event_count(item: &Value, _: OffsetDateTime) -> Value {
    let count = [&["series", "count"][..], &["count"], &["deprecatedCount"]]
        .iter()
        .find_map(|path| object::integer(item, path));
    count.filter(|count| *count != 0).unwrap_or(1).to_string().into()
}

fn terminating_or_phase(item: &Value, _: OffsetDateTime) -> Value {
    match object::deletion_timestamp(item) {
        Some(_) => "Terminating".into(),
        None => object::text(item, &["status", "phase"]).into(),
    }
}

fn bound(item: &Value, path: &[&str]) -> Value {
    match object::text(item, &["spec", "volumeName"]) {
        "" => "".into(),
        _ => object::text(item, path).into(),
    }
}

fn access_modes(modes: &[Value]) -> Value {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO".to_owned(),
        "ReadOnlyMany" => "ROX".to_owned(),
        "ReadWriteMany" => "RWX".to_owned(),
        "ReadWriteOncePod" => "RWOP".to_owned(),
        other => other.to_owned(),
    };
    join(modes.iter().map(short), ",").into()
}

fn storage_class(item: &Value, _: OffsetDateTime) -> Value {
    let annotated = object::annotation(item, "volume.beta.kubernetes.io/storage-class");
    annotated.unwrap_or_else(|| object::text(item, &["spec", "storageClassName"])).into()
}

fn storage_class_name(item: &Value, _: OffsetDateTime) -> Value {
    let name = object::name(item);
    match object::annotation(item, "storageclass.kubernetes.io/is-default-class") {
        Some("true") => format!("{name} (default)").into(),
        _ => name.into(),
    }
}

fn quota(item: &Value, limits: bool) -> Value {
    let used = object::map(item, &["status", "used"]);
    let hard: BTreeMap<_, _> =
        object::map(item, &["status", "hard"]).into_iter().flatten().collect();
    let shown = hard.into_iter().filter(|(name, _)| name.starts_with("limits.") == limits);
    let text = |(name, hard): (&String, &Value)| {
        let used = used.and_then(|used| used.get(name)).and_then(Value::as_str).unwrap_or("0");
        format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
    };
    join(shown.map(text), ", ").into()
}

fn subjects(item: &Value, kind: &str) -> Value {
    let of_kind = object::list(item, &["subjects"]).iter();
    let names = of_kind.filter(|one| object::text(one, &["kind"]) == kind).map(|one| {
        let name = object::text(one, &["name"]);
        match kind {
            "ServiceAccount" => format!("{}/{name}", object::text(one, &["namespace"])),
            _ => name.to_owned(),
        }
    });
    join(names, ", ").into()
}

fn csr_condition(item: &Value, _: OffsetDateTime) -> Value {
    let mut words = Vec::new();
    match ["Denied", "Approved"].into_iter().find(|kind| condition(item, kind).is_some()) {
        Some(word) => words.push(word),
        None => words.push("Pending"),
    }
    if condition(item, "Failed").is_some() {
        words.push("Failed");
    }
    if !object::text(item, &["status", "certificate"]).is_empty() {
        words.push("Issued");
    }
    words.join(",").into()
}

fn hpa_targets(item: &Value, _: OffsetDateTime) -> Value {
    const SHOWN_MAX: usize = 2;
    if let Some(target) = object::integer(item, &["spec", "targetCPUUtilizationPercentage"]) {
        let current = object::integer(item, &["status", "currentCPUUtilizationPercentage"]);
        let current = current.map_or("<unknown>".to_owned(), |value| format!("{value}%"));
        return format!("cpu: {current}/{target}%").into();
    }
    let metrics = object::list(item, &["spec", "metrics"]);
    let currents = object::list(item, &["status", "currentMetrics"]);
    let texts: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| hpa_metric(metric, currents.get(index)))
        .collect();
    let shown = texts[..texts.len().min(SHOWN_MAX)].join(", ");
    match texts.len().saturating_sub(SHOWN_MAX) {
        0 => or_none(shown).into(),
        more => format!("{shown} + {more} more...").into(),
    }
}

fn hpa_metric(metric: &Value, current: Option<&Value>) -> String {
    let kind = object::text(metric, &["type"]);
    let key = kind[..kind.len().min(1)].to_lowercase() + kind.get(1..).unwrap_or_default();
    let now = |field: &str| current.and_then(|one| object::at(one, &[&key, "current", field]));
    let target = |field: &str| object::at(metric, &[&key, "target", field]);
    let amount = |value: Option<&Value>, unit: &str| match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => format!("{value}{unit}"),
        None => "<unknown>".to_owned(),
    };
    let name = object::text(metric, &[&key, "name"]);
    let prefix = if name.is_empty() { String::new() } else { format!("{name}: ") };
    if let Some(target) = target("averageUtilization") {
        return format!("{prefix}{}/{target}%", amount(now("averageUtilization"), "%"));
    }
    match target("averageValue") {
        Some(target) => format!(
            "{prefix}{}/{}{}",
            amount(now("averageValue"), ""),
            amount(Some(target), ""),
            if kind == "Resource" { "" } else { " (avg)" }
        ),
        None => format!("{prefix}{}/{}", amount(now("value"), ""), amount(target("value"), "")),
    }
}

fn ingress_class_parameters(item: &Value, _: OffsetDateTime) -> Value {
    let Some(reference) = object::at(item, &["spec", "parameters"]) else {
        return "<none>".into();
    };
    let part = |key: &str| object::text(reference, &[key]);
    match part("apiGroup") {
        "" => format!("{}/{}", part("kind"), part("name")).into(),
        group => format!("{}.{group}/{}", part("kind"), part("name")).into(),
    }
}

fn ip_address_parent(item: &Value, _: OffsetDateTime) -> Value {
    let part = |key: &str| object::text(item, &["spec", "parentRef", key]);
    let resource = match part("group") {
        "" => part("resource").to_owned(),
        group => format!("{}.{group}", part("resource")),
    };
    let parts = [resource.as_str(), part("namespace"), part("name")];
    join(parts.into_iter().filter(|text| !text.is_empty()), "/").into()
}

fn controller(item: &Value, _: OffsetDateTime) -> Value {
    let Some(owner) = object::controller_of(item) else { return "<none>".into() };
    let kind = object::text(owner, &["kind"]).to_lowercase();
    let group = object::text(owner, &["apiVersion"]).split_once('/').map(|(group, _)| group);
    let dotted = group.map_or(kind.clone(), |group| format!("{kind}.{group}"));
    format!("{dotted}/{}", object::text(owner, &["name"])).into()
}

fn policy_param_kind(item: &Value, _: OffsetDateTime) -> Value {
    match object::at(item, &["spec", "paramKind"]) {
        None => "<unset>".into(),
        Some(kind) => {
            let part = |key: &str| object::text(kind, &[key]);
            format!("{}/{}", part("apiVersion"), part("kind")).into()
        }
    }
}

fn policy_param_ref(item: &Value, _: OffsetDateTime) -> Value {
    let Some(reference) = object::at(item, &["spec", "paramRef"]) else { return "<unset>".into() };
    let part = |key: &str| object::text(reference, &[key]);
    match (part("name"), part("namespace")) {
        ("", "") => "*/*".into(),
        ("", namespace) => format!("{namespace}/*").into(),
        (name, "") => name.into(),
        (name, namespace) => format!("{namespace}/{name}").into(),
    }
}

fn queuing(item: &Value, key: &str) -> Value {
    let path = ["spec", "limited", "limitResponse", "queuing", key];
    object::integer(item, &path).map_or("<none>".into(), |value| value.to_string().into())
}

fn resource_claim_state(item: &Value, _: OffsetDateTime) -> Value {
    let mut states = Vec::new();
    if object::deletion_timestamp(item).is_some() {
        states.push("deleted");
    }
    if object::at(item, &["status", "allocation"]).is_none() {
        states.push("pending");
    } else {
        states.push("allocated");
        let reserved = !object::list(item, &["status", "reservedFor"]).is_empty();
        if reserved {
            states.push("reserved");
        }
    }
    states.join(",").into()
}
