//! Follows this node's own Node object, so that readiness is what the cluster sees.

use std::pin::pin;
use std::time::SystemTime;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use crate::health::Board;

/// The stored conditions of a node are kept over restarts: only what the kubelet of this process has
/// said counts. Times of the API have whole seconds.
fn is_from_before(node: &Node, started: SystemTime) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let started = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let said = ready.and_then(|condition| condition.last_heartbeat_time.as_ref());
    said.is_none_or(|time| u64::try_from(time.0.as_second()).unwrap_or(0) < started)
}

/// Reports every change of the Ready condition of the node `name` to `board`, until `stop`.
pub(crate) async fn run(name: &str, client: Client, board: Board, stop: CancellationToken) {
    let started = SystemTime::now();
    let nodes: Api<Node> = Api::all(client);
    let only_us = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = pin!(watcher(nodes, only_us).default_backoff().applied_objects());
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.next() => change,
        };
        match change {
            Some(Ok(node)) => {
                board.api_is(true);
                let (ready, reason) = if is_from_before(&node, started) {
                    (false, "the kubelet has not reported yet".to_owned())
                } else {
                    readiness(&node)
                };
                board.node_is(ready, &reason);
            }
            Some(Err(err)) => {
                tracing::debug!(%err, "the node object cannot be followed, trying again")
            }
            None => return,
        }
    }
}

/// Whether a node is Ready, and why not.
fn readiness(node: &Node) -> (bool, String) {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(condition) if condition.status == "True" => (true, String::new()),
        Some(condition) => {
            let why = condition.message.clone().or_else(|| condition.reason.clone());
            (false, why.unwrap_or_else(|| "not Ready".to_owned()))
        }
        None => (false, "no Ready condition yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_the_start_does_not_count() {
        let said = |time: &str| -> Node {
            let condition = serde_json::json!({
                "type": "Ready", "status": "True", "lastHeartbeatTime": time,
            });
            let status = serde_json::json!({ "conditions": [condition] });
            serde_json::from_value(serde_json::json!({"metadata": {}, "status": status})).unwrap()
        };
        let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(10_500);
        assert!(is_from_before(&said("1970-01-01T00:00:09Z"), started));
        assert!(!is_from_before(&said("1970-01-01T00:00:10Z"), started), "whole seconds");
        assert!(is_from_before(&Node::default(), started));
    }

    #[test]
    fn only_a_true_condition_is_ready() {
        let node = |conditions: serde_json::Value| -> Node {
            let status = serde_json::json!({"conditions": conditions});
            serde_json::from_value(serde_json::json!({"metadata": {}, "status": status})).unwrap()
        };
        let says = |status: &str| {
            node(serde_json::json!([{"type": "Ready", "status": status, "message": "cni"}]))
        };
        assert_eq!(readiness(&says("True")), (true, String::new()));
        assert_eq!(readiness(&says("False")), (false, "cni".to_owned()));
        assert!(!readiness(&says("Unknown")).0);
        assert!(!readiness(&node(serde_json::json!([]))).0);
    }
}
