//! The options of a connection as an object: what webhooks are asked about, and may change.

use minik_meta::{Status, object};
use serde_json::{Value, json};

use crate::admission;
use crate::call::Call;
use crate::route::Query;

/// Options that are switched on or off.
const SWITCHES: &[&str] = &["stdin", "stdout", "stderr", "tty"];

/// The query of an exec, attach or port-forward, after all who have a say have had it.
pub(super) async fn admitted(call: &Call) -> Result<Query, Status> {
    let given = options(call);
    let mut wanted = given.clone();
    admission::ask_connect(call, &mut wanted).await?;
    Ok(if wanted == given { call.query.clone() } else { query(&wanted) })
}

/// Asks whether somebody may use a proxy. Where it leads is in the request line, so nobody can
/// change that.
pub(super) async fn admitted_proxy(call: &Call) -> Result<(), Status> {
    let mut given = object(call);
    let rest = call.target.rest.trim_start_matches('/');
    if !rest.is_empty() {
        given["path"] = rest.into();
    }
    let mut wanted = given.clone();
    admission::ask_connect(call, &mut wanted).await?;
    match wanted == given {
        true => Ok(()),
        false => Err(Status::internal("the path of a proxy request cannot be changed")),
    }
}

/// The kind and version of the options.
fn object(call: &Call) -> Value {
    let sub = call.kind.subresource(&call.target.subresource);
    let kind = sub.map_or("", |sub| sub.kind.as_ref());
    let version = sub.map(|sub| minik_meta::gvk::api_version(&sub.group, &sub.version));
    json!({"kind": kind, "apiVersion": version.unwrap_or_default()})
}

fn options(call: &Call) -> Value {
    let mut options = object(call);
    for key in SWITCHES {
        if call.query.get(key).is_some_and(|value| super::on(value) == "1") {
            options[*key] = true.into();
        }
    }
    if let Some(container) = call.query.non_empty("container") {
        options["container"] = container.into();
    }
    let command: Vec<&str> = call.query.all("command").collect();
    if !command.is_empty() {
        options["command"] = json!(command);
    }
    let ports: Vec<i64> = call
        .query
        .all("ports")
        .flat_map(|ports| ports.split(','))
        .filter_map(|port| port.parse().ok())
        .collect();
    if !ports.is_empty() {
        options["ports"] = json!(ports);
    }
    options
}

/// Options as a query says them.
fn query(options: &Value) -> Query {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut add = |key: &str, value: &str| pairs.push((key.to_owned(), value.to_owned()));
    for key in SWITCHES {
        if object::boolean(options, &[key]) {
            add(key, "true");
        }
    }
    let container = object::text(options, &["container"]);
    if !container.is_empty() {
        add("container", container);
    }
    for word in object::list(options, &["command"]).iter().filter_map(Value::as_str) {
        add("command", word);
    }
    for port in object::list(options, &["ports"]).iter().filter_map(Value::as_i64) {
        add("ports", &port.to_string());
    }
    Query::of(pairs)
}
