//! What kubelets may do: read what their pods use, and little else.
//!
//! The graph holds, for each node, what the pods bound to it refer to. It is folded from the pods
//! and the claims they use.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::authz::rbac::Wish;
use crate::live::Fold;

/// Something a pod refers to: resource, namespace, name.
type Object = (&'static str, String, String);

/// A pod by namespace and name.
type PodKey = (String, String);

#[derive(Debug, Default)]
struct PodNode {
    node: String,
    uses: HashSet<Object>,
}

/// Which objects the pods of each node use.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pods: HashMap<PodKey, PodNode>,
    /// How many pods of a node use an object.
    uses: HashMap<(String, Object), usize>,
    /// Volume name of each bound claim.
    volumes: HashMap<PodKey, String>,
}

/// What the node rules say to a wish; the roles are asked next when they do not allow it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    NoOpinion(String),
}

impl Fold for Graph {
    const PREFIXES: &'static [&'static str] =
        &["/registry/core/pods/", "/registry/core/persistentvolumeclaims/"];

    fn apply(&mut self, key: &str, object: Option<&Value>) {
        let mut parts = key.split('/').skip(3);
        let (Some(kind), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let place = (namespace.to_owned(), name.to_owned());
        match kind {
            "pods" => self.set_pod(place, object),
            _ => {
                let volume = object.and_then(|claim| claim.pointer("/spec/volumeName")?.as_str());
                match volume {
                    Some(volume) => self.volumes.insert(place, volume.to_owned()),
                    None => self.volumes.remove(&place),
                };
            }
        }
    }
}

impl Graph {
    fn set_pod(&mut self, place: PodKey, pod: Option<&Value>) {
        if let Some(old) = self.pods.remove(&place) {
            for object in old.uses {
                let key = (old.node.clone(), object);
                if let Some(count) = self.uses.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        self.uses.remove(&key);
                    }
                }
            }
        }
        let node = pod.and_then(|pod| pod.pointer("/spec/nodeName")?.as_str());
        let (Some(pod), Some(node)) = (pod, node.filter(|node| !node.is_empty())) else { return };
        let entry = PodNode { node: node.to_owned(), uses: used_by(&place.0, pod) };
        for object in &entry.uses {
            *self.uses.entry((entry.node.clone(), object.clone())).or_default() += 1;
        }
        self.pods.insert(place, entry);
    }

    fn uses(&self, node: &str, resource: &'static str, namespace: &str, name: &str) -> bool {
        let object = (resource, namespace.to_owned(), name.to_owned());
        self.uses.contains_key(&(node.to_owned(), object))
    }

    fn runs(&self, node: &str, namespace: &str, name: &str) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        self.pods.get(&place).is_some_and(|pod| pod.node == node)
    }

    fn uses_volume(&self, node: &str, volume: &str) -> bool {
        self.volumes.iter().any(|((namespace, claim), name)| {
            name == volume && self.uses(node, "persistentvolumeclaims", namespace, claim)
        })
    }
}

