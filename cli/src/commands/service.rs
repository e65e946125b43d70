//! `minik service`: the addresses at which services answer on the host.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::{Format, Sign, table};
use crate::report::Report;

/// Print or open the URL of a service
///
/// `minik service web --url` prints one line for each node port. `minik service list` shows all.
#[derive(clap::Args, Debug)]
pub(crate) struct ServiceArgs {
    /// Services by name, or `list`
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Namespace of the services
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Print the URL instead of opening a browser
    #[arg(long)]
    url: bool,

    /// Write https instead of http
    #[arg(long)]
    https: bool,

    /// How a URL looks; knows `{{.IP}}`, `{{.Port}}` and `{{.Name}}`
    #[arg(long, default_value = "http://{{.IP}}:{{.Port}}", value_name = "TEMPLATE")]
    format: String,

    /// All services of the namespace
    #[arg(long)]
    all: bool,

    /// Seconds to wait until a pod answers for the service
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,

    /// Taken for the habits of minikube's users; minik is woken instead of asking again
    #[arg(long, hide = true)]
    interval: Option<u64>,

    /// How `list` prints
    #[arg(short, long, value_enum)]
    output: Option<ListFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ListFormat {
    Table,
    Json,
}

/// One port of a service that the host can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: String,
    port: u64,
    node_port: u16,
}

pub(crate) fn run(ctx: &Context, args: &ServiceArgs) -> Result<(), Report> {
    if args.output == Some(ListFormat::Json) {
        ctx.out.set_format(Format::Text);
    }
    let cluster = Cluster::open(ctx)?;
    if args.names.first().is_some_and(|name| name == "list") && args.names.len() == 1 {
        return list(ctx, args, &cluster);
    }
    let api = cluster.api()?;
    let namespace = args.namespace.as_deref().unwrap_or("default");
    let services = if args.all {
        api.list(&format!("/api/v1/namespaces/{namespace}/services"))?
    } else {
        if args.names.is_empty() {
            return Err(Report::usage("which service? name one, or use --all")
                .advise("`minik service list` shows all"));
        }
        let mut found = Vec::new();
        for name in &args.names {
            let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
            found.push(api.get(&path)?.ok_or_else(|| not_found(namespace, name))?);
        }
        found
    };

    let template = template(&args.format, args.https);
    for service in &services {
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        let ports = node_ports(service);
        if ports.is_empty() {
            if args.all {
                continue;
            }
            return Err(Report::new(
                "SVC_NO_NODE_PORT",
                Exit::SERVICE_NOT_FOUND,
                format!("service {namespace}/{name} has no node port"),
            )
            .advise(format!(
                "make it one: `kubectl patch service {name} -n {namespace} -p \
                 '{{\"spec\":{{\"type\":\"NodePort\"}}}}'`"
            )));
        }
        wait_for_backends(args, &cluster, namespace, name)?;
        for port in &ports {
            let url = url(&template, &port.name, cluster.endpoint(port.node_port)?);
            if args.url || args.all {
                ctx.out.data(&url);
            } else {
                ctx.out.info(Sign::Note, &format!("Opening service {namespace}/{name}: {url}"));
                open(ctx, &url);
            }
        }
    }
    Ok(())
}

fn wait_for_backends(
    args: &ServiceArgs,
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<(), Report> {
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices\
         ?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
    );
    let patience = Duration::from_secs(args.wait);
    if cluster.api()?.wait_for(&path, patience, has_ready_endpoint)? {
        return Ok(());
    }
    Err(Report::new(
        "SVC_UNREACHABLE",
        Exit::SERVICE_NOT_FOUND,
        format!("no running pod for service {namespace}/{name} within {} s", args.wait),
    )
    .advise(format!("see why: `kubectl get pods -n {namespace}` and `kubectl describe pod`")))
}

fn has_ready_endpoint(slice: &Value) -> bool {
    slice["endpoints"].as_array().is_some_and(|endpoints| {
        // Unset means ready, as the EndpointSlice API says.
        endpoints.iter().any(|e| e["conditions"]["ready"].as_bool().unwrap_or(true))
    })
}

