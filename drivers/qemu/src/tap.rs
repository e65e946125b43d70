//! The host's side of the host-only network: a bridge per profile that has the host's address, and
//! a tap device per machine plugged into it.

use minik_driver::{
    CidrRefused, DriverError, Host, MachineSpec, Result, Tool, bridge_name, networks_of_host,
    tap_name,
};
use serde_json::Value;

/// Makes bridge and tap device as far as they are missing. What another network of the host has
/// taken meanwhile is refused.
pub(crate) fn set_up(host: &dyn Host, spec: &MachineSpec) -> Result<()> {
    let (bridge, tap) = (bridge_name(&spec.profile), tap_name(&spec.profile, &spec.name));
    set_up_bridge(host, spec, &bridge)?;
    if !exists(host, &tap)? {
        make(host, &["tuntap", "add", "dev", &tap, "mode", "tap"], &tap)?;
    }
    // No address of its own: the bridge has the host's.
    ip(host, &["link", "set", "dev", &tap, "addrgenmode", "none"])?;
    ip(host, &["link", "set", "dev", &tap, "master", &bridge, "up"])
}

fn set_up_bridge(host: &dyn Host, spec: &MachineSpec, bridge: &str) -> Result<()> {
    let plan = &spec.network;
    let taken = networks_of_host(host, bridge)?;
    if let Some(used) = taken.iter().find(|used| used.network.overlaps(plan.cidr)) {
        let (given, network, by) = (plan.cidr, used.network, used.by.clone());
        return Err(CidrRefused::Overlaps { given, network, by }.into());
    }
    if !exists(host, bridge)? {
        // Without an address of its own a bridge takes that of its first port, and changes it when
        // that port goes; guests would have to learn the host's anew.
        let mac = minik_driver::MacAddress::derive(&spec.profile, "", "bridge").to_string();
        make(host, &["link", "add", "name", bridge, "address", &mac, "type", "bridge"], bridge)?;
    }
    let address = format!("{}/{}", plan.host_address, plan.cidr.prefix());
    ip(host, &["link", "set", "dev", bridge, "addrgenmode", "none"])?;
    ip(host, &["addr", "replace", &address, "dev", bridge])?;
    ip(host, &["link", "set", "dev", bridge, "up"])
}

/// Removes the machine's tap device and, when no other machine is plugged into it, the bridge.
pub(crate) fn tear_down(host: &dyn Host, spec: &MachineSpec) -> Result<()> {
    let (bridge, tap) = (bridge_name(&spec.profile), tap_name(&spec.profile, &spec.name));
    if exists(host, &tap)? {
        remove(host, &tap)?;
    }
    if exists(host, &bridge)? && ask(host, &["link", "show", "master", &bridge])?.is_empty() {
        remove(host, &bridge)?;
    }
    Ok(())
}

fn exists(host: &dyn Host, device: &str) -> Result<bool> {
    // A list of all, as asking for one that is missing is an error like any other.
    let links = ask(host, &["link", "show"])?;
    Ok(links.iter().any(|link| link["ifname"] == device))
}

/// Makes a device. A machine of the same profile that starts at the same time may be quicker.
fn make(host: &dyn Host, args: &[&str], device: &str) -> Result<()> {
    match ip(host, args) {
        Err(_) if exists(host, device)? => Ok(()),
        made => made,
    }
}

fn remove(host: &dyn Host, device: &str) -> Result<()> {
    match ip(host, &["link", "del", "dev", device]) {
        Err(_) if !exists(host, device)? => Ok(()),
        removed => removed,
    }
}

fn ip(host: &dyn Host, args: &[&str]) -> Result<()> {
    host.run(&Tool::new("ip").args(args.iter().copied())).map(drop)
}

fn ask(host: &dyn Host, args: &[&str]) -> Result<Vec<Value>> {
    let output = host.run(&Tool::new("ip").args(["-j"]).args(args.iter().copied()))?;
    // Nothing to list is nothing at all in older versions, and one empty object in some.
    if output.stdout.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let listed: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|error| {
        DriverError::ToolAnswer { tool: "ip".to_owned(), answer: error.to_string() }
    })?;
    Ok(listed.into_iter().filter(|link| link["ifname"].is_string()).collect())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use minik_driver::{NetworkMode, ScriptedHost};

    use super::*;
    use crate::command_line::tests::sample;

    fn check(host: &ScriptedHost, result: Result<()>, expected: Expect) {
        let mut lines = host.calls();
        lines.retain(|line| !line.starts_with("ip -"));
        lines.extend(result.err().map(|error| format!("error: {error}")));
        expected.assert_eq(&lines.join("\n"));
    }

    fn host(links: &str, routes: &str) -> ScriptedHost {
        let host = ScriptedHost::new();
        host.answer("ip ", "");
        host.answer("ip -4 -j route show", routes).answer("ip -4 -j addr show", "[]");
        host.answer("ip -j link show", links);
        host
    }

    /// The host's devices when both are there.
    fn links(spec: &MachineSpec) -> String {
        let names = [bridge_name(&spec.profile), tap_name(&spec.profile, &spec.name)];
        serde_json::json!(names.map(|name| serde_json::json!({"ifname": name}))).to_string()
    }

    #[test]
    fn everything_is_made_once() {
        let spec = sample(NetworkMode::Tap);
        let fresh = host("[]", "[]");
        check(
            &fresh,
            set_up(&fresh, &spec),
            expect![[r#"
            ip link add name mk3a91cfb709 address 52:c2:37:32:db:5a type bridge
            ip link set dev mk3a91cfb709 addrgenmode none
            ip addr replace 192.168.60.1/24 dev mk3a91cfb709
            ip link set dev mk3a91cfb709 up
            ip tuntap add dev mt3169f19954 mode tap
            ip link set dev mt3169f19954 addrgenmode none
            ip link set dev mt3169f19954 master mk3a91cfb709 up"#]],
        );
        let again = host(&links(&spec), "[]");
        check(
            &again,
            set_up(&again, &spec),
            expect![[r#"
                ip link set dev mk3a91cfb709 addrgenmode none
                ip addr replace 192.168.60.1/24 dev mk3a91cfb709
                ip link set dev mk3a91cfb709 up
                ip link set dev mt3169f19954 addrgenmode none
                ip link set dev mt3169f19954 master mk3a91cfb709 up"#]],
        );
    }

    #[test]
    fn a_network_that_came_meanwhile_is_not_taken_over() {
        let host = host("[]", r#"[{"dst":"192.168.0.0/18","dev":"wlan0"}]"#);
        check(
            &host,
            set_up(&host, &sample(NetworkMode::Tap)),
            expect!["error: 192.168.60.0/24 overlaps with 192.168.0.0/18 of interface wlan0"],
        );
    }

    #[test]
    fn the_last_machine_takes_the_bridge_along() {
        let spec = sample(NetworkMode::Tap);
        let last = host(&links(&spec), "[]");
        last.answer("ip -j link show master", "[{}]");
        check(
            &last,
            tear_down(&last, &spec),
            expect![[r#"
            ip link del dev mt3169f19954
            ip link del dev mk3a91cfb709"#]],
        );
        let other = host(&links(&spec), "[]");
        other.answer("ip -j link show master", r#"[{"ifname":"mtother"}]"#);
        check(&other, tear_down(&other, &spec), expect!["ip link del dev mt3169f19954"]);
        let nothing = host("[]", "[]");
        check(&nothing, tear_down(&nothing, &spec), expect![[""]]);
    }
}