/// Everything a pod's kubelet needs to read for it.
fn used_by(namespace: &str, pod: &Value) -> HashSet<Object> {
    let mut uses = HashSet::new();
    let mut add = |resource: &'static str, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str) {
            uses.insert((resource, namespace.to_owned(), name.to_owned()));
        }
    };
    let spec = &pod["spec"];
    add("serviceaccounts", spec.get("serviceAccountName"));
    for secret in items(&spec["imagePullSecrets"]) {
        add("secrets", secret.get("name"));
    }
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    for volume in items(&spec["volumes"]) {
        add("secrets", volume.pointer("/secret/secretName"));
        add("configmaps", volume.pointer("/configMap/name"));
        add("persistentvolumeclaims", volume.pointer("/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some() {
            let name = volume["name"].as_str().unwrap_or_default();
            add("persistentvolumeclaims", Some(&format!("{pod_name}-{name}").into()));
        }
        add("secrets", volume.pointer("/csi/nodePublishSecretRef/name"));
        for source in items(&volume["projected"]["sources"]) {
            add("secrets", source.pointer("/secret/name"));
            add("configmaps", source.pointer("/configMap/name"));
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(&spec[list]) {
            for from in items(&container["envFrom"]) {
                add("secrets", from.pointer("/secretRef/name"));
                add("configmaps", from.pointer("/configMapRef/name"));
            }
            for env in items(&container["env"]) {
                add("secrets", env.pointer("/valueFrom/secretKeyRef/name"));
                add("configmaps", env.pointer("/valueFrom/configMapKeyRef/name"));
            }
        }
    }
    uses
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// What the kubelet of `node` may do.
pub(crate) fn decide(graph: &Graph, node: &str, wish: &Wish<'_>) -> Decision {
    let Wish::Resource { verb, group, resource, subresource, namespace, name } = *wish else {
        return Decision::NoOpinion(String::new());
    };
    let read = matches!(verb, "get" | "list" | "watch");
    let write = matches!(verb, "create" | "update" | "patch" | "delete");
    let allowed = match (group, resource, subresource) {
        ("", "secrets", "") if read => return related(graph, node, "secrets", namespace, name),
        ("", "configmaps", "") if read => {
            return related(graph, node, "configmaps", namespace, name);
        }
        ("", "persistentvolumeclaims", "" | "status") if verb == "get" => {
            return related(graph, node, "persistentvolumeclaims", namespace, name);
        }
        ("", "persistentvolumes", "") => verb == "get" && graph.uses_volume(node, name),
        ("", "serviceaccounts", "") if verb == "get" => {
            return related(graph, node, "serviceaccounts", namespace, name);
        }
        ("", "serviceaccounts", "token") if verb == "create" => {
            return related(graph, node, "serviceaccounts", namespace, name);
        }
        ("", "nodes", "") => {
            read || verb == "create" || (matches!(verb, "update" | "patch") && name == node)
        }
        ("", "nodes", "status") => matches!(verb, "update" | "patch") && name == node,
        ("", "pods", "") => match verb {
            "list" | "watch" | "create" => true,
            "get" | "delete" => graph.runs(node, namespace, name),
            _ => false,
        },
        ("", "pods", "status") => {
            matches!(verb, "update" | "patch") && graph.runs(node, namespace, name)
        }
        ("", "pods", "eviction") => verb == "create" && graph.runs(node, namespace, name),
        ("", "services", "") => read,
        ("" | "events.k8s.io", "events", "") => matches!(verb, "create" | "update" | "patch"),
        ("coordination.k8s.io", "leases", "") => {
            namespace == "kube-node-lease"
                && (verb == "create" || ((write || verb == "get") && name == node))
        }
        ("storage.k8s.io", "csinodes", "") => {
            verb == "create" || ((write || verb == "get") && name == node)
        }
        ("storage.k8s.io", "csidrivers", "") | ("node.k8s.io", "runtimeclasses", "") => read,
        ("storage.k8s.io", "volumeattachments", "") => verb == "get",
        ("authentication.k8s.io", "tokenreviews", "")
        | ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => {
            verb == "create"
        }
        ("certificates.k8s.io", "certificatesigningrequests", "") => verb == "create" || read,
        _ => false,
    };
    if allowed { Decision::Allow } else { Decision::NoOpinion(String::new()) }
}

fn related(
    graph: &Graph,
    node: &str,
    resource: &'static str,
    namespace: &str,
    name: &str,
) -> Decision {
    if name.is_empty() {
        let why = "can only list and watch individual resources of this type";
        return Decision::NoOpinion(why.to_owned());
    }
    if graph.uses(node, resource, namespace, name) {
        return Decision::Allow;
    }
    let why = format!("no relationship found between node '{node}' and this object");
    Decision::NoOpinion(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        let pod = json!({
            "metadata": {"name": "a", "namespace": "web"},
            "spec": {
                "nodeName": "n1",
                "serviceAccountName": "default",
                "volumes": [
                    {"name": "s", "secret": {"secretName": "key"}},
                    {"name": "p", "projected": {"sources": [{"configMap": {"name": "ca"}}]}},
                    {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
                ],
                "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}]}],
            },
        });
        graph.apply("/registry/core/pods/web/a", Some(&pod));
        let claim = json!({"spec": {"volumeName": "pv1"}});
        graph.apply("/registry/core/persistentvolumeclaims/web/data", Some(&claim));
        graph
    }

    #[test_case("get", "secrets", "key", true; "volume secret")]
    #[test_case("get", "secrets", "env", true; "secret in the environment")]
    #[test_case("get", "secrets", "other", false; "other secret")]
    #[test_case("list", "secrets", "", false; "no list of all secrets")]
    #[test_case("get", "configmaps", "ca", true; "projected config map")]
    #[test_case("get", "persistentvolumes", "pv1", true; "volume behind the claim")]
    #[test_case("get", "pods", "a", true; "own pod")]
    #[test_case("get", "pods", "b", false; "somebody else's pod")]
    #[test_case("create", "serviceaccounts/token", "default", true; "token of a pod's account")]
    #[test_case("create", "serviceaccounts/token", "admin", false; "token of another account")]
    #[test_case("patch", "nodes/status", "n1", true; "own status")]
    #[test_case("patch", "nodes/status", "n2", false; "another node's status")]
    #[test_case("delete", "secrets", "key", false; "never writes secrets")]
    fn kubelet(verb: &str, resource: &str, name: &str, expected: bool) {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let namespace = "web";
        let wish = Wish::Resource { verb, group: "", resource, subresource, namespace, name };
        assert_eq!(decide(&graph(), "n1", &wish) == Decision::Allow, expected);
    }

    #[test]
    fn a_deleted_pod_takes_its_rights_along() {
        let mut graph = graph();
        graph.apply("/registry/core/pods/web/a", None);
        assert!(graph.uses.is_empty());
    }
}
