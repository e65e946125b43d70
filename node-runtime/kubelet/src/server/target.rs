//! From a request for a stream to the runtime's URL for it.

use minik_cri::v1;

use super::Served;
use crate::object;
use crate::spec::names;

/// Which container, and what to do there, as the query says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Wish {
    /// Reads a query; the kubelet's own names (`input`) and the API's (`stdin`) mean the same.
    pub(super) fn parse(query: &str) -> Self {
        let mut wish = Self::default();
        for (key, value) in pairs(query) {
            let is_true = matches!(value.as_str(), "1" | "true" | "True" | "t" | "T" | "TRUE");
            match key.as_str() {
                "command" => wish.command.push(value),
                "input" | "stdin" => wish.stdin = is_true,
                "output" | "stdout" => wish.stdout = is_true,
                "error" | "stderr" => wish.stderr = is_true,
                "tty" => wish.tty = is_true,
                _ => {}
            }
        }
        // A terminal has one output.
        wish.stderr &= !wish.tty;
        wish
    }
}

/// The keys and values of a query, decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// `%41` and `+` as they stand in queries.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound(String),
    BadRequest(String),
    Internal(String),
}

/// The runtime id of a container that runs.
async fn running_container(
    served: &Served,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<String, Refusal> {
    let missing = || Refusal::NotFound(format!("pod \"{name}\" does not exist"));
    let pod = served.pod(namespace, name).ok_or_else(missing)?;
    let listed = served.shared.runtime.containers().await;
    let listed = listed.map_err(|error| Refusal::Internal(error.to_string()))?;
    let label = |it: &v1::Container, key: &str| it.labels.get(key).cloned().unwrap_or_default();
    let found = listed
        .into_iter()
        .filter(|it| {
            label(it, names::POD_UID) == object::uid(&pod)
                && label(it, names::CONTAINER_NAME) == container
                && it.state() == v1::ContainerState::ContainerRunning
        })
        .max_by_key(|it| it.created_at);
    found.map(|it| it.id).ok_or_else(|| {
        Refusal::NotFound(format!("container not found (\"{container}\"): it does not run"))
    })
}

/// The URL to stream a command from.
pub(super) async fn exec(
    served: &Served,
    [namespace, pod, container]: [&str; 3],
    wish: &Wish,
) -> Result<String, Refusal> {
    if wish.command.is_empty() {
        return Err(Refusal::BadRequest("you must specify at least 1 command".into()));
    }
    let request = v1::ExecRequest {
        container_id: running_container(served, namespace, pod, container).await?,
        cmd: wish.command.clone(),
        tty: wish.tty,
        stdin: wish.stdin,
        stdout: wish.stdout,
        stderr: wish.stderr,
    };
    let url = served.shared.runtime.exec(request).await;
    url.map_err(|error| Refusal::Internal(error.to_string()))
}

/// The URL to stream a container's own input and output from.
pub(super) async fn attach(
    served: &Served,
    [namespace, pod, container]: [&str; 3],
    wish: &Wish,
) -> Result<String, Refusal> {
    let found = served.pod(namespace, pod);
    let containers = found.as_deref().map(object::containers).unwrap_or_default();
    let spec = containers.iter().find(|spec| spec.container.name == container);
    // Whether there is a terminal is the container's business, not the client's.
    let tty = spec.is_some_and(|spec| spec.container.tty.unwrap_or(false));
    let request = v1::AttachRequest {
        container_id: running_container(served, namespace, pod, container).await?,
        stdin: wish.stdin,
        tty,
        stdout: wish.stdout,
        stderr: wish.stderr && !tty,
    };
    let url = served.shared.runtime.attach(request).await;
    url.map_err(|error| Refusal::Internal(error.to_string()))
}

/// The URL to reach a pod's ports through.
pub(super) async fn port_forward(
    served: &Served,
    namespace: &str,
    name: &str,
) -> Result<String, Refusal> {
    let missing = || Refusal::NotFound(format!("pod \"{name}\" does not exist"));
    let pod = served.pod(namespace, name).ok_or_else(missing)?;
    let listed = served.shared.runtime.sandboxes().await;
    let listed = listed.map_err(|error| Refusal::Internal(error.to_string()))?;
    let sandbox = listed
        .into_iter()
        .filter(|it| {
            it.labels.get(names::POD_UID).is_some_and(|uid| uid == object::uid(&pod))
                && it.state() == v1::PodSandboxState::SandboxReady
        })
        .max_by_key(|it| it.created_at);
    let Some(sandbox) = sandbox else {
        return Err(Refusal::NotFound(format!("pod \"{name}\" has no running sandbox")));
    };
    let request = v1::PortForwardRequest { pod_sandbox_id: sandbox.id, port: Vec::new() };
    let url = served.shared.runtime.port_forward(request).await;
    url.map_err(|error| Refusal::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let wish = Wish::parse(
            "command=sh&command=-c&command=echo+a%20%26+b&input=1&output=1&tty=1&error=1",
        );
        let want = Wish {
            command: vec!["sh".into(), "-c".into(), "echo a & b".into()],
            stdin: true,
            stdout: true,
            stderr: false,
            tty: true,
        };
        assert_eq!(wish, want);
        assert!(Wish::parse("stdout=true&stderr=true&stdin=false").stderr);
    }
}
