//! Questions and answers as a table.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::zone::{Settings, Zone};

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

fn service(name: &str, spec: Value) -> Arc<k8s_openapi::api::core::v1::Service> {
    let service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    Arc::new(serde_json::from_value(service).expect("a service"))
}

fn slice(
    service: &str,
    ports: Value,
    endpoints: Value,
) -> Arc<k8s_openapi::api::discovery::v1::EndpointSlice> {
    let slice = json!({
        "metadata": {"name": "x", "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    });
    Arc::new(serde_json::from_value(slice).expect("a slice"))
}

pub(crate) fn zone() -> Zone {
    let settings = Settings {
        domain: name("cluster.local"),
        address: [10, 96, 0, 10].into(),
        hosts: [(name("host.minik.internal"), [192, 0, 2, 1].into())].into(),
        reverse_ranges: vec![
            "10.96.0.0/12".parse().expect("a range"),
            "10.244.0.0/16".parse().expect("a range"),
        ],
    };
    let services = [
        service(
            "web",
            json!({"clusterIP": "10.96.0.7", "ports": [
                {"name": "http", "port": 80}, {"name": "quic", "port": 443, "protocol": "UDP"}, {"port": 9},
            ]}),
        ),
        service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
        service("empty", json!({"clusterIP": "None"})),
        service("away", json!({"type": "ExternalName", "externalName": "www.example.org"})),
        service(
            "alias",
            json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}),
        ),
    ];
    let slices = [
        slice(
            "db",
            json!([{"name": "sql", "port": 5432, "protocol": "TCP"}]),
            json!([
                {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.1.6"], "conditions": {}},
                {"addresses": ["10.244.1.7"], "hostname": "db-2", "conditions": {"ready": false}},
            ]),
        ),
        slice(
            "db",
            json!([{"name": "admin", "port": 81, "protocol": "TCP"}]),
            json!([
                {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
            ]),
        ),
        slice(
            "web",
            json!([{"name": "http", "port": 8080}]),
            json!([{"addresses": ["10.244.0.9"]}]),
        ),
    ];
    Zone::new(Arc::new(settings), 7, &services, &slices)
}

fn line(record: &Record) -> String {
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)
}

fn check(kind: RecordType, question: &str, golden: Expect) {
    let said = match answer(&zone(), &name(question), kind) {
        Answer::Records { answers, additionals } => {
            let also = additionals.iter().map(|record| format!("\n  also {}", line(record)));
            answers.iter().map(line).collect::<Vec<_>>().join("\n") + &also.collect::<String>()
        }
        Answer::Alias { record, .. } => format!("alias {}", line(&record)),
        Answer::NoData => "no data".into(),
        Answer::NoSuchName => "no such name".into(),
        Answer::NotOurs => "not ours".into(),
    };
    golden.assert_eq(&said);
}

use RecordType::{A, AAAA, ANY, CNAME, MX, NS, PTR, SOA as AUTHORITY, SRV as PORTS, TXT as TEXT};

#[test]
fn services() {
    check(A, "web.shop.svc.cluster.local", expect!["web.shop.svc.cluster.local. 30 A 10.96.0.7"]);
    check(A, "WEB.shop.SVC.cluster.local", expect!["WEB.shop.SVC.cluster.local. 30 A 10.96.0.7"]);
    check(ANY, "web.shop.svc.cluster.local", expect!["web.shop.svc.cluster.local. 30 A 10.96.0.7"]);
    check(AAAA, "web.shop.svc.cluster.local", expect!["no data"]);
    check(MX, "web.shop.svc.cluster.local", expect!["no data"]);
    check(A, "web.other.svc.cluster.local", expect!["no such name"]);
    check(A, "nothing.shop.svc.cluster.local", expect!["no such name"]);
    check(A, "web.shop.svc.cluster.local.shop.svc.cluster.local", expect!["no such name"]);
}

#[test]
fn headless_services() {
    check(
        A,
        "db.shop.svc.cluster.local",
        expect![[r#"
        db.shop.svc.cluster.local. 5 A 10.244.0.5
        db.shop.svc.cluster.local. 5 A 10.244.1.6"#]],
    );
    check(A, "empty.shop.svc.cluster.local", expect!["no data"]);
    check(
        A,
        "db-0.db.shop.svc.cluster.local",
        expect!["db-0.db.shop.svc.cluster.local. 5 A 10.244.0.5"],
    );
    check(
        A,
        "10-244-1-6.db.shop.svc.cluster.local",
        expect!["10-244-1-6.db.shop.svc.cluster.local. 5 A 10.244.1.6"],
    );
    check(AAAA, "db-0.db.shop.svc.cluster.local", expect!["no data"]);
    check(A, "db-2.db.shop.svc.cluster.local", expect!["no such name"]);
    check(A, "db-0.web.shop.svc.cluster.local", expect!["no such name"]);
}

#[test]
fn other_names_of_services() {
    check(
        A,
        "away.shop.svc.cluster.local",
        expect!["alias away.shop.svc.cluster.local. 30 CNAME www.example.org."],
    );
    check(
        CNAME,
        "away.shop.svc.cluster.local",
        expect!["alias away.shop.svc.cluster.local. 30 CNAME www.example.org."],
    );
    check(
        A,
        "alias.shop.svc.cluster.local",
        expect!["alias alias.shop.svc.cluster.local. 30 CNAME web.shop.svc.cluster.local."],
    );
}

#[test]
fn ports() {
    check(
        PORTS,
        "_http._tcp.web.shop.svc.cluster.local",
        expect![[r#"
        _http._tcp.web.shop.svc.cluster.local. 30 SRV 0 100 80 web.shop.svc.cluster.local.
          also web.shop.svc.cluster.local. 30 A 10.96.0.7"#]],
    );
    check(
        PORTS,
        "_quic._udp.web.shop.svc.cluster.local",
        expect![[r#"
        _quic._udp.web.shop.svc.cluster.local. 30 SRV 0 100 443 web.shop.svc.cluster.local.
          also web.shop.svc.cluster.local. 30 A 10.96.0.7"#]],
    );
    check(PORTS, "_quic._tcp.web.shop.svc.cluster.local", expect!["no such name"]);
    check(A, "_http._tcp.web.shop.svc.cluster.local", expect!["no data"]);
    check(A, "_tcp.web.shop.svc.cluster.local", expect!["no data"]);
    check(A, "_sctp.web.shop.svc.cluster.local", expect!["no such name"]);
    check(
        PORTS,
        "_sql._tcp.db.shop.svc.cluster.local",
        expect![[r#"
        _sql._tcp.db.shop.svc.cluster.local. 5 SRV 0 50 5432 db-0.db.shop.svc.cluster.local.
        _sql._tcp.db.shop.svc.cluster.local. 5 SRV 0 50 5432 10-244-1-6.db.shop.svc.cluster.local.
          also db-0.db.shop.svc.cluster.local. 5 A 10.244.0.5
          also 10-244-1-6.db.shop.svc.cluster.local. 5 A 10.244.1.6"#]],
    );
    check(
        PORTS,
        "_admin._tcp.db.shop.svc.cluster.local",
        expect![[r#"
            _admin._tcp.db.shop.svc.cluster.local. 5 SRV 0 100 81 db-0.db.shop.svc.cluster.local.
              also db-0.db.shop.svc.cluster.local. 5 A 10.244.0.5"#]],
    );
    check(
        PORTS,
        "web.shop.svc.cluster.local",
        expect![[r#"
        web.shop.svc.cluster.local. 30 SRV 0 100 80 web.shop.svc.cluster.local.
        web.shop.svc.cluster.local. 30 SRV 0 100 443 web.shop.svc.cluster.local.
          also web.shop.svc.cluster.local. 30 A 10.96.0.7"#]],
    );
    check(PORTS, "http.tcp.web.shop.svc.cluster.local", expect!["no such name"]);
}

#[test]
fn pods() {
    check(
        A,
        "10-244-0-9.shop.pod.cluster.local",
        expect!["10-244-0-9.shop.pod.cluster.local. 30 A 10.244.0.9"],
    );
    check(A, "10-244-0.shop.pod.cluster.local", expect!["no such name"]);
    check(A, "shop.pod.cluster.local", expect!["no data"]);
}

#[test]
fn the_domain_itself() {
    check(
        AUTHORITY,
        "cluster.local",
        expect![
            "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5"
        ],
    );
    check(NS, "cluster.local", expect!["cluster.local. 30 NS ns.dns.cluster.local."]);
    check(A, "ns.dns.cluster.local", expect!["ns.dns.cluster.local. 30 A 10.96.0.10"]);
    check(TEXT, "dns-version.cluster.local", expect!["dns-version.cluster.local. 30 TXT 1.1.0"]);
    check(A, "cluster.local", expect!["no data"]);
    check(A, "svc.cluster.local", expect!["no data"]);
    check(A, "shop.svc.cluster.local", expect!["no data"]);
    check(A, "other.svc.cluster.local", expect!["no such name"]);
    check(A, "www.cluster.local", expect!["no such name"]);
}

#[test]
fn addresses() {
    check(
        PTR,
        "7.0.96.10.in-addr.arpa",
        expect!["7.0.96.10.in-addr.arpa. 5 PTR web.shop.svc.cluster.local."],
    );
    check(
        PTR,
        "5.0.244.10.in-addr.arpa",
        expect!["5.0.244.10.in-addr.arpa. 5 PTR db-0.db.shop.svc.cluster.local."],
    );
    check(A, "5.0.244.10.in-addr.arpa", expect!["no data"]);
    check(PTR, "9.0.244.10.in-addr.arpa", expect!["no such name"]);
    check(PTR, "1.2.0.192.in-addr.arpa", expect!["not ours"]);
    check(PTR, "0.192.in-addr.arpa", expect!["not ours"]);
}

#[test]
fn the_host_and_the_world() {
    check(A, "host.minik.internal", expect!["host.minik.internal. 30 A 192.0.2.1"]);
    check(AAAA, "host.minik.internal", expect!["no data"]);
    check(A, "other.minik.internal", expect!["no such name"]);
    check(A, "www.example.org", expect!["not ours"]);
    check(A, "notcluster.local", expect!["not ours"]);
}
