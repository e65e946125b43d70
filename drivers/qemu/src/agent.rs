//! The guest's agent, over a socket that QEMU connects to a port in the guest: JSON lines. The
//! agent says that it is ready each time somebody connects, so nothing is missed and nothing asked
//! for again and again.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use minik_driver::{DriverError, GuestFacts, MachineSpec, Result};
use serde_json::{Value, json};

use crate::files::Files;

/// A longer line is not from the agent.
const LINE_MAX: u64 = 1 << 20;

/// How waiting for the guest ended without an answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The deadline passed.
    Late,
    /// QEMU closed the connection: it ended.
    Closed,
    /// Something else.
    Failed(DriverError),
}

/// Number of the question for the guest's facts.
const FACTS_ID: u64 = 2;

/// How long after its facts a guest that is about to become ready may take to say so; what comes after
/// this is found by who connects to it.
const READY_FOLLOWS: Duration = Duration::from_secs(3);

/// A connection to the agent of a running machine.
pub(crate) struct Agent {
    reader: BufReader<UnixStream>,
    machine: String,
}

impl Agent {
    pub(crate) fn connect(spec: &MachineSpec) -> Result<Self> {
        let stream = UnixStream::connect(Files(spec).agent())
            .map_err(|error| refused(&spec.name, "connect", &error.to_string()))?;
        Ok(Self::on(stream, &spec.name))
    }

    fn on(stream: UnixStream, machine: &str) -> Self {
        Self { reader: BufReader::new(stream), machine: machine.to_owned() }
    }

    /// Waits until the guest says that it is ready.
    ///
    /// The guest says so when it becomes ready and to everybody who connects later, but it does not
    /// notice when one connection follows another at once, as after a killed command. So it is asked
    /// for its facts, too: an answer that no `ready` follows comes from a guest that has said it.
    pub(crate) fn ready(
        &mut self,
        deadline: Duration,
    ) -> std::result::Result<GuestFacts, NoAnswer> {
        let mut end = Instant::now() + deadline;
        let request = json!({"id": FACTS_ID, "do": "facts"}).to_string() + "\n";
        // A guest that is gone, or whose buffer is full, shows itself in what is read below.
        let _asked = self.reader.get_ref().write_all(request.as_bytes());
        let mut answer = None;
        loop {
            let message = match (self.next(end), answer.take()) {
                (Err(NoAnswer::Late), Some(answer)) => answer,
                (message, earlier) => {
                    let message = message?;
                    if message["id"] == FACTS_ID && message["ok"] == true {
                        end = end.min(Instant::now() + READY_FOLLOWS);
                        answer = Some(message);
                        continue;
                    }
                    if message["event"] != "ready" {
                        answer = earlier;
                        continue;
                    }
                    message
                }
            };
            return serde_json::from_value(message).map_err(|error| {
                NoAnswer::Failed(refused(&self.machine, "ready", &error.to_string()))
            });
        }
    }

    /// Asks the guest to switch itself off, and waits until it says that it will.
    pub(crate) fn power_off(&mut self, deadline: Duration) -> std::result::Result<(), NoAnswer> {
        let end = Instant::now() + deadline;
        let failed = |error: io::Error| refused(&self.machine, "poweroff", &error.to_string());
        let mut request = json!({"id": 1, "do": "poweroff"}).to_string();
        request.push('\n');
        let mut stream = self.reader.get_ref();
        stream.set_write_timeout(Some(deadline)).map_err(|e| NoAnswer::Failed(failed(e)))?;
        stream.write_all(request.as_bytes()).map_err(|e| NoAnswer::Failed(failed(e)))?;
        loop {
            let message = self.next(end)?;
            if message["id"] == 1 {
                let reason = message["error"].as_str().unwrap_or("it gave no reason");
                return match message["ok"] == true {
                    true => Ok(()),
                    false => Err(NoAnswer::Failed(refused(&self.machine, "poweroff", reason))),
                };
            }
        }
    }

