//! Gives every node its own part of the pod range.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use minik_client::{ApiErrorExt, EventRecorder, Level};
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};
use serde_json::json;
use tokio::sync::Mutex;

use crate::wiring::{Running, Wiring, enqueue_each};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "node-ipam-controller";
/// The service account that upstream's bootstrap roles let write nodes.
const ACCOUNT: &str = "node-controller";

/// A range of addresses, cut into parts of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    prefix: u8,
    part_prefix: u8,
}

impl Range {
    fn parse(text: &str, part_prefix: u8) -> Option<Range> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix) = (address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?);
        if prefix > part_prefix || part_prefix > 30 || prefix == 0 {
            return None;
        }
        let first = u32::from(address) & (u32::MAX << (32 - u32::from(prefix)));
        Some(Range { first, prefix, part_prefix })
    }

    /// The first part that is not taken.
    fn free(self, taken: &HashSet<String>) -> Option<String> {
        let parts = 1_u32 << (self.part_prefix - self.prefix);
        let size = 1_u32 << (32 - self.part_prefix);
        let part =
            |index| format!("{}/{}", Ipv4Addr::from(self.first + index * size), self.part_prefix);
        (0..parts).map(part).find(|part| !taken.contains(part))
    }
}

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    range: Option<Range>,
    nodes: Cache<Node>,
    /// One part must not be given to two nodes at the same time.
    giving: Arc<Mutex<()>>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(ACCOUNT);
    let config = &wiring.config;
    let range = Range::parse(&config.pod_cidr, config.node_cidr_prefix);
    if range.is_none() {
        tracing::warn!(cidr = config.pod_cidr, "not a range that can be cut: nodes get no part");
    }
    let context = Context {
        events: wiring.events(&client, ACCOUNT),
        client,
        range,
        nodes: wiring.caches.watch(),
        giving: Arc::default(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.nodes, &queue);
    wiring.work(NAME, queue, context, reconcile)
}

fn part_of(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

/// Reconciles one node.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(range) = ctx.range else { return Ok(Requeue::WhenChanged) };
    let _giving = ctx.giving.lock().await;
    let Some(node) = ctx.nodes.get(&key).filter(|node| part_of(node).is_none()) else {
        return Ok(Requeue::WhenChanged);
    };
    let nodes = ctx.nodes.list();
    let taken = nodes.iter().filter_map(|node| part_of(node).map(str::to_owned)).collect();
    let Some(part) = range.free(&taken) else {
        let message = "Node gets no part of the pod range: all are taken";
        ctx.events.record(&*node, Level::Normal, "CIDRNotAvailable", message);
        return Err(ReconcileError::Other(message.to_owned()));
    };
    let fields = json!({
        "metadata": { "uid": node.uid_str() },
        "spec": { "podCIDR": part, "podCIDRs": [part] },
    });
    let api: Api<Node> = Api::all(ctx.client.clone());
    match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&fields)).await {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => {
            ctx.nodes.caught_up(&answer?).await?;
            Ok(Requeue::WhenChanged)
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("10.244.0.0/16", 24, &[], Some("10.244.0.0/24"); "the first")]
    #[test_case("10.244.0.0/16", 24, &["10.244.0.0/24", "10.244.2.0/24"], Some("10.244.1.0/24"); "a gap")]
    #[test_case("10.0.0.0/24", 24, &["10.0.0.0/24"], None; "all taken")]
    #[test_case("10.244.7.9/16", 24, &[], Some("10.244.0.0/24"); "host bits do not matter")]
    fn parts(range: &str, prefix: u8, taken: &[&str], expected: Option<&str>) {
        let range = Range::parse(range, prefix).expect("a range");
        let taken = taken.iter().map(|part| (*part).to_owned()).collect();
        assert_eq!(range.free(&taken).as_deref(), expected);
    }

    #[test_case("10.244.0.0/28", 24; "smaller than a part")]
    #[test_case("10.244.0.0", 24; "no prefix")]
    #[test_case("fd00::/64", 24; "another family")]
    fn refused(range: &str, prefix: u8) {
        assert_eq!(Range::parse(range, prefix), None);
    }
}
