//! Defaults of pods and everything inside them.

use serde_json::{Map, Value, json};

use super::{DefaultsHook, child, fill, fill_absent, text};

const VOLUME_FILE_MODE: i32 = 0o644;
const PROJECTED_TOKEN_SECONDS: i64 = 3600;

pub(super) fn hook(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "Pod" => pod,
        "PodSpec" => pod_spec,
        "Container" | "EphemeralContainer" => container,
        "Probe" => probe,
        "HTTPGetAction" => http_get,
        "Volume" => volume,
        "SecretVolumeSource"
        | "ConfigMapVolumeSource"
        | "DownwardAPIVolumeSource"
        | "ProjectedVolumeSource" => file_mode,
        "ServiceAccountTokenProjection" => |map| {
            fill_absent(map, "expirationSeconds", PROJECTED_TOKEN_SECONDS);
        },
        "HostPathVolumeSource" => |map| fill_absent(map, "type", ""),
        "ImageVolumeSource" => |map| {
            let policy = pull_policy(text(map, "reference"));
            fill(map, "pullPolicy", policy);
        },
        "ObjectFieldSelector" => |map| fill(map, "apiVersion", "v1"),
        "PodStatus" => |map| fill(map, "phase", "Pending"),
        _ => return None,
    })
}

fn pod(map: &mut Map<String, Value>) {
    let spec = child(map, "spec");
    fill_absent(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default();
    for key in ["containers", "initContainers"] {
        for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    if spec.contains_key("resources") {
        pod_requests_from_limits(spec);
    }
}

/// What is limited and not requested is requested as much as it is limited.
fn requests_from_limits(container: &mut Map<String, Value>) {
    let resources = child(container, "resources");
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let requests = child(resources, "requests");
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// The same for the pod as a whole, for the resources a pod may limit; what its containers
/// request counts first where all of them say.
fn pod_requests_from_limits(spec: &mut Map<String, Value>) {
    let resources = child(spec, "resources");
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let requests = child(resources, "requests");
    for (name, limit) in limits {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            requests.entry(name).or_insert(limit);
        }
    }
}

/// On the host's network a container port is a host port.
fn host_ports(container: &mut Map<String, Value>) {
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let number = port.get("containerPort").cloned();
        if let (Some(number), Some(port)) = (number, port.as_object_mut()) {
            fill(port, "hostPort", number);
        }
    }
}

fn pod_spec(map: &mut Map<String, Value>) {
    fill(map, "restartPolicy", "Always");
    fill_absent(map, "terminationGracePeriodSeconds", 30);
    fill(map, "dnsPolicy", "ClusterFirst");
    fill_absent(map, "securityContext", json!({}));
    fill(map, "schedulerName", "default-scheduler");
    // The old name is kept in step with the new one.
    let account = match text(map, "serviceAccountName") {
        "" => text(map, "serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !account.is_empty() {
        map.insert("serviceAccountName".into(), account.clone().into());
        map.insert("serviceAccount".into(), account.into());
    }
}

fn container(map: &mut Map<String, Value>) {
    let policy = pull_policy(text(map, "image"));
    fill(map, "imagePullPolicy", policy);
    fill(map, "terminationMessagePath", "/dev/termination-log");
    fill(map, "terminationMessagePolicy", "File");
}

/// `Always` for the tag `latest`, said or implied; else `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        None if image.is_empty() => "IfNotPresent",
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn probe(map: &mut Map<String, Value>) {
    fill(map, "timeoutSeconds", 1);
    fill(map, "periodSeconds", 10);
    fill(map, "successThreshold", 1);
    fill(map, "failureThreshold", 3);
}

fn http_get(map: &mut Map<String, Value>) {
    fill(map, "path", "/");
    fill(map, "scheme", "HTTP");
}

fn volume(map: &mut Map<String, Value>) {
    if !map.keys().any(|key| key != "name") {
        map.insert("emptyDir".into(), json!({}));
    }
}

fn file_mode(map: &mut Map<String, Value>) {
    fill_absent(map, "defaultMode", VOLUME_FILE_MODE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("nginx", "Always")]
    #[test_case("nginx:latest", "Always")]
    #[test_case("nginx:1.27", "IfNotPresent")]
    #[test_case("registry:5000/nginx", "Always"; "a port is no tag")]
    #[test_case("registry:5000/nginx:1", "IfNotPresent")]
    #[test_case("nginx@sha256:abc", "IfNotPresent")]
    #[test_case("nginx:latest@sha256:abc", "IfNotPresent"; "a digest settles it")]
    fn pull_policies(image: &str, expected: &str) {
        assert_eq!(pull_policy(image), expected);
    }
}
