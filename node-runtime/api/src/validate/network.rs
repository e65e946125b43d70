//! Rules of ingresses, network policies and endpoint slices.

use minik_meta::{FieldError, names};

use super::at::{At, Errors};
use super::{labels, pod};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

pub(super) fn validate(kind: &str, object: &At<'_>, errors: &mut Errors) {
    match kind {
        "Ingress" => ingress(&object.get("spec"), errors),
        "NetworkPolicy" => network_policy(&object.get("spec"), errors),
        "IngressClass" => ingress_class(&object.get("spec"), errors),
        "EndpointSlice" => endpoint_slice(object, errors),
        "IPAddress" => ip_address(&object.get("spec").get("parentRef"), errors),
        "ServiceCIDR" => service_cidr(&object.get("spec").get("cidrs"), errors),
        _ => {}
    }
}

fn ip_address(parent: &At<'_>, errors: &mut Errors) {
    if errors.require(parent) {
        for (field, check) in [
            ("group", names::dns1123_subdomain as fn(&str) -> Vec<String>),
            ("resource", names::path_segment),
            ("namespace", names::path_segment),
            ("name", names::path_segment),
        ] {
            let at = parent.get(field);
            if !at.is_empty() {
                errors.all_invalid(&at, check(at.text()));
            } else if matches!(field, "resource" | "name") {
                errors.required(&at, "");
            }
        }
    }
}

/// One range, or one of each family.
fn service_cidr(cidrs: &At<'_>, errors: &mut Errors) {
    match cidrs.len() {
        0 => return errors.required(cidrs, "at least one CIDR required"),
        1 | 2 => {}
        _ => return errors.invalid(cidrs, "may only hold up to 2 values"),
    }
    let mut families = Vec::new();
    for cidr in cidrs.items() {
        let parsed: Option<ipnetwork::IpNetwork> =
            cidr.text().parse().ok().filter(|_| cidr.text().contains('/'));
        match parsed {
            None => {
                errors.invalid(
                    &cidr,
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                );
            }
            Some(range) => {
                if range.ip() != range.network() || range.to_string() != cidr.text() {
                    let right = format!("{}/{}", range.network(), range.prefix());
                    errors.invalid(&cidr, &format!("must be in canonical form (\"{right}\")"));
                }
                families.push(range.is_ipv4());
            }
        }
    }
    if let [one, other] = families[..]
        && one == other
    {
        errors.invalid(
            cidrs,
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and \
             2001:db8::/64",
        );
    }
}

/// A range may get one of the other family beside it; nothing else changes.
pub(super) fn service_cidr_update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.down(&["spec", "cidrs"]), old.down(&["spec", "cidrs"]));
    if new.len() != old.len() && (old.len(), new.len()) != (1, 2) {
        errors.invalid(&new, "field is immutable");
        return;
    }
    for (new, old) in new.items().zip(old.items()) {
        errors.immutable(&new, &old);
    }
}

