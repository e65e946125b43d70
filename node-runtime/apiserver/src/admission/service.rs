//! Gives Services their cluster addresses and node ports, and keeps what must not change.

use std::net::Ipv4Addr;

use minik_meta::{FieldError, Path, object};
use serde_json::{Value, json};

use crate::alloc::{Allocator, Lease, Refused};

/// Whether the type has a cluster address at all.
fn has_address(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

fn kind(service: &Value) -> &str {
    match object::text(service, &["spec", "type"]) {
        "" => "ClusterIP",
        kind => kind,
    }
}

fn has_node_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => {
            service["spec"]["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true)
        }
        _ => false,
    }
}

/// Fills in addresses and ports of `service`; `old` is its stored state on updates.
///
/// What the lease holds must be kept until the Service is written.
pub(crate) fn allocate(
    allocator: &Allocator,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<Lease, Vec<FieldError>> {
    let mut lease = allocator.lease();
    addresses(allocator, &mut lease, old, service)?;
    node_ports(allocator, &mut lease, old, service)?;
    health_port(allocator, &mut lease, old, service)?;
    Ok(lease)
}

fn addresses(
    allocator: &Allocator,
    lease: &mut Lease,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<(), Vec<FieldError>> {
    let spec = Path::new("spec");
    let old = old.filter(|old| has_address(old));
    let had = old.map_or("", |old| object::text(old, &["spec", "clusterIP"])).to_owned();
    if !has_address(service) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            // Dropped silently only when they are leftovers of the old type.
            object::remove(service, &["spec", field]);
        }
        return Ok(());
    }
    let wanted = match object::text(service, &["spec", "clusterIP"]) {
        "" => service.pointer("/spec/clusterIPs/0").and_then(Value::as_str).unwrap_or_default(),
        wanted => wanted,
    };
    let wanted = if wanted.is_empty() { had.clone() } else { wanted.to_owned() };
    let path = spec.child("clusterIPs");
    if !had.is_empty() && wanted != had {
        let first = path.index(0);
        return Err(vec![FieldError::invalid(&first, wanted, "may not change once set")]);
    }
    let address = match wanted.as_str() {
        "None" => wanted,
        "" => allocator
            .any_address(lease)
            .map_err(|refused| {
                vec![FieldError::invalid(&spec.child("clusterIPs"), json!([]), refused.to_string())]
            })?
            .to_string(),
        text if had == text => wanted,
        text => {
            let invalid = |why: String| {
                vec![FieldError::invalid(
                    &path,
                    json!([text]),
                    format!("failed to allocate IP {text}: {why}"),
                )]
            };
            let address: Ipv4Addr = text.parse().map_err(|_| {
                vec![FieldError::invalid(
                    &path.index(0),
                    text,
                    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                )]
            })?;
            allocator
                .take_address(lease, address)
                .map_err(|refused| invalid(refused.to_string()))?;
            wanted
        }
    };
    let fields = object::fields(&mut service["spec"]);
    fields.insert("clusterIP".to_owned(), address.clone().into());
    fields.insert("clusterIPs".to_owned(), json!([address]));
    fields.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    fields.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
    if fields["ipFamilyPolicy"] == "RequireDualStack" {
        return Err(vec![FieldError::invalid(
            &spec.child("ipFamilyPolicy"),
            "RequireDualStack",
            "this cluster is not configured for dual-stack services",
        )]);
    }
    Ok(())
}

fn node_ports(
    allocator: &Allocator,
    lease: &mut Lease,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<(), Vec<FieldError>> {
    let wants = has_node_ports(service);
    let held = old.map(crate::alloc::ports_of).unwrap_or_default();
    let previous: Vec<Value> =
        old.map(|old| object::list(old, &["spec", "ports"]).to_vec()).unwrap_or_default();
    let dropped_type = old.is_some_and(has_node_ports) && !wants;
    let Some(ports) = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else {
        return Ok(());
    };
    let mut given: Vec<(u16, String)> = Vec::new();
    for (index, port) in ports.iter_mut().enumerate() {
        let path = Path::new("spec.ports").index(index).child("nodePort");
        let mut asked = port["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok());
        asked = asked.filter(|port| *port > 0);
        let before = previous.iter().find(|before| same_port(before, port));
        let before = before.and_then(|before| u16::try_from(before["nodePort"].as_u64()?).ok());
        if !wants {
            // Going back to ClusterIP gives up the ports that came with the old type.
            if dropped_type && asked.is_some_and(|port| held.contains(&port)) {
                object::remove(port, &["nodePort"]);
            }
            continue;
        }
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        let refused = |number: u16, refused: Refused| {
            vec![FieldError::invalid(&path, number, refused.to_string())]
        };
        let number = match asked.or(before) {
            Some(number) if given.contains(&(number, protocol.clone())) => {
                return Err(vec![FieldError::duplicate(&path, number)]);
            }
            Some(number) => {
                if !held.contains(&number) {
                    allocator.take_port(lease, number).map_err(|why| refused(number, why))?;
                }
                number
            }
            None => allocator.any_port(lease).map_err(|why| refused(0, why))?,
        };
        given.push((number, protocol));
        port["nodePort"] = number.into();
    }
    Ok(())
}

fn same_port(a: &Value, b: &Value) -> bool {
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    a["port"] == b["port"] && protocol(a) == protocol(b)
}

fn health_port(
    allocator: &Allocator,
    lease: &mut Lease,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<(), Vec<FieldError>> {
    let local = |service: &Value| {
        kind(service) == "LoadBalancer"
            && object::text(service, &["spec", "externalTrafficPolicy"]) == "Local"
    };
    let held = old
        .filter(|old| local(old))
        .and_then(|old| object::integer(old, &["spec", "healthCheckNodePort"]));
    if !local(service) {
        object::remove(service, &["spec", "healthCheckNodePort"]);
        return Ok(());
    }
    let asked = object::integer(service, &["spec", "healthCheckNodePort"]).filter(|port| *port > 0);
    let path = Path::new("spec.healthCheckNodePort");
    let number = match (held, asked) {
        (Some(held), Some(asked)) if held != asked => {
            return Err(vec![FieldError::invalid(&path, asked, "field is immutable")]);
        }
        (Some(held), _) => held,
        (None, Some(asked)) => {
            let port = u16::try_from(asked).unwrap_or_default();
            allocator
                .take_port(lease, port)
                .map_err(|why| vec![FieldError::invalid(&path, asked, why.to_string())])?;
            asked
        }
        (None, None) => allocator
            .any_port(lease)
            .map(i64::from)
            .map_err(|why| vec![FieldError::invalid(&path, 0, why.to_string())])?,
    };
    object::set(service, &["spec", "healthCheckNodePort"], number);
    Ok(())
}
