//! Certificates for requests made with the library, read back with another.

use rcgen::{CertificateParams, DnType, KeyPair};
use test_case::test_case;

use super::*;
use crate::{CA_VALIDITY, RequestError, check_certificates, inspect};

fn request(common_name: &str, sans: &[&str]) -> String {
    let names: Vec<String> = sans.iter().map(|&san| san.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

#[test]
fn a_certificate_says_what_the_request_said() {
    let ca = Ca::new("minikCA", CA_VALIDITY).unwrap();
    let sans = ["n1.example", "10.1.2.3", "fd00::1"];
    let asked = SigningRequest::from_pem(request("system:node:n1", &sans).as_bytes()).unwrap();
    assert_eq!(asked.common_name, "system:node:n1");
    assert_eq!(asked.organizations, ["system:nodes"]);
    let usages = KeyUsages::from_names(&["server auth", "digital signature", "decipher only"]);
    let now = OffsetDateTime::now_utc();
    let made = ca.sign(&asked, &usages.unwrap(), hours(24), now).unwrap();
    check_certificates(made.as_bytes()).unwrap();

    let facts = inspect(&made).unwrap();
    assert_eq!((&*facts.common_name, &*facts.issuer), ("system:node:n1", "minikCA"));
    assert_eq!(facts.sans, sans);
    assert!(facts.was_issued_by(&inspect(ca.cert_pem()).unwrap()));
    let (_, pem) = parse_x509_pem(made.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let (_, authority) = parse_x509_pem(ca.cert_pem().as_bytes()).unwrap();
    let authority = authority.parse_x509().unwrap();
    certificate.verify_signature(Some(authority.public_key())).unwrap();
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.decipher_only() && !usage.key_encipherment());
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth);
    assert!(!certificate.is_ca());
}

#[test_case(1, 0, 60; "a short one lasts from now")]
#[test_case(24, 0, 24 * 60 - 5; "a long one from when it is dated")]
#[test_case(24 * 365 * 20, 1, 0; "not longer than the authority")]
fn validity(life: u64, of_authority: u64, minutes: i64) {
    let ca = Ca::new("ca", CA_VALIDITY).unwrap();
    let asked = SigningRequest::from_pem(request("a", &[]).as_bytes()).unwrap();
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let made = ca.sign(&asked, &KeyUsages::default(), hours(life), now).unwrap();
    let facts = inspect(&made).unwrap();
    assert_eq!(facts.not_before, now - SIGNED_BACKDATE);
    match of_authority {
        0 => assert_eq!(facts.not_after, now + time::Duration::minutes(minutes)),
        _ => assert_eq!(facts.not_after, inspect(ca.cert_pem()).unwrap().not_after),
    }
}

#[test]
fn an_authority_that_ended_signs_nothing() {
    let ca = Ca::new("ca", hours(1)).unwrap();
    let asked = SigningRequest::from_pem(request("a", &[]).as_bytes()).unwrap();
    let later = OffsetDateTime::now_utc() + hours(2);
    let refused = ca.sign(&asked, &KeyUsages::default(), hours(1), later);
    assert!(matches!(refused, Err(PkiError::Ended { .. })));
}

#[test]
fn unknown_usages_are_named() {
    let refused = KeyUsages::from_names(&["client auth", "tea", "milk"]).unwrap_err();
    assert_eq!(refused.to_string(), r#"unrecognized usage values: ["tea" "milk"]"#);
}

#[test_case("" => RequestError::Block; "nothing")]
#[test_case("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" => RequestError::Block;
    "a certificate")]
fn no_request(text: &str) -> RequestError {
    SigningRequest::from_pem(text.as_bytes()).unwrap_err()
}

#[test]
fn a_request_for_the_key_of_another_is_refused() {
    let pem = request("system:node:n1", &[]);
    let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
    let mut der = block.contents.clone();
    let at = der.windows(2).position(|window| window == b"n1").unwrap();
    der[at + 1] = b'2';
    let forged = pem_text(&der).replace("CERTIFICATE", "CERTIFICATE REQUEST");
    let refused = SigningRequest::from_pem(forged.as_bytes()).unwrap_err();
    assert!(matches!(refused, RequestError::Signature(_)), "{refused}");
}

#[test_case("", "must contain at least one CERTIFICATE PEM block"; "nothing")]
#[test_case("-----BEGIN X-----\nAAAA\n-----END X-----\n",
    "only CERTIFICATE PEM blocks are allowed, found \"X\""; "something else")]
fn no_certificates(text: &str, why: &str) {
    let refused = check_certificates(text.as_bytes()).unwrap_err();
    assert_eq!(refused.to_string(), format!("not a certificate: {why}"));
}
