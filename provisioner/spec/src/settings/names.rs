//! `--apiserver-name`, `--apiserver-names`, `--apiserver-ips`, `--dns-domain`: names and addresses.

use std::net::IpAddr;

use crate::error::SpecError;

/// Whether `text` can be a DNS name; a leading `*.` is taken where certificates take it.
pub(crate) fn check_name(setting: &'static str, text: &str) -> Result<(), SpecError> {
    let bare = text.strip_prefix("*.").unwrap_or(text);
    let label = |part: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&part.len())
            && part.chars().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if bare.len() <= 253 && bare.split('.').all(label) {
        return Ok(());
    }
    Err(SpecError::setting(setting, text, "is not a DNS name"))
}

/// Whether `text` can be the cluster's domain: lower case, no `*`.
pub(crate) fn check_domain(text: &str) -> Result<(), SpecError> {
    if text.starts_with('*') || text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(SpecError::setting("dns-domain", text, "is not a domain in lower case"));
    }
    check_name("dns-domain", text)
}

/// An address for the API server's certificate.
pub(crate) fn parse_address(setting: &'static str, text: &str) -> Result<IpAddr, SpecError> {
    text.parse().map_err(|_| SpecError::setting(setting, text, "is not an IP address"))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("api.example", true)]
    #[test_case("*.example", true)]
    #[test_case("minikubeCA", true)]
    #[test_case("a..b", false)]
    #[test_case("a_b", false)]
    #[test_case("", false; "empty")]
    fn names(text: &str, fine: bool) {
        assert_eq!(check_name("apiserver-names", text).is_ok(), fine);
    }

    #[test_case("cluster.local", true)]
    #[test_case("Cluster.local", false; "capital")]
    #[test_case("*.local", false; "wildcard")]
    fn domains(text: &str, fine: bool) {
        assert_eq!(check_domain(text).is_ok(), fine);
    }
}
