//! Which lines of a log are shown, and how.

use k8s_openapi::jiff::Timestamp;

use crate::server::log_line::{self, Stream};

/// Turns lines of the file into what is shown.
pub(super) struct Filter {
    since: Option<Timestamp>,
    timestamps: bool,
    /// Bytes that may still be shown.
    left: Option<u64>,
    only: Option<Stream>,
    /// The last line shown goes on.
    in_line: bool,
}

impl Filter {
    pub(super) fn new(
        since: Option<Timestamp>,
        timestamps: bool,
        limit_bytes: Option<u64>,
        stream: Option<&str>,
    ) -> Self {
        let only = match stream {
            Some("Stdout") => Some(Stream::Stdout),
            Some("Stderr") => Some(Stream::Stderr),
            _ => None,
        };
        Self { since, timestamps, left: limit_bytes, only, in_line: false }
    }

    /// Nothing more will be shown.
    pub(super) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Appends what is shown of one line of the file (without its newline).
    pub(super) fn show(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(parsed) = log_line::parse(line) else { return };
        if self.only.is_some_and(|only| only != parsed.stream) {
            return;
        }
        if let Some(since) = self.since {
            if parsed.timestamp().is_some_and(|time| time < since) {
                return;
            }
            // Lines are in order: the rest is newer.
            self.since = None;
        }
        let start = out.len();
        if self.timestamps && !self.in_line {
            out.extend_from_slice(parsed.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(parsed.content);
        if !parsed.is_partial {
            out.push(b'\n');
        }
        self.in_line = parsed.is_partial;
        if let Some(left) = &mut self.left {
            let shown = out.len() - start;
            let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(shown);
            out.truncate(start + allowed);
            *left -= allowed as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n\
                       2026-01-01T00:00:02Z stdout P tw\n\
                       2026-01-01T00:00:02.5Z stdout F o\n\
                       2026-01-01T00:00:03Z stderr F three";

    fn shown(mut filter: Filter) -> String {
        let mut out = Vec::new();
        for line in LOG.lines() {
            filter.show(line.as_bytes(), &mut out);
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn parts_are_joined() {
        assert_eq!(shown(Filter::new(None, false, None, None)), "one\ntwo\nthree\n");
    }

    #[test]
    fn timestamps_stand_once_per_line() {
        let want =
            "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n";
        assert_eq!(shown(Filter::new(None, true, None, None)), want);
    }

    #[test]
    fn since_stream_and_limit() {
        let since = "2026-01-01T00:00:02Z".parse().ok();
        assert_eq!(shown(Filter::new(since, false, None, None)), "two\nthree\n");
        assert_eq!(shown(Filter::new(None, false, None, Some("Stderr"))), "three\n");
        assert_eq!(shown(Filter::new(None, false, Some(6), None)), "one\ntw");
    }
}
