//! A real resolver asks over sockets on loopback, and in a network namespace that the test makes.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use expect_test::{Expect, expect};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_server::proto::rr::RData;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use super::*;
use crate::address::attach;
use crate::zone::Settings;

fn name(text: &str) -> Name {
    let mut name = Name::from_utf8(text).expect("a name");
    name.set_fqdn(true);
    name
}

/// A zone with one service of many addresses, one alias and one host.
fn zone(domain: &str, host: (&str, [u8; 4])) -> Arc<Zone> {
    let settings = Settings {
        domain: name(domain),
        address: [127, 0, 0, 1].into(),
        hosts: [(name(host.0), host.1.into())].into(),
        reverse_ranges: vec![],
    };
    let service = |name: &str, spec| {
        let service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        Arc::new(serde_json::from_value(service).expect("a service"))
    };
    let services = [
        service("web", json!({"clusterIP": "10.96.0.7"})),
        service("many", json!({"clusterIP": "None"})),
        service("away", json!({"type": "ExternalName", "externalName": "www.example.test"})),
        service(
            "circle",
            json!({"type": "ExternalName", "externalName": "circle.shop.svc.cluster.local"}),
        ),
    ];
    let endpoint = |n: u8| json!({"addresses": [format!("10.244.0.{n}")]});
    let slice = json!({
        "metadata": {"name": "x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "many"}},
        "addressType": "IPv4", "endpoints": (1..=200).map(endpoint).collect::<Vec<_>>(),
    });
    let slices = [Arc::new(serde_json::from_value(slice).expect("a slice"))];
    Arc::new(Zone::new(Arc::new(settings), 1, &services, &slices))
}

fn servers(address: SocketAddr) -> Vec<NameServerConfig> {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections.iter_mut().for_each(|it: &mut ConnectionConfig| it.port = address.port());
    vec![server]
}

/// A running server and where it is.
async fn start(
    zone: Arc<Zone>,
    upstream: Vec<NameServerConfig>,
    at: SocketAddr,
) -> (Server<Handler>, SocketAddr) {
    let (udp, tcp) = bind(at).await.expect("a free port");
    let address = udp.local_addr().expect("bound");
    let (_, zone) = watch::channel(zone);
    let handler =
        Handler { zone, forwarder: Forwarder::fixed(upstream), turn: AtomicUsize::new(0) };
    (serve(handler, udp, tcp), address)
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn client(address: SocketAddr) -> TokioResolver {
    let config = ResolverConfig::from_name_servers(servers(address));
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder.options_mut().preserve_intermediates = true;
    builder.build().expect("a resolver")
}

async fn check(client: &TokioResolver, question: &str, golden: Expect) {
    let said = match client.lookup(name(question), RecordType::A).await {
        Ok(lookup) => {
            let record = |record: &Record| format!("{} {}", record.record_type(), record.data);
            lookup.answers().iter().map(record).collect::<Vec<_>>().join(", ")
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            format!("{}, believe for {:?}", none.response_code, none.negative_ttl)
        }
        Err(error) => error.to_string(),
    };
    golden.assert_eq(&said);
}

#[tokio::test]
async fn a_resolver_finds_the_cluster_and_the_world() {
    let world = zone("world.test", ("www.example.test", [192, 0, 2, 80]));
    let (_world, world) = start(world, vec![], LOOPBACK).await;
    let ours = zone("cluster.local", ("host.minik.internal", [192, 0, 2, 1]));
    let (_server, address) = start(ours, servers(world), LOOPBACK).await;
    let client = client(address);
    check(&client, "web.shop.svc.cluster.local", expect!["A 10.96.0.7"]).await;
    check(&client, "host.minik.internal", expect!["A 192.0.2.1"]).await;
    check(
        &client,
        "nothing.shop.svc.cluster.local",
        expect!["Non-Existent Domain, believe for Some(5)"],
    )
    .await;
    check(&client, "shop.svc.cluster.local", expect!["No Error, believe for Some(5)"]).await;
    check(&client, "www.example.test", expect!["A 192.0.2.80"]).await;
    check(&client, "away.shop.svc.cluster.local", expect!["CNAME www.example.test., A 192.0.2.80"])
        .await;
    check(&client, "ftp.example.test", expect!["Non-Existent Domain, believe for Some(5)"]).await;
    check(
        &client,
        "circle.shop.svc.cluster.local",
        expect!["DNS error: error response: Server Failure"],
    )
    .await;
}

#[tokio::test]
async fn without_name_servers_only_the_world_fails() {
    let ours = zone("cluster.local", ("host.minik.internal", [192, 0, 2, 1]));
    let (_server, address) = start(ours, vec![], LOOPBACK).await;
    let client = client(address);
    check(&client, "www.example.test", expect!["DNS error: error response: Server Failure"]).await;
    check(&client, "web.shop.svc.cluster.local", expect!["A 10.96.0.7"]).await;
}

#[tokio::test]
async fn an_answer_too_long_for_udp_comes_over_tcp_and_turns() {
    let ours = zone("cluster.local", ("host.minik.internal", [192, 0, 2, 1]));
    let (_server, address) = start(ours, vec![], LOOPBACK).await;
    let client = client(address);
    let first = async || {
        let lookup = client.lookup(name("many.shop.svc.cluster.local"), RecordType::A).await;
        let lookup = lookup.expect("an answer");
        assert_eq!(lookup.answers().len(), 200);
        let RData::A(address) = &lookup.answers()[0].data else { panic!("not an address") };
        address.0
    };
    assert_ne!(first().await, first().await, "clients take different endpoints");
}

#[tokio::test]
async fn a_changed_file_brings_other_name_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("resolv.conf");
    let forwarder = Forwarder::new(path.clone(), [10, 96, 0, 10].into());
    assert!(forwarder.resolver().is_none(), "no file, nobody to ask");
    let answer = forwarder.ask(&name("www.example.test"), RecordType::A).await;
    assert_eq!(answer.code, ResponseCode::ServFail);
    std::fs::write(&path, "nameserver 10.96.0.10\n").expect("our folder");
    assert!(forwarder.resolver().is_none(), "only ourselves to ask");
    std::fs::remove_file(&path).expect("our folder");
    assert!(forwarder.resolver().is_none(), "no file again");
    std::fs::write(&path, "search example.test\nnameserver 127.0.0.1\n").expect("our folder");
    assert!(forwarder.resolver().is_some());
}

/// A network namespace; gone when dropped.
struct Space(String);

impl Space {
    fn new() -> Self {
        let name = format!("minik-dns-{}", std::process::id());
        let made = std::process::Command::new("ip").args(["netns", "add", &name]).status();
        assert!(made.expect("iproute2 is installed").success(), "needs root");
        Self(name)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn a_node_takes_the_address_and_answers_there() {
    let space = Space::new();
    let path = format!("/run/netns/{}", space.0);
    let inside = move || {
        let file = std::fs::File::open(path).expect("just made");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root");
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("iproute2 is installed").success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            attach(Ipv4Addr::new(10, 96, 0, 10)).await.expect("root");
            attach(Ipv4Addr::new(10, 96, 0, 10)).await.expect("a second time changes nothing");
            let ours = zone("cluster.local", ("host.minik.internal", [192, 0, 2, 1]));
            let at = SocketAddr::from(([10, 96, 0, 10], 53));
            let (_server, address) = start(ours, vec![], at).await;
            check(&client(address), "web.shop.svc.cluster.local", expect!["A 10.96.0.7"]).await;
        });
    };
    std::thread::spawn(inside).join().expect("no panic inside");
}
