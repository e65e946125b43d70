//! Streams into pods and nodes: logs, exec, attach, port-forward, proxies. Passed on to the
//! kubelet (or the pod itself), which speaks the protocol; here only the address is found.

mod options;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use minik_meta::{GroupResource, Reason, Status, object};
use minik_store::ListOptions;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::forward::{Upstream, forward};
use crate::objects;
use crate::route::Query;

const KUBELET_PORT: u16 = 10250;

/// Log, exec, attach and port-forward of a pod.
pub(super) async fn pod(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let query = match call.target.subresource.as_str() {
        "log" => call.query.clone(),
        _ => options::admitted(call).await?,
    };
    let pod = read_pod(call, &call.target.name)?;
    let path = kubelet_path(call, &query, &pod)?;
    let node = object::text(&pod, &["spec", "nodeName"]);
    let kubelet = kubelet(call, node)?;
    pass(&kubelet, &path, request).await
}

fn read_pod(call: &Call, name: &str) -> Result<Value, Status> {
    let pod = call.core.read_core_object("pods", &call.target.namespace, name);
    pod.ok_or_else(|| Status::not_found(&GroupResource::new("", "pods"), name))
}

/// The kubelet's path for what the call asks of the pod.
fn kubelet_path(call: &Call, query: &Query, pod: &Value) -> Result<String, Status> {
    let (namespace, name) = (&call.target.namespace, &call.target.name);
    if object::text(pod, &["spec", "nodeName"]).is_empty() {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let (door, wants_container) = match call.target.subresource.as_str() {
        "log" => ("containerLogs", true),
        "exec" => ("exec", true),
        "attach" => ("attach", true),
        _ => ("portForward", false),
    };
    let mut path = format!("/{door}/{namespace}/{name}");
    if wants_container {
        let container = container(call, query, pod)?;
        path.push('/');
        path.push_str(&container);
    }
    Ok(with_query(path, kubelet_query(call, query)))
}

/// The query as the kubelet reads it: the streams have names of its own.
fn kubelet_query(call: &Call, query: &Query) -> String {
    let rename = matches!(call.target.subresource.as_str(), "exec" | "attach");
    let mut out = String::new();
    for (key, value) in query.pairs() {
        let (key, value) = match (key, value) {
            ("container" | "fieldValidation", _) => continue,
            ("stdin", value) if rename => ("input", on(value)),
            ("stdout", value) if rename => ("output", on(value)),
            ("stderr", value) if rename => ("error", on(value)),
            ("tty", value) if rename => ("tty", on(value)),
            other => other,
        };
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(&encode(key));
        out.push('=');
        out.push_str(&encode(value));
    }
    out
}

fn on(value: &str) -> &'static str {
    if matches!(value, "" | "0" | "false") { "0" } else { "1" }
}

fn with_query(path: String, query: String) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// The container that is meant; it must be named if there are several.
fn container(call: &Call, query: &Query, pod: &Value) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let containers = object::list(pod, &["spec", list]);
        containers.iter().map(|one| object::text(one, &["name"]).to_owned()).collect()
    };
    let (main, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let pod_name = &call.target.name;
    match query.non_empty("container") {
        Some(name) => {
            let known =
                [&main, &init, &ephemeral].iter().any(|list| list.iter().any(|n| n == name));
            if !known {
                return Err(Status::bad_request(format!(
                    "container {name} is not valid for pod {pod_name}"
                )));
            }
            Ok(name.to_owned())
        }
        None => match main.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Status::bad_request(format!(
                "a container name must be specified for pod {pod_name}"
            ))),
            several => {
                let mut why = format!(
                    "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                    several.join(" ")
                );
                if !init.is_empty() {
                    why += &format!(" or one of the init containers: [{}]", init.join(" "));
                }
                Err(Status::bad_request(why))
            }
        },
    }
}

