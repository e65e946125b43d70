//! `minik status`: what runs, in words, in JSON and in the exit code.

use minik_provisioner::status::{
    ApiServerState, HostState, KubeconfigState, KubeletState, NodeStatus,
};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::context::Context;
use crate::out::Format;
use crate::report::Report;

/// Show what of a cluster runs
///
/// The exit code is a sum over all machines: 1 a machine is down, 2 kubelet or API server is down,
/// 4 the kubeconfig does not point here.
#[derive(clap::Args, Debug)]
pub(crate) struct StatusArgs {
    /// How to print
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    /// Template of a line; knows `{{.Name}}`, `{{.Host}}`, `{{.Kubelet}}`, `{{.APIServer}}`,
    /// `{{.Kubeconfig}}`
    #[arg(short, long, conflicts_with = "output", value_name = "TEMPLATE")]
    format: Option<String>,

    /// One machine only
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,

    /// One entry for each machine, or one document for the cluster
    #[arg(short, long, value_enum, default_value_t = Layout::Nodes)]
    layout: Layout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Layout {
    Nodes,
    Cluster,
}

pub(crate) fn run(ctx: &Context, args: &StatusArgs) -> Result<(), Report> {
    if args.layout == Layout::Cluster && args.output != Some(Format::Json) {
        return Err(Report::usage("--layout cluster goes with --output json"));
    }
    let name = ctx.profile()?;
    let cluster = match Cluster::open(ctx) {
        Ok(cluster) => cluster,
        Err(report) if report.id == "GUEST_PROFILE_NOT_FOUND" => {
            if args.output == Some(Format::Json) {
                ctx.out.data(absent(&name).to_string());
            } else {
                ctx.out.data(format!(
                    "* Profile \"{name}\" not found. Run \"minik profile list\" to view all profiles."
                ));
                let flag = if name == "minik" { String::new() } else { format!(" -p {name}") };
                ctx.out.data(format!("  To start a cluster, run: \"minik start{flag}\""));
            }
            return Err(Report::silent(report.exit.0));
        }
        Err(report) => return Err(report),
    };
    let mut nodes = cluster.status()?;
    if let Some(wanted) = &args.node {
        nodes.retain(|node| node.name == *wanted);
        if nodes.is_empty() {
            return Err(crate::commands::node::unknown(wanted));
        }
    }
    match (args.output, args.layout) {
        (Some(Format::Json), Layout::Cluster) => {
            ctx.out.data(whole(&name, &nodes).to_string());
        }
        (Some(Format::Json), Layout::Nodes) if nodes.len() == 1 => {
            ctx.out.data(document(&nodes[0]).to_string());
        }
        (Some(Format::Json), Layout::Nodes) => {
            ctx.out.data(Value::Array(nodes.iter().map(document).collect()).to_string());
        }
        (Some(Format::Text) | None, _) => {
            for node in &nodes {
                match &args.format {
                    Some(template) => ctx.out.data(filled(template, node)),
                    None => ctx.out.data(text(node)),
                }
            }
            if nodes.iter().any(|node| node.kubeconfig == KubeconfigState::Misconfigured) {
                ctx.out.data(format!(
                    "\nWARNING: Your kubectl is not pointing to {name}.\n\
                     To fix the kubectl context, run `minik update-context`"
                ));
            }
        }
    }
    match code(&nodes) {
        0 => Ok(()),
        code => Err(Report::silent(code)),
    }
}

/// Bits over all machines, as minikube's users test them.
fn code(nodes: &[NodeStatus]) -> u8 {
    nodes.iter().fold(0, |code, node| {
        let host = u8::from(node.host != HostState::Running);
        let kubelet = node.kubelet != KubeletState::Running;
        let api = !matches!(node.api_server, ApiServerState::Running | ApiServerState::Irrelevant);
        let kubeconfig =
            !matches!(node.kubeconfig, KubeconfigState::Configured | KubeconfigState::Irrelevant);
        // A machine that is down takes its kubeconfig with it: 7, as minikube answers.
        let kubeconfig = kubeconfig || (host == 1 && !node.worker);
        code | host | u8::from(kubelet || api) << 1 | u8::from(kubeconfig) << 2
    })
}

fn text(node: &NodeStatus) -> String {
    let mut lines = vec![
        node.name.clone(),
        format!("type: {}", if node.worker { "Worker" } else { "Control Plane" }),
        format!("host: {}", node.host),
        format!("kubelet: {}", node.kubelet),
    ];
    if !node.worker {
        lines.push(format!("apiserver: {}", node.api_server));
        lines.push(format!("kubeconfig: {}", node.kubeconfig));
    }
    if std::env::var("MINIK_ACTIVE_DOCKERD").is_ok_and(|active| active == node.name) {
        lines.push("docker-env: in-use".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn filled(template: &str, node: &NodeStatus) -> String {
    template
        .replace("{{.Name}}", &node.name)
        .replace("{{.Host}}", &node.host.to_string())
        .replace("{{.Kubelet}}", &node.kubelet.to_string())
        .replace("{{.APIServer}}", &node.api_server.to_string())
        .replace("{{.Kubeconfig}}", &node.kubeconfig.to_string())
}

fn document(node: &NodeStatus) -> Value {
    json!({
        "Name": node.name,
        "Host": node.host.to_string(),
        "Kubelet": node.kubelet.to_string(),
        "APIServer": node.api_server.to_string(),
        "Kubeconfig": node.kubeconfig.to_string(),
        "Worker": node.worker,
    })
}

fn absent(name: &str) -> Value {
    json!({
        "Name": name,
        "Host": "Nonexistent",
        "Kubelet": "Nonexistent",
        "APIServer": "Nonexistent",
        "Kubeconfig": "Nonexistent",
        "Worker": false,
    })
}

/// The document of `--layout cluster`, with minikube's codes.
fn whole(name: &str, nodes: &[NodeStatus]) -> Value {
    let (code, state) = overall(nodes);
    let each: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let (code, state) = overall(std::slice::from_ref(node));
            json!({ "Name": node.name, "StatusCode": code, "StatusName": state })
        })
        .collect();
    json!({
        "Name": name,
        "StatusCode": code,
        "StatusName": state,
        "BinaryVersion": concat!("v", env!("CARGO_PKG_VERSION")),
        "Nodes": each,
    })
}

/// Code and name of a whole cluster, also shown by `profile list`.
pub(crate) fn overall(nodes: &[NodeStatus]) -> (u16, &'static str) {
    if nodes.is_empty() {
        return (404, "NotFound");
    }
    if nodes.iter().all(|node| code(std::slice::from_ref(node)) & 3 == 0) {
        return (200, "OK");
    }
    if nodes.iter().all(|node| matches!(node.host, HostState::Stopped | HostState::Nonexistent)) {
        return (405, "Stopped");
    }
    if nodes.iter().any(|node| node.host == HostState::Error) {
        return (500, "Error");
    }
    (204, "Degraded")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn running() -> NodeStatus {
        NodeStatus {
            name: "minik".to_owned(),
            worker: false,
            host: HostState::Running,
            kubelet: KubeletState::Running,
            api_server: ApiServerState::Running,
            kubeconfig: KubeconfigState::Configured,
        }
    }

    fn stopped() -> NodeStatus {
        NodeStatus {
            host: HostState::Stopped,
            kubelet: KubeletState::Stopped,
            api_server: ApiServerState::Stopped,
            ..running()
        }
    }

    #[test]
    fn a_running_control_plane_in_words() {
        expect![[r"
            minik
            type: Control Plane
            host: Running
            kubelet: Running
            apiserver: Running
            kubeconfig: Configured
        "]]
        .assert_eq(&text(&running()));
    }

    #[test]
    fn exit_codes_are_bits() {
        assert_eq!(code(&[running()]), 0);
        assert_eq!(code(&[stopped()]), 7);
        let api_down = NodeStatus { api_server: ApiServerState::Stopped, ..running() };
        assert_eq!(code(&[running(), api_down]), 2);
        let elsewhere = NodeStatus { kubeconfig: KubeconfigState::Misconfigured, ..running() };
        assert_eq!(code(&[elsewhere]), 4);
    }

    #[test]
    fn one_word_for_the_cluster() {
        assert_eq!(overall(&[running()]).1, "OK");
        assert_eq!(overall(&[stopped()]).1, "Stopped");
        assert_eq!(overall(&[running(), stopped()]).1, "Degraded");
        assert_eq!(overall(&[]).1, "NotFound");
    }
}
