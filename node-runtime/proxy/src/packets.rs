//! Real packets through the real table: a node, two pods, a neighbour node with a pod, and a
//! client outside, each in a network namespace that the test makes and removes. Needs root.
//!
//! ```text
//! client 192.0.2.1 ── 192.0.2.10 node ── br 10.244.0.1 ─┬─ pod 10.244.0.5
//!                     192.0.2.10 node ── 192.0.2.20     └─ twin 10.244.0.6
//!                                        neighbour ── (pod 10.244.1.5 on its loopback)
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::diff::diff;
use crate::nft::{Network, base, render};
use crate::rules::{Desired, Place, desired};
use crate::run::tests::follow;

const DEADLINE: Duration = Duration::from_secs(5);
const CLUSTER_IP: &str = "10.96.0.7";
const NODE_IP: &str = "192.0.2.10";

fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().expect("a program")).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The namespaces of one test; gone when dropped.
struct World {
    names: [String; 5],
}

impl Drop for World {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

impl World {
    fn new(test: &str) -> World {
        let name = |role: &str| format!("minik-{test}-{role}-{}", std::process::id());
        let world = World { names: ["node", "pod", "twin", "neighbour", "client"].map(name) };
        for name in &world.names {
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
        }
        world.connect();
        world
    }

    fn name(&self, role: &str) -> &str {
        let found = self.names.iter().find(|name| name.contains(&format!("-{role}-")));
        found.expect("one of the roles")
    }

    fn ip(&self, role: &str, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.name(role)));
    }

    /// A cable from the node's bridge `bridge` to `role`.
    fn plug(&self, role: &str, bridge: &str, address: &str, gateway: Option<&str>) {
        let peer = self.name(role);
        self.ip("node", &format!("link add to-{role} type veth peer name eth0 netns {peer}"));
        self.ip("node", &format!("link set to-{role} master {bridge} up"));
        self.ip("node", &format!("link set to-{role} type bridge_slave hairpin on"));
        self.ip(role, &format!("addr add {address} dev eth0"));
        self.ip(role, "link set eth0 up");
        if let Some(gateway) = gateway {
            self.ip(role, &format!("route add default via {gateway}"));
        }
    }

    fn connect(&self) {
        for (bridge, address) in [("pods", "10.244.0.1/24"), ("out", "192.0.2.10/24")] {
            self.ip("node", &format!("link add {bridge} type bridge"));
            self.ip("node", &format!("addr add {address} dev {bridge}"));
            self.ip("node", &format!("link set {bridge} up"));
        }
        self.plug("pod", "pods", "10.244.0.5/24", Some("10.244.0.1"));
        self.plug("twin", "pods", "10.244.0.6/24", Some("10.244.0.1"));
        self.plug("neighbour", "out", "192.0.2.20/24", None);
        // The client knows neither pods nor services, as the host of a cluster.
        self.plug("client", "out", "192.0.2.1/24", None);
        // As `routes` makes them.
        self.ip("node", "route add 10.244.1.0/24 via 192.0.2.20");
        self.ip("node", "route add 10.96.0.0/12 dev out src 192.0.2.10 scope link");
        self.ip("neighbour", "addr add 10.244.1.5/32 dev lo");
        self.ip("neighbour", "route add 10.244.0.0/24 via 192.0.2.10");
        self.inside("node", || {
            for (setting, value) in [
                ("net/ipv4/ip_forward", "1"),
                ("net/ipv4/conf/all/route_localnet", "1"),
                ("net/bridge/bridge-nf-call-iptables", "1"),
            ] {
                std::fs::write(format!("/proc/sys/{setting}"), value).expect("the kernel has it");
            }
        });
    }

    /// Runs `work` in the namespace of `role`, on a thread of its own.
    fn inside<T: Send + 'static>(
        &self,
        role: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let path = format!("/run/netns/{}", self.name(role));
        let enter = move || {
            let file = File::open(path).expect("the namespace was made");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root");
            work()
        };
        thread::spawn(enter).join().expect("no panic inside")
    }

    /// A server that tells each TCP client who it is and whom it sees.
    fn serve(&self, role: &'static str, address: &'static str) {
        let listener = self.inside(role, move || TcpListener::bind(address).expect("free port"));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("accepts");
                let peer = stream.peer_addr().expect("connected").ip();
                let _ = write!(stream, "{role} saw {peer}");
            }
        });
    }

    /// What a client in `role` hears at `address`, or why it hears nothing.
    fn ask(&self, role: &str, address: &str) -> String {
        let address: SocketAddrV4 = address.parse().expect("an address");
        self.inside(role, move || {
            let connected = TcpStream::connect_timeout(&address.into(), DEADLINE);
            let mut stream = match connected {
                Ok(stream) => stream,
                Err(error) => return error.kind().to_string(),
            };
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let mut said = String::new();
            match stream.read_to_string(&mut said) {
                Ok(_) => said,
                Err(error) => error.kind().to_string(),
            }
        })
    }

    /// Runs an nft transaction in the node.
    fn nft(&self, text: &str) {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", self.name("node"), "nft", "-f", "-"]);
        let mut child = nft.stdin(Stdio::piped()).spawn().expect("nft is installed");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("nft reads");
        assert!(child.wait().expect("nft ran").success(), "nft refused:\n{text}");
    }

    /// Brings the node's table from `old` to the service with these endpoints.
    fn change(&self, old: &Desired, spec: Value, endpoints: &[(&str, &str)]) -> Desired {
        let new = wanted(spec, endpoints);
        self.nft(&render(&diff(old, &new)));
        new
    }
}

