//! Keeps QEMU's events away from the protocol library: one event it has not heard of would end the
//! connection, and every QEMU brings new ones. minik asks and does not listen, so none is missed.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;

/// A longer line is not from QEMU.
const LINE_MAX: u64 = 8 << 20;

/// Reads lines of JSON and drops those that are events.
pub(crate) struct WithoutEvents<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    taken: usize,
}

impl<R: Read> WithoutEvents<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from: BufReader::new(from), line: Vec::new(), taken: 0 }
    }
}

impl<R: Read> BufRead for WithoutEvents<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.taken == self.line.len() {
            self.line.clear();
            self.taken = 0;
            (&mut self.from).take(LINE_MAX).read_until(b'\n', &mut self.line)?;
            if is_event(&self.line) {
                self.line.clear();
            } else {
                break;
            }
        }
        Ok(&self.line[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount;
    }
}

impl<R: Read> Read for WithoutEvents<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(into)?;
        self.consume(amount);
        Ok(amount)
    }
}

fn is_event(line: &[u8]) -> bool {
    match serde_json::from_slice::<Value>(line) {
        Ok(value) => value.get("event").is_some(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(text: &str) -> String {
        let mut passed = String::new();
        WithoutEvents::new(text.as_bytes()).read_to_string(&mut passed).expect("it is in memory");
        passed
    }

    #[test]
    fn events_are_dropped_and_the_rest_is_kept() {
        let answer = "{\"return\": {\"event\": 1}}\r\n";
        let event =
            "{\"timestamp\": {}, \"event\": \"NEVER_HEARD_OF\", \"data\": {\"return\": 1}}\r\n";
        assert_eq!(
            pass(&format!("{event}{answer}{event}{event}{answer}")),
            format!("{answer}{answer}")
        );
        assert_eq!(pass(event), "");
        assert_eq!(pass("no json\n{\"cut\": "), "no json\n{\"cut\": ");
    }
}
