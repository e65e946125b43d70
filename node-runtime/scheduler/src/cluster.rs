//! The nodes and what runs on them, kept up to date by the caches: what a decision is made from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::jiff::Timestamp;
use minik_reconcile::amounts::{Amounts, PODS, assumed, requested};
use minik_reconcile::{KeyOf, ObjectKey};

type Labels = BTreeMap<String, String>;

/// A port of the node that a pod wants for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) address: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub(crate) fn collides(&self, other: &HostPort) -> bool {
        let anywhere = |address: &str| matches!(address, "" | "0.0.0.0");
        self.port == other.port
            && self.protocol == other.protocol
            && (anywhere(&self.address)
                || anywhere(&other.address)
                || self.address == other.address)
    }
}

/// A pod and what is asked of it again and again.
#[derive(Debug)]
pub(crate) struct PodFacts {
    pub(crate) pod: Arc<Pod>,
    pub(crate) key: ObjectKey,
    pub(crate) requested: Amounts,
    pub(crate) assumed: Amounts,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) priority: i32,
}

impl PodFacts {
    pub(crate) fn of(pod: Arc<Pod>) -> PodFacts {
        let mut requested = requested(&pod);
        requested.set(PODS, 1);
        PodFacts {
            key: pod.key(),
            requested,
            assumed: assumed(&pod),
            ports: host_ports(&pod),
            priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0),
            pod,
        }
    }

    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.pod.metadata.labels.as_ref()
    }

    /// Whether pods may be kept away by this one.
    pub(crate) fn has_anti_affinity(&self) -> bool {
        let affinity = self.pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
        affinity.is_some_and(|affinity| {
            affinity.pod_anti_affinity.as_ref().is_some_and(|anti| {
                anti.required_during_scheduling_ignored_during_execution
                    .as_ref()
                    .is_some_and(|terms| !terms.is_empty())
            })
        })
    }

    pub(crate) fn started(&self) -> Option<Timestamp> {
        self.pod.status.as_ref()?.start_time.as_ref().map(|time| time.0)
    }
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|one| one.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                address: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: port.host_port.filter(|port| *port > 0)?,
            })
        })
        .collect()
}

/// A node and what runs there, or is about to.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) node: Arc<Node>,
    pub(crate) allocatable: Amounts,
    pub(crate) used: Amounts,
    pub(crate) used_assumed: Amounts,
    pub(crate) pods: BTreeMap<ObjectKey, Arc<PodFacts>>,
    pub(crate) images: Arc<HashMap<String, i64>>,
}

impl NodeFacts {
    pub(crate) fn of(node: Arc<Node>) -> NodeFacts {
        NodeFacts {
            name: node.key().name,
            allocatable: allocatable(&node),
            used: Amounts::default(),
            used_assumed: Amounts::default(),
            pods: BTreeMap::new(),
            images: Arc::new(images(&node)),
            node,
        }
    }

    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.node.metadata.labels.as_ref()
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.node.label(name)
    }

    pub(crate) fn add(&mut self, pod: Arc<PodFacts>) {
        self.remove(&pod.key);
        self.used.add(&pod.requested);
        self.used_assumed.add(&pod.assumed);
        self.pods.insert(pod.key.clone(), pod);
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        if let Some(pod) = self.pods.remove(key) {
            self.used.subtract(&pod.requested);
            self.used_assumed.subtract(&pod.assumed);
        }
    }
}

fn allocatable(node: &Node) -> Amounts {
    let status = node.status.as_ref();
    Amounts::of(status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())))
}

fn images(node: &Node) -> HashMap<String, i64> {
    let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
    let named = images.flat_map(|image| {
        let size = image.size_bytes.unwrap_or(0);
        image.names.iter().flatten().map(move |name| (name.clone(), size))
    });
    named.collect()
}

/// All nodes, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<String, NodeFacts>,
    pub(crate) namespaces: HashMap<String, Labels>,
    /// Where each counted pod is.
    places: HashMap<ObjectKey, String>,
    /// Pods on nodes that are not known (yet).
    strays: HashMap<ObjectKey, Arc<PodFacts>>,
    /// Pods that were placed but do not show it yet.
    placed: HashMap<ObjectKey, String>,
    /// Nodes that victims are leaving for a pod, and the pod.
    pub(crate) nominated: HashMap<ObjectKey, (String, Arc<PodFacts>)>,
    anti_affine: usize,
}

