//! The wire to the host: a virtio-serial port with one JSON object per line in both directions.
//!
//! While nobody is connected on the host's side the port is hung up for good in the eyes of `poll`, so it is watched
//! edge-triggered, and a connection that comes is noticed as one change.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, on_file};
use crate::facts::Facts;
use crate::seed::Documents;

/// The port's name, as the host gives it to the hypervisor.
pub(crate) const NAME: &str = "io.minik.agent.0";
/// A longer line is not from minik; a seed is about 2 KiB.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// What is kept for a host that does not read.
const OUTBOX_BYTES_MAX: usize = 256 * 1024;

/// What the host asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Become this guest.
    Rehome { id: u64, seed: Documents },
    /// Stop everything and switch off.
    Poweroff { id: u64 },
    /// Say the facts again.
    Facts { id: u64 },
}

/// The open port.
pub(crate) struct Channel {
    port: File,
    connected: bool,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

/// What came of looking at the port.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The host has just connected.
    pub(crate) connected: bool,
    /// Complete lines.
    pub(crate) lines: Vec<String>,
}

impl Channel {
    /// Opens the port by its name.
    pub(crate) fn open() -> Result<Self, Error> {
        for entry in fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten() {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim() == NAME {
                let path = Path::new("/dev").join(entry.file_name());
                let port = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
                    .open(&path)
                    .map_err(on_file("open", path))?;
                return Ok(Self { port, connected: false, inbox: vec![], outbox: vec![] });
            }
        }
        Err(Error::NoChannel(NAME))
    }

    /// For the event loop, to be watched edge-triggered.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }

    /// Looks at the port after something changed: reads what is there and sends what waits.
    pub(crate) fn look(&mut self) -> Heard {
        let mut heard = Heard::default();
        let here = self.host_is_there();
        heard.connected = here && !self.connected;
        self.connected = here;
        if !here {
            // What a host has not read before it left is not meant for the next one.
            self.inbox.clear();
            self.outbox.clear();
            return heard;
        }
        let mut buffer = [0; 4096];
        loop {
            match self.port.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.inbox.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
            heard.lines.append(&mut take_lines(&mut self.inbox));
        }
        self.flush();
        heard
    }

    /// Sends one object, now or when the host reads again.
    pub(crate) fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        if self.connected && self.outbox.len() + line.len() <= OUTBOX_BYTES_MAX {
            self.outbox.extend_from_slice(line.as_bytes());
            self.flush();
        }
    }

    fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match self.port.write(&self.outbox) {
                Ok(length) => drop(self.outbox.drain(..length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn host_is_there(&self) -> bool {
        let mut ports = [PollFd::new(&self.port, PollFlags::IN | PollFlags::OUT)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut ports, Some(&at_once)).is_ok() && !ports[0].revents().contains(PollFlags::HUP)
    }
}

/// Takes the complete lines out of the inbox; a line that is too long is thrown away.
fn take_lines(inbox: &mut Vec<u8>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(end) = inbox.iter().position(|&byte| byte == b'\n') {
        let line: Vec<u8> = inbox.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if !text.is_empty() {
            lines.push(text);
        }
    }
    if inbox.len() > LINE_BYTES_MAX {
        inbox.clear();
    }
    lines
}

/// Understands a line; otherwise the answer that says why not.
pub(crate) fn parse(line: &str) -> Result<Request, Value> {
    serde_json::from_str(line).map_err(|error| {
        let id = serde_json::from_str::<Value>(line).ok().and_then(|value| value.get("id").cloned());
        json!({"id": id, "ok": false, "error": format!("not a request that this agent knows: {error}")})
    })
}

/// The answer to a request that worked, with the facts when there are any.
pub(crate) fn done(id: u64, facts: Option<&Facts>) -> Value {
    with_facts(json!({"id": id, "ok": true}), facts)
}

/// The answer to a request that did not work.
pub(crate) fn failed(id: u64, error: &Error) -> Value {
    json!({"id": id, "ok": false, "error": crate::error::chain(error)})
}

/// Said when SSH answers under the identity that was given.
pub(crate) fn ready(facts: &Facts) -> Value {
    with_facts(json!({"event": "ready"}), Some(facts))
}

/// Said by a guest that has no identity yet.
pub(crate) fn waiting() -> Value {
    json!({"event": "waiting"})
}

fn with_facts(mut message: Value, facts: Option<&Facts>) -> Value {
    if let Some(facts) = facts
        && let Ok(Value::Object(fields)) = serde_json::to_value(facts)
        && let Some(object) = message.as_object_mut()
    {
        object.extend(fields);
    }
    message
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(line: &str, wanted: Expect) {
        wanted.assert_eq(&match parse(line) {
            Ok(request) => format!("{request:?}"),
            Err(answer) => answer.to_string(),
        });
    }

    #[test]
    fn requests_are_understood_or_answered() {
        check(r#"{"id":1,"do":"facts"}"#, expect!["Facts { id: 1 }"]);
        check(r#"{"id":2,"do":"poweroff"}"#, expect!["Poweroff { id: 2 }"]);
        check(
            r#"{"id":3,"do":"rehome","seed":{"meta-data":"a","user-data":"b","network-config":"c"}}"#,
            expect![[
                r#"Rehome { id: 3, seed: Documents { meta_data: "a", user_data: "b", network_config: "c" } }"#
            ]],
        );
        check(
            r#"{"id":4,"do":"dance"}"#,
            expect![[
                r#"{"id":4,"ok":false,"error":"not a request that this agent knows: unknown variant `dance`, expected one of `rehome`, `poweroff`, `facts` at line 1 column 20"}"#
            ]],
        );
        check(
            "hello",
            expect![[
                r#"{"id":null,"ok":false,"error":"not a request that this agent knows: expected value at line 1 column 1"}"#
            ]],
        );
    }

    #[test]
    fn lines_are_taken_whole() {
        let mut inbox = b"one\n\ntw".to_vec();
        assert_eq!(take_lines(&mut inbox), ["one"]);
        inbox.extend_from_slice(b"o\n");
        assert_eq!(take_lines(&mut inbox), ["two"]);
        inbox = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(take_lines(&mut inbox), Vec::<String>::new());
        assert!(inbox.is_empty());
    }
}
