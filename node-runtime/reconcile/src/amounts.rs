//! Amounts of what a node has and a pod asks for. Shared by everyone who must count alike.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Given;
use minik_meta::Quantity;

/// Name of processor time, counted in thousandths of a core.
pub const CPU: &str = "cpu";
/// Name of memory, in bytes.
pub const MEMORY: &str = "memory";
/// Name of the number of pods.
pub const PODS: &str = "pods";

/// What a container that asks for nothing is counted as when nodes are compared.
const CPU_MILLIS_ASSUMED: i64 = 100;
const MEMORY_BYTES_ASSUMED: i64 = 200 * 1024 * 1024;

/// Amounts by resource name: CPU in thousandths, everything else in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    by_name: BTreeMap<String, i64>,
}

impl Amounts {
    /// The amounts of a list as objects hold it; what is no quantity is left out.
    #[must_use]
    pub fn of(list: Option<&BTreeMap<String, Given>>) -> Amounts {
        let parsed = list.into_iter().flatten().filter_map(|(name, given)| {
            let quantity: Quantity = given.0.parse().ok()?;
            let amount = if name == CPU { quantity.millis() } else { quantity.units() };
            Some((name.clone(), amount))
        });
        Amounts { by_name: parsed.collect() }
    }

    /// The amount of that name, 0 if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    /// Sets the amount of that name.
    pub fn set(&mut self, name: &str, amount: i64) {
        self.by_name.insert(name.to_owned(), amount);
    }

    /// Names and amounts that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let some = self.by_name.iter().filter(|(_, amount)| **amount != 0);
        some.map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Adds amount by amount.
    pub fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.by_name {
            *self.by_name.entry(name.clone()).or_insert(0) += amount;
        }
    }

    /// Takes off amount by amount.
    pub fn subtract(&mut self, other: &Amounts) {
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
#[must_use]
pub fn requested(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    sum(spec, &requests, &requests(spec.resources.as_ref()))
}

/// What the pod may use at most, summed as [`requested`]. Containers without a limit add nothing.
#[must_use]
pub fn limited(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    let limits = |resources: Option<&ResourceRequirements>| {
        Amounts::of(resources.and_then(|one| one.limits.as_ref()))
    };
    sum(spec, &limits, &limits(spec.resources.as_ref()))
}

/// Like [`requested`], with a small amount assumed for containers that ask for nothing.
#[must_use]
pub fn assumed(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    let ask = |resources: Option<&ResourceRequirements>| {
        let mut amounts = requests(resources);
        if amounts.get(CPU) == 0 {
            amounts.set(CPU, CPU_MILLIS_ASSUMED);
        }
        if amounts.get(MEMORY) == 0 {
            amounts.set(MEMORY, MEMORY_BYTES_ASSUMED);
        }
        amounts
    };
    sum(spec, &ask, &requests(spec.resources.as_ref()))
}

fn requests(resources: Option<&ResourceRequirements>) -> Amounts {
    Amounts::of(resources.and_then(|resources| resources.requests.as_ref()))
}

/// Sums what containers `ask`; amounts for the pod as a `whole` take precedence.
fn sum(
    spec: &PodSpec,
    ask: &dyn Fn(Option<&ResourceRequirements>) -> Amounts,
    whole: &Amounts,
) -> Amounts {
    let of = |container: &Container| ask(container.resources.as_ref());
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    // Sidecars stay; each init container runs beside those started before it.
    let mut sidecars = Amounts::default();
    let mut peak = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let mut now = of(container);
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
    for (name, amount) in whole.iter() {
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
