//! The answer to a question about the cluster, after the Kubernetes DNS specification 1.1. Pure.
//!
//! Under the cluster's domain there are:
//! ```text
//! SERVICE.NAMESPACE.svc                      A, or CNAME of an ExternalName service
//! HOST.SERVICE.NAMESPACE.svc                 A of one endpoint of a headless service
//! _PORT._PROTOCOL.SERVICE.NAMESPACE.svc      SRV
//! 1-2-3-4.NAMESPACE.pod                      A
//! ns.dns, dns-version                        A of this server, TXT
//! ```

use std::net::{IpAddr, Ipv4Addr};

use hickory_server::proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};

use crate::zone::{Host, Known, Port, Zone};

/// Seconds that answers about endpoints, and that there is nothing, may be kept.
const TTL_SHORT: u32 = 5;
/// Seconds that answers about things that seldom change may be kept.
const TTL_LONG: u32 = 30;
/// Version of the specification.
const SPEC_VERSION: &str = "1.1.0";

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// These records.
    Records { answers: Vec<Record>, additionals: Vec<Record> },
    /// Another name; who asked wants to know what that one has.
    Alias { record: Box<Record>, target: Name },
    /// The name exists, but not with this type.
    NoData,
    /// The name does not exist.
    NoSuchName,
    /// Somebody else must be asked.
    NotOurs,
}

/// The zone's answer to a question for `name`. Names are compared without case and answered as
/// they were asked.
pub(crate) fn answer(zone: &Zone, name: &Name, kind: RecordType) -> Answer {
    let lower = name.to_lowercase();
    let settings = &zone.settings;
    let find = Find { zone, name, kind };
    if settings.domain.zone_of(&lower) {
        let below = usize::from(lower.num_labels() - settings.domain.num_labels());
        let labels: Option<Vec<&str>> =
            lower.iter().take(below).map(|label| std::str::from_utf8(label).ok()).collect();
        return labels.map_or(Answer::NoSuchName, |labels| find.in_domain(&labels));
    }
    if let Some(address) = settings.hosts.get(&lower) {
        return find.addresses(&[*address], TTL_LONG);
    }
    if settings.hosts.keys().any(|host| host.base_name().zone_of(&lower)) {
        return Answer::NoSuchName;
    }
    match reverse_address(&lower) {
        Some(address) => find.names_of(address),
        None => Answer::NotOurs,
    }
}

/// The record that goes with an answer of nothing: for how long that may be believed.
pub(crate) fn start_of_authority(zone: &Zone) -> Option<Record> {
    let (server, contact) = (zone.under(&["ns", "dns"]).ok()?, zone.under(&["hostmaster"]).ok()?);
    let soa = SOA::new(server, contact, zone.serial, 7200, 1800, 86_400, TTL_SHORT);
    Some(Record::from_rdata(zone.settings.domain.clone(), TTL_SHORT, RData::SOA(soa)))
}

struct Find<'a> {
    zone: &'a Zone,
    /// As it was asked.
    name: &'a Name,
    kind: RecordType,
}