fn not_found(namespace: &str, name: &str) -> Report {
    Report::new(
        "SVC_NOT_FOUND",
        Exit::SERVICE_NOT_FOUND,
        format!("service `{name}` was not found in namespace `{namespace}`"),
    )
    .advise("you may select another namespace with `-n`; `minik service list` shows all")
}

/// The ports of a service that every node listens on.
fn node_ports(service: &Value) -> Vec<Port> {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reachable = |port: &Value| {
        Some(Port {
            name: port["name"].as_str().unwrap_or_default().to_owned(),
            port: port["port"].as_u64()?,
            node_port: u16::try_from(port["nodePort"].as_u64()?).ok().filter(|port| *port > 0)?,
        })
    };
    ports.iter().filter_map(reachable).collect()
}

fn template(format: &str, https: bool) -> String {
    if https && let Some(rest) = format.strip_prefix("http://") {
        return format!("https://{rest}");
    }
    format.to_owned()
}

fn url(template: &str, name: &str, at: SocketAddr) -> String {
    template
        .replace("{{.IP}}", &at.ip().to_string())
        .replace("{{.Port}}", &at.port().to_string())
        .replace("{{.Name}}", name)
}

fn open(ctx: &Context, url: &str) {
    let opened = std::process::Command::new("xdg-open")
        .arg(url)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    if !opened.is_ok_and(|status| status.success()) {
        ctx.out.warning("no browser could be opened; the URL is");
        ctx.out.data(url);
    }
}

fn list(ctx: &Context, args: &ServiceArgs, cluster: &Cluster) -> Result<(), Report> {
    let path = match &args.namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/services"),
        None => "/api/v1/services".to_owned(),
    };
    let template = template(&args.format, args.https);
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for service in cluster.api()?.list(&path)? {
        let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default().to_owned();
        let ports = node_ports(&service);
        let mut urls = Vec::new();
        for port in &ports {
            urls.push(url(&template, &port.name, cluster.endpoint(port.node_port)?));
        }
        let names: Vec<String> =
            ports.iter().map(|port| format!("{}/{}", port.name, port.port)).collect();
        documents.push(json!({
            "Namespace": text("namespace"),
            "Name": text("name"),
            "URLs": urls,
            "PortNames": if names.is_empty() { vec!["No node port".to_owned()] } else { names.clone() },
        }));
        let target = if names.is_empty() { "No node port".to_owned() } else { names.join(",") };
        rows.push(vec![text("namespace"), text("name"), target, urls.join(",")]);
    }
    if args.output == Some(ListFormat::Json) {
        ctx.out.data(Value::Array(documents).to_string());
    } else {
        ctx.out.data(table(&["NAMESPACE", "NAME", "TARGET PORT", "URL"], &rows));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_that_nodes_listen_on() {
        let service = json!({"spec": {"ports": [
            {"name": "web", "port": 80, "nodePort": 30080},
            {"port": 81},
        ]}});
        let expected = Port { name: "web".to_owned(), port: 80, node_port: 30080 };
        assert_eq!(node_ports(&service), [expected]);
        assert_eq!(node_ports(&json!({"spec": {}})), []);
    }

    #[test]
    fn urls_follow_the_template() {
        let at = "192.168.70.2:30080".parse().unwrap();
        assert_eq!(url("http://{{.IP}}:{{.Port}}", "web", at), "http://192.168.70.2:30080");
        assert_eq!(url("{{.Name}}={{.Port}}", "web", at), "web=30080");
        assert_eq!(template("http://{{.IP}}", true), "https://{{.IP}}");
    }

    #[test]
    fn an_endpoint_counts_unless_it_says_that_it_is_not_ready() {
        let slice = |conditions: Value| json!({"endpoints": [{"conditions": conditions}]});
        assert!(has_ready_endpoint(&slice(json!({}))));
        assert!(has_ready_endpoint(&slice(json!({"ready": true}))));
        assert!(!has_ready_endpoint(&slice(json!({"ready": false}))));
        assert!(!has_ready_endpoint(&json!({"endpoints": null})));
    }
}
