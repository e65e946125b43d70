//! Pods that want to be, or refuse to be, where certain other pods are.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::PodAffinityTerm;
use minik_reconcile::labels;

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::filter::{Refusal, Wakes, spec};

type Labels = BTreeMap<String, String>;
/// Name and value of the label that makes a place out of nodes.
type Place = (String, String);

/// One term: which pods, and what counts as the same place.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    namespaces: Vec<String>,
    term: PodAffinityTerm,
}

impl Term {
    pub(crate) fn of(owner: &PodFacts, term: &PodAffinityTerm, cluster: &Cluster) -> Term {
        let mut term = term.clone();
        merge_label_keys(&mut term, owner);
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if let Some(selector) = &term.namespace_selector {
            let matching = cluster
                .namespaces
                .iter()
                .filter(|(_, namespace)| labels::selects(selector, Some(namespace)));
            namespaces.extend(matching.map(|(name, _)| name.clone()));
        } else if namespaces.is_empty() {
            namespaces.push(owner.key.namespace.clone());
        }
        Term { namespaces, term }
    }

    pub(crate) fn matches(&self, pod: &PodFacts) -> bool {
        self.namespaces.contains(&pod.key.namespace)
            && self
                .term
                .label_selector
                .as_ref()
                .is_some_and(|selector| labels::selects(selector, pod.labels()))
    }

    pub(crate) fn place(&self, node: Option<&Labels>) -> Option<Place> {
        let value = node?.get(&self.term.topology_key)?;
        Some((self.term.topology_key.clone(), value.clone()))
    }
}

/// `matchLabelKeys`: the term speaks of pods with the same value as the owner, or another.
fn merge_label_keys(term: &mut PodAffinityTerm, owner: &PodFacts) {
    let own = |key: &String| Some((key.clone(), owner.labels()?.get(key)?.clone()));
    let same: Vec<_> = term.match_label_keys.iter().flatten().filter_map(own).collect();
    let other: Vec<_> = term.mismatch_label_keys.iter().flatten().filter_map(own).collect();
    if same.is_empty() && other.is_empty() {
        return;
    }
    let rule = |(key, value), operator: &str| {
        k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
            key,
            operator: operator.to_owned(),
            values: Some(vec![value]),
        }
    };
    let selector = term.label_selector.get_or_insert_default();
    let rules = selector.match_expressions.get_or_insert_default();
    rules.extend(same.into_iter().map(|pair| rule(pair, "In")));
    rules.extend(other.into_iter().map(|pair| rule(pair, "NotIn")));
}

/// The required terms of a pod: affinity, anti-affinity.
pub(crate) fn terms_of(pod: &PodFacts, cluster: &Cluster) -> (Vec<Term>, Vec<Term>) {
    let affinity = spec(pod).and_then(|spec| spec.affinity.as_ref());
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let near =
        near.and_then(|near| near.required_during_scheduling_ignored_during_execution.as_deref());
    let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let far =
        far.and_then(|far| far.required_during_scheduling_ignored_during_execution.as_deref());
    let all = |terms: Option<&[PodAffinityTerm]>| -> Vec<Term> {
        terms.unwrap_or_default().iter().map(|term| Term::of(pod, term, cluster)).collect()
    };
    (all(near), all(far))
}

/// How many pods that matter are in each place.
pub(super) struct Prepared {
    near: Vec<Term>,
    far: Vec<Term>,
    /// Pods that match all affinity terms, by place.
    company: HashMap<Place, usize>,
    /// Pods that match an anti-affinity term, by place.
    avoided: HashMap<Place, usize>,
    /// Places where a running pod refuses this one.
    refusing: HashMap<Place, usize>,
    /// The pod is the first of its kind and would keep itself company.
    is_first: bool,
}