impl Find<'_> {
    /// `labels` are those in front of the domain.
    fn in_domain(&self, labels: &[&str]) -> Answer {
        match labels {
            [] => self.apex(),
            ["dns-version"] => {
                let text = RData::TXT(TXT::new(vec![SPEC_VERSION.to_owned()]));
                self.of_type(RecordType::TXT, vec![self.record(TTL_LONG, text)])
            }
            ["svc" | "pod" | "dns"] => Answer::NoData,
            ["ns", "dns"] => self.addresses(&[self.zone.settings.address], TTL_LONG),
            [namespace, "svc"] if self.zone.services.contains_key(*namespace) => Answer::NoData,
            [service, namespace, "svc"] => match self.zone.service(namespace, service) {
                Some(known) => self.service(known),
                None => Answer::NoSuchName,
            },
            [label, service, namespace, "svc"] => match self.zone.service(namespace, service) {
                Some(known) => self.below_service(known, label),
                None => Answer::NoSuchName,
            },
            [port, protocol, service, namespace, "svc"] => {
                match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                    (Some(port), Some(protocol)) => self.port(namespace, service, port, protocol),
                    _ => Answer::NoSuchName,
                }
            }
            [_, "pod"] => Answer::NoData,
            [dashed, _, "pod"] => match dashed.replace('-', ".").parse::<Ipv4Addr>() {
                Ok(address) => self.addresses(&[IpAddr::V4(address)], TTL_LONG),
                Err(_) => Answer::NoSuchName,
            },
            _ => Answer::NoSuchName,
        }
    }

    fn apex(&self) -> Answer {
        match self.kind {
            RecordType::SOA => match start_of_authority(self.zone) {
                Some(record) => records(vec![record]),
                None => Answer::NoData,
            },
            RecordType::NS => match self.zone.under(&["ns", "dns"]) {
                Ok(server) => records(vec![self.record(TTL_LONG, RData::NS(NS(server)))]),
                Err(_) => Answer::NoData,
            },
            _ => Answer::NoData,
        }
    }

    fn service(&self, known: &Known) -> Answer {
        match (known, self.kind) {
            (Known::External { target }, _) => Answer::Alias {
                record: Box::new(self.record(TTL_LONG, RData::CNAME(CNAME(target.clone())))),
                target: target.clone(),
            },
            (Known::Cluster { ports, .. }, RecordType::SRV) => {
                self.cluster_ports(known, ports, self.name)
            }
            (Known::Headless { hosts }, RecordType::SRV) => {
                self.host_ports(hosts, |_| true, self.name)
            }
            (Known::Cluster { addresses, .. }, _) => {
                let addresses: Vec<_> = addresses.iter().copied().map(IpAddr::V4).collect();
                self.addresses(&addresses, TTL_LONG)
            }
            (Known::Headless { hosts }, _) => {
                let addresses: Vec<_> = hosts.iter().map(|host| IpAddr::V4(host.address)).collect();
                self.addresses(&addresses, TTL_SHORT)
            }
        }
    }

    /// One endpoint, or the empty name between a service and its ports.
    fn below_service(&self, known: &Known, label: &str) -> Answer {
        if let Some(protocol) = label.strip_prefix('_') {
            let exists = ports_of(known).iter().any(|port| port.protocol == protocol);
            return if exists { Answer::NoData } else { Answer::NoSuchName };
        }
        let Known::Headless { hosts } = known else { return Answer::NoSuchName };
        let hosts = hosts.iter().filter(|host| host.label.eq_ignore_ascii_case(label));
        let addresses: Vec<_> = hosts.map(|host| IpAddr::V4(host.address)).collect();
        if addresses.is_empty() {
            return Answer::NoSuchName;
        }
        self.addresses(&addresses, TTL_SHORT)
    }

    fn port(&self, namespace: &str, service: &str, port: &str, protocol: &str) -> Answer {
        let Some(known) = self.zone.service(namespace, service) else { return Answer::NoSuchName };
        let wanted = |it: &Port| it.name.eq_ignore_ascii_case(port) && it.protocol == protocol;
        if !ports_of(known).into_iter().any(wanted) {
            return Answer::NoSuchName;
        }
        // The service's name as it was asked: the question without its first two labels.
        let service = self.name.base_name().base_name();
        match known {
            Known::Cluster { ports, .. } => {
                let ports: Vec<_> = ports.iter().filter(|port| wanted(port)).cloned().collect();
                self.cluster_ports(known, &ports, &service)
            }
            Known::Headless { hosts } => self.host_ports(hosts, wanted, &service),
            Known::External { .. } => Answer::NoSuchName,
        }
    }

    fn cluster_ports(&self, known: &Known, ports: &[Port], service: &Name) -> Answer {
        let srv = |port: &Port| {
            let srv = SRV::new(0, 100, port.number, service.clone());
            self.record(TTL_LONG, RData::SRV(srv))
        };
        let found: Vec<_> = ports.iter().filter(|port| !port.name.is_empty()).map(srv).collect();
        let Known::Cluster { addresses, .. } = known else { return Answer::NoData };
        let address =
            |ip: &Ipv4Addr| Record::from_rdata(service.clone(), TTL_LONG, RData::A((*ip).into()));
        self.srv(found, addresses.iter().map(address).collect())
    }

    fn host_ports(&self, hosts: &[Host], wanted: impl Fn(&Port) -> bool, service: &Name) -> Answer {
        let named = |port: &&Port| !port.name.is_empty() && wanted(port);
        let count = hosts.iter().flat_map(|host| host.ports.iter().filter(named)).count();
        let weight = 100u16.checked_div(u16::try_from(count).unwrap_or(u16::MAX)).unwrap_or(0);
        let (mut found, mut additionals) = (Vec::new(), Vec::new());
        for host in hosts {
            let Ok(target) = service.prepend_label(&*host.label) else { continue };
            let before = found.len();
            for port in host.ports.iter().filter(named) {
                let srv = SRV::new(0, weight.max(1), port.number, target.clone());
                found.push(self.record(TTL_SHORT, RData::SRV(srv)));
            }
            if found.len() > before {
                let address = RData::A(host.address.into());
                additionals.push(Record::from_rdata(target, TTL_SHORT, address));
            }
        }
        self.srv(found, additionals)
    }

    fn srv(&self, answers: Vec<Record>, additionals: Vec<Record>) -> Answer {
        if self.kind != RecordType::SRV || answers.is_empty() {
            return Answer::NoData;
        }
        Answer::Records { answers, additionals }
    }

    fn names_of(&self, address: Ipv4Addr) -> Answer {
        if let Some(names) = self.zone.names.get(&address) {
            let record = |name: &Name| self.record(TTL_SHORT, RData::PTR(PTR(name.clone())));
            return self.of_type(RecordType::PTR, names.iter().map(record).collect());
        }
        let ranges = &self.zone.settings.reverse_ranges;
        if ranges.iter().any(|range| range.contains(address)) {
            Answer::NoSuchName
        } else {
            Answer::NotOurs
        }
    }

    /// The addresses of the family that was asked for.
    fn addresses(&self, addresses: &[IpAddr], ttl: u32) -> Answer {
        let wanted = |address: &&IpAddr| match self.kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            kind => kind.is_any(),
        };
        let found = addresses.iter().filter(wanted);
        let found: Vec<_> = found.map(|address| self.record(ttl, RData::from(*address))).collect();
        if found.is_empty() { Answer::NoData } else { records(found) }
    }

    fn of_type(&self, kind: RecordType, found: Vec<Record>) -> Answer {
        if self.kind == kind || self.kind.is_any() { records(found) } else { Answer::NoData }
    }

    fn record(&self, ttl: u32, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), ttl, data)
    }
}

fn records(answers: Vec<Record>) -> Answer {
    Answer::Records { answers, additionals: Vec::new() }
}

fn ports_of(known: &Known) -> Vec<&Port> {
    match known {
        Known::Cluster { ports, .. } => ports.iter().collect(),
        Known::Headless { hosts } => hosts.iter().flat_map(|host| &host.ports).collect(),
        Known::External { .. } => Vec::new(),
    }
}

/// The address that a name under `in-addr.arpa` stands for.
fn reverse_address(name: &Name) -> Option<Ipv4Addr> {
    let labels: Option<Vec<&str>> = name.iter().map(|it| std::str::from_utf8(it).ok()).collect();
    let [d, c, b, a, "in-addr", "arpa"] = labels?[..] else { return None };
    format!("{a}.{b}.{c}.{d}").parse().ok()
}

#[cfg(test)]
mod tests;
