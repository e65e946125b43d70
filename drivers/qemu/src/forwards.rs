//! Forwards from loopback to a machine that has no address on the host. The running QEMU knows
//! which there are; the machine's record knows which to make again after a restart.

use std::net::{Ipv4Addr, SocketAddr};

use minik_driver::{DriverError, Forward, MachineSpec, Result};
use qapi::qmp;

use crate::command_line::NAT;
use crate::monitor::Monitor;

/// A machine's address on its way out, which is the same for all.
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// What is asked of QEMU's monitor here; tests put a script in its place.
pub(crate) trait Console {
    /// What the monitor answers to a line.
    fn say(&mut self, line: String) -> Result<String>;
    /// Adds a network device; one that is there already is fine.
    fn plug(&mut self, netdev: qmp::Netdev) -> Result<()>;
    /// An error about a line.
    fn complain(&self, line: &str, reason: &str) -> DriverError;
}

impl Console for Monitor {
    fn say(&mut self, line: String) -> Result<String> {
        self.human(line)
    }
    fn plug(&mut self, netdev: qmp::Netdev) -> Result<()> {
        match self.add_netdev(netdev) {
            Err(DriverError::Monitor { reason, .. }) if reason.contains("uplicate ID") => Ok(()),
            added => added,
        }
    }
    fn complain(&self, line: &str, reason: &str) -> DriverError {
        Monitor::complain(self, line, reason)
    }
}

/// Finds the forward to a port of the guest, or makes it: on `preferred` if that is free, else on a
/// port the system chooses.
pub(crate) fn ensure(
    console: &mut dyn Console,
    spec: &MachineSpec,
    guest_port: u16,
    preferred: Option<u16>,
) -> Result<Forward> {
    if let Some(there) = find(console, guest_port)? {
        return Ok(there);
    }
    let mut refusal = String::new();
    for port in preferred.into_iter().chain([0]) {
        let rule = format!("tcp:127.0.0.1:{port}-{GUEST}:{guest_port}");
        // Silence is consent.
        refusal = console.say(format!("hostfwd_add {NAT} {rule}"))?;
        if refusal.trim().is_empty() {
            return find(console, guest_port)?.ok_or_else(|| {
                console.complain("info usernet", "the forward that was just made is not listed")
            });
        }
    }
    Err(DriverError::PortTaken {
        machine: spec.name.clone(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, preferred.unwrap_or(0))),
        guest_port,
        reason: refusal.trim().to_owned(),
    })
}

fn find(console: &mut dyn Console, guest_port: u16) -> Result<Option<Forward>> {
    let table = console.say("info usernet".to_owned())?;
    Ok(listed(&table).into_iter().find(|forward| forward.guest_port == guest_port))
}

/// The forwards in QEMU's table. Columns: `TCP[HOST_FORWARD]`, descriptor, host address, host port,
/// guest address, guest port, and the lengths of two queues.
fn listed(table: &str) -> Vec<Forward> {
    let row = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let &[kind, _, host, host_port, to, to_port, ..] = columns.as_slice() else { return None };
        let ours = kind == "TCP[HOST_FORWARD]" && to.parse() == Ok(GUEST);
        let host: Ipv4Addr = host.parse().ok()?;
        let host = SocketAddr::from((host, host_port.parse().ok()?));
        ours.then_some(Forward { guest_port: to_port.parse().ok()?, host })
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use minik_driver::NetworkMode;

    use super::*;
    use crate::command_line::tests::sample;

    /// A monitor whose QEMU finds some host ports taken.
    #[derive(Default)]
    struct Fake {
        taken: Vec<u16>,
        rows: Vec<(u16, String)>,
        said: Vec<String>,
    }

    impl Console for Fake {
        fn say(&mut self, line: String) -> Result<String> {
            self.said.push(line.clone());
            let Some(rule) = line.strip_prefix("hostfwd_add nat tcp:127.0.0.1:") else {
                let rows = self.rows.iter().map(|(port, to)| {
                    format!(
                        "  TCP[HOST_FORWARD]  14       127.0.0.1 {port}    {to}     0     0\r\n"
                    )
                });
                let head = "Hub -1 (nat):\r\n  Protocol[State]    FD  Source Address  Port\r\n";
                return Ok(head.to_owned() + &rows.collect::<String>());
            };
            let (port, to) = rule.split_once('-').expect("a rule has both sides");
            let port: u16 = port.parse().expect("a rule names a port");
            if self.taken.contains(&port) {
                return Ok(format!(
                    "Could not set up host forwarding rule 'tcp:127.0.0.1:{rule}'\r\n"
                ));
            }
            let port = if port == 0 { 40_001 } else { port };
            self.rows.push((port, to.replace(':', "    ")));
            Ok(String::new())
        }
        fn plug(&mut self, _: qmp::Netdev) -> Result<()> {
            Ok(())
        }
        fn complain(&self, line: &str, reason: &str) -> DriverError {
            let (machine, command) = ("dev".to_owned(), line.to_owned());
            DriverError::Monitor { machine, command, reason: reason.to_owned() }
        }
    }

    fn check(fake: &mut Fake, port: u16, preferred: Option<u16>, expected: Expect) {
        fake.said.clear();
        let answer = ensure(fake, &sample(NetworkMode::User), port, preferred);
        let mut lines = std::mem::take(&mut fake.said);
        lines.push(
            answer.map_or_else(
                |e| format!("error: {e}"),
                |f| format!("{} at {}", f.guest_port, f.host),
            ),
        );
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_forward_is_made_once() {
        let mut fake = Fake::default();
        check(
            &mut fake,
            22,
            None,
            expect![[r#"
                info usernet
                hostfwd_add nat tcp:127.0.0.1:0-10.0.2.15:22
                info usernet
                22 at 127.0.0.1:40001"#]],
        );
        check(
            &mut fake,
            22,
            None,
            expect![[r#"
            info usernet
            22 at 127.0.0.1:40001"#]],
        );
    }

    #[test]
    fn the_port_of_before_is_taken_if_free() {
        let mut fake = Fake { taken: vec![40_500], ..Fake::default() };
        check(
            &mut fake,
            8443,
            Some(40_400),
            expect![[r#"
                info usernet
                hostfwd_add nat tcp:127.0.0.1:40400-10.0.2.15:8443
                info usernet
                8443 at 127.0.0.1:40400"#]],
        );
        check(
            &mut fake,
            22,
            Some(40_500),
            expect![[r#"
                info usernet
                hostfwd_add nat tcp:127.0.0.1:40500-10.0.2.15:22
                hostfwd_add nat tcp:127.0.0.1:0-10.0.2.15:22
                info usernet
                22 at 127.0.0.1:40001"#]],
        );
        fake.taken.push(0);
        check(
            &mut fake,
            80,
            Some(40_500),
            expect![[r#"
                info usernet
                hostfwd_add nat tcp:127.0.0.1:40500-10.0.2.15:80
                hostfwd_add nat tcp:127.0.0.1:0-10.0.2.15:80
                error: 127.0.0.1:40500 cannot be listened on for port 80 of machine `dev`: Could not set up host forwarding rule 'tcp:127.0.0.1:0-10.0.2.15:80'"#]],
        );
    }
}