impl Prepared {
    pub(super) fn of(pod: &PodFacts, cluster: &Cluster) -> Prepared {
        let (near, far) = terms_of(pod, cluster);
        let mut company = HashMap::new();
        let mut avoided = HashMap::new();
        let mut refusing = HashMap::new();
        let must_look = !near.is_empty() || !far.is_empty() || cluster.has_anti_affinity();
        let nodes = cluster.nodes.values().filter(|_| must_look);
        for node in nodes {
            for other in node.pods.values() {
                if !near.is_empty() && near.iter().all(|term| term.matches(other)) {
                    near.iter().for_each(|term| add(&mut company, term.place(node.labels())));
                }
                for term in far.iter().filter(|term| term.matches(other)) {
                    add(&mut avoided, term.place(node.labels()));
                }
                if other.has_anti_affinity() {
                    let (_, theirs) = terms_of(other, cluster);
                    for term in theirs.iter().filter(|term| term.matches(pod)) {
                        add(&mut refusing, term.place(node.labels()));
                    }
                }
            }
        }
        let is_first = company.is_empty() && near.iter().all(|term| term.matches(pod));
        Prepared { near, far, company, avoided, refusing, is_first }
    }

    pub(super) fn check(&self, node: &NodeFacts) -> Option<Refusal> {
        let here = |term: &Term| term.place(node.labels());
        if self.near.iter().any(|term| here(term).is_none()) {
            return Some(affinity_refusal());
        }
        let has_company =
            |term: &Term| here(term).is_some_and(|place| self.company.contains_key(&place));
        if !self.near.iter().all(has_company) && !self.is_first {
            return Some(affinity_refusal());
        }
        let avoided =
            |term: &Term| here(term).is_some_and(|place| self.avoided.contains_key(&place));
        if self.far.iter().any(avoided) {
            let reason = "node(s) didn't match pod anti-affinity rules";
            return Some(Refusal::curable(reason, Wakes::ANY));
        }
        let is_refused = self.refusing.keys().any(|(key, value)| node.label(key) == Some(value));
        is_refused.then(|| {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            Refusal::curable(reason, Wakes::ANY)
        })
    }
}

fn affinity_refusal() -> Refusal {
    Refusal {
        reason: "node(s) didn't match pod affinity rules".to_owned(),
        curable: false,
        wakes: Wakes::ANY,
    }
}

fn add(counts: &mut HashMap<Place, usize>, place: Option<Place>) {
    if let Some(place) = place {
        *counts.entry(place).or_insert(0) += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::samples::{cluster, facts, node, pod};

    fn affinity(kind: &str, app: &str, key: &str) -> Value {
        json!({
            "metadata": { "labels": { "app": "web" } },
            "spec": { "affinity": { kind: {
                "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "topologyKey": key,
                    "labelSelector": { "matchLabels": { "app": app } } }] } } },
        })
    }

    fn labelled(name: &str, on: &str, app: &str) -> Arc<Pod> {
        pod(name, on, json!({ "metadata": { "labels": { "app": app } } }))
    }

    /// Names of the nodes n1 (zone a), n2 (zone a), n3 (zone b) that take the pod.
    fn fits(wants: Value, pods: &[Arc<Pod>]) -> String {
        let zone = |zone: &str| json!({ "metadata": { "labels": { "zone": zone } } });
        let nodes = [node("n1", zone("a")), node("n2", zone("a")), node("n3", zone("b"))];
        let cluster = cluster(&nodes, pods);
        let pod = facts("new", wants);
        let prepared = Prepared::of(&pod, &cluster);
        let fitting = cluster.nodes.values().filter(|node| prepared.check(node).is_none());
        fitting.map(|node| node.name.clone()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn company_and_distance() {
        let host = "kubernetes.io/hostname";
        let db = [labelled("db", "n1", "db")];
        assert_eq!(fits(affinity("podAffinity", "db", host), &db), "n1");
        assert_eq!(fits(affinity("podAffinity", "db", "zone"), &db), "n1 n2");
        assert_eq!(fits(affinity("podAntiAffinity", "db", host), &db), "n2 n3");
        assert_eq!(fits(affinity("podAntiAffinity", "db", "zone"), &db), "n3");
        assert_eq!(fits(affinity("podAffinity", "none", "zone"), &db), "");
    }

    #[test]
    fn the_first_of_a_group_keeps_itself_company() {
        assert_eq!(fits(affinity("podAffinity", "web", "zone"), &[]), "n1 n2 n3");
    }

    #[test]
    fn running_pods_may_refuse() {
        let loner = pod("loner", "n1", affinity("podAntiAffinity", "web", "zone"));
        let web = json!({ "metadata": { "labels": { "app": "web" } } });
        assert_eq!(fits(web, std::slice::from_ref(&loner)), "n3");
        assert_eq!(fits(json!({}), &[loner]), "n1 n2 n3");
    }
}
