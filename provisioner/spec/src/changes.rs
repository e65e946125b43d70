//! What differs between the cluster that is and the one that is asked for, and what that takes.

use std::fmt;

use minik_config::{API_SERVER_FLAGS, Flag, Takes};

use crate::cluster::ClusterSpec;
use crate::settings::APISERVER;

/// When a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// With this start.
    Now,
    /// When the machine is stopped and started again.
    Restart,
    /// Never: the cluster must be deleted and made anew.
    Delete,
}

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the setting, as its flag is called.
    pub setting: &'static str,
    /// What the cluster has.
    pub was: String,
    /// What is asked for.
    pub wanted: String,
    /// What it takes.
    pub effect: Effect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, asked for {}", self.setting, self.was, self.wanted)
    }
}

/// Every setting in which `wanted` differs from `existing`, in the order of the flags' help.
pub fn changes(existing: &ClusterSpec, wanted: &ClusterSpec) -> Vec<Change> {
    let mut list = Vec::new();
    let mut compare = |setting, was: String, wanted: String, effect| {
        if was != wanted {
            list.push(Change { setting, was, wanted, effect });
        }
    };
    let (was, now) = (existing, wanted);
    let mib = |mib: u64| format!("{mib}mb");
    let or_auto = |text: &Option<String>| text.clone().unwrap_or_else(|| "auto".to_owned());
    let mode = |spec: &ClusterSpec| spec.network.map_or("auto".to_owned(), |mode| mode.to_string());
    let count = |spec: &ClusterSpec| spec.nodes.len().to_string();
    let or_none = |list: Vec<String>| match list.is_empty() {
        true => "none".to_owned(),
        false => list.join(","),
    };
    let names = |spec: &ClusterSpec| or_none(spec.api_server.names.clone());
    let ips =
        |spec: &ClusterSpec| or_none(spec.api_server.ips.iter().map(ToString::to_string).collect());

    compare("driver", was.driver.clone(), now.driver.clone(), Effect::Delete);
    compare("cpus", was.cpus.to_string(), now.cpus.to_string(), Effect::Restart);
    compare("memory", mib(was.memory_mib), mib(now.memory_mib), Effect::Restart);
    compare("disk-size", mib(was.disk_mib), mib(now.disk_mib), Effect::Delete);
    let fewer = now.nodes.len() < was.nodes.len();
    compare("nodes", count(was), count(now), if fewer { Effect::Delete } else { Effect::Now });
    compare("network", mode(was), mode(now), Effect::Restart);
    compare(
        "host-only-cidr",
        or_auto(&was.host_only_cidr),
        or_auto(&now.host_only_cidr),
        Effect::Delete,
    );
    compare(
        "guest-image-url",
        or_auto(&was.image.source),
        or_auto(&now.image.source),
        Effect::Restart,
    );
    compare("apiserver-names", names(was), names(now), Effect::Now);
    compare("apiserver-ips", ips(was), ips(now), Effect::Now);
    let port = |spec: &ClusterSpec| spec.api_server.port.to_string();
    compare("apiserver-port", port(was), port(now), Effect::Delete);
    compare(
        "service-cluster-ip-range",
        was.service_cidr.to_string(),
        now.service_cidr.to_string(),
        Effect::Delete,
    );
    compare("dns-domain", was.dns_domain.clone(), now.dns_domain.clone(), Effect::Delete);
    let expiration = |spec: &ClusterSpec| spec.cert_expiration.to_string();
    compare("cert-expiration", expiration(was), expiration(now), Effect::Now);
    compare(
        "kubernetes-version",
        was.kubernetes_version.clone(),
        now.kubernetes_version.clone(),
        Effect::Now,
    );
    list.extend(flag_changes(was, now));
    list
}

/// Texts of files are not shown: they may hold keys.
fn flag_changes(was: &ClusterSpec, now: &ClusterSpec) -> Vec<Change> {
    let shown = |spec: &ClusterSpec, flag: &Flag| match (
        spec.api_server.flags.get(flag.name),
        flag.takes,
    ) {
        (None, _) => "unset".to_owned(),
        (Some(value), Takes::Value) => format!("{APISERVER}.{}={value}", flag.name),
        (Some(text), Takes::File) => format!("{APISERVER}.{} ({} bytes)", flag.name, text.len()),
    };
    let differs =
        |flag: &&Flag| was.api_server.flags.get(flag.name) != now.api_server.flags.get(flag.name);
    let change = |flag: &Flag| Change {
        setting: "extra-config",
        was: shown(was, flag),
        wanted: shown(now, flag),
        effect: Effect::Now,
    };
    API_SERVER_FLAGS.iter().filter(differs).map(change).collect()
}
