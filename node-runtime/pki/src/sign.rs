//! Certificates for keys of others: subject and names of their request, the rest decided here.
//!
//! Written as DER by hand, because the certificate must carry the subject exactly as it was asked
//! for, and the library's own form of a subject has room for one organization only.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{KeyPair, SignatureAlgorithm, SigningKey};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, parse_x509_pem};

use crate::ca::Ca;
use crate::error::PkiError;
use crate::request::SigningRequest;

/// A certificate is valid from this long before it is made.
pub const SIGNED_BACKDATE: Duration = Duration::from_secs(5 * 60);
/// One that is valid for less than this is not made shorter by what it is dated back.
const SHORT: Duration = Duration::from_secs(8 * 3600);

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];

/// Names of bits of the key usage, and which.
const BITS: &[(&str, u16)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// Names of extended usages and their identifiers, in the order they have in a certificate.
const PURPOSES: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];

/// What a certificate may be used for, by the names that certificate requests of the API have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUsages {
    bits: u16,
    purposes: Vec<&'static [u64]>,
}

impl KeyUsages {
    /// Takes the usages of a request: `digital signature`, `client auth`, …
    ///
    /// # Errors
    /// [`PkiError::Usages`] names those that nobody knows.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<KeyUsages, PkiError> {
        let mut usages = KeyUsages::default();
        let mut unknown = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            if let Some((_, bit)) = BITS.iter().find(|(known, _)| *known == name) {
                usages.bits |= 0x8000 >> bit;
            } else if !PURPOSES.iter().any(|(known, _)| *known == name) {
                unknown.push(name.to_owned());
            }
        }
        if !unknown.is_empty() {
            return Err(PkiError::Usages { names: unknown });
        }
        let asked = |known: &str| names.iter().any(|name| name.as_ref() == known);
        usages.purposes =
            PURPOSES.iter().filter(|(known, _)| asked(known)).map(|(_, id)| *id).collect();
        usages.purposes.dedup();
        Ok(usages)
    }
}

