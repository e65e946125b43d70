//! QEMU's version, read tolerantly: distributions and developers add to it.

use std::fmt;

/// The oldest QEMU whose options minik uses.
pub const OLDEST: QemuVersion = QemuVersion { major: 6, minor: 2, micro: 0 };
/// The first QEMU whose emulation runs the guest's kernel on several CPUs. 7.2 crashes it with a
/// double fault; 8 and later do not.
pub const SOUND_EMULATION: QemuVersion = QemuVersion { major: 8, minor: 0, micro: 0 };

/// The first QEMU that carries frames over a pair of local sockets, as the further machines of a
/// profile need it without privileges.
pub(crate) const DATAGRAMS: QemuVersion = QemuVersion { major: 7, minor: 2, micro: 0 };

/// A version of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub micro: u32,
}

impl QemuVersion {
    /// Finds the version in what `qemu-system-x86_64 --version` says.
    pub fn parse(said: &str) -> Option<Self> {
        let after = said.split_once("version ")?.1;
        let text = after.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut numbers = text.split('.').map(str::parse);
        let major = numbers.next()?.ok()?;
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor: next(), micro: next() })
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", "7.2.22"; "debian")]
    #[test_case("QEMU emulator version 10.0.2", "10.0.2"; "plain")]
    #[test_case("QEMU emulator version 9.1.50-dirty", "9.1.50"; "changed by its builder")]
    #[test_case("QEMU emulator version 8.2.0-rc1 (v8.2.0-rc1-5-gabc)", "8.2.0"; "candidate")]
    #[test_case("QEMU emulator version 11.0", "11.0.0"; "two numbers")]
    #[test_case("QEMU emulator version banana", "none"; "no number")]
    #[test_case("qemu-system-x86_64: not found", "none"; "something else")]
    fn versions(said: &str, expected: &str) {
        let found = QemuVersion::parse(said).map_or("none".to_owned(), |found| found.to_string());
        assert_eq!(found, expected);
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let parse = |text: &str| QemuVersion::parse(&format!("version {text}"));
        assert!(parse("10.0.0") > parse("9.2.4"));
        assert!(parse("7.2.22") < Some(SOUND_EMULATION));
    }
}
