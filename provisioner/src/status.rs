//! `status`: what of a cluster runs, in minikube's words.

use std::fmt;
use std::thread;
use std::time::Duration;

use minik_config::Role;
use minik_driver::MachineState;
use minik_spec::NodeSpec;

use crate::access::Access;
use crate::error::Result;
use crate::phase::kubeconfig::api_url;
use crate::phase::ready::NodeAnswer;
use crate::phase::unit::SERVICE;
use crate::phase::upload::NODE_BINARY;
use crate::shell::exec;
use crate::state::Profile;
use crate::tools::Tools;

/// How long a guest may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// What of one node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The machine's name.
    pub name: String,
    /// Whether it is a worker; those have no API server and no kubeconfig.
    pub worker: bool,
    /// The machine.
    pub host: HostState,
    /// The kubelet.
    pub kubelet: KubeletState,
    /// The API server.
    pub api_server: ApiServerState,
    /// The user's kubeconfig.
    pub kubeconfig: KubeconfigState,
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostState {
    /// It runs.
    Running,
    /// It has disks and no process.
    Stopped,
    /// It is held still.
    Paused,
    /// Nothing was made for it.
    Nonexistent,
    /// Something is wrong with it.
    Error,
}

/// What the kubelet is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeletState {
    /// It runs and its node is Ready.
    Running,
    /// It does not run, or its machine does not.
    Stopped,
    /// It runs, but its node is not Ready.
    Error,
    /// Its machine does not exist.
    Nonexistent,
}

/// What the API server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiServerState {
    /// It answers.
    Running,
    /// It does not run, or its machine does not.
    Stopped,
    /// It runs but does not answer.
    Error,
    /// Its machine does not exist.
    Nonexistent,
    /// A worker has none.
    Irrelevant,
}

/// What the user's kubeconfig says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeconfigState {
    /// The context leads here.
    Configured,
    /// The context leads elsewhere or is not there.
    Misconfigured,
    /// The machine does not run, so there is nowhere to lead to.
    Stopped,
    /// A worker has none.
    Irrelevant,
}

macro_rules! words {
    ($($of:ty: $($state:ident)+;)+) => {$(
        impl fmt::Display for $of {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$state => stringify!($state),)+ })
            }
        }
    )+};
}

words! {
    HostState: Running Stopped Paused Nonexistent Error;
    KubeletState: Running Stopped Error Nonexistent;
    ApiServerState: Running Stopped Error Nonexistent Irrelevant;
    KubeconfigState: Configured Misconfigured Stopped Irrelevant;
}

/// What of each node runs, asked of all at once. A guest that does not answer is not running its parts.
///
/// # Errors
/// The driver cannot say what a machine is doing, or a kubeconfig is not understood.
pub fn status(tools: &Tools<'_>, profile: &Profile) -> Result<Vec<NodeStatus>> {
    thread::scope(|scope| {
        let threads: Vec<_> = profile
            .spec
            .nodes
            .iter()
            .map(|node| scope.spawn(move || node_status(tools, profile, node)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn node_status(tools: &Tools<'_>, profile: &Profile, node: &NodeSpec) -> Result<NodeStatus> {
    let access = Access::new(tools, profile);
    let host = host_state(&access.state(node)?);
    let service = match host {
        HostState::Running => ask(&access, node).unwrap_or_else(|err| {
            tools.reporter.detail(&format!("{} does not say how it is: {err}", node.name));
            Service::Down
        }),
        HostState::Nonexistent => Service::Nonexistent,
        HostState::Stopped | HostState::Paused | HostState::Error => Service::Down,
    };
    let worker = node.role == Role::Worker;
    let kubeconfig = match (worker, host) {
        (true, _) => KubeconfigState::Irrelevant,
        (false, HostState::Running) => kubeconfig_state(tools, profile)?,
        (false, _) => KubeconfigState::Stopped,
    };
    Ok(NodeStatus {
        name: node.name.clone(),
        worker,
        host,
        kubelet: kubelet_state(&service),
        api_server: if worker { ApiServerState::Irrelevant } else { api_server_state(&service) },
        kubeconfig,
    })
}

/// What the node's service says.
enum Service {
    Nonexistent,
    Down,
    Up(NodeAnswer),
}

fn ask(access: &Access<'_>, node: &NodeSpec) -> Result<Service> {
    let mut shell = access.shell(node)?;
    let command = format!("systemctl is-active {SERVICE} >&2; {NODE_BINARY} status");
    let output = exec(&mut *shell, &command, PATIENCE)?;
    Ok(understand(&output.stdout))
}

/// Whatever the exit code: it is 1 for a node that is not ready too.
fn understand(stdout: &str) -> Service {
    serde_json::from_str(stdout.trim()).map_or(Service::Down, Service::Up)
}

fn host_state(state: &MachineState) -> HostState {
    match state {
        MachineState::Nonexistent => HostState::Nonexistent,
        MachineState::Stopped => HostState::Stopped,
        MachineState::Running => HostState::Running,
        MachineState::Paused => HostState::Paused,
        MachineState::Broken { .. } => HostState::Error,
    }
}

fn kubelet_state(service: &Service) -> KubeletState {
    match service {
        Service::Nonexistent => KubeletState::Nonexistent,
        Service::Down => KubeletState::Stopped,
        Service::Up(answer) if answer.node => KubeletState::Running,
        Service::Up(_) => KubeletState::Error,
    }
}

fn api_server_state(service: &Service) -> ApiServerState {
    match service {
        Service::Nonexistent => ApiServerState::Nonexistent,
        Service::Down => ApiServerState::Stopped,
        Service::Up(answer) if answer.api => ApiServerState::Running,
        Service::Up(_) => ApiServerState::Error,
    }
}

fn kubeconfig_state(tools: &Tools<'_>, profile: &Profile) -> Result<KubeconfigState> {
    let (_, server) = tools.kubeconfig.look(profile.name().as_str())?;
    let url = api_url(tools, profile)?;
    Ok(match server {
        Some(server) if server == url => KubeconfigState::Configured,
        Some(_) | None => KubeconfigState::Misconfigured,
    })
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(r#"{"api":true,"node":true,"reasons":{}}"#, "Running Running"; "ready")]
    #[test_case(r#"{"api":true,"node":false,"reasons":{"node":"starting"}}"#, "Error Running"; "node not ready")]
    #[test_case(r#"{"api":false,"node":false}"#, "Error Error"; "api not answering")]
    #[test_case("", "Stopped Stopped"; "process down")]
    fn what_the_service_says(stdout: &str, expected: &str) {
        let service = understand(stdout);
        let text = format!("{} {}", kubelet_state(&service), api_server_state(&service));
        assert_eq!(text, expected);
    }
}
