//! Rules of configuration, storage, access, quota and policy kinds.

mod access;
mod flow_control;
mod storage;

use minik_meta::{FieldError, names, object};
use serde_json::Value;

use super::at::{At, Errors};
use super::{labels, path, pod, workload};
use crate::resource::Resource;

pub(super) use storage::{claim_update, storage_class_update, volume_update};

/// Most bytes of all values of a ConfigMap or Secret.
const CONFIG_BYTES_MAX: usize = 1024 * 1024;
const USER_PRIORITY_MAX: i64 = 1_000_000_000;

pub(super) fn validate(group: &str, kind: &str, object: &At<'_>, errors: &mut Errors) {
    match (group, kind) {
        ("", "ConfigMap") => config_map(object, errors),
        ("", "Secret") => secret(object, errors),
        ("", "Node") => node(object, errors),
        ("", "ResourceQuota") => quota(object, errors),
        ("", "LimitRange") => limit_range(object, errors),
        ("", "Endpoints") => endpoints(object, errors),
        ("", "Event") => event(object, errors),
        ("", "PersistentVolumeClaim") => storage::claim(&object.get("spec"), errors),
        ("", "PersistentVolume") => storage::volume(&object.get("spec"), errors),
        ("storage.k8s.io", "StorageClass") => {
            errors.require(&object.get("provisioner"));
        }
        ("rbac.authorization.k8s.io", _) => access::validate(kind, object, errors),
        ("flowcontrol.apiserver.k8s.io", _) => flow_control::validate(kind, object, errors),
        ("policy", "PodDisruptionBudget") => disruption_budget(&object.get("spec"), errors),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(&object.get("spec"), errors),
        ("coordination.k8s.io", "Lease") => {
            let seconds = object.down(&["spec", "leaseDurationSeconds"]);
            if seconds.integer().is_some_and(|seconds| seconds <= 0) {
                errors.invalid(&seconds, "must be greater than 0");
            }
            errors.not_negative(&object.down(&["spec", "leaseTransitions"]));
        }
        ("scheduling.k8s.io", "PriorityClass") => priority_class(object, errors),
        ("node.k8s.io", "RuntimeClass") => {
            let handler = object.get("handler");
            errors.all_invalid(&handler, names::dns1123_label(handler.text()));
        }
        _ => {}
    }
}

fn config_map(object: &At<'_>, errors: &mut Errors) {
    let (data, binary) = (object.get("data"), object.get("binaryData"));
    let mut bytes = 0;
    for (map, both) in [(&data, &binary), (&binary, &data)] {
        for (key, value) in map.entries() {
            config_key(&value, key, errors);
            if both.value.get(key).is_some() {
                let said = format!("duplicate of key present in {}", both.path);
                errors.push(FieldError::invalid(&value.path, key, said));
            }
            bytes += value.text().len();
        }
    }
    if bytes > CONFIG_BYTES_MAX {
        errors.push(FieldError::too_long(&path(""), CONFIG_BYTES_MAX));
    }
}

fn config_key(value: &At<'_>, key: &str, errors: &mut Errors) {
    for message in names::config_map_key(key) {
        errors.push(FieldError::invalid(&value.path, key, message));
    }
}

fn secret(object: &At<'_>, errors: &mut Errors) {
    let data = object.get("data");
    let mut bytes = 0;
    for (key, value) in data.entries() {
        config_key(&value, key, errors);
        bytes += value.text().len() / 4 * 3;
    }
    if bytes > CONFIG_BYTES_MAX {
        errors.push(FieldError::too_long(&data.path, CONFIG_BYTES_MAX));
    }
    let has = |key: &str| data.value.get(key).is_some();
    let mut need = |key: &str| {
        if !has(key) {
            errors.push(FieldError::required(&data.path.key(key), ""));
        }
    };
    match object.get("type").text() {
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().for_each(&mut need),
        "kubernetes.io/dockerconfigjson" => need(".dockerconfigjson"),
        "kubernetes.io/dockercfg" => need(".dockercfg"),
        "kubernetes.io/ssh-auth" => need("ssh-privatekey"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            ["username", "password"].into_iter().for_each(&mut need);
        }
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            if object::annotation(object.value, ACCOUNT).unwrap_or_default().is_empty() {
                let at = path("metadata.annotations").key(ACCOUNT);
                errors.push(FieldError::required(&at, ""));
            }
        }
        _ => {}
    }
}

/// Immutable ConfigMaps and Secrets, and the type of any Secret.
pub(super) fn config_update(resource: &Resource, new: &Value, old: &Value, errors: &mut Errors) {
    const WHY: &str = "field is immutable when `immutable` is set";
    let (new, old) = (At::root(new), At::root(old));
    if resource.kind == "Secret" {
        errors.immutable(&new.get("type"), &old.get("type"));
    }
    if old.get("immutable").is_true() {
        if !new.get("immutable").is_true() {
            errors.forbidden(&new.get("immutable"), WHY);
        }
        for key in ["data", "binaryData"] {
            if new.get(key).value != old.get(key).value {
                errors.forbidden(&new.get(key), WHY);
            }
        }
    }
}

fn node(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in spec.get("taints").items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        errors.all_invalid(&key, names::qualified_name(key.text()));
        errors.all_invalid(&value, names::label_value(value.text()));
        if errors.require(&effect) {
            errors.one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
        let id = (key.text(), effect.text());
        if seen.contains(&id) {
            errors.push(FieldError::duplicate(&taint.path, taint.value.clone()));
        }
        seen.push(id);
    }
}

