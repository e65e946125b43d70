//! Lines of a container's log as CRI runtimes write them: `TIME STREAM TAG CONTENT`.

use k8s_openapi::jiff::Timestamp;

/// Where the line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// One line of the log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) time: &'a str,
    pub(crate) stream: Stream,
    /// The program's line goes on in the next one.
    pub(crate) is_partial: bool,
    pub(crate) content: &'a [u8],
}

impl Line<'_> {
    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// Reads one line, without its newline.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let tags = parts.next()?;
    let is_partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    Some(Line { time, stream, is_partial, content: parts.next().unwrap_or_default() })
}

/// The program's part of a line.
pub(crate) fn content(line: &str) -> Option<&str> {
    let parsed = parse(line.as_bytes())?;
    std::str::from_utf8(parsed.content).ok()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("2026-01-02T03:04:05.000000006Z stdout F hello there"
        => Some((Stream::Stdout, false, "hello there".to_owned())))]
    #[test_case("2026-01-02T03:04:05Z stderr P part" => Some((Stream::Stderr, true, "part".to_owned())))]
    #[test_case("2026-01-02T03:04:05Z stdout F " => Some((Stream::Stdout, false, String::new())))]
    #[test_case("2026-01-02T03:04:05Z stdout P:x y" => Some((Stream::Stdout, true, "y".to_owned())))]
    #[test_case("cut off" => None)]
    fn lines(text: &str) -> Option<(Stream, bool, String)> {
        let line = parse(text.as_bytes())?;
        let content = String::from_utf8_lossy(line.content).into_owned();
        Some((line.stream, line.is_partial, content))
    }
}
