//! Requests for certificates (PKCS#10) that others made, for keys that only they have.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use crate::error::PkiError;
use crate::inspect::address;

/// A request whose signature proves that its maker has the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    /// Common name of the subject; empty if it has none.
    pub common_name: String,
    /// Organizations of the subject, in its order.
    pub organizations: Vec<String>,
    /// DNS names it asks for.
    pub dns_names: Vec<String>,
    /// Addresses it asks for.
    pub addresses: Vec<IpAddr>,
    /// Mail addresses it asks for.
    pub emails: Vec<String>,
    /// URIs it asks for.
    pub uris: Vec<String>,
    pub(crate) subject: Vec<u8>,
    pub(crate) public_key: Vec<u8>,
}

/// Why a text is no request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is something else, or no PEM at all.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Block,
    /// The block holds no request.
    #[error("malformed certificate request: {0}")]
    Malformed(String),
    /// Whoever made it does not have the key.
    #[error("the signature of the certificate request does not fit its key: {0}")]
    Signature(String),
}

impl SigningRequest {
    /// Reads the first PEM block of a text.
    ///
    /// # Errors
    /// [`RequestError`] if it is no request, or not signed with the key that it names.
    pub fn from_pem(pem: &[u8]) -> Result<SigningRequest, RequestError> {
        let (_, block) = parse_x509_pem(pem).map_err(|_| RequestError::Block)?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(RequestError::Block);
        }
        let malformed = |error: &dyn std::fmt::Display| RequestError::Malformed(error.to_string());
        let (rest, request) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| malformed(&error))?;
        if !rest.is_empty() {
            return Err(malformed(&"trailing data"));
        }
        request.verify_signature().map_err(|error| RequestError::Signature(error.to_string()))?;
        let info = &request.certification_request_info;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        let mut read = SigningRequest {
            common_name: info.subject.iter_common_name().last().map(text).unwrap_or_default(),
            organizations: info.subject.iter_organization().map(text).collect(),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            subject: info.subject.as_raw().to_vec(),
            public_key: info.subject_pki.raw.to_vec(),
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                for name in &names.general_names {
                    read.add(name)?;
                }
            }
        }
        Ok(read)
    }

    fn add(&mut self, name: &GeneralName<'_>) -> Result<(), RequestError> {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let wrong = || RequestError::Malformed("an address of a wrong length".to_owned());
                self.addresses.push(address(bytes).ok_or_else(wrong)?);
            }
            // Names of other kinds are not taken over.
            _ => {}
        }
        Ok(())
    }
}

/// Checks that a text holds certificates and nothing else.
///
/// # Errors
/// [`PkiError::Certificate`] says what is wrong with it.
pub fn check_certificates(pem: &[u8]) -> Result<(), PkiError> {
    let refused = |reason: String| PkiError::Certificate { reason };
    let (mut blocks, mut rest) = (0, pem);
    while let Ok((left, block)) = parse_x509_pem(rest) {
        if block.label != "CERTIFICATE" {
            let found = block.label;
            return Err(refused(format!(
                "only CERTIFICATE PEM blocks are allowed, found \"{found}\""
            )));
        }
        if has_headers(&rest[..rest.len() - left.len()]) {
            return Err(refused("no PEM block headers are permitted".to_owned()));
        }
        x509_parser::parse_x509_certificate(&block.contents)
            .map_err(|error| refused(error.to_string()))?;
        blocks += 1;
        rest = left;
    }
    match blocks {
        0 => Err(refused("must contain at least one CERTIFICATE PEM block".to_owned())),
        _ => Ok(()),
    }
}

/// Whether the first block of the text has headers: what it holds is base64, without colons.
fn has_headers(pem: &[u8]) -> bool {
    let begin = b"-----BEGIN".as_slice();
    let Some(at) = pem.windows(begin.len()).position(|window| window == begin) else {
        return false;
    };
    pem[at..].contains(&b':')
}
