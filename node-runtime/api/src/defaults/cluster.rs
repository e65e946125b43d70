//! Defaults of all other kinds: configuration, storage, policy, admission, networking.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use minik_meta::Quantity;
use serde_json::{Map, Value, json};

use super::{DefaultsHook, child, fill, fill_absent, text};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn core_hook(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "Secret" => secret,
        "Namespace" => namespace,
        "NamespaceStatus" => |map| fill(map, "phase", "Active"),
        "NodeStatus" => |map| {
            if let Some(capacity) = map.get("capacity").cloned() {
                fill(map, "allocatable", capacity);
            }
        },
        "PersistentVolumeSpec" => |map| {
            fill(map, "persistentVolumeReclaimPolicy", "Retain");
            fill_absent(map, "volumeMode", "Filesystem");
        },
        "PersistentVolumeStatus" | "PersistentVolumeClaimStatus" => {
            |map| fill(map, "phase", "Pending")
        }
        "PersistentVolumeClaimSpec" => |map| fill_absent(map, "volumeMode", "Filesystem"),
        "EndpointPort" => |map| fill(map, "protocol", "TCP"),
        "ReplicationController" => replication_controller,
        "LimitRangeItem" => limit_range_item,
        _ => return None,
    })
}

pub(super) fn hook(package: &str, name: &str) -> Option<DefaultsHook> {
    let (package, version) = package.rsplit_once('.')?;
    match package.rsplit('.').next().unwrap_or_default() {
        "autoscaling" if version == "v2" => autoscaling(name),
        "autoscaling" if name == "HorizontalPodAutoscalerSpec" => {
            Some(|map: &mut Map<String, Value>| fill_absent(map, "minReplicas", 1))
        }
        "networking" => networking(name),
        "rbac" => rbac(name),
        "storage" => storage(name),
        "admissionregistration" => admission(name),
        "flowcontrol" => flow_control(name),
        "resource" => devices(name),
        "scheduling" if name == "PriorityClass" => Some(|map: &mut Map<String, Value>| {
            fill_absent(map, "preemptionPolicy", "PreemptLowerPriority");
        }),
        "discovery" if name == "EndpointPort" => Some(|map: &mut Map<String, Value>| {
            fill_absent(map, "name", "");
            fill_absent(map, "protocol", "TCP");
        }),
        "apiextensions" => extensions(name),
        "apiregistration" if name == "ServiceReference" => {
            Some(|map: &mut Map<String, Value>| fill_absent(map, "port", 443))
        }
        _ => None,
    }
}

/// `stringData` is only for writing: it ends up in `data`.
fn secret(map: &mut Map<String, Value>) {
    fill(map, "type", "Opaque");
    if let Some(Value::Object(plain)) = map.shift_remove("stringData") {
        let data = child(map, "data");
        for (key, value) in plain {
            let encoded = BASE64.encode(value.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
}

fn namespace(map: &mut Map<String, Value>) {
    let metadata = child(map, "metadata");
    let name = text(metadata, "name").to_owned();
    if !name.is_empty() {
        child(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

/// Labels and selector come from the template.
fn replication_controller(map: &mut Map<String, Value>) {
    let spec = child(map, "spec");
    let labels = spec
        .get("template")
        .and_then(|template| template.pointer("/metadata/labels"))
        .filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty()))
        .cloned();
    if let Some(labels) = labels {
        fill(spec, "selector", labels.clone());
        fill(child(map, "metadata"), "labels", labels);
    }
}

/// For containers, a default follows from the maximum and a default request from the default,
/// else the minimum.
fn limit_range_item(map: &mut Map<String, Value>) {
    if text(map, "type") != "Container" {
        return;
    }
    copy_missing(map, "max", "default");
    copy_missing(map, "default", "defaultRequest");
    copy_missing(map, "min", "defaultRequest");
}

fn copy_missing(map: &mut Map<String, Value>, from: &str, to: &str) {
    let Some(source) = map.get(from).and_then(Value::as_object).cloned() else { return };
    let target = child(map, to);
    for (name, amount) in source {
        let valid = Quantity::from_value(&amount).is_ok();
        if valid {
            target.entry(name).or_insert(amount);
        }
    }
}

/// Of version 2 only: version 1 has its one metric in another form and is converted.
fn autoscaling(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "HorizontalPodAutoscalerSpec" => |map| {
            fill_absent(map, "minReplicas", 1);
            fill(
                map,
                "metrics",
                json!([{
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 80},
                    },
                }]),
            );
        },
        "HorizontalPodAutoscalerBehavior" => |map| {
            let period = 15;
            let percent = json!({"type": "Percent", "value": 100, "periodSeconds": period});
            let pods = json!({"type": "Pods", "value": 4, "periodSeconds": period});
            let up = child(map, "scaleUp");
            fill_absent(up, "stabilizationWindowSeconds", 0);
            fill_absent(up, "selectPolicy", "Max");
            fill(up, "policies", json!([pods, percent.clone()]));
            let down = child(map, "scaleDown");
            fill_absent(down, "selectPolicy", "Max");
            fill(down, "policies", json!([percent]));
        },
        _ => return None,
    })
}

