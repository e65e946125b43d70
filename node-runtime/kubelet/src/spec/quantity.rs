//! Amounts of CPU and memory as numbers.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A list of resources, e.g. a container's limits.
pub(crate) type Resources = BTreeMap<String, Quantity>;

fn parse(quantity: &Quantity) -> Option<minik_meta::Quantity> {
    quantity.0.parse().ok()
}

/// The amount in thousandths, rounded up: millicores for CPU.
pub(crate) fn millis(quantity: &Quantity) -> Option<i64> {
    parse(quantity).map(|quantity| quantity.millis())
}

/// The amount in units, rounded up: bytes for memory.
pub(crate) fn units(quantity: &Quantity) -> Option<i64> {
    parse(quantity).map(|quantity| quantity.units())
}

/// The CPU entry of a list in millicores.
pub(crate) fn cpu_millis(resources: Option<&Resources>) -> Option<i64> {
    resources?.get("cpu").and_then(millis)
}

/// The memory entry of a list in bytes.
pub(crate) fn memory_bytes(resources: Option<&Resources>) -> Option<i64> {
    resources?.get("memory").and_then(units)
}