impl Ca {
    /// Signs a certificate for the key of `request`, valid for `life` from `now` on, but not longer
    /// than the authority itself. Returns PEM.
    ///
    /// # Errors
    /// [`PkiError::Ended`] if the authority is no longer valid, other errors if its key cannot sign.
    pub fn sign(
        &self,
        request: &SigningRequest,
        usages: &KeyUsages,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<String, PkiError> {
        let (_, pem) = parse_x509_pem(self.cert_pem().as_bytes()).map_err(refused)?;
        let (_, authority) = X509Certificate::from_der(&pem.contents).map_err(refused)?;
        let end = authority.validity().not_after.to_datetime();
        if now >= end {
            return Err(PkiError::Ended { at: end });
        }
        let key = KeyPair::from_pem(self.key_pem())
            .map_err(|source| PkiError::Key { what: "the authority's key".to_owned(), source })?;
        let algorithm = algorithm(key.algorithm())?;
        let life = if life < SHORT { life } else { life.saturating_sub(SIGNED_BACKDATE) };
        let body = sequence(&[
            tagged(0xa0, &[integer(&[2])]),
            integer(&rand_serial()),
            algorithm.clone(),
            authority.subject().as_raw().to_vec(),
            sequence(&[instant(now - SIGNED_BACKDATE), instant((now + life).min(end))]),
            request.subject.clone(),
            request.public_key.clone(),
            tagged(0xa3, &[sequence(&extensions(request, usages, &authority))]),
        ]);
        let signature = key
            .sign(&body)
            .map_err(|source| PkiError::Make { what: request.common_name.clone(), source })?;
        let whole = sequence(&[body, algorithm, bit_string(&signature, 0)]);
        Ok(pem_text(&whole))
    }
}

fn refused(err: impl std::fmt::Display) -> PkiError {
    PkiError::Certificate { reason: err.to_string() }
}

/// A positive number of 127 random bits.
fn rand_serial() -> [u8; 16] {
    let mut serial: [u8; 16] = rand::random();
    serial[0] &= 0x7f;
    serial[15] |= 1;
    serial
}

/// How the signatures of a key are named.
fn algorithm(of: &'static SignatureAlgorithm) -> Result<Vec<u8>, PkiError> {
    let ecdsa = |last| sequence(&[identifier(&[1, 2, 840, 10045, 4, 3, last])]);
    if *of == rcgen::PKCS_ECDSA_P256_SHA256 {
        Ok(ecdsa(2))
    } else if *of == rcgen::PKCS_ECDSA_P384_SHA384 {
        Ok(ecdsa(3))
    } else if *of == rcgen::PKCS_RSA_SHA256 {
        Ok(sequence(&[identifier(&[1, 2, 840, 113_549, 1, 1, 11]), element(0x05, &[])]))
    } else if *of == rcgen::PKCS_ED25519 {
        Ok(sequence(&[identifier(&[1, 3, 101, 112])]))
    } else {
        let source = rcgen::Error::UnsupportedSignatureAlgorithm;
        Err(PkiError::Key { what: "the authority's key".to_owned(), source })
    }
}

fn extensions(
    request: &SigningRequest,
    usages: &KeyUsages,
    authority: &X509Certificate<'_>,
) -> Vec<Vec<u8>> {
    let mut made = Vec::new();
    if usages.bits != 0 {
        made.push(extension(KEY_USAGE, true, &key_usage(usages.bits)));
    }
    if !usages.purposes.is_empty() {
        let ids: Vec<_> = usages.purposes.iter().map(|id| identifier(id)).collect();
        made.push(extension(EXTENDED_KEY_USAGE, false, &sequence(&ids)));
    }
    made.push(extension(BASIC_CONSTRAINTS, true, &sequence(&[])));
    for known in authority.extensions() {
        if let ParsedExtension::SubjectKeyIdentifier(id) = known.parsed_extension() {
            let id = sequence(&[element(0x80, id.0)]);
            made.push(extension(AUTHORITY_KEY, false, &id));
        }
    }
    let names = alternative_names(request);
    if !names.is_empty() {
        // Where there is no subject, they are all that says whose certificate it is.
        let alone = request.subject.len() <= 2;
        made.push(extension(ALTERNATIVE_NAMES, alone, &sequence(&names)));
    }
    made
}

fn alternative_names(request: &SigningRequest) -> Vec<Vec<u8>> {
    let texts = |tag: u8, names: &[String]| -> Vec<Vec<u8>> {
        names.iter().map(|name| element(tag, name.as_bytes())).collect()
    };
    let addresses = request.addresses.iter().map(|address| match address {
        IpAddr::V4(address) => element(0x87, &address.octets()),
        IpAddr::V6(address) => element(0x87, &address.octets()),
    });
    let mut names = texts(0x82, &request.dns_names);
    names.extend(texts(0x81, &request.emails));
    names.extend(addresses);
    names.extend(texts(0x86, &request.uris));
    names
}

fn extension(id: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![identifier(id)];
    if critical {
        parts.push(element(0x01, &[0xff]));
    }
    parts.push(element(0x04, value));
    sequence(&parts)
}

/// Bits without the zeros at their end.
fn key_usage(bits: u16) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros()).unwrap_or(0);
    let bytes = bits.to_be_bytes();
    match unused {
        8.. => bit_string(&bytes[..1], unused - 8),
        _ => bit_string(&bytes, unused),
    }
}

fn bit_string(bytes: &[u8], unused: u8) -> Vec<u8> {
    let mut content = vec![unused];
    content.extend_from_slice(bytes);
    element(0x03, &content)
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let mut content = Vec::new();
    if bytes[start] & 0x80 != 0 {
        content.push(0);
    }
    content.extend_from_slice(&bytes[start..]);
    element(0x02, &content)
}

fn instant(at: OffsetDateTime) -> Vec<u8> {
    let at = at.to_offset(time::UtcOffset::UTC);
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    match at.year() {
        year @ 1950..=2049 => element(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        year => element(0x18, format!("{year:04}{rest}").as_bytes()),
    }
}

fn identifier(parts: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    let first = parts[0] * 40 + parts[1];
    for part in std::iter::once(first).chain(parts[2..].iter().copied()) {
        let mut digits = vec![u8::try_from(part & 0x7f).unwrap_or(0)];
        let mut left = part >> 7;
        while left > 0 {
            digits.push(0x80 | u8::try_from(left & 0x7f).unwrap_or(0));
            left >>= 7;
        }
        content.extend(digits.iter().rev());
    }
    element(0x06, &content)
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(0x30, parts)
}

fn tagged(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &parts.concat())
}

/// Tag, length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut made = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => made.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let start = length.iter().position(|byte| *byte != 0).unwrap_or(0);
            let digits = &length[start..];
            made.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
            made.extend_from_slice(digits);
        }
    }
    made.extend_from_slice(content);
    made
}

fn pem_text(der: &[u8]) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests;
