//! Names and small parsers of the command line.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

/// Where the provisioner writes the node file.
pub(crate) const NODE_FILE: &str = "/etc/minik/node.yaml";

/// Below the run folder: who asks `minik-node status` connects here.
pub(crate) const STATUS_SOCKET: &str = "status.sock";

/// `90s`, `2m` or bare seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("`{text}` is no duration, as `60s` or `2m`"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("`{unit}` is no unit of time: ms, s and m are")),
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(err: &(dyn Error + 'static)) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(source) = next {
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("1h").is_err());
        assert!(duration("soon").is_err());
    }
}