fn networking(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "NetworkPolicySpec" => |map| {
            if map.get("policyTypes").is_none_or(|types| types == &json!([])) {
                let egress = map
                    .get("egress")
                    .and_then(Value::as_array)
                    .is_some_and(|list| !list.is_empty());
                let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
                map.insert("policyTypes".into(), types);
            }
        },
        "NetworkPolicyPort" => |map| fill_absent(map, "protocol", "TCP"),
        "IngressClassParametersReference" => |map| fill_absent(map, "scope", "Cluster"),
        _ => return None,
    })
}

fn rbac(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "RoleRef" => |map| fill(map, "apiGroup", RBAC),
        "Subject" => |map| {
            if matches!(text(map, "kind"), "User" | "Group") {
                fill(map, "apiGroup", RBAC);
            }
        },
        _ => return None,
    })
}

fn storage(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "StorageClass" => |map| {
            fill_absent(map, "reclaimPolicy", "Delete");
            fill_absent(map, "volumeBindingMode", "Immediate");
        },
        "CSIDriverSpec" => |map| {
            fill_absent(map, "attachRequired", true);
            fill_absent(map, "podInfoOnMount", false);
            fill_absent(map, "storageCapacity", false);
            fill_absent(map, "fsGroupPolicy", "ReadWriteOnceWithFSType");
            fill(map, "volumeLifecycleModes", json!(["Persistent"]));
            fill_absent(map, "requiresRepublish", false);
            fill_absent(map, "seLinuxMount", false);
        },
        _ => return None,
    })
}

fn admission(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "ValidatingWebhook" => webhook,
        "MutatingWebhook" => |map| {
            webhook(map);
            fill_absent(map, "reinvocationPolicy", "Never");
        },
        "RuleWithOperations" | "NamedRuleWithOperations" => |map| fill_absent(map, "scope", "*"),
        "ServiceReference" => |map| fill_absent(map, "port", 443),
        "ValidatingAdmissionPolicySpec" => |map| fill_absent(map, "failurePolicy", "Fail"),
        "MutatingAdmissionPolicySpec" => |map| {
            fill_absent(map, "failurePolicy", "Fail");
        },
        "MatchResources" => |map| {
            fill_absent(map, "matchPolicy", "Equivalent");
            fill_absent(map, "namespaceSelector", json!({}));
            fill_absent(map, "objectSelector", json!({}));
        },
        _ => return None,
    })
}

fn webhook(map: &mut Map<String, Value>) {
    fill_absent(map, "failurePolicy", "Fail");
    fill_absent(map, "matchPolicy", "Equivalent");
    fill_absent(map, "namespaceSelector", json!({}));
    fill_absent(map, "objectSelector", json!({}));
    fill_absent(map, "timeoutSeconds", 10);
}

fn flow_control(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "FlowSchemaSpec" => |map| fill(map, "matchingPrecedence", 1000),
        "LimitedPriorityLevelConfiguration" => |map| {
            fill_absent(map, "nominalConcurrencyShares", 30);
            fill_absent(map, "lendablePercent", 0);
        },
        "ExemptPriorityLevelConfiguration" => |map| {
            fill_absent(map, "nominalConcurrencyShares", 0);
            fill_absent(map, "lendablePercent", 0);
        },
        "QueuingConfiguration" => |map| {
            fill(map, "queues", 64);
            fill(map, "handSize", 8);
            fill(map, "queueLengthLimit", 50);
        },
        _ => return None,
    })
}

fn devices(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "ExactDeviceRequest" | "DeviceSubRequest" => |map| {
            fill(map, "allocationMode", "ExactCount");
            if text(map, "allocationMode") == "ExactCount" {
                fill(map, "count", 1);
            }
        },
        _ => return None,
    })
}

fn extensions(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "CustomResourceDefinitionSpec" => |map| {
            let names = child(map, "names");
            let kind = text(names, "kind").to_owned();
            if !kind.is_empty() {
                fill(names, "singular", kind.to_lowercase());
                fill(names, "listKind", format!("{kind}List"));
            }
            fill_absent(map, "conversion", json!({"strategy": "None"}));
        },
        "ServiceReference" => |map| fill_absent(map, "port", 443),
        _ => return None,
    })
}