fn ingress(spec: &At<'_>, errors: &mut Errors) {
    let (backend, rules) = (spec.get("defaultBackend"), spec.get("rules"));
    if backend.is_absent() && rules.is_empty() {
        errors.push(FieldError::invalid(
            &spec.path,
            rules.value.clone(),
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if let Some(backend) = backend.present() {
        ingress_backend(&backend, errors);
    }
    for rule in rules.items() {
        host(&rule.get("host"), errors);
        let Some(http) = rule.get("http").present() else { continue };
        errors.require(&http.get("paths"));
        for path in http.get("paths").items() {
            ingress_path(&path, errors);
        }
    }
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|one| host(&one, errors));
    }
    let class = spec.get("ingressClassName");
    if !class.is_empty() {
        errors.all_invalid(&class, names::dns1123_subdomain(class.text()));
    }
}

fn host(at: &At<'_>, errors: &mut Errors) {
    let text = at.text();
    if text.is_empty() {
        return;
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        errors.invalid(at, "must be a DNS name, not an IP address");
    } else if text.contains('*') {
        errors.all_invalid(at, names::wildcard_dns1123_subdomain(text));
    } else {
        errors.all_invalid(at, names::dns1123_subdomain(text));
    }
}

fn ingress_path(at: &At<'_>, errors: &mut Errors) {
    let (kind, path) = (at.get("pathType"), at.get("path"));
    match kind.text() {
        "Exact" | "Prefix" => {
            if !path.text().starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            } else {
                for part in ["//", "/./", "/../", "%2f", "%2F"] {
                    if path.text().contains(part) {
                        errors.invalid(&path, &format!("must not contain '{part}'"));
                    }
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.text().starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        "" => errors.required(&kind, "pathType must be specified"),
        _ => errors.one_of(&kind, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    ingress_backend(&at.get("backend"), errors);
}

fn ingress_backend(at: &At<'_>, errors: &mut Errors) {
    let (service, resource) = (at.get("service"), at.get("resource"));
    match (service.clone().present(), resource.present()) {
        (Some(_), Some(_)) => {
            errors.invalid(at, "cannot set both resource and service backends");
        }
        (None, None) => errors.required(at, "resource or service backend is required"),
        (Some(service), None) => {
            let name = service.get("name");
            if errors.require(&name) {
                errors.all_invalid(&name, names::dns1035_label(name.text()));
            }
            let port = service.get("port");
            match (port.get("name").is_empty(), port.get("number").integer().unwrap_or_default()) {
                (true, 0) => errors.required(&port, "port name or number is required"),
                (false, 0) => {
                    let name = port.get("name");
                    errors.all_invalid(&name, names::port_name(name.text()));
                }
                (true, number) => {
                    errors.all_invalid(&port.get("number"), names::port_number(number));
                }
                (false, _) => errors.invalid(&service, "cannot set both port name & port number"),
            }
        }
        (None, Some(_)) => {}
    }
}

fn ingress_class(spec: &At<'_>, errors: &mut Errors) {
    let controller = spec.get("controller");
    if errors.require(&controller) {
        let host = controller
            .text()
            .split_once('/')
            .filter(|(host, path)| !host.is_empty() && !path.is_empty());
        match host {
            None => errors
                .invalid(&controller, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
            Some((host, _)) => errors.all_invalid(&controller, names::dns1123_subdomain(host)),
        }
    }
}

fn network_policy(spec: &At<'_>, errors: &mut Errors) {
    labels::selector(&spec.get("podSelector"), errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(rules).items() {
            for port in rule.get("ports").items() {
                let number = port.get("port");
                if !number.is_absent() {
                    pod::port(&number, errors);
                }
                errors.one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
            }
            rule.get(peers).items().for_each(|peer| policy_peer(&peer, errors));
        }
    }
    let types = spec.get("policyTypes");
    types.items().for_each(|one| errors.one_of(&one, &["Egress", "Ingress"]));
}

fn policy_peer(at: &At<'_>, errors: &mut Errors) {
    labels::selector(&at.get("podSelector"), errors);
    labels::selector(&at.get("namespaceSelector"), errors);
    let block = at.get("ipBlock");
    let selects = !at.get("podSelector").is_absent() || !at.get("namespaceSelector").is_absent();
    match (block.is_absent(), selects) {
        (true, false) => errors.required(at, "must specify a peer"),
        (false, true) => {
            errors.forbidden(at, "may not specify both ipBlock and another peer");
        }
        (false, false) => {
            cidr(&block.get("cidr"), errors);
            block.get("except").items().for_each(|one| cidr(&one, errors));
        }
        (true, true) => {}
    }
}

fn cidr(at: &At<'_>, errors: &mut Errors) {
    let good = at.text().split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if at.is_empty() {
        errors.required(at, "");
    } else if !good {
        errors.invalid(at, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    }
}

fn endpoint_slice(object: &At<'_>, errors: &mut Errors) {
    let kind = object.get("addressType");
    if errors.require(&kind) {
        errors.one_of(&kind, &["FQDN", "IPv4", "IPv6"]);
    }
    let endpoints = object.get("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(&endpoints.path, endpoints.len(), ENDPOINTS_MAX));
        return;
    }
    for endpoint in endpoints.items() {
        let addresses = endpoint.get("addresses");
        if addresses.is_empty() {
            errors.required(&addresses, "must contain at least 1 address");
        } else if addresses.len() > ADDRESSES_MAX {
            errors.push(FieldError::too_many(&addresses.path, addresses.len(), ADDRESSES_MAX));
        }
        for address in addresses.items() {
            match kind.text() {
                "IPv4" if address.text().parse::<std::net::Ipv4Addr>().is_err() => {
                    errors.invalid(&address, "must be a valid IPv4 address");
                }
                "IPv6" if address.text().parse::<std::net::Ipv6Addr>().is_err() => {
                    errors.invalid(&address, "must be a valid IPv6 address");
                }
                "FQDN" => errors.all_invalid(&address, names::dns1123_subdomain(address.text())),
                _ => {}
            }
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for port in object.get("ports").items() {
        let name = port.get("name");
        if !name.is_empty() {
            errors.all_invalid(&name, names::dns1123_label(name.text()));
        }
        if seen.contains(&name.text()) {
            errors.duplicate(&name);
        }
        seen.push(name.text());
        errors.one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    }
}
