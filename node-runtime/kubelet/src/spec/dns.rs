//! What a pod's `/etc/resolv.conf` says, and its host name.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use minik_cri::v1;

use crate::object;

/// Resolvers take at most this many servers.
const SERVERS_MAX: usize = 3;
/// Host names have at most this many characters.
const HOSTNAME_MAX: usize = 63;

/// What the node itself asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    pub(crate) servers: Vec<String>,
    pub(crate) searches: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl ResolvConf {
    /// Reads the text of a `resolv.conf`; the last `search` and `options` lines count.
    pub(crate) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next().unwrap_or_default();
            let words = words.map(str::to_owned);
            match keyword {
                "nameserver" => conf.servers.extend(words.take(1)),
                "search" => conf.searches = words.filter(|word| word != ".").collect(),
                "options" => conf.options = words.collect(),
                _ => {}
            }
        }
        conf
    }
}

/// The servers, search domains and options of a pod, by its DNS policy.
pub(crate) fn dns_config(
    pod: &Pod,
    cluster_dns: &[IpAddr],
    domain: &str,
    node: &ResolvConf,
) -> v1::DnsConfig {
    let spec = object::spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let uses_cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !object::is_host_network(pod),
        _ => false,
    };
    let mut dns = match (policy, uses_cluster && !cluster_dns.is_empty()) {
        ("None", _) => v1::DnsConfig::default(),
        (_, true) => {
            let namespace = object::namespace(pod);
            let mut searches = vec![
                format!("{namespace}.svc.{domain}"),
                format!("svc.{domain}"),
                domain.to_owned(),
            ];
            searches.extend(node.searches.iter().cloned());
            let servers = cluster_dns.iter().map(ToString::to_string).collect();
            v1::DnsConfig { servers, searches, options: vec!["ndots:5".into()] }
        }
        (_, false) => v1::DnsConfig {
            servers: node.servers.clone(),
            searches: node.searches.clone(),
            options: node.options.clone(),
        },
    };
    if let Some(extra) = &spec.dns_config {
        dns.servers.extend(extra.nameservers.iter().flatten().cloned());
        dns.searches.extend(extra.searches.iter().flatten().cloned());
        for option in extra.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            dns.options.retain(|have| have.split(':').next() != Some(name.as_str()));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    dedup(&mut dns.servers);
    dedup(&mut dns.searches);
    dns.servers.truncate(SERVERS_MAX);
    dns
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

/// The pod's host name: its own wish or its name, cut to what the kernel takes.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = object::spec(pod);
    let asked = spec.hostname_override.as_deref().or(spec.hostname.as_deref());
    let name = asked.filter(|name| !name.is_empty()).unwrap_or(object::name(pod));
    let cut: String = name.chars().take(HOSTNAME_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// `HOST.SUBDOMAIN.NAMESPACE.svc.DOMAIN` if the pod has a subdomain.
pub(crate) fn full_name(pod: &Pod, domain: &str) -> Option<String> {
    let subdomain = object::spec(pod).subdomain.as_deref().filter(|name| !name.is_empty())?;
    let (host, namespace) = (hostname(pod), object::namespace(pod));
    Some(format!("{host}.{subdomain}.{namespace}.svc.{domain}"))
}

/// The text of a pod's `/etc/hosts`.
pub(crate) fn hosts_file(pod: &Pod, addresses: &[String], domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let host = hostname(pod);
    for address in addresses {
        let line = match full_name(pod, domain) {
            Some(full) => format!("{address}\t{full}\t{host}\n"),
            None => format!("{address}\t{host}\n"),
        };
        text.push_str(&line);
    }
    text.push_str(&host_aliases(pod));
    text
}

/// The lines for `spec.hostAliases`.
pub(crate) fn host_aliases(pod: &Pod) -> String {
    let aliases = object::spec(pod).host_aliases.iter().flatten();
    let lines: String = aliases
        .map(|alias| {
            format!("{}\t{}\n", alias.ip, alias.hostnames.clone().unwrap_or_default().join("\t"))
        })
        .collect();
    if lines.is_empty() { lines } else { format!("\n# Entries added by HostAliases.\n{lines}") }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use k8s_openapi::serde_json::{Value, from_value, json};

    use super::*;

    fn check(spec: &Value, want: Expect) {
        let pod: Pod = from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec
        }))
        .expect("a pod");
        let node = ResolvConf::parse(
            "# made by the agent\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch lab.example .\n\
             options edns0\n",
        );
        let dns = dns_config(&pod, &["10.96.0.10".parse().expect("ip")], "cluster.local", &node);
        want.assert_eq(&format!("{:?} {:?} {:?}", dns.servers, dns.searches, dns.options));
    }

    #[test]
    fn policies() {
        check(
            &json!({"containers": []}),
            expect![[
                r#"["10.96.0.10"] ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "lab.example"] ["ndots:5"]"#
            ]],
        );
        check(
            &json!({"containers": [], "hostNetwork": true}),
            expect![[r#"["192.0.2.1", "192.0.2.2"] ["lab.example"] ["edns0"]"#]],
        );
        check(
            &json!({"containers": [], "dnsPolicy": "Default"}),
            expect![[r#"["192.0.2.1", "192.0.2.2"] ["lab.example"] ["edns0"]"#]],
        );
        check(
            &json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
                "nameservers": ["192.0.2.9"], "searches": ["a.example"],
                "options": [{"name": "ndots", "value": "2"}]}}),
            expect![[r#"["192.0.2.9"] ["a.example"] ["ndots:2"]"#]],
        );
        check(
            &json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet",
                "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}),
            expect![[
                r#"["10.96.0.10"] ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "lab.example"] ["ndots:2"]"#
            ]],
        );
    }

    #[test]
    fn hosts() {
        let pod: Pod = from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop"},
            "spec": {"containers": [], "subdomain": "web",
                "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["db", "db.example"]}]}
        }))
        .expect("a pod");
        let text = hosts_file(&pod, &["10.244.0.5".into()], "cluster.local");
        let tail: Vec<_> = text.lines().skip(7).collect();
        expect![[r##"
            [
                "10.244.0.5\tweb-0.web.shop.svc.cluster.local\tweb-0",
                "",
                "# Entries added by HostAliases.",
                "192.0.2.7\tdb\tdb.example",
            ]
        "##]]
        .assert_debug_eq(&tail);
    }
}
