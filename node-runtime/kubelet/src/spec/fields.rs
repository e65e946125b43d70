//! The downward API: a pod's own fields and resources as text, for variables and files.

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};

use super::quantity::{Resources, millis, units};
use crate::object;

/// What a pod can learn about itself besides its own object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeFacts {
    /// Addresses of the node, the first is the main one.
    pub(crate) host_ips: Vec<String>,
    /// Addresses of the pod; empty until the sandbox is there.
    pub(crate) pod_ips: Vec<String>,
    /// What the node can give to pods: the limit of containers without one.
    pub(crate) allocatable: Resources,
}

/// Why a reference to a field has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    #[error("unsupported resource: {0}")]
    Resource(String),
    #[error("container {0} not found")]
    Container(String),
}

/// The value of a `fieldRef`.
pub(crate) fn field(
    pod: &Pod,
    facts: &NodeFacts,
    selector: &ObjectFieldSelector,
) -> Result<String, FieldError> {
    let path = selector.field_path.as_str();
    let metadata = &pod.metadata;
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(FieldError::Field(path.into())),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => object::name(pod).to_owned(),
        "metadata.namespace" => object::namespace(pod).to_owned(),
        "metadata.uid" => object::uid(pod).to_owned(),
        "metadata.labels" => lines(metadata.labels.iter().flatten()),
        "metadata.annotations" => lines(metadata.annotations.iter().flatten()),
        "spec.nodeName" => object::spec(pod).node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => object::service_account(pod).to_owned(),
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => first(&facts.pod_ips),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(FieldError::Field(path.into())),
    })
}

/// `map['key']` as `(map, key)`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as `key="value"` lines, sorted by key.
fn lines<'a>(map: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    map.map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}

/// The value of a `resourceFieldRef`; `own` is the container that asks.
pub(crate) fn resource(
    pod: &Pod,
    facts: &NodeFacts,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
) -> Result<String, FieldError> {
    let spec = object::spec(pod);
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        None => own,
        Some(name) => spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .find(|container| container.name == name),
    };
    let Some(container) = container else {
        return Err(FieldError::Container(named.unwrap_or_default().into()));
    };
    let unknown = || FieldError::Resource(selector.resource.clone());
    let (list, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.clone().unwrap_or_default();
    let found = match list {
        "limits" => resources.limits.as_ref().and_then(|limits| limits.get(name)),
        "requests" => resources.requests.as_ref().and_then(|requests| requests.get(name)),
        _ => return Err(unknown()),
    };
    let without_one = || facts.allocatable.get(name).filter(|_| list == "limits");
    let Some(quantity) = found.or_else(without_one) else { return Ok("0".into()) };

    let divisor = selector.divisor.as_ref();
    let value = if name == "cpu" {
        let divisor = divisor.and_then(millis).filter(|divisor| *divisor > 0).unwrap_or(1000);
        ceiling(millis(quantity).ok_or_else(unknown)?, divisor)
    } else {
        let divisor = divisor.and_then(units).filter(|divisor| *divisor > 0).unwrap_or(1);
        ceiling(units(quantity).ok_or_else(unknown)?, divisor)
    };
    Ok(value.to_string())
}

fn ceiling(value: i64, divisor: i64) -> i64 {
    value.div_euclid(divisor) + i64::from(value % divisor != 0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{from_value, json};
    use test_case::test_case;

    use super::*;

    fn pod() -> Pod {
        from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1",
                "labels": {"app": "web", "tier": "a\"b"}},
            "spec": {"nodeName": "minik", "containers": [{"name": "c", "resources": {
                "limits": {"cpu": "1500m"}, "requests": {"memory": "65Mi"}}}]}
        }))
        .expect("a pod")
    }

    fn facts() -> NodeFacts {
        NodeFacts {
            host_ips: vec!["192.0.2.1".into()],
            pod_ips: vec!["10.244.0.9".into(), "fd00::9".into()],
            allocatable: from_value(json!({"memory": "1Gi"})).expect("resources"),
        }
    }

    #[test_case("metadata.name" => Ok("web".to_owned()))]
    #[test_case("metadata.labels['app']" => Ok("web".to_owned()))]
    #[test_case("metadata.labels['none']" => Ok(String::new()))]
    #[test_case("metadata.labels" => Ok("app=\"web\"\ntier=\"a\\\"b\"".to_owned()))]
    #[test_case("status.podIP" => Ok("10.244.0.9".to_owned()))]
    #[test_case("status.podIPs" => Ok("10.244.0.9,fd00::9".to_owned()))]
    #[test_case("spec.serviceAccountName" => Ok("default".to_owned()))]
    #[test_case("spec.containers" => Err(FieldError::Field("spec.containers".into())))]
    fn fields(path: &str) -> Result<String, FieldError> {
        let selector = ObjectFieldSelector { api_version: None, field_path: path.into() };
        field(&pod(), &facts(), &selector)
    }

    #[test_case("limits.cpu", "" => "2"; "rounded up to whole cores")]
    #[test_case("limits.cpu", "1m" => "1500")]
    #[test_case("requests.memory", "1Mi" => "65")]
    #[test_case("limits.memory", "1Mi" => "1024"; "the node's without a limit")]
    #[test_case("requests.cpu", "" => "0"; "absent")]
    fn resources(resource_name: &str, divisor: &str) -> String {
        let selector = from_value(json!({
            "resource": resource_name, "containerName": "c",
            "divisor": if divisor.is_empty() { json!(null) } else { json!(divisor) },
        }))
        .expect("a selector");
        resource(&pod(), &facts(), None, &selector).expect("a value")
    }
}
