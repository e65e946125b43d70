//! A connection to the guest, a look at what is there, and its clock put right: a host that slept leaves
//! guests behind, and certificates are not valid yet for them.

use std::time::SystemTime;

use minik_config::NODE_FILE;

use super::unit::UNIT_FILE;
use crate::certificates::GUEST_PKI;
use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::{Connect, SshError, look_into, understand};
use crate::work::{NodeWork, target};

/// So many lines of the console are told.
const CONSOLE_LINES: usize = 15;

/// A clock may be off by this much.
const CLOCK_OFF_MAX_S: u64 = 5;

/// Places of everything that later phases bring; they ask no more.
const OURS: [&str; 4] = ["/var/lib/minik/bin", GUEST_PKI, NODE_FILE, UNIT_FILE];

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let work = node.work;
    let target = target(work.tools, &work.profile, &node.machine)?;
    let connect: &dyn Connect = work.tools.connect;
    let connected = connect.connect(&target, node.left());
    node.shell = Some(connected.map_err(|err| with_console(err, node))?);

    let look = format!("hostname; date +%s; {}", look_into(&OURS));
    let before = unix_now();
    let output = node.run(&look)?;
    let Some((hostname, clock)) = name_and_clock(&output.stdout) else {
        return Err(ProvisionError::Answer {
            machine: node.node.name.clone(),
            command: look,
            answer: output.stdout.chars().take(200).collect(),
        });
    };
    if hostname != node.node.name {
        let machine = node.node.name.clone();
        return Err(ProvisionError::WrongGuest { machine, found: hostname.to_owned() });
    }
    node.there = understand(&output.stdout);
    if is_right(clock, before, unix_now()) {
        return Ok(Outcome::Unchanged);
    }
    node.run(&format!("date -u -s @{}", unix_now()))?;
    Ok(Outcome::Changed)
}

/// The console often tells why nothing answers.
fn with_console(mut err: SshError, node: &NodeWork<'_, '_>) -> SshError {
    if let SshError::Unreachable { console, .. } = &mut err {
        let path = node.work.tools.driver.console(&node.machine);
        // Without a console the error is as good as it was.
        let text = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        *console = lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n");
    }
    err
}

/// The guest looked at its clock at some time between the two, which may be far apart.
fn is_right(clock: u64, before: u64, after: u64) -> bool {
    (before.saturating_sub(CLOCK_OFF_MAX_S)..=after + CLOCK_OFF_MAX_S).contains(&clock)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn name_and_clock(text: &str) -> Option<(&str, u64)> {
    let mut lines = text.lines();
    Some((lines.next()?.trim(), lines.next()?.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(1000, true; "when it was asked")]
    #[test_case(1030, true; "when it answered")]
    #[test_case(996, true; "a little behind")]
    #[test_case(994, false; "slept")]
    #[test_case(1036, false; "ahead")]
    fn clocks(clock: u64, right: bool) {
        assert_eq!(is_right(clock, 1000, 1030), right);
    }
}
