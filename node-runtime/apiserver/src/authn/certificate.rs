//! Client certificates: who vouches for them, and whom they name.
//!
//! The handshake only proves that the client has the key of its certificate. Two authorities are
//! asked afterwards and kept apart: one vouches for users, the other for front proxies, which say in
//! headers for whom they ask. No certificate of one stands for anything with the other.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use time::OffsetDateTime;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Refused;
use crate::config::Secrets;
use crate::tls::{self, TlsError};
use crate::user::User;

/// What a user knows their credential by.
pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The part of a subject that holds a user's uid: 1.3.6.1.4.1.57683.2.
const UID: &[u64] = &[1, 3, 6, 1, 4, 1, 57683, 2];

/// Those who vouch for client certificates.
#[derive(Clone, Debug)]
pub(crate) struct Vouchers {
    users: Arc<dyn ClientCertVerifier>,
    front_proxies: Arc<dyn ClientCertVerifier>,
    /// Common names that a front proxy may have; any, if there are none.
    front_proxy_names: Vec<String>,
}

/// A certificate somebody showed, and what it is good for.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    user: Result<User, String>,
    front_proxy: Result<(), String>,
    not_after: OffsetDateTime,
}

impl Vouchers {
    pub(crate) fn new(secrets: &Secrets, names: Vec<String>) -> Result<Vouchers, TlsError> {
        Ok(Vouchers {
            users: tls::client_verifier("the client authority", &secrets.client_ca_pem)?,
            front_proxies: tls::client_verifier(
                "the front proxy authority",
                &secrets.front_proxy_ca_pem,
            )?,
            front_proxy_names: names,
        })
    }

    /// Judges the certificates of a connection, the client's own first.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>]) -> Option<Presented> {
        let (own, others) = chain.split_first()?;
        let vouches = |by: &Arc<dyn ClientCertVerifier>| {
            let verified = by.verify_client_cert(own, others, UnixTime::now());
            verified.map(|_| ()).map_err(|error| format!("verifying certificate failed: {error}"))
        };
        let Ok((_, certificate)) = X509Certificate::from_der(own) else {
            let malformed = || "the client certificate is malformed".to_owned();
            return Some(Presented {
                user: Err(malformed()),
                front_proxy: Err(malformed()),
                not_after: OffsetDateTime::UNIX_EPOCH,
            });
        };
        let name = common_name(&certificate).unwrap_or_default();
        let is_known = self.front_proxy_names.is_empty()
            || self.front_proxy_names.iter().any(|known| known == name);
        let front_proxy = vouches(&self.front_proxies).and_then(|()| match is_known {
            true => Ok(()),
            false => Err(format!("x509: subject with cn={name} is not in the allowed list")),
        });
        Some(Presented {
            user: vouches(&self.users).and_then(|()| user_of(own, &certificate)),
            front_proxy,
            not_after: certificate.validity().not_after.to_datetime(),
        })
    }
}

impl Presented {
    /// Whom the certificate names.
    pub(super) fn user(&self, now: OffsetDateTime) -> Result<Option<User>, Refused> {
        self.is_valid(now)?;
        self.user.clone().map(Some).map_err(Refused)
    }

    /// Whether whoever shows it may say for whom they ask.
    pub(super) fn is_front_proxy(&self, now: OffsetDateTime) -> Result<(), Refused> {
        self.is_valid(now)?;
        self.front_proxy.clone().map_err(Refused)
    }

    /// Connections can outlive certificates.
    fn is_valid(&self, now: OffsetDateTime) -> Result<(), Refused> {
        match now <= self.not_after {
            true => Ok(()),
            false => Err(Refused::new("the client certificate has expired")),
        }
    }
}

/// The common name of the first certificate of a PEM text.
pub(crate) fn name_in(pem: &str) -> Option<String> {
    minik_pki::inspect(pem).ok().map(|facts| facts.common_name)
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate.subject().iter_common_name().last()?.as_str().ok()
}

/// The common name, in its organizations.
fn user_of(der: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> Result<User, String> {
    let name = common_name(certificate).filter(|name| !name.is_empty());
    let name = name.ok_or("the subject has no common name")?;
    let subject = certificate.subject();
    let groups: Vec<&str> =
        subject.iter_organization().filter_map(|entry| entry.as_str().ok()).collect();
    let oid = Oid::from(UID).map_err(|_| "the identifier of uids is malformed")?;
    let uids: Vec<&str> =
        subject.iter_by_oid(&oid).map(|entry| entry.as_str().unwrap_or_default()).collect();
    let mut user = User::new(name, groups);
    match uids[..] {
        [] => {}
        [""] => return Err("UID cannot be an empty string".to_owned()),
        [uid] => uid.clone_into(&mut user.uid),
        _ => return Err(format!("expected 1 UID, but found multiple: {uids:?}")),
    }
    let digest = digest::digest(&digest::SHA256, der);
    let mut id = "X509SHA256=".to_owned();
    digest.as_ref().iter().for_each(|byte| id.push_str(&format!("{byte:02x}")));
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![id]);
    Ok(user)
}
