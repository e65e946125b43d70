//! Sizes as minikube writes them: a number and a unit, `4g`, `4096mb`, `4GiB`; without unit, MB.

/// The size in MiB, rounded up. `g` and `gb` count in 1024 MiB: that is what such VMs get everywhere.
pub(crate) fn parse_mib(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let kib_per_unit: f64 = match unit.trim() {
        "k" | "kb" | "kib" => 1.0,
        "" | "m" | "mb" | "mib" => 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0,
        "b" => 1.0 / 1024.0,
        _ => return None,
    };
    let kib = number.parse::<f64>().ok()? * kib_per_unit;
    let mib = (kib / 1024.0).ceil();
    // 1 EiB in MiB; more is a typing error, and less is exact in an f64.
    (mib.is_finite() && (0.0..1e12).contains(&mib)).then_some(mib as u64)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    #[test_case("4g", Some(4096))]
    #[test_case("4096mb", Some(4096))]
    #[test_case("4096", Some(4096); "no unit is MB")]
    #[test_case("20000mb", Some(20000))]
    #[test_case("1.5GiB", Some(1536))]
    #[test_case(" 2 G ", Some(2048); "spaces")]
    #[test_case("512k", Some(1); "rounds up")]
    #[test_case("1t", Some(1_048_576))]
    #[test_case("", None; "empty")]
    #[test_case("g", None; "only a unit")]
    #[test_case("4x", None; "unknown unit")]
    #[test_case("-4g", None; "negative")]
    #[test_case("1.2.3g", None; "two points")]
    #[test_case("99999999999t", None; "absurd")]
    fn sizes(text: &str, expected: Option<u64>) {
        assert_eq!(super::parse_mib(text), expected);
    }
}
