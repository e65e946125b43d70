//! Cluster addresses and node ports of Services: each is given out once.
//!
//! What is taken is folded from the stored Services, so it cannot drift from them and needs no
//! repair; IPAddress objects of others than Services reserve theirs. Ranges are those of the
//! ServiceCIDRs that are ready, the server's own first. What is given out but not stored yet is
//! held by a [`Lease`] until its Service is written or the request fails.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::vault::Store;
use minik_meta::object;
use minik_store::StoreError;
use serde_json::Value;

use crate::config::{Cidr, Config};
use crate::live::{Fold, Live};

/// The addresses at the start of the network that are only given out when asked for by number,
/// or when no other is left. `10.96.0.10` for DNS is among them.
const STATIC_BAND_MIN: u32 = 16;
const STATIC_BAND_MAX: u32 = 256;

/// The offset of the cluster's DNS, never given out unasked.
const DNS_OFFSET: u32 = 10;

const SERVICES: &str = "/registry/core/services/";
const ADDRESSES: &str = "/registry/networking.k8s.io/ipaddresses/";

/// Label of IPAddresses, and its value on those that stand for an address of a Service.
pub(crate) const MANAGED_BY: (&str, &str) =
    ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");

/// What the stored Services hold, and what is reserved.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    services: HashMap<String, (Vec<Ipv4Addr>, Vec<u16>)>,
    addresses: HashMap<Ipv4Addr, usize>,
    ports: HashMap<u16, usize>,
}

impl Fold for Taken {
    const PREFIXES: &'static [&'static str] = &[SERVICES, ADDRESSES];

    fn apply(&mut self, key: &str, service: Option<&Value>) {
        if let Some((addresses, ports)) = self.services.remove(key) {
            addresses.iter().for_each(|address| forget(&mut self.addresses, address));
            ports.iter().for_each(|port| forget(&mut self.ports, port));
        }
        let Some(object) = service else { return };
        let (addresses, ports) = match key.strip_prefix(ADDRESSES) {
            // Those of Services follow from the Services.
            Some(_) if object::label(object, MANAGED_BY.0) == Some(MANAGED_BY.1) => return,
            Some(address) => (address.parse().into_iter().collect(), Vec::new()),
            None => (addresses_of(object), ports_of(object)),
        };
        addresses.iter().for_each(|address| *self.addresses.entry(*address).or_default() += 1);
        ports.iter().for_each(|port| *self.ports.entry(*port).or_default() += 1);
        self.services.insert(key.to_owned(), (addresses, ports));
    }
}

fn forget<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The ranges of ServiceCIDRs that addresses may come from.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    by_name: BTreeMap<String, Vec<Cidr>>,
}

impl Fold for Ranges {
    const PREFIXES: &'static [&'static str] = &["/registry/networking.k8s.io/servicecidrs/"];

    fn apply(&mut self, key: &str, range: Option<&Value>) {
        self.by_name.remove(key);
        let Some(range) = range else { return };
        let conditions = object::list(range, &["status", "conditions"]);
        let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        if ready && object::deletion_timestamp(range).is_none() {
            let cidrs = object::list(range, &["spec", "cidrs"]).iter();
            let cidrs = cidrs.filter_map(|cidr| cidr.as_str()?.parse().ok()).collect();
            self.by_name.insert(key.to_owned(), cidrs);
        }
    }
}