    /// The next message. What is no JSON, such as the rest of a line whose beginning an earlier
    /// connection got, is passed over.
    fn next(&mut self, end: Instant) -> std::result::Result<Value, NoAnswer> {
        let mut line = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // The system takes zero for "for ever".
            if left.is_zero() || self.reader.get_ref().set_read_timeout(Some(left)).is_err() {
                return Err(NoAnswer::Late);
            }
            match (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut line) {
                Ok(0) => return Err(NoAnswer::Closed),
                Ok(_) => {
                    if let Ok(message) = serde_json::from_slice(&line) {
                        return Ok(message);
                    }
                    line.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(NoAnswer::Late);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(NoAnswer::Closed);
                }
                Err(error) => {
                    let error = refused(&self.machine, "listen", &error.to_string());
                    return Err(NoAnswer::Failed(error));
                }
            }
        }
    }
}

fn refused(machine: &str, request: &str, reason: &str) -> DriverError {
    let (machine, request, reason) = (machine.to_owned(), request.to_owned(), reason.to_owned());
    DriverError::Agent { machine, request, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// An agent whose guest has said this and, if `close`, is gone.
    fn said(text: &str, close: bool) -> (Agent, Option<UnixStream>) {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        theirs.write_all(text.as_bytes()).expect("the socket has room");
        (Agent::on(ours, "dev"), (!close).then_some(theirs))
    }

    #[test]
    fn ready_is_found_among_other_lines() {
        let text = "uptimeMs\":1}\n{\"event\":\"waiting\"}\n{\"id\":1,\"ok\":true,\"hostname\":\"x\"}\n\
            {\"event\":\"ready\",\"hostname\":\"dev\",\"addresses\":[\"192.168.60.2/24\"],\
            \"sshHostKey\":\"ssh-ed25519 AAAA\",\"bootId\":\"b\",\"uptimeMs\":2900,\"machineId\":\"m\",\"new\":1}\n";
        let (mut agent, _guest) = said(text, false);
        let facts = agent.ready(LONG).expect("it says so");
        assert_eq!((facts.hostname.as_str(), facts.uptime_ms), ("dev", 2900));
        assert_eq!(facts.addresses, ["192.168.60.2/24"]);
    }

    #[test]
    fn a_guest_that_has_said_it_to_somebody_else_is_ready() {
        let text = "{\"id\":2,\"ok\":true,\"hostname\":\"dev\",\"addresses\":[]}\n";
        let (mut agent, _guest) = said(text, false);
        assert_eq!(agent.ready(Duration::from_millis(50)).expect("it answers").hostname, "dev");
        let (mut agent, _guest) = said("{\"id\":2,\"ok\":false}\n", false);
        assert!(matches!(agent.ready(Duration::from_millis(50)), Err(NoAnswer::Late)));
    }

    #[test]
    fn the_end_of_the_machine_is_told_from_silence() {
        let (mut agent, _) = said("{\"event\":\"waiting\"}\n", true);
        assert!(matches!(agent.ready(LONG), Err(NoAnswer::Closed)));
        let (mut agent, _guest) = said("", false);
        assert!(matches!(agent.ready(Duration::from_millis(1)), Err(NoAnswer::Late)));
        let (mut agent, _guest) = said("", false);
        assert!(matches!(agent.ready(Duration::ZERO), Err(NoAnswer::Late)));
    }

    #[test]
    fn a_refused_poweroff_says_why() {
        let (mut agent, _guest) = said("{\"id\":1,\"ok\":false,\"error\":\"busy\"}\n", false);
        let Err(NoAnswer::Failed(error)) = agent.power_off(LONG) else { panic!("it was refused") };
        assert_eq!(error.to_string(), "the agent of machine `dev` did not do `poweroff`: busy");
        let (mut agent, _guest) = said("{\"id\":1,\"ok\":true}\n", false);
        assert!(agent.power_off(LONG).is_ok());
    }
}
