//! A certificate authority and the certificates it issues.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use crate::error::PkiError;
use crate::keys;

/// How long a certificate authority is valid: ten years.
pub const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long other certificates are valid unless asked otherwise: 26280 hours, three years.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(26_280 * 3600);

/// How far before its making a certificate is valid, for clocks that lag behind.
const BACKDATE: Duration = Duration::from_secs(3600);

/// A certificate and its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct CertKey {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key, PKCS#8. Secret.
    pub key_pem: String,
}

impl fmt::Debug for CertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertKey").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// TLS servers.
    Server,
    /// TLS clients.
    Client,
    /// Both sides.
    Both,
}

/// What a certificate should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRequest {
    /// Common name: the user name for client certificates.
    pub common_name: String,
    /// Organizations: the groups for client certificates. At most one: the encoder has room for no more.
    pub organizations: Vec<String>,
    /// DNS names and IP addresses a server is known by.
    pub sans: Vec<String>,
    /// What it is for.
    pub usage: Usage,
    /// How long it is valid; cut to the authority's own end.
    pub validity: Duration,
}

impl LeafRequest {
    /// A client certificate for a user in groups.
    pub fn client(user: &str, groups: &[&str]) -> LeafRequest {
        LeafRequest {
            common_name: user.to_owned(),
            organizations: groups.iter().map(|&group| group.to_owned()).collect(),
            sans: Vec::new(),
            usage: Usage::Client,
            validity: LEAF_VALIDITY,
        }
    }

    /// A server certificate for names and addresses.
    pub fn server(common_name: &str, sans: Vec<String>) -> LeafRequest {
        LeafRequest {
            common_name: common_name.to_owned(),
            organizations: Vec::new(),
            sans,
            usage: Usage::Server,
            validity: LEAF_VALIDITY,
        }
    }

    /// The same request with another validity.
    #[must_use]
    pub fn valid_for(self, validity: Duration) -> LeafRequest {
        LeafRequest { validity, ..self }
    }
}

/// A certificate authority with its key.
#[derive(Clone, Debug)]
pub struct Ca {
    pair: CertKey,
    not_after: OffsetDateTime,
}

impl Ca {
    /// Makes a new self-signed authority.
    pub fn new(common_name: &str, validity: Duration) -> Result<Ca, PkiError> {
        let key = keys::generate(common_name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - BACKDATE;
        params.not_after = now + validity;
        let not_after = params.not_after;
        let cert = params
            .self_signed(&key)
            .map_err(|source| PkiError::Make { what: common_name.to_owned(), source })?;
        let pair = CertKey { cert_pem: cert.pem(), key_pem: key.serialize_pem() };
        Ok(Ca { pair, not_after })
    }

    /// Takes an authority from its two PEM texts.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Ca, PkiError> {
        let facts = crate::inspect(cert_pem)?;
        let pair = CertKey { cert_pem: cert_pem.to_owned(), key_pem: key_pem.to_owned() };
        let ca = Ca { pair, not_after: facts.not_after };
        ca.issuer()?;
        Ok(ca)
    }

    /// The certificate.
    pub fn cert_pem(&self) -> &str {
        &self.pair.cert_pem
    }

    /// The private key. Secret.
    pub fn key_pem(&self) -> &str {
        &self.pair.key_pem
    }

    /// Makes a key pair and signs a certificate for it.
    pub fn issue(&self, request: &LeafRequest) -> Result<CertKey, PkiError> {
        let what = &request.common_name;
        if let [_, _, ..] = request.organizations[..] {
            return Err(PkiError::Groups { groups: request.organizations.clone() });
        }
        let key = keys::generate(what)?;
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(what, &request.organizations);
        params.subject_alt_names =
            request.sans.iter().map(|san| san_of(san)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = extended_usages(request.usage);
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - BACKDATE;
        params.not_after = (now + request.validity).min(self.not_after);
        let cert = params
            .signed_by(&key, &self.issuer()?)
            .map_err(|source| PkiError::Make { what: what.clone(), source })?;
        Ok(CertKey { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let key = KeyPair::from_pem(&self.pair.key_pem)
            .map_err(|source| PkiError::Key { what: "the authority's key".to_owned(), source })?;
        Issuer::from_ca_cert_pem(&self.pair.cert_pem, key)
            .map_err(|source| PkiError::Certificate { reason: source.to_string() })
    }
}

fn extended_usages(usage: Usage) -> Vec<ExtendedKeyUsagePurpose> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    match usage {
        Usage::Server => vec![ServerAuth],
        Usage::Client => vec![ClientAuth],
        Usage::Both => vec![ServerAuth, ClientAuth],
    }
}

fn distinguished_name(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn san_of(text: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || PkiError::Name { name: text.to_owned() };
    let label = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_*".contains(c))
    };
    if !text.split('.').all(label) {
        return Err(refused());
    }
    Ok(SanType::DnsName(text.try_into().map_err(|_| refused())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect;

    #[test]
    fn a_leaf_says_what_was_asked() {
        let ca = Ca::new("minikCA", CA_VALIDITY).unwrap();
        let sans = ["10.96.0.1", "192.168.49.2", "localhost", "kubernetes.default.svc"];
        let request = LeafRequest::server("minik", sans.map(str::to_owned).to_vec());
        let leaf = ca.issue(&request).unwrap();
        let facts = inspect(&leaf.cert_pem).unwrap();
        assert_eq!(facts.common_name, "minik");
        assert_eq!(facts.sans, sans);
        assert_eq!(facts.issuer, "minikCA");
        assert!(facts.was_issued_by(&inspect(ca.cert_pem()).unwrap()));
        let other = Ca::new("minikCA", CA_VALIDITY).unwrap();
        assert!(!facts.was_issued_by(&inspect(other.cert_pem()).unwrap()));
    }

    #[test]
    fn a_client_has_its_group_and_ends_with_its_authority() {
        let ca = Ca::new("minikCA", Duration::from_secs(3600)).unwrap();
        let leaf = ca.issue(&LeafRequest::client("system:node:a", &["system:nodes"])).unwrap();
        let facts = inspect(&leaf.cert_pem).unwrap();
        assert_eq!(facts.organizations, ["system:nodes"]);
        assert_eq!(facts.not_after, inspect(ca.cert_pem()).unwrap().not_after);
    }

    #[test]
    fn an_authority_comes_back_from_its_pem() {
        let ca = Ca::new("minikCA", CA_VALIDITY).unwrap();
        let again = Ca::from_pem(ca.cert_pem(), ca.key_pem()).unwrap();
        let leaf = again.issue(&LeafRequest::client("admin", &["system:masters"])).unwrap();
        let facts = inspect(&leaf.cert_pem).unwrap();
        assert!(facts.was_issued_by(&inspect(ca.cert_pem()).unwrap()));
        assert!(Ca::from_pem(ca.cert_pem(), "nonsense").is_err());
        assert!(Ca::from_pem("nonsense", ca.key_pem()).is_err());
    }

    #[test]
    fn what_cannot_be_in_a_certificate_is_refused() {
        let ca = Ca::new("minikCA", CA_VALIDITY).unwrap();
        let bad_name = LeafRequest::server("a", vec!["not a name".to_owned()]);
        assert!(matches!(ca.issue(&bad_name), Err(PkiError::Name { .. })));
        let two = LeafRequest::client("a", &["b", "c"]);
        assert!(matches!(ca.issue(&two), Err(PkiError::Groups { .. })));
    }
}
