//! Pods and nodes: who waits, why, and what ends the wait.

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use minik_testkit::{Cluster, until, until_list, yaml_like};
use serde_json::{Value, json};

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), "default")
}

async fn make(client: &Client, name: &str, spec: Value) {
    let mut whole = json!({ "containers": [{ "name": "main", "image": "v1" }] });
    for (field, value) in spec.as_object().expect("an object") {
        whole[field] = value.clone();
    }
    let pod: Pod = yaml_like(json!({ "metadata": { "name": name }, "spec": whole }));
    pods(client).create(&PostParams::default(), &pod).await.expect("it is made");
}

fn cpu(amount: &str) -> Value {
    json!({ "containers": [{ "name": "main", "image": "v1",
        "resources": { "requests": { "cpu": amount } } }] })
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn refusal(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|one| one.type_ == "PodScheduled")?;
    (scheduled.reason.as_deref() == Some("Unschedulable")).then_some(scheduled.message.as_deref()?)
}

#[tokio::test]
async fn a_pod_waits_for_a_node_and_says_why() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    make(&client, "early", json!({})).await;
    let early = until(&pods(&client), "early", "it is refused", |pod| refusal(pod).is_some()).await;
    assert_eq!(refusal(&early), Some("no nodes available to schedule pods"));

    let _node = cluster.add_node("n1");
    until(&pods(&client), "early", "it runs", is_running).await;

    make(&client, "large", cpu("5")).await;
    let large = until(&pods(&client), "large", "it is refused", |pod| refusal(pod).is_some()).await;
    assert_eq!(
        refusal(&large),
        Some(
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
             1 Preemption is not helpful for scheduling."
        )
    );
    let events: Api<Event> = Api::namespaced(client.clone(), "default");
    until_list(&events, "an event says so too", |events| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some("FailedScheduling")
                && event.involved_object.name.as_deref() == Some("large")
        })
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_gate_holds_a_pod_back() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    make(&client, "gated", json!({ "schedulingGates": [{ "name": "example.com/wait" }] })).await;
    make(&client, "free", json!({})).await;
    until(&pods(&client), "free", "it runs", is_running).await;
    let gated = pods(&client).get("gated").await.expect("it is there");
    assert!(gated.spec.is_some_and(|spec| spec.node_name.is_none()));
    let open = Patch::Merge(json!({ "spec": { "schedulingGates": null } }));
    pods(&client).patch("gated", &PatchParams::default(), &open).await.expect("the gate opens");
    until(&pods(&client), "gated", "it runs", is_running).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_important_pod_makes_room_for_itself() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let classes: Api<PriorityClass> = Api::all(client.clone());
    let important: PriorityClass =
        yaml_like(json!({ "metadata": { "name": "important" }, "value": 1000 }));
    classes.create(&PostParams::default(), &important).await.expect("it is made");

    make(&client, "small", cpu("1")).await;
    make(&client, "lesser", cpu("3")).await;
    until(&pods(&client), "lesser", "it runs", is_running).await;
    until(&pods(&client), "small", "it runs", is_running).await;
    let mut spec = cpu("2");
    spec["priorityClassName"] = json!("important");
    make(&client, "greater", spec).await;
    until(&pods(&client), "greater", "it runs", is_running).await;
    let left = pods(&client).list(&kube::api::ListParams::default()).await.expect("a list");
    let names: Vec<_> = left.items.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert_eq!(names, ["greater", "small"]);
    cluster.stop().await;
}
