//! One question to a container: http, tcp, exec or gRPC.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::{Target, grpc};
use crate::http::Get;

/// Why the container failed; the text goes into the event.
pub(super) type Failure = String;

/// Asks once.
pub(super) async fn ask(target: &Target, probe: &Probe, deadline: Duration) -> Result<(), Failure> {
    let container = &target.spec.container;
    if let Some(exec) = &probe.exec {
        return exec_probe(target, exec.command.clone().unwrap_or_default(), deadline).await;
    }
    if let Some(action) = &probe.http_get {
        return http_probe(http_get(container, action, &target.address)?, deadline).await;
    }
    if let Some(action) = &probe.tcp_socket {
        let port = port_number(container, &action.port)?;
        let host = action.host.clone().filter(|host| !host.is_empty());
        return tcp_probe(&host.unwrap_or_else(|| target.address.clone()), port, deadline).await;
    }
    if let Some(action) = &probe.grpc {
        let port =
            u16::try_from(action.port).map_err(|_| format!("invalid port {}", action.port))?;
        let service = action.service.as_deref().unwrap_or_default();
        return grpc::check(&target.address, port, service, deadline).await;
    }
    Err("missing probe handler".into())
}

async fn exec_probe(
    target: &Target,
    command: Vec<String>,
    deadline: Duration,
) -> Result<(), Failure> {
    let answer = target.shared.runtime.exec_sync(&target.id, command, deadline).await;
    match answer {
        Ok(answer) if answer.exit_code == 0 => Ok(()),
        Ok(answer) => {
            let output = [answer.stdout, answer.stderr].concat();
            Err(String::from_utf8_lossy(&output).into_owned())
        }
        Err(error) => Err(format!("command error: {error}")),
    }
}

/// The request that an `httpGet` means, for probes and hooks.
pub(crate) fn http_get(
    container: &Container,
    action: &HTTPGetAction,
    address: &str,
) -> Result<Get, Failure> {
    let host = action.host.clone().filter(|host| !host.is_empty());
    Ok(Get {
        tls: action.scheme.as_deref() == Some("HTTPS"),
        host: host.unwrap_or_else(|| address.to_owned()),
        port: port_number(container, &action.port)?,
        path: action.path.clone().unwrap_or_else(|| "/".into()),
        headers: action.http_headers.clone().unwrap_or_default(),
    })
}

async fn http_probe(get: Get, deadline: Duration) -> Result<(), Failure> {
    match get.send(deadline).await.map_err(|error| error.to_string())? {
        200..400 => Ok(()),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

async fn tcp_probe(host: &str, port: u16, deadline: Duration) -> Result<(), Failure> {
    match tokio::time::timeout(deadline, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("dial tcp {host}:{port}: connect: {error}")),
        Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}

/// A port by number or by its name in the container.
pub(crate) fn port_number(container: &Container, port: &IntOrString) -> Result<u16, Failure> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => match name.parse() {
            Ok(number) => Some(number),
            Err(_) => container
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_ref() == Some(name))
                .map(|port| port.container_port),
        },
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    number.ok_or_else(|| format!("couldn't find port: {port:?}"))
}