/// The cluster addresses of a Service; `None` and names are no addresses.
pub(crate) fn addresses_of(service: &Value) -> Vec<Ipv4Addr> {
    let spec = &service["spec"];
    let list = spec["clusterIPs"].as_array().into_iter().flatten();
    let mut addresses: Vec<Ipv4Addr> = list
        .chain(spec.get("clusterIP"))
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The node ports of a Service, the one for health checks included, each once.
pub(crate) fn ports_of(service: &Value) -> Vec<u16> {
    let spec = &service["spec"];
    let list = spec["ports"].as_array().into_iter().flatten();
    let mut ports: Vec<u16> = list
        .filter_map(|port| port.get("nodePort"))
        .chain(spec.get("healthCheckNodePort"))
        .filter_map(|port| u16::try_from(port.as_u64()?).ok())
        .filter(|port| *port > 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Namespace and name in the key of a Service.
pub(crate) fn service_of(key: &str) -> Option<(String, String)> {
    let (namespace, name) = key.strip_prefix(SERVICES)?.split_once('/')?;
    Some((namespace.to_owned(), name.to_owned()))
}

/// Why an address or port cannot be had. The texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("provided IP is already allocated")]
    AddressTaken,
    #[error("provided port is already allocated")]
    PortTaken,
    #[error("the provided network does not match the current range")]
    AddressOutside,
    #[error("provided port is not in the valid range. The range of valid ports is {from}-{to}")]
    PortOutside { from: u16, to: u16 },
    #[error("range is full")]
    Full,
}

/// Gives out addresses and ports.
pub(crate) struct Allocator {
    taken: Live<Taken>,
    ranges: Live<Ranges>,
    pending: Arc<Mutex<Pending>>,
    cidr: Cidr,
    ports: std::ops::RangeInclusive<u16>,
}

#[derive(Debug, Default)]
struct Pending {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

/// Holds what one request was given until it is written.
#[derive(Default)]
pub(crate) struct Lease {
    pending: Option<Arc<Mutex<Pending>>>,
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(pending) = &self.pending else { return };
        let mut pending = lock(pending);
        self.addresses.iter().for_each(|address| _ = pending.addresses.remove(address));
        self.ports.iter().for_each(|port| _ = pending.ports.remove(port));
    }
}

fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().expect("no holder of the pending set panics")
}

impl Allocator {
    pub(crate) fn new(store: &Store, config: &Config) -> Result<Allocator, StoreError> {
        Ok(Allocator {
            taken: Live::new(store)?,
            ranges: Live::new(store)?,
            pending: Arc::default(),
            cidr: config.service_cidr,
            ports: config.node_ports.clone(),
        })
    }

    /// A lease that holds nothing yet.
    pub(crate) fn lease(&self) -> Lease {
        let pending = Some(Arc::clone(&self.pending));
        Lease { pending, addresses: Vec::new(), ports: Vec::new() }
    }

    /// Takes exactly `address`.
    pub(crate) fn take_address(&self, lease: &mut Lease, address: Ipv4Addr) -> Result<(), Refused> {
        if !self.ranges().iter().any(|range| range.usable(address)) {
            return Err(Refused::AddressOutside);
        }
        let mut pending = lock(&self.pending);
        let taken = self.taken.now().addresses.contains_key(&address);
        if taken || !pending.addresses.insert(address) {
            return Err(Refused::AddressTaken);
        }
        lease.addresses.push(address);
        Ok(())
    }

    /// Where addresses may come from, the server's own range first.
    fn ranges(&self) -> Vec<Cidr> {
        let others = self.ranges.now();
        let others = others.by_name.values().flatten().filter(|range| **range != self.cidr);
        std::iter::once(&self.cidr).chain(others).copied().collect()
    }

    /// Takes any free address of the first range that has one.
    pub(crate) fn any_address(&self, lease: &mut Lease) -> Result<Ipv4Addr, Refused> {
        let ranges = self.ranges();
        let found = ranges.into_iter().find_map(|range| self.any_address_of(lease, range).ok());
        found.ok_or(Refused::Full)
    }

    fn any_address_of(&self, lease: &mut Lease, range: Cidr) -> Result<Ipv4Addr, Refused> {
        let size = range.size();
        let band = (size / 16).clamp(STATIC_BAND_MIN, STATIC_BAND_MAX).min(size / 2);
        let mut pending = lock(&self.pending);
        let taken = self.taken.now();
        let free = |offset: &u32| {
            let address = range.at(*offset);
            *offset != DNS_OFFSET
                && range.usable(address)
                && !taken.addresses.contains_key(&address)
                && !pending.addresses.contains(&address)
        };
        let start = rand::random_range(band..size.max(band + 1));
        let offset = (start..size).chain(band..start).chain(1..band).find(free);
        let address = range.at(offset.ok_or(Refused::Full)?);
        drop(taken);
        pending.addresses.insert(address);
        lease.addresses.push(address);
        Ok(address)
    }

    /// Which Service has an address: namespace and name.
    pub(crate) fn owner(&self, address: Ipv4Addr) -> Option<(String, String)> {
        let taken = self.taken.now();
        let (key, _) = taken.services.iter().find(|(key, (addresses, _))| {
            key.starts_with(SERVICES) && addresses.contains(&address)
        })?;
        service_of(key)
    }

    /// All addresses of Services, with namespace and name.
    pub(crate) fn owners(&self) -> Vec<(Ipv4Addr, (String, String))> {
        let taken = self.taken.now();
        let each = taken.services.iter().filter_map(|(key, (addresses, _))| {
            let service = service_of(key)?;
            Some(addresses.iter().map(move |address| (*address, service.clone())))
        });
        each.flatten().collect()
    }

    /// Takes exactly `port`.
    pub(crate) fn take_port(&self, lease: &mut Lease, port: u16) -> Result<(), Refused> {
        if !self.ports.contains(&port) {
            return Err(Refused::PortOutside { from: *self.ports.start(), to: *self.ports.end() });
        }
        // The same port for TCP and UDP of one Service is one port.
        if lease.ports.contains(&port) {
            return Ok(());
        }
        let mut pending = lock(&self.pending);
        if self.taken.now().ports.contains_key(&port) || !pending.ports.insert(port) {
            return Err(Refused::PortTaken);
        }
        lease.ports.push(port);
        Ok(())
    }

    /// Takes any free port.
    pub(crate) fn any_port(&self, lease: &mut Lease) -> Result<u16, Refused> {
        let (first, last) = (*self.ports.start(), *self.ports.end());
        let mut pending = lock(&self.pending);
        let taken = self.taken.now();
        let start = rand::random_range(first..=last);
        let free = |port: &u16| !taken.ports.contains_key(port) && !pending.ports.contains(port);
        let port = (start..=last).chain(first..start).find(free).ok_or(Refused::Full)?;
        drop(taken);
        pending.ports.insert(port);
        lease.ports.push(port);
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_services_hold_is_counted() {
        let mut taken = Taken::default();
        let service = json!({"spec": {
            "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "healthCheckNodePort": 30500,
            "ports": [{"nodePort": 30080, "protocol": "TCP"}, {"nodePort": 30080}, {"port": 1}],
        }});
        taken.apply("/registry/core/services/web/a", Some(&service));
        assert_eq!(taken.addresses.len(), 1);
        assert_eq!(taken.ports.len(), 2);
        let headless = json!({"spec": {"clusterIP": "None"}});
        taken.apply("/registry/core/services/web/a", Some(&headless));
        assert!(taken.addresses.is_empty() && taken.ports.is_empty());
    }

    #[test]
    fn addresses_of_others_than_services_are_reserved() {
        let mut taken = Taken::default();
        let key = format!("{ADDRESSES}10.96.0.7");
        taken.apply(&key, Some(&json!({"metadata": {"labels": {MANAGED_BY.0: MANAGED_BY.1}}})));
        assert!(taken.addresses.is_empty());
        taken.apply(&key, Some(&json!({"metadata": {}})));
        assert_eq!(taken.addresses.len(), 1);
        taken.apply(&key, None);
        assert!(taken.addresses.is_empty());
    }

    #[test]
    fn ranges_count_while_they_are_ready() {
        let mut ranges = Ranges::default();
        let mut range =
            json!({"metadata": {}, "spec": {"cidrs": ["203.0.113.0/24", "2001:db8::/64"]}});
        ranges.apply("a", Some(&range));
        assert!(ranges.by_name.is_empty(), "not ready yet");
        range["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        ranges.apply("a", Some(&range));
        assert_eq!(ranges.by_name["a"], ["203.0.113.0/24".parse::<Cidr>().expect("a range")]);
        range["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        ranges.apply("a", Some(&range));
        assert!(ranges.by_name.is_empty(), "it goes");
    }
}
