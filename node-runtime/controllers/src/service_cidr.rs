//! Ranges of Service addresses: each is ready when it is made, and goes when no address needs it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};
use serde_json::{Value, json};

use crate::wiring::{Running, Wiring, name_of, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "service-cidrs-controller";

/// Holds a range until its addresses are gone.
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// Label of addresses that were given to Services, and its value.
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");

#[derive(Clone)]
struct Context {
    client: Client,
    ranges: Cache<ServiceCIDR>,
    addresses: Cache<IPAddress>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        ranges: wiring.caches.watch(),
        addresses: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    // A range may hold another one back, and an address any of them.
    let all = {
        let (ranges, queue) = (context.ranges.clone(), queue.clone());
        move || ranges.list().iter().for_each(|range| queue.add(range.key()))
    };
    let on_address = all.clone();
    context.addresses.on_change(move |_| on_address());
    context.ranges.on_change(move |_| all());
    wiring.work(NAME, queue, context, reconcile)
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Leave,
    AddFinalizer,
    SetReady,
    SetTerminating,
    RemoveFinalizer,
}

fn plan(range: &ServiceCIDR, others: &[IpNetwork], addresses: &[IpAddr]) -> Step {
    let held = range.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER);
    let ready = condition(range);
    if range.metadata.deletion_timestamp.is_none() {
        return match (held, ready) {
            (false, _) => Step::AddFinalizer,
            (true, Some("True")) => Step::Leave,
            (true, _) => Step::SetReady,
        };
    }
    match (held, is_needed(&networks(range), others, addresses), ready) {
        (false, _, _) => Step::Leave,
        (true, false, _) => Step::RemoveFinalizer,
        (true, true, Some("False")) => Step::Leave,
        (true, true, _) => Step::SetTerminating,
    }
}

/// The status of the condition `Ready`.
fn condition(range: &ServiceCIDR) -> Option<&str> {
    let conditions = range.status.as_ref()?.conditions.as_ref()?;
    Some(&conditions.iter().find(|one| one.type_ == "Ready")?.status)
}

fn networks(range: &ServiceCIDR) -> Vec<IpNetwork> {
    let cidrs = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|cidr| cidr.parse().ok()).collect()
}

/// Whether an address would be in no range without these networks.
fn is_needed(networks: &[IpNetwork], others: &[IpNetwork], addresses: &[IpAddr]) -> bool {
    addresses.iter().any(|address| {
        let inside = |network: &IpNetwork| network.contains(*address);
        networks.iter().any(inside) && !others.iter().any(inside)
    })
}

/// Looks at one range.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(range) = ctx.ranges.get(&key) else { return Ok(Requeue::WhenChanged) };
    let all = ctx.ranges.list();
    let others: Vec<IpNetwork> =
        all.iter().filter(|one| one.key() != key).flat_map(|one| networks(one)).collect();
    let step = plan(&range, &others, &given_addresses(&ctx.addresses));
    let api: Api<ServiceCIDR> = Api::all(ctx.client.clone());
    let finalizers = |keep: &dyn Fn(&&String) -> bool, more: Option<&str>| {
        let old = range.metadata.finalizers.iter().flatten().filter(keep).map(String::as_str);
        json!({ "metadata": {
            "resourceVersion": range.metadata.resource_version,
            "finalizers": old.chain(more).collect::<Vec<_>>(),
        } })
    };
    let params = PatchParams::default();
    let written = match step {
        Step::Leave => return Ok(Requeue::WhenChanged),
        Step::AddFinalizer => {
            let patch = finalizers(&|_| true, Some(FINALIZER));
            api.patch(name_of(&*range), &params, &Patch::Merge(&patch)).await
        }
        Step::RemoveFinalizer => {
            let patch = finalizers(&|one| *one != FINALIZER, None);
            api.patch(name_of(&*range), &params, &Patch::Merge(&patch)).await
        }
        Step::SetReady | Step::SetTerminating => {
            let patch = json!({ "status": { "conditions": [ready(step)] } });
            api.patch_status(name_of(&*range), &params, &Patch::Merge(&patch)).await
        }
    };
    match written {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => Ok(answer.map(|_| Requeue::WhenChanged)?),
    }
}

fn ready(step: Step) -> Value {
    let (status, reason, message) = match step {
        Step::SetTerminating => (
            "False",
            "Terminating",
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create \
             a new ServiceCIDR",
        ),
        _ => ("True", "", "Kubernetes Service CIDR is ready"),
    };
    json!({
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// The addresses that Services have.
fn given_addresses(cache: &Cache<IPAddress>) -> Vec<IpAddr> {
    let managed = |one: &IPAddress| {
        let labels = one.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(MANAGED_BY.0)).is_some_and(|by| by == MANAGED_BY.1)
    };
    let all = cache.list();
    all.iter().filter(|one| managed(one)).filter_map(|one| name_of(&**one).parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn range(finalizers: &[&str], ready: &str, deleted: bool) -> ServiceCIDR {
        let conditions = json!([{ "type": "Ready", "status": ready, "reason": "", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        let mut value = json!({
            "metadata": { "name": "r", "finalizers": finalizers },
            "spec": { "cidrs": ["203.0.113.0/24"] },
        });
        if !ready.is_empty() {
            value["status"] = json!({ "conditions": conditions });
        }
        if deleted {
            value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        serde_json::from_value(value).expect("a range")
    }

    #[test_case(&[], "", false, "" => Step::AddFinalizer; "new")]
    #[test_case(&[FINALIZER], "", false, "" => Step::SetReady; "held")]
    #[test_case(&[FINALIZER], "True", false, "203.0.113.7" => Step::Leave; "ready")]
    #[test_case(&[FINALIZER], "True", true, "203.0.113.7" => Step::SetTerminating; "needed")]
    #[test_case(&[FINALIZER], "False", true, "203.0.113.7" => Step::Leave; "still needed")]
    #[test_case(&[FINALIZER], "False", true, "10.96.0.1" => Step::RemoveFinalizer; "not needed")]
    #[test_case(&[], "False", true, "203.0.113.7" => Step::Leave; "gone")]
    fn steps(finalizers: &[&str], ready: &str, deleted: bool, address: &str) -> Step {
        let addresses: Vec<IpAddr> = address.parse().into_iter().collect();
        plan(&range(finalizers, ready, deleted), &[], &addresses)
    }

    #[test]
    fn addresses_that_another_range_has_hold_nothing_back() {
        let range = range(&[FINALIZER], "True", true);
        let wider = ["203.0.0.0/16".parse().expect("a range")];
        let address = ["203.0.113.7".parse().expect("an address")];
        assert_eq!(plan(&range, &wider, &address), Step::RemoveFinalizer);
    }
}
