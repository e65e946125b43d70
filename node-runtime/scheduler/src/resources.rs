//! Amounts of what a node has and a pod asks for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Given;
use minik_meta::Quantity;

pub(crate) const CPU: &str = "cpu";
pub(crate) const MEMORY: &str = "memory";
pub(crate) const PODS: &str = "pods";

/// What a container that asks for nothing is counted as when nodes are compared.
const CPU_MILLIS_ASSUMED: i64 = 100;
const MEMORY_BYTES_ASSUMED: i64 = 200 * 1024 * 1024;

/// Amounts by resource name: CPU in thousandths, everything else in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    by_name: BTreeMap<String, i64>,
}

impl Amounts {
    pub(crate) fn of(list: Option<&BTreeMap<String, Given>>) -> Amounts {
        let parsed = list.into_iter().flatten().filter_map(|(name, given)| {
            let quantity: Quantity = given.0.parse().ok()?;
            let amount = if name == CPU { quantity.millis() } else { quantity.units() };
            Some((name.clone(), amount))
        });
        Amounts { by_name: parsed.collect() }
    }

    pub(crate) fn get(&self, name: &str) -> i64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, name: &str, amount: i64) {
        self.by_name.insert(name.to_owned(), amount);
    }

    /// Names and amounts that are not zero.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let some = self.by_name.iter().filter(|(_, amount)| **amount != 0);
        some.map(|(name, amount)| (name.as_str(), *amount))
    }

    pub(crate) fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.by_name {
            *self.by_name.entry(name.clone()).or_insert(0) += amount;
        }
    }

    pub(crate) fn subtract(&mut self, other: &Amounts) {
        for (name, amount) in &other.by_name {
            *self.by_name.entry(name.clone()).or_insert(0) -= amount;
        }
    }

    /// The larger of both, for each name.
    fn raise_to(&mut self, other: &Amounts) {
        for (name, amount) in &other.by_name {
            let mine = self.by_name.entry(name.clone()).or_insert(0);
            *mine = (*mine).max(*amount);
        }
    }
}

/// What the pod asks for: its containers together, or its hungriest moment of initialization, and
/// the overhead of its runtime. Requests of the pod as a whole take precedence.
pub(crate) fn requested(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    sum(spec, &|container| requests(container.resources.as_ref()))
}

/// Like [`requested`], with a small amount assumed for containers that ask for nothing.
pub(crate) fn assumed(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    sum(spec, &|container| {
        let mut amounts = requests(container.resources.as_ref());
        if amounts.get(CPU) == 0 {
            amounts.set(CPU, CPU_MILLIS_ASSUMED);
        }
        if amounts.get(MEMORY) == 0 {
            amounts.set(MEMORY, MEMORY_BYTES_ASSUMED);
        }
        amounts
    })
}

fn requests(resources: Option<&ResourceRequirements>) -> Amounts {
    Amounts::of(resources.and_then(|resources| resources.requests.as_ref()))
}

fn sum(spec: &PodSpec, ask: &dyn Fn(&Container) -> Amounts) -> Amounts {
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&ask(container));
    }
    // Sidecars stay; each init container runs beside those started before it.
    let mut sidecars = Amounts::default();
    let mut peak = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let mut now = ask(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&now);
            total.add(&now);
            peak.raise_to(&sidecars);
        } else {
            now.add(&sidecars);
            peak.raise_to(&now);
        }
    }
    total.raise_to(&peak);
    for (name, amount) in requests(spec.resources.as_ref()).iter() {
        total.set(name, amount);
    }
    total.add(&Amounts::of(spec.overhead.as_ref()));
    total
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;

    fn ask(cpu: &str) -> Value {
        json!({ "name": "c", "resources": { "requests": { "cpu": cpu } } })
    }

    #[test_case(json!({ "containers": [ask("100m"), ask("1")] }), 1100; "containers together")]
    #[test_case(json!({ "containers": [ask("100m")], "initContainers": [ask("2"), ask("1")] }), 2000;
        "the hungriest init container")]
    #[test_case(json!({ "containers": [ask("1")], "initContainers": [
        { "name": "s", "restartPolicy": "Always", "resources": { "requests": { "cpu": "500m" } } },
        ask("1")] }), 1500; "sidecars run beside")]
    #[test_case(json!({ "containers": [ask("1")], "overhead": { "cpu": "250m" } }), 1250;
        "overhead comes on top")]
    #[test_case(json!({ "containers": [ask("1")], "resources": { "requests": { "cpu": "3" } } }), 3000;
        "the pod as a whole")]
    fn cpu(spec: Value, millis: i64) {
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": {}, "spec": spec })).expect("a pod");
        assert_eq!(requested(&pod).get(CPU), millis);
    }
}
