//! The monitor against a server that says what QEMU says, and some things it should not.

use std::io::{BufRead, BufReader, Write};
use std::thread;

use super::*;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "x"}, "capabilities": ["oob"]}}"#;
const EVENT: &str =
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "NEVER_HEARD_OF", "data": {}}"#;

/// Answers each request with the next of `answers`, an event before each.
fn with(answers: &'static [&'static str], ask: impl FnOnce(Result<Monitor>) -> String) -> String {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = thread::spawn(move || {
        let mut to = theirs.try_clone().expect("a second handle");
        let mut asked = Vec::new();
        let mut requests = BufReader::new(theirs).lines();
        for (number, answer) in answers.iter().enumerate() {
            if number > 0 {
                let Some(Ok(request)) = requests.next() else { break };
                asked.push(request);
            }
            if write!(to, "{EVENT}\r\n{answer}\r\n").is_err() {
                break;
            }
        }
        asked
    });
    let said = ask(Monitor::on(ours, "dev"));
    let asked = server.join().expect("the server does not panic");
    format!("{said}; asked {}", asked.len())
}

fn state(monitor: Result<Monitor>) -> String {
    match monitor.and_then(|mut monitor| monitor.state()) {
        Ok(state) => state.to_string(),
        Err(error) => error.to_string(),
    }
}

const OK: &str = r#"{"return": {}}"#;

#[test]
fn states_and_what_is_wrong() {
    assert_eq!(
        with(
            &[
                GREETING,
                OK,
                r#"{"return": {"status": "running", "singlestep": false, "running": true}}"#
            ],
            state
        ),
        "running; asked 2"
    );
    assert_eq!(
        with(&[GREETING, OK, r#"{"return": {"status": "paused", "running": false}}"#], state),
        "paused; asked 2"
    );
    assert_eq!(
        with(
            &[
                GREETING,
                OK,
                r#"{"return": {"status": "io-error", "running": false}}"#,
                r#"{"return": [{"device": "", "locked": false, "removable": false, "type": "x", "io-status": "nospace"}]}"#
            ],
            state
        ),
        "halted: no space is left on the host for its disk; asked 3"
    );
}

#[test]
fn refusals_and_silence_are_errors_not_panics() {
    assert_eq!(
        with(&[GREETING, OK, r#"{"error": {"class": "GenericError", "desc": "not now"}}"#], state),
        "the monitor of machine `dev` refused `query-status`: not now; asked 2"
    );
    assert_eq!(
        with(&[], state),
        "the monitor of machine `dev` refused `greet`: it closed the connection; asked 0"
    );
    let cut = with(&[GREETING, OK], state);
    assert!(cut.starts_with("the monitor of machine `dev` refused `query-status`"), "{cut}");
}
