//! Ports of the node that lead into pods (`hostPort`): one nftables map, changed by element.
//!
//! The CNI plugin for this needs iptables, which the guest does not have.

use std::fmt::Write;
use std::process::Stdio;

use minik_cri::v1;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

/// A table of our own; the proxy's is another.
const TABLE: &str = "ip minik-host-ports";

/// Why ports cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostPortError {
    #[error("this node has no program to open ports with")]
    NoProgram,
    #[error("nft: {0}")]
    Run(#[from] std::io::Error),
    #[error("nft: {0}")]
    Refused(String),
    #[error("{0} is not an IPv4 address: ports of the node lead to those only")]
    Address(String),
}

/// The node's ports. Changes go one after the other.
pub(crate) struct HostPorts {
    program: Option<String>,
    /// Whether the table is there and holds only what this kubelet put in.
    is_made: Mutex<bool>,
}

impl HostPorts {
    pub(crate) fn new(program: Option<String>) -> Self {
        Self { program, is_made: Mutex::new(false) }
    }

    /// Forgets what a kubelet before this one opened: its pods open their ports again.
    pub(crate) async fn start(&self) -> Result<(), HostPortError> {
        if self.program.is_none() {
            return Ok(());
        }
        self.run(&format!("destroy table {TABLE}\n")).await
    }

    /// Opens the pod's ports.
    pub(crate) async fn open(
        &self,
        pod_ip: &str,
        ports: &[v1::PortMapping],
    ) -> Result<(), HostPortError> {
        if ports.is_empty() {
            return Ok(());
        }
        if pod_ip.parse::<std::net::Ipv4Addr>().is_err() {
            return Err(HostPortError::Address(pod_ip.to_owned()));
        }
        let mut is_made = self.is_made.lock().await;
        let table = if *is_made { String::new() } else { table() };
        self.run(&(table + &opening(pod_ip, ports))).await?;
        *is_made = true;
        Ok(())
    }

    /// Closes the pod's ports; those that are closed already are fine.
    pub(crate) async fn close(
        &self,
        pod_ip: &str,
        ports: &[v1::PortMapping],
    ) -> Result<(), HostPortError> {
        let is_made = self.is_made.lock().await;
        if ports.is_empty() || !*is_made {
            return Ok(());
        }
        self.run(&closing(pod_ip, ports)).await
    }

    /// Makes one transaction of the text.
    async fn run(&self, text: &str) -> Result<(), HostPortError> {
        let program = self.program.as_ref().ok_or(HostPortError::NoProgram)?;
        let mut child = Command::new(program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(());
        }
        Err(HostPortError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn protocol(port: &v1::PortMapping) -> &'static str {
    match port.protocol() {
        v1::Protocol::Tcp => "tcp",
        v1::Protocol::Udp => "udp",
        v1::Protocol::Sctp => "sctp",
    }
}

/// The key of a port in the maps: with the address it is bound to, or for all addresses.
fn key(port: &v1::PortMapping) -> (&'static str, String) {
    let (protocol, number) = (protocol(port), port.host_port);
    match port.host_ip.as_str() {
        "" | "0.0.0.0" => ("any", format!("{protocol} . {number}")),
        address => ("one", format!("{address} . {protocol} . {number}")),
    }
}

/// The table with empty maps.
fn table() -> String {
    let rules = "    fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @one\n    \
         fib daddr type local dnat ip to meta l4proto . th dport map @any\n";
    format!(
        "table {TABLE} {{\n  \
           map one {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}\n  \
           map any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}\n  \
           set pods {{ type ipv4_addr . ipv4_addr; }}\n  \
           chain prerouting {{\n    type nat hook prerouting priority -99;\n{rules}  }}\n  \
           chain output {{\n    type nat hook output priority -99;\n{rules}  }}\n  \
           chain postrouting {{\n    type nat hook postrouting priority 99;\n    \
             ct status dnat ip saddr . ip daddr @pods masquerade\n  }}\n}}\n"
    )
}

fn opening(pod_ip: &str, ports: &[v1::PortMapping]) -> String {
    let mut text = String::new();
    for port in ports {
        let (map, key) = key(port);
        let target = format!("{pod_ip} . {}", port.container_port);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "destroy element {TABLE} {map} {{ {key} }}");
        let _ = writeln!(text, "add element {TABLE} {map} {{ {key} : {target} }}");
    }
    let _ = writeln!(text, "add element {TABLE} pods {{ {pod_ip} . {pod_ip} }}");
    text
}

fn closing(pod_ip: &str, ports: &[v1::PortMapping]) -> String {
    let mut text = String::new();
    for port in ports {
        let (map, key) = key(port);
        let _ = writeln!(text, "destroy element {TABLE} {map} {{ {key} }}");
    }
    let _ = writeln!(text, "destroy element {TABLE} pods {{ {pod_ip} . {pod_ip} }}");
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn transactions() {
        let port = |host_ip: &str, protocol: v1::Protocol| v1::PortMapping {
            protocol: protocol.into(),
            container_port: 80,
            host_port: 8080,
            host_ip: host_ip.into(),
        };
        let ports = [port("", v1::Protocol::Tcp), port("192.0.2.1", v1::Protocol::Udp)];
        expect![[r"
            destroy element ip minik-host-ports any { tcp . 8080 }
            add element ip minik-host-ports any { tcp . 8080 : 10.244.0.5 . 80 }
            destroy element ip minik-host-ports one { 192.0.2.1 . udp . 8080 }
            add element ip minik-host-ports one { 192.0.2.1 . udp . 8080 : 10.244.0.5 . 80 }
            add element ip minik-host-ports pods { 10.244.0.5 . 10.244.0.5 }
        "]]
        .assert_eq(&opening("10.244.0.5", &ports));
        expect![[r"
            destroy element ip minik-host-ports any { tcp . 8080 }
            destroy element ip minik-host-ports one { 192.0.2.1 . udp . 8080 }
            destroy element ip minik-host-ports pods { 10.244.0.5 . 10.244.0.5 }
        "]]
        .assert_eq(&closing("10.244.0.5", &ports));
    }
}
