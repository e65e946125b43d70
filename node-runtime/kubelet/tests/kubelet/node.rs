//! The Node object, its lease and its network.

use serde_json::{Value, json};

use crate::world::{World, condition};

#[tokio::test(start_paused = true)]
async fn the_node_is_ready_once_it_has_its_part_of_the_network() {
    let world = World::new().await;
    let path = "/api/v1/nodes/node-1";
    let node = world.until(path, |status| condition(status, "Ready") == "False").await;
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-1");
    assert_eq!(node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"], "");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.0");
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "fake://1.0.0");

    let mut node = node;
    node["spec"]["podCIDR"] = json!("10.244.3.0/24");
    world.api.put(path, node);
    world.until(path, |status| condition(status, "Ready") == "True").await;
    let file = world.folder.path().join("cni/10-minik.conflist");
    let text = std::fs::read_to_string(file).expect("the configuration is written");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(list["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], "10.244.3.0/24");
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed() {
    let world = World::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1";
    let first = world.api.wait(|api| api.get(path)).await;
    assert_eq!(first["spec"]["holderIdentity"], "node-1");
    assert_eq!(first["metadata"]["ownerReferences"][0]["kind"], "Node");
    world.api.wait(|api| api.get(path).filter(|lease| lease != &first)).await;
}
