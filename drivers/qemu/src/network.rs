//! How machines are reached: real addresses where this user may make network devices, forwards on
//! loopback where not.

use std::path::Path;

use minik_driver::{DriverError, Host, MachineSpec, NetworkChoice, NetworkMode, Result};

use crate::switch::Switch;
use crate::tap;

const TUN: &str = "/dev/net/tun";
/// CAP_NET_ADMIN's bit.
const NET_ADMIN: u32 = 12;

/// Chooses the mode and says why.
pub(crate) fn choose(host: &dyn Host, wanted: Option<NetworkMode>) -> Result<NetworkChoice> {
    let (mode, reason) = match (wanted, obstacle(host)) {
        (Some(NetworkMode::User), _) => {
            (NetworkMode::User, "ports are forwarded on loopback, as asked".to_owned())
        }
        (Some(NetworkMode::Tap) | None, None) => (
            NetworkMode::Tap,
            "machines have addresses of their own, as this user may make network devices"
                .to_owned(),
        ),
        (None, Some(obstacle)) => {
            (NetworkMode::User, format!("ports are forwarded on loopback, because {obstacle}"))
        }
        (Some(mode @ NetworkMode::Tap), Some(reason)) => {
            return Err(DriverError::NetworkForbidden { mode, reason });
        }
    };
    Ok(NetworkChoice { mode, reason })
}

/// What keeps this user from making tap devices.
fn obstacle(host: &dyn Host) -> Option<String> {
    if !may_make_devices(host) {
        return Some("this user may not make network devices".to_owned());
    }
    if host.find_tools("ip").is_empty() {
        return Some("the tool `ip` is missing".to_owned());
    }
    let error = host.try_open(Path::new(TUN)).err()?;
    Some(format!("{TUN} cannot be opened: {error}"))
}

fn may_make_devices(host: &dyn Host) -> bool {
    let status = host.read_text(Path::new("/proc/self/status")).unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    bits >> NET_ADMIN & 1 == 1
}

/// Makes what the machine's interface is plugged into.
pub(crate) fn set_up(host: &dyn Host, spec: &MachineSpec) -> Result<()> {
    match spec.network.mode {
        NetworkMode::Tap => tap::set_up(host, spec),
        NetworkMode::User => Switch(spec).set_up(host),
    }
}

/// Removes what only a running machine is plugged into.
pub(crate) fn unplug(host: &dyn Host, spec: &MachineSpec) -> Result<()> {
    match spec.network.mode {
        NetworkMode::Tap => tap::tear_down(host, spec),
        // The sockets stay until the machine is deleted: they are where a restart is plugged in.
        NetworkMode::User => Ok(()),
    }
}

/// Removes all that the machine was plugged into.
pub(crate) fn tear_down(host: &dyn Host, spec: &MachineSpec) -> Result<()> {
    match spec.network.mode {
        NetworkMode::Tap => tap::tear_down(host, spec),
        NetworkMode::User => Switch(spec).tear_down(host),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use minik_driver::ScriptedHost;

    use super::*;

    fn host(capabilities: &str) -> ScriptedHost {
        let host = ScriptedHost::new();
        host.file("/proc/self/status", &format!("Name:\tx\nCapEff:\t{capabilities}\n"));
        host
    }

    fn check(host: &ScriptedHost, wanted: Option<NetworkMode>, expected: Expect) {
        expected.assert_eq(&match choose(host, wanted) {
            Ok(choice) => format!("{}: {}", choice.mode, choice.reason),
            Err(error) => format!("error: {error}"),
        });
    }

    #[test]
    fn root_gets_addresses() {
        let root = host("000001ffffffffff");
        root.file(TUN, "").file("/usr/sbin/../bin/ip", "");
        check(
            &root,
            None,
            expect![
                "tap: machines have addresses of their own, as this user may make network devices"
            ],
        );
        check(
            &root,
            Some(NetworkMode::User),
            expect!["user: ports are forwarded on loopback, as asked"],
        );
    }

    #[test]
    fn others_get_forwards() {
        let user = host("0000000000000000");
        check(
            &user,
            None,
            expect![
                "user: ports are forwarded on loopback, because this user may not make network devices"
            ],
        );
        check(
            &user,
            Some(NetworkMode::Tap),
            expect![
                "error: the network mode `tap` cannot be used: this user may not make network devices"
            ],
        );
    }

    #[test]
    fn root_in_a_container_gets_forwards() {
        let bare = host("000001ffffffffff");
        check(
            &bare,
            None,
            expect!["user: ports are forwarded on loopback, because the tool `ip` is missing"],
        );
        bare.file("/usr/bin/ip", "").closed_device(TUN);
        check(
            &bare,
            None,
            expect![
                "user: ports are forwarded on loopback, because /dev/net/tun cannot be opened: permission denied"
            ],
        );
    }
}