/// The kubelet of a node.
fn kubelet(call: &Call, name: &str) -> Result<Upstream, Status> {
    let missing = || Status::not_found(&GroupResource::new("", "nodes"), name);
    let node = call.core.read_core_object("nodes", "", name).ok_or_else(missing)?;
    let addresses = object::list(&node, &["status", "addresses"]);
    let of_type = |kind: &str| {
        let found = addresses.iter().find(|address| address["type"] == kind);
        found.and_then(|address| address["address"].as_str()?.parse::<IpAddr>().ok())
    };
    let ip = of_type("InternalIP").or_else(|| of_type("ExternalIP")).ok_or_else(|| {
        Status::internal(format!("no preferred addresses found; known addresses: {addresses:?}"))
    })?;
    let port = object::integer(&node, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"])
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
        .unwrap_or(KUBELET_PORT);
    let address = SocketAddr::new(ip, port);
    Ok(upstream(address, Some(&call.core.kubelet_tls)))
}

fn upstream(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Upstream {
    let tls = tls.map(|config| (Arc::clone(config), ServerName::from(address.ip())));
    Upstream { address, tls, host: address.to_string() }
}

async fn pass(to: &Upstream, path: &str, request: Request<Body>) -> Result<Response<Body>, Status> {
    forward(to, path, request).await.map_err(|error| {
        let message = format!("error trying to reach service: {error}");
        Status::new(Reason::ServiceUnavailable, message)
    })
}

/// The proxies of pods, services and nodes.
pub(super) async fn proxy(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    options::admitted_proxy(call).await?;
    let rest = match call.target.rest.as_str() {
        "" => "/",
        rest => rest,
    };
    let path = match request.uri().query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let to = match call.kind.kind.as_ref() {
        "Node" => {
            let (_, name, _) = split_name(&call.target.name);
            kubelet(call, name)?
        }
        "Pod" => pod_upstream(call)?,
        _ => service_upstream(call)?,
    };
    pass(&to, &path, request).await
}

/// `[SCHEME:]NAME[:PORT]`
fn split_name(text: &str) -> (&str, &str, &str) {
    match text.splitn(3, ':').collect::<Vec<_>>().as_slice() {
        [scheme, name, port] => (scheme, name, port),
        [scheme @ ("http" | "https"), name] => (scheme, name, ""),
        [name, port] => ("http", name, port),
        _ => ("http", text, ""),
    }
}

fn pod_tls<'a>(call: &'a Call, scheme: &str) -> Option<&'a Arc<ClientConfig>> {
    (scheme == "https").then_some(&call.core.pod_tls)
}

fn pod_upstream(call: &Call) -> Result<Upstream, Status> {
    let (scheme, name, port) = split_name(&call.target.name);
    let pod = read_pod(call, name)?;
    let ip: IpAddr = object::text(&pod, &["status", "podIP"])
        .parse()
        .map_err(|_| Status::bad_request(format!("address not allowed: pod {name} has no IP")))?;
    let port = match port {
        "" => {
            let first = pod.pointer("/spec/containers/0/ports/0/containerPort");
            first.and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(80)
        }
        port => port.parse().map_err(|_| Status::bad_request(format!("invalid port {port:?}")))?,
    };
    Ok(upstream(SocketAddr::new(ip, port), pod_tls(call, scheme)))
}

fn service_upstream(call: &Call) -> Result<Upstream, Status> {
    let (scheme, name, port) = split_name(&call.target.name);
    let namespace = &call.target.namespace;
    let missing = || Status::not_found(&GroupResource::new("", "services"), name);
    let service = call.core.read_core_object("services", namespace, name).ok_or_else(missing)?;
    let ports = object::list(&service, &["spec", "ports"]);
    let chosen = match port {
        "" if ports.len() == 1 => ports.first(),
        port => ports.iter().find(|one| {
            object::text(one, &["name"]) == port
                || one["port"].as_u64().is_some_and(|number| number.to_string() == port)
        }),
    };
    let unavailable = |why: String| Status::service_unavailable(why);
    let Some(chosen) = chosen else {
        return Err(unavailable(format!("no service port {port:?} found for service {name:?}")));
    };
    let address = endpoint(call, name, object::text(chosen, &["name"]))?
        .ok_or_else(|| unavailable(format!("no endpoints available for service {name:?}")))?;
    Ok(upstream(address, pod_tls(call, scheme)))
}

/// Some ready endpoint behind the named port of a Service.
fn endpoint(call: &Call, service: &str, port: &str) -> Result<Option<SocketAddr>, Status> {
    let prefix =
        format!("{}discovery.k8s.io/endpointslices/{}/", objects::ROOT, call.target.namespace);
    let page = call.core.store.list(&prefix, &ListOptions::default());
    let page = page.map_err(Status::internal)?;
    let mut found: Vec<SocketAddr> = Vec::new();
    for entry in &page.entries {
        let Ok(slice) = serde_json::from_slice::<Value>(&entry.value) else { continue };
        if object::label(&slice, "kubernetes.io/service-name") != Some(service) {
            continue;
        }
        let ports = object::list(&slice, &["ports"]);
        let number = ports
            .iter()
            .find(|one| object::text(one, &["name"]) == port)
            .and_then(|one| u16::try_from(one["port"].as_u64()?).ok());
        let Some(number) = number else { continue };
        for endpoint in object::list(&slice, &["endpoints"]) {
            let ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool);
            if ready == Some(false) {
                continue;
            }
            let addresses = object::list(endpoint, &["addresses"]).iter();
            let addresses = addresses.filter_map(|address| address.as_str()?.parse().ok());
            found.extend(addresses.map(|ip: IpAddr| SocketAddr::new(ip, number)));
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    Ok(Some(found[rand::random_range(0..found.len())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("web", ("http", "web", ""); "name only")]
    #[test_case("web:80", ("http", "web", "80"); "port")]
    #[test_case("https:web:443", ("https", "web", "443"); "all three")]
    #[test_case("https:web:", ("https", "web", ""); "scheme and name")]
    #[test_case("https:web", ("https", "web", ""); "scheme without port")]
    fn names_of_proxies(text: &str, expected: (&str, &str, &str)) {
        assert_eq!(split_name(text), expected);
    }
}