fn start(test: &str, bridge_filtered: bool) -> World {
    let world = World::new(test);
    world.serve("pod", "10.244.0.5:8080");
    world.serve("twin", "10.244.0.6:8080");
    world.serve("neighbour", "10.244.1.5:8080");
    let network = Network {
        pods: "10.244.0.0/16".parse().expect("a range"),
        services: "10.96.0.0/12".parse().expect("a range"),
        bridge_filtered,
    };
    world.nft(&base(&network));
    world
}

fn objects(spec: Value, endpoints: &[(&str, &str)]) -> (Service, EndpointSlice) {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": CLUSTER_IP, "type": "NodePort",
                 "ports": [{"port": 80, "nodePort": 30080}]},
    });
    for (key, value) in spec.as_object().expect("an object") {
        service["spec"][key] = value.clone();
    }
    let endpoint =
        |(address, node): &(&str, &str)| json!({"addresses": [address], "nodeName": node});
    let slice = json!({
        "metadata": {"name": "x", "namespace": "default",
                     "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    });
    let service = serde_json::from_value(service).expect("a service");
    (service, serde_json::from_value(slice).expect("a slice"))
}

fn wanted(spec: Value, endpoints: &[(&str, &str)]) -> Desired {
    let (service, slice) = objects(spec, endpoints);
    let place = Place { node: "node".into(), pods: "10.244.0.0/24".parse().ok() };
    desired(&[Arc::new(service)], &[Arc::new(slice)], &place)
}

fn node(name: &str, range: &str, address: &str) -> Node {
    let node = json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": range},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    });
    serde_json::from_value(node).expect("a node")
}

const POD: (&str, &str) = ("10.244.0.5", "node");
const TWIN: (&str, &str) = ("10.244.0.6", "node");
const FAR: (&str, &str) = ("10.244.1.5", "neighbour");

fn cluster_ip() -> String {
    format!("{CLUSTER_IP}:80")
}

fn node_port(address: &str) -> String {
    format!("{address}:30080")
}

#[test]
fn services_lead_to_a_pod_on_this_node() {
    let world = start("near", true);
    world.change(&Desired::default(), json!({}), &[POD]);
    assert_eq!(world.ask("twin", &cluster_ip()), "pod saw 10.244.0.6", "source kept");
    assert_eq!(world.ask("pod", &cluster_ip()), "pod saw 10.244.0.1", "hairpin");
    assert_eq!(world.ask("node", &cluster_ip()), "pod saw 192.0.2.10", "from the node");
    assert_eq!(world.ask("client", &node_port(NODE_IP)), "pod saw 192.0.2.1", "source kept");
    assert_eq!(world.ask("twin", &node_port(NODE_IP)), "pod saw 10.244.0.6");
    assert_eq!(world.ask("twin", &node_port("10.244.0.1")), "pod saw 10.244.0.6", "any address");
    assert_eq!(world.ask("node", &node_port(NODE_IP)), "pod saw 192.0.2.10");
    assert_eq!(world.ask("node", &node_port("127.0.0.1")), "pod saw 10.244.0.1", "loopback");
}

#[test]
fn services_lead_to_a_pod_on_another_node() {
    let world = start("far", true);
    world.change(&Desired::default(), json!({}), &[FAR]);
    assert_eq!(world.ask("pod", &cluster_ip()), "neighbour saw 10.244.0.5", "source kept");
    assert_eq!(world.ask("node", &cluster_ip()), "neighbour saw 192.0.2.10");
    let outside = world.ask("client", &node_port(NODE_IP));
    assert_eq!(outside, "neighbour saw 192.0.2.10", "the answer comes back through this node");
}

#[test]
fn without_a_bridge_filter_neighbours_still_reach_each_other() {
    let world = start("plain", false);
    world.inside("node", || {
        std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0")
            .expect("the kernel has it");
    });
    world.change(&Desired::default(), json!({}), &[POD]);
    assert_eq!(world.ask("twin", &cluster_ip()), "pod saw 10.244.0.1");
    assert_eq!(world.ask("client", &node_port(NODE_IP)), "pod saw 192.0.2.1");
}

#[test]
fn changes_apply_one_after_the_other() {
    let world = start("change", true);
    let state = world.change(&Desired::default(), json!({}), &[]);
    assert_eq!(world.ask("pod", &cluster_ip()), "connection refused", "no endpoints");
    assert_eq!(world.ask("node", &cluster_ip()), "connection refused");
    assert_eq!(world.ask("client", &node_port(NODE_IP)), "connection refused");
    assert_eq!(world.ask("pod", "10.96.0.99:80"), "connection refused", "no such service");

    let state = world.change(&state, json!({}), &[POD, TWIN]);
    let heard: Vec<_> = (0..40).map(|_| world.ask("client", &node_port(NODE_IP))).collect();
    for name in ["pod saw 192.0.2.1", "twin saw 192.0.2.1"] {
        assert!(heard.iter().any(|heard| heard == name), "balanced: {heard:?}");
    }

    let state = world.change(&state, json!({}), &[TWIN]);
    assert_eq!(world.ask("client", &node_port(NODE_IP)), "twin saw 192.0.2.1");
    let state = world.change(&state, json!({"clusterIP": "10.96.0.8"}), &[TWIN]);
    assert_eq!(world.ask("pod", "10.96.0.8:80"), "twin saw 10.244.0.5");
    assert_eq!(world.ask("pod", &cluster_ip()), "connection refused", "the old address is gone");

    let sticky = json!({"sessionAffinity": "ClientIP"});
    let state = world.change(&state, sticky, &[POD, TWIN]);
    let first = world.ask("client", &node_port(NODE_IP));
    for _ in 0..10 {
        assert_eq!(world.ask("client", &node_port(NODE_IP)), first, "stays with its endpoint");
    }
    world.nft(&render(&diff(&state, &Desired::default())));
}

#[test]
fn a_local_service_keeps_outside_clients_on_this_node() {
    let world = start("local", true);
    let local = json!({"externalTrafficPolicy": "Local"});
    let state = world.change(&Desired::default(), local.clone(), &[POD, FAR]);
    for _ in 0..10 {
        assert_eq!(world.ask("client", &node_port(NODE_IP)), "pod saw 192.0.2.1");
    }
    world.change(&state, local, &[FAR]);
    assert_eq!(world.ask("pod", &node_port(NODE_IP)), "neighbour saw 10.244.0.5", "from inside");
    let heard = world.ask("client", &node_port(NODE_IP));
    assert_eq!(heard, "timed out", "dropped, so that a balancer tries another node");
}

#[test]
fn pods_reach_the_outside_as_their_node() {
    let world = start("out", true);
    world.change(&Desired::default(), json!({}), &[POD]);
    world.serve("client", "192.0.2.1:9000");
    assert_eq!(world.ask("pod", "192.0.2.1:9000"), "client saw 192.0.2.10");
    assert_eq!(world.ask("twin", "10.244.0.5:8080"), "pod saw 10.244.0.6", "pods stay themselves");
    assert_eq!(world.ask("twin", "10.244.1.5:8080"), "neighbour saw 10.244.0.6");
}

#[test]
fn a_node_follows_its_objects_from_nothing() {
    let world = start("follow", true);
    world.ip("node", "route del 10.244.1.0/24");
    world.ip("node", "route del 10.96.0.0/12");
    world.inside("node", || {
        let (service, slice) = objects(json!({}), &[FAR]);
        let nodes = vec![
            node("node", "10.244.0.0/24", NODE_IP),
            node("neighbour", "10.244.1.0/24", "192.0.2.20"),
        ];
        follow("node", vec![(vec![service], vec![slice], nodes)], |_| ());
    });
    assert_eq!(world.ask("pod", &cluster_ip()), "neighbour saw 10.244.0.5");
    assert_eq!(world.ask("node", &cluster_ip()), "neighbour saw 192.0.2.10");
    world.inside("node", || {
        let alone = vec![node("node", "10.244.0.0/24", NODE_IP)];
        follow("node", vec![(vec![], vec![], alone)], |_| ());
    });
    assert_eq!(world.ask("pod", &cluster_ip()), "connection refused");
    assert_eq!(world.ask("node", "10.244.1.5:8080"), "network unreachable", "route removed");
}

#[test]
fn a_udp_client_follows_the_service() {
    let world = start("udp", true);
    let servers = ["pod", "twin"].map(|role| {
        let server = world.inside(role, || UdpSocket::bind("0.0.0.0:8080").expect("free port"));
        server.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        server
    });
    let client = world.inside("client", || UdpSocket::bind("192.0.2.1:7000").expect("our address"));
    let state = |endpoints: &[(&str, &str)]| {
        let port = json!({"ports": [{"port": 80, "nodePort": 30080, "protocol": "UDP"}]});
        let (service, mut slice) = objects(port, endpoints);
        let port = slice.ports.as_mut().and_then(|ports| ports.first_mut()).expect("one port");
        port.protocol = Some("UDP".into());
        (vec![service], vec![slice], vec![node("node", "10.244.0.0/24", NODE_IP)])
    };
    let states = vec![state(&[]), state(&[POD]), state(&[TWIN])];
    world.inside("node", move || {
        follow("node", states, |n| {
            // Always from the same port, so that the kernel takes it for one flow.
            client.send_to(&[n as u8], node_port(NODE_IP)).expect("sent");
            if n > 0 {
                let mut heard = [0];
                servers[n - 1].recv_from(&mut heard).expect("arrives at the new endpoint");
                assert_eq!(heard, [n as u8]);
            }
        });
    });
}

#[test]
fn nobody_outside_reaches_loopback() {
    let world = start("guard", true);
    world.change(&Desired::default(), json!({}), &[]);
    let server = world.inside("node", || UdpSocket::bind("127.0.0.1:5000").expect("free port"));
    server.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    world.inside("client", || {
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")
            .expect("the kernel has it");
    });
    world.ip("client", "route add 127.0.0.1/32 via 192.0.2.10 table 9");
    world.ip("client", "rule add to 127.0.0.1 lookup 9 pref 0");
    world.ip("client", "rule add lookup local pref 1");
    world.ip("client", "rule del pref 0 lookup local");
    world.inside("client", || {
        let socket = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), 0)).expect("our address");
        let _ = socket.send_to(b"knock", "127.0.0.1:5000");
    });
    assert!(server.recv_from(&mut [0; 8]).is_err(), "a packet from outside came through");
}