impl Cluster {
    /// Whether any pod keeps others away.
    pub(crate) fn has_anti_affinity(&self) -> bool {
        self.anti_affine > 0
    }

    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let mut facts = NodeFacts::of(node);
        if let Some(old) = self.nodes.remove(&facts.name) {
            facts.used = old.used;
            facts.used_assumed = old.used_assumed;
            facts.pods = old.pods;
        }
        let name = facts.name.clone();
        let waiting: Vec<Arc<PodFacts>> = self
            .strays
            .values()
            .filter(|pod| self.places.get(&pod.key) == Some(&name))
            .cloned()
            .collect();
        for pod in waiting {
            self.strays.remove(&pod.key);
            facts.add(pod);
        }
        self.nodes.insert(name, facts);
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        if let Some(gone) = self.nodes.remove(name) {
            self.strays.extend(gone.pods);
        }
    }

    pub(crate) fn set_namespace(&mut self, namespace: &Namespace) {
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        self.namespaces.insert(namespace.key().name, labels);
    }

    /// Takes note of a pod as the API shows it.
    pub(crate) fn set_pod(&mut self, pod: &Arc<Pod>) {
        let key = pod.key();
        match node_of(pod) {
            Some(node) if !is_finished(pod) => {
                self.placed.remove(&key);
                self.nominated.remove(&key);
                self.count(node, Arc::new(PodFacts::of(Arc::clone(pod))));
            }
            Some(_) => self.remove_pod(&key),
            // Not shown as placed yet: what was decided here still stands.
            None if self.placed.contains_key(&key) => {}
            None => self.uncount(&key),
        }
    }

    pub(crate) fn remove_pod(&mut self, key: &ObjectKey) {
        self.placed.remove(key);
        self.nominated.remove(key);
        self.uncount(key);
    }

    /// Counts a pod on the node that was chosen for it, before the API shows it there.
    pub(crate) fn place(&mut self, pod: Arc<PodFacts>, node: &str) {
        self.nominated.remove(&pod.key);
        self.placed.insert(pod.key.clone(), node.to_owned());
        self.count(node, pod);
    }

    /// The placement did not come about.
    pub(crate) fn displace(&mut self, key: &ObjectKey) {
        if self.placed.remove(key).is_some() {
            self.uncount(key);
        }
    }

    fn count(&mut self, node: &str, pod: Arc<PodFacts>) {
        self.uncount(&pod.key);
        self.anti_affine += usize::from(pod.has_anti_affinity());
        self.places.insert(pod.key.clone(), node.to_owned());
        match self.nodes.get_mut(node) {
            Some(facts) => facts.add(pod),
            None => {
                self.strays.insert(pod.key.clone(), pod);
            }
        }
    }

    fn uncount(&mut self, key: &ObjectKey) {
        let Some(node) = self.places.remove(key) else { return };
        let there = self.nodes.get(&node).and_then(|facts| facts.pods.get(key)).cloned();
        let pod = there.or_else(|| self.strays.get(key).cloned());
        self.anti_affine -= usize::from(pod.is_some_and(|pod| pod.has_anti_affinity()));
        if let Some(facts) = self.nodes.get_mut(&node) {
            facts.remove(key);
        }
        self.strays.remove(key);
    }
}

/// The node a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether the pod has ended and takes no room.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
pub(crate) mod samples {
    //! Nodes and pods for tests.

    use serde_json::{Value, json};

    use super::*;

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (name, value) in from {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    pub(crate) fn node(name: &str, extra: Value) -> Arc<Node> {
        let mut node = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
            "spec": {},
            "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "110" } },
        });
        merge(&mut node, extra);
        Arc::new(serde_json::from_value(node).expect("a node"))
    }

    /// A pod with one container; `on` is its node, empty if it has none yet.
    pub(crate) fn pod(name: &str, on: &str, extra: Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": { "name": name, "namespace": "default", "uid": name },
            "spec": { "containers": [{ "name": "c", "image": "web" }] },
        });
        if !on.is_empty() {
            pod["spec"]["nodeName"] = json!(on);
        }
        merge(&mut pod, extra);
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    pub(crate) fn facts(name: &str, extra: Value) -> PodFacts {
        PodFacts::of(pod(name, "", extra))
    }

    pub(crate) fn cpu(amount: &str) -> Value {
        json!({ "spec": { "containers": [{ "name": "c", "image": "web",
            "resources": { "requests": { "cpu": amount } } }] } })
    }

    pub(crate) fn cluster(nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> Cluster {
        let mut cluster = Cluster::default();
        nodes.iter().for_each(|node| cluster.set_node(Arc::clone(node)));
        pods.iter().for_each(|pod| cluster.set_pod(pod));
        let default = json!({ "metadata": { "name": "default", "labels": { "team": "a" } } });
        cluster.set_namespace(&serde_json::from_value(default).expect("a namespace"));
        cluster
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::samples::{cluster, cpu, node, pod};
    use super::*;

    fn used(cluster: &Cluster) -> i64 {
        cluster.nodes["n1"].used.get("cpu")
    }

    #[test]
    fn a_placement_counts_until_the_api_shows_it() {
        let mut cluster = cluster(&[node("n1", json!({}))], &[]);
        let unbound = pod("a", "", cpu("1"));
        cluster.place(Arc::new(PodFacts::of(unbound.clone())), "n1");
        assert_eq!(used(&cluster), 1000);
        cluster.set_pod(&unbound);
        assert_eq!(used(&cluster), 1000, "an old look does not undo it");
        cluster.set_pod(&pod("a", "n1", cpu("1")));
        assert_eq!(used(&cluster), 1000);
        cluster.displace(&unbound.key());
        assert_eq!(used(&cluster), 1000, "it has come about");
        cluster.remove_pod(&unbound.key());
        assert_eq!(used(&cluster), 0);
    }

    #[test]
    fn pods_may_be_seen_before_their_node() {
        let mut cluster = cluster(&[], &[pod("a", "n1", cpu("1"))]);
        cluster.set_node(node("n1", json!({})));
        assert_eq!(used(&cluster), 1000);
        cluster.set_node(node("n1", json!({ "status": { "allocatable": { "cpu": "4" } } })));
        assert_eq!(used(&cluster), 1000);
        cluster.remove_node("n1");
        cluster.set_node(node("n1", json!({})));
        assert_eq!(used(&cluster), 1000);
    }

    #[test]
    fn finished_pods_take_no_room() {
        let mut cluster = cluster(&[node("n1", json!({}))], &[pod("a", "n1", cpu("1"))]);
        let mut done = cpu("1");
        done["status"] = json!({ "phase": "Succeeded" });
        cluster.set_pod(&pod("a", "n1", done));
        assert_eq!(used(&cluster), 0);
    }
}
