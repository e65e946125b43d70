//! What things cost in a server's memory: its resident set before and after.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use crate::server::Server;
use crate::{Failure, NAMESPACE, PATIENCE, print};

/// Watches on one connection with HTTP/2, less than servers allow.
const STREAMS: usize = 90;

/// KiB that a process has in memory.
pub(crate) fn resident(pid: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.and_then(|line| line.split_whitespace().next());
    Ok(text.ok_or("the process says nothing of its memory")?.parse()?)
}

/// Has the server's history of changes, which is bounded, full: what is measured later is not that.
pub(crate) async fn fill_history(client: &Client) -> Result<(), Failure> {
    const CHANGES: usize = 120;
    const BYTES: usize = 200 << 10;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let mut object = ConfigMap::default();
    object.metadata.name = Some("history".to_owned());
    api.create(&PostParams::default(), &object).await?;
    for number in 0..CHANGES {
        let text = format!("{number:08}").repeat(BYTES / 8);
        object.data = Some(BTreeMap::from([("text".to_owned(), text)]));
        api.replace("history", &PostParams::default(), &object).await?;
    }
    api.delete("history", &DeleteParams::default()).await?;
    Ok(())
}

/// Definitions of two sizes: made, then each used once.
pub(crate) async fn definitions(client: &Client, pid: u32, count: usize) -> Result<(), Failure> {
    for (size, fields) in [("small", 10), ("large", 250)] {
        let group = format!("{size}.bench.example.com");
        let before = resident(pid)?;
        let names = define(client, &group, count, fields).await?;
        let made = resident(pid)?;
        for number in 0..count {
            use_one(client, &group, number).await?;
        }
        let used = resident(pid)?;
        let per = |after: f64| (after - before) / f64::from(u32::try_from(count).unwrap_or(1));
        print(&format!(
            "memory   {:>9.1} KiB per {size} definition of {fields} fields, {:.1} when used",
            per(made),
            per(used)
        ));
        forget(client, names).await?;
    }
    Ok(())
}

async fn define(
    client: &Client,
    group: &str,
    count: usize,
    fields: usize,
) -> Result<Vec<String>, Failure> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    stream::iter((0..count).map(|number| (number, api.clone())))
        .map(|(number, api)| async move {
            let definition = definition(group, number, fields)?;
            let name = definition.metadata.name.clone().unwrap_or_default();
            api.create(&PostParams::default(), &definition).await?;
            let served = await_condition(api, &name, conditions::is_crd_established());
            tokio::time::timeout(PATIENCE, served).await??;
            Ok::<_, Failure>(name)
        })
        .buffer_unordered(8)
        .try_collect()
        .await
}

/// Fields of several types, each with a description as long as people write them.
fn definition(
    group: &str,
    number: usize,
    fields: usize,
) -> Result<CustomResourceDefinition, Failure> {
    let field = |at: usize| {
        let description = format!("Says how the part {at} of the thing is to be when it is there.");
        let mut schema = match at % 5 {
            0 => json!({"type": "integer", "minimum": 0}),
            1 => json!({"type": "boolean", "default": false}),
            2 => json!({"type": "array", "items": {"type": "string"}}),
            3 => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            _ => json!({"type": "string", "maxLength": 64}),
        };
        schema["description"] = description.into();
        (format!("field{at}"), schema)
    };
    let fields: Map<String, Value> = (0..fields).map(field).collect();
    let name = format!("things{number}");
    Ok(serde_json::from_value(json!({
        "metadata": {"name": format!("{name}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": name, "kind": format!("Thing{number}")},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": fields}}}}}],
        },
    }))?)
}

/// Makes an object and lists: then the schema is compiled.
async fn use_one(client: &Client, group: &str, number: usize) -> Result<(), Failure> {
    let kind = GroupVersionKind::gvk(group, "v1", &format!("Thing{number}"));
    let kind = ApiResource::from_gvk_with_plural(&kind, &format!("things{number}"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
    let object = DynamicObject::new("one", &kind).data(json!({"spec": {"field0": 1}}));
    api.create(&PostParams::default(), &object).await?;
    api.list(&ListParams::default()).await?;
    Ok(())
}

async fn forget(client: &Client, names: Vec<String>) -> Result<(), Failure> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for name in names {
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Watches that see nothing, as streams of few connections and with a connection each.
pub(crate) async fn watches(server: &Server, pid: u32, count: usize) -> Result<(), Failure> {
    let path = format!(
        "/api/v1/namespaces/{NAMESPACE}/configmaps?watch=true&fieldSelector=metadata.name%3Dnone&resourceVersion=0"
    );
    for (protocol, http2) in [("HTTP/2", true), ("HTTP/1.1", false)] {
        // What the first ones make grow belongs to none of them.
        let warm = open(server, http2, &path, count.min(2 * STREAMS)).await?;
        let before = resident(pid)?;
        let open = open(server, http2, &path, count).await?;
        let per = (resident(pid)? - before) / f64::from(u32::try_from(count).unwrap_or(1));
        print(&format!("memory   {per:>9.1} KiB per idle watch over {protocol}"));
        drop((warm, open));
    }
    Ok(())
}

/// A connection that is full takes no further watch, and none of them ends.
async fn open(
    server: &Server,
    http2: bool,
    path: &str,
    count: usize,
) -> Result<Vec<reqwest::Response>, Failure> {
    let mut all = Vec::new();
    for first in (0..count).step_by(STREAMS) {
        let client = server.client(http2)?;
        let opened: Vec<_> = stream::iter(first..count.min(first + STREAMS))
            .map(|_| server.get(&client, path).open())
            .buffer_unordered(16)
            .try_collect()
            .await?;
        all.extend(opened);
    }
    Ok(all)
}
