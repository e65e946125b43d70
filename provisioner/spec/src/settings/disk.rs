//! `--disk-size`: how large each machine's data disk may grow.

use std::str::FromStr;

use super::size::parse_mib;
use crate::error::SpecError;

/// How large a data disk may grow, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSize {
    /// MiB.
    pub mib: u64,
}

impl Default for DiskSize {
    fn default() -> DiskSize {
        DiskSize { mib: 20_000 }
    }
}

impl FromStr for DiskSize {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<DiskSize, SpecError> {
        let refused = || SpecError::setting("disk-size", text, "is not a size like 20000mb or 20g");
        parse_mib(text).map(|mib| DiskSize { mib }).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("20000mb", "20000")]
    #[test_case("20g", "20480")]
    #[test_case("max", "disk-size: `max` is not a size like 20000mb or 20g"; "disks have no max")]
    fn disk(text: &str, expected: &str) {
        let got = text.parse::<DiskSize>().map(|disk| disk.mib.to_string());
        assert_eq!(got.unwrap_or_else(|err| err.to_string()), expected);
    }
}
