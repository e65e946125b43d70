//! What a certificate says, and whether it needs a new one.

use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;
use x509_parser::prelude::{
    FromDer, GeneralName, ParsedExtension, X509Certificate, parse_x509_pem,
};

use crate::error::PkiError;

/// A certificate with less than this left is renewed at the next start: 30 days.
pub const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFacts {
    /// Common name of the subject.
    pub common_name: String,
    /// Organizations of the subject.
    pub organizations: Vec<String>,
    /// Common name of the issuer.
    pub issuer: String,
    /// DNS names and addresses, in the certificate's order.
    pub sans: Vec<String>,
    /// Valid from.
    pub not_before: OffsetDateTime,
    /// Valid until.
    pub not_after: OffsetDateTime,
    subject_key: Option<Vec<u8>>,
    authority_key: Option<Vec<u8>>,
}

impl CertFacts {
    /// Whether less than `margin` is left at `now`.
    pub fn ends_within(&self, now: OffsetDateTime, margin: Duration) -> bool {
        self.not_after - now < margin
    }

    /// Whether the certificate names the authority's key as the one that signed it.
    pub fn was_issued_by(&self, authority: &CertFacts) -> bool {
        self.authority_key.is_some() && self.authority_key == authority.subject_key
    }

    /// Whether every one of `names` is in the certificate.
    pub fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.sans.contains(name))
    }
}

/// Reads the first certificate of a PEM text.
pub fn inspect(cert_pem: &str) -> Result<CertFacts, PkiError> {
    let (_, pem) = parse_x509_pem(cert_pem.as_bytes()).map_err(refused)?;
    let (_, cert) = X509Certificate::from_der(&pem.contents).map_err(refused)?;
    let mut facts = CertFacts {
        common_name: first(cert.subject().iter_common_name()),
        organizations: cert.subject().iter_organization().filter_map(text).collect(),
        issuer: first(cert.issuer().iter_common_name()),
        sans: Vec::new(),
        not_before: cert.validity().not_before.to_datetime(),
        not_after: cert.validity().not_after.to_datetime(),
        subject_key: None,
        authority_key: None,
    };
    for extension in cert.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                facts.sans = names.general_names.iter().filter_map(san_text).collect();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => facts.subject_key = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                facts.authority_key = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn refused(err: impl std::fmt::Display) -> PkiError {
    PkiError::Certificate { reason: err.to_string() }
}

fn text(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> Option<String> {
    attribute.as_str().ok().map(str::to_owned)
}

fn first<'a>(
    mut names: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> String {
    names.next().and_then(text).unwrap_or_default()
}

fn san_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;
    use crate::{Ca, LeafRequest};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test_case(29, true; "29 days left is renewed")]
    #[test_case(31, false; "31 days left is kept")]
    fn renewal(days: u32, renew: bool) {
        let ca = Ca::new("ca", 100 * DAY).unwrap();
        let leaf = ca.issue(&LeafRequest::client("a", &[]).valid_for(DAY * days)).unwrap();
        let facts = inspect(&leaf.cert_pem).unwrap();
        assert_eq!(facts.ends_within(OffsetDateTime::now_utc(), RENEW_BEFORE), renew);
    }

    #[test_case(""; "empty")]
    #[test_case("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"; "not DER")]
    fn what_is_no_certificate(pem: &str) {
        assert!(matches!(inspect(pem), Err(PkiError::Certificate { .. })));
    }
}