pub(super) fn node_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (At::root(new).get("spec"), At::root(old).get("spec"));
    if !old.get("podCIDRs").is_empty() && new.get("podCIDRs").value != old.get("podCIDRs").value {
        errors.forbidden(
            &new.get("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        );
    }
    if !old.get("providerID").is_empty()
        && new.get("providerID").text() != old.get("providerID").text()
    {
        errors.forbidden(
            &new.get("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        );
    }
}

fn quota(object: &At<'_>, errors: &mut Errors) {
    for (name, amount) in object.down(&["spec", "hard"]).entries() {
        for message in names::qualified_name(name) {
            errors.push(FieldError::invalid(&amount.path, name, message));
        }
        if amount.quantity().is_some_and(|amount| amount.is_negative()) {
            errors.invalid(&amount, "must be greater than or equal to 0");
        }
    }
}

/// In each row: min ≤ defaultRequest ≤ default ≤ max.
fn limit_range(object: &At<'_>, errors: &mut Errors) {
    const ORDERED: &[(&str, &str)] = &[
        ("min", "max"),
        ("min", "defaultRequest"),
        ("min", "default"),
        ("defaultRequest", "default"),
        ("defaultRequest", "max"),
        ("default", "max"),
    ];
    for limit in object.down(&["spec", "limits"]).items() {
        for (low, high) in ORDERED {
            for (name, amount) in limit.get(low).entries() {
                let Some(other) = limit.get(high).value.get(name) else { continue };
                let other = minik_meta::Quantity::from_value(other).ok();
                let Some((amount_value, other)) = amount.quantity().zip(other) else { continue };
                if amount_value > other {
                    let words = |key: &str| match key {
                        "defaultRequest" => "default request".to_owned(),
                        key => key.to_owned(),
                    };
                    errors.invalid(
                        &amount,
                        &format!(
                            "{} value {amount_value} is greater than {} value {other}",
                            words(low),
                            words(high)
                        ),
                    );
                }
            }
        }
    }
}

fn endpoints(object: &At<'_>, errors: &mut Errors) {
    for subset in object.get("subsets").items() {
        if subset.get("addresses").is_empty() && subset.get("notReadyAddresses").is_empty() {
            errors.required(&subset, "must specify `addresses` or `notReadyAddresses`");
        }
        for key in ["addresses", "notReadyAddresses"] {
            subset.get(key).items().for_each(|one| pod::ip(&one.get("ip"), errors));
        }
        for port in subset.get("ports").items() {
            let number = port.get("port");
            errors.all_invalid(&number, names::port_number(number.integer().unwrap_or_default()));
            errors.one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        }
    }
}

/// An event lives in the namespace of what it is about; `default` for what has none.
fn event(object: &At<'_>, errors: &mut Errors) {
    let own = object.down(&["metadata", "namespace"]);
    let about = object.down(&["involvedObject", "namespace"]);
    let fits = match about.text() {
        "" => matches!(own.text(), "" | "default" | "kube-system"),
        namespace => namespace == own.text(),
    };
    if !fits {
        errors.invalid(&about, "does not match event.namespace");
    }
}

fn disruption_budget(spec: &At<'_>, errors: &mut Errors) {
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if !least.is_absent() && !most.is_absent() {
        errors.invalid(spec, "minAvailable and maxUnavailable cannot be both set");
    }
    workload::number_or_percent(&least, errors);
    workload::number_or_percent(&most, errors);
    labels::selector(&spec.get("selector"), errors);
}

fn autoscaler(spec: &At<'_>, errors: &mut Errors) {
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    let (low, high) = (least.integer().unwrap_or(1), most.integer().unwrap_or_default());
    if low < 1 {
        errors.invalid(&least, "must be greater than or equal to 1");
    }
    if high < 1 {
        errors.invalid(&most, "must be greater than 0");
    }
    if high < low {
        errors.invalid(&most, "must be greater than or equal to `minReplicas`");
    }
    let target = spec.get("scaleTargetRef");
    errors.require(&target.get("kind"));
    errors.require(&target.get("name"));
}

fn priority_class(object: &At<'_>, errors: &mut Errors) {
    let (name, value) = (object.down(&["metadata", "name"]), object.get("value"));
    let system = name.text().starts_with("system-");
    if system && !matches!(name.text(), "system-cluster-critical" | "system-node-critical") {
        errors.forbidden(
            &name,
            "priority class names with 'system-' prefix are reserved for \
                                 system use only. error: only the following are allowed: \
                                 system-cluster-critical, system-node-critical",
        );
    }
    if !system && value.integer().is_some_and(|value| value > USER_PRIORITY_MAX) {
        errors.forbidden(
            &value,
            &format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"),
        );
    }
    errors.one_of(&object.get("preemptionPolicy"), &["Never", "PreemptLowerPriority"]);
}

pub(super) fn priority_class_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (At::root(new), At::root(old));
    let value = |at: &At<'_>| at.get("value").integer().unwrap_or_default();
    if value(&new) != value(&old) {
        errors.forbidden(&new.get("value"), "may not be changed in an update.");
    }
    errors.immutable(&new.get("preemptionPolicy"), &old.get("preemptionPolicy"));
}
