//! What is wrong with requests, and with changes of them.

use expect_test::expect;
use serde_json::json;
use test_case::test_case;

use super::*;

const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIbU1JR01BZ0VBTUNveEREQUtCZ05WQkFvTUEyUmxkakVNTUFvR0ExVUVDZ3dEYjNCek1Rd3dDZ1lEVlFRRApEQU5oYm00d1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqT1BRTUJCd05DQUFTZHJ5VGRvc09rdEFVVFNkTGhKTDdwCmFCV1pPQmpoZFFtMzZLRnFycHhiWnQ4bUV1cEYzM042YlNNNWRFWFQ1SjZkUWRRc2FxY0NwWk1ySTRRZmhJNncKb0FBd0NnWUlLb1pJemowRUF3SURTUUF3UmdJaEFLMU1xbDVuVk9RSEZtUFVoeVJoNVNBbHRGVE5ZQ2hNQjQzQwp5S1oyRlB0SUFpRUFwamNGaXBTYUVvTlEyc2NqaWM2eFM5a2N5alNsRHlwbEdiNzgwb1RTV2ljPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJiekNDQVJXZ0F3SUJBZ0lVWFUxRWw3ZHlpZUhZZFNMbDVaN1JwbkE4ak1Bd0NnWUlLb1pJemowRUF3SXcKRERFS01BZ0dBMVVFQXd3QllUQWdGdzB5TmpFeE1qUXdNRFU0TWpaYUdBOHlNVEkyTVRBek1UQXdOVGd5TmxvdwpEREVLTUFnR0ExVUVBd3dCWVRCWk1CTUdCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQkoydkpOMml3NlMwCkJSTkowdUVrdnVsb0ZaazRHT0YxQ2Jmb29XcXVuRnRtM3lZUzZrWGZjM3B0SXpsMFJkUGtucDFCMUN4cXB3S2wKa3lzamhCK0VqckNqVXpCUk1CMEdBMVVkRGdRV0JCUS9icThjZloyeW1nOGgzNnF4eXhHdnhrcnZsakFmQmdOVgpIU01FR0RBV2dCUS9icThjZloyeW1nOGgzNnF4eXhHdnhrcnZsakFQQmdOVkhSTUJBZjhFQlRBREFRSC9NQW9HCkNDcUdTTTQ5QkFNQ0EwZ0FNRVVDSVFDYkNOQzl0QUlmZlE4K2w0a3B3U1FYbFJBNWdKY21pWGFJL0xaaXNUMm0KSWdJZ016SStwZERSZkxCdFUvUDIzbEVQbzl3elFYZm1EdmZkckZSMjdiTTVrUTQ9Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

fn made(changes: &Value) -> Value {
    let mut made = json!({
        "metadata": {"name": "r"},
        "spec": {"request": REQUEST, "signerName": "example.com/s", "usages": ["client auth"]},
        "status": {},
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        let path: Vec<&str> = key.split('.').collect();
        object::set(&mut made, &path, value.clone());
    }
    made
}

fn said(wrong: &[FieldError]) -> String {
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_good_request_is_taken() {
    assert_eq!(wrong(&made(&json!({})), None, Part::Main), []);
}

#[test]
fn new_requests() {
    let bad = made(&json!({
        "spec.request": "bm9uZQ==", "spec.usages": ["tea", "signing", "signing"],
        "spec.signerName": "example/A", "spec.expirationSeconds": 599,
    }));
    expect![[r#"
        spec.request: Invalid value: "bm9uZQ==": PEM block type must be CERTIFICATE REQUEST
        spec.usages[0]: Unsupported value: "tea": supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"
        spec.usages[2]: Duplicate value: "signing"
        spec.signerName: Invalid value: "example": should be a domain with at least two segments separated by dots
        spec.signerName: Invalid value: "A": validating label "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"#]]
        .assert_eq(&said(&wrong(&bad, None, Part::Main)));
}

#[test_case("plain", "must be a fully qualified domain and path of the form 'example.com/signer-name'"; "no slash")]
#[test_case("a.b/c/d", "must be a fully qualified domain and path of the form 'example.com/signer-name'"; "two slashes")]
#[test_case("kubernetes.io/legacy-unknown", "the legacy signerName is not allowed via this API version"; "legacy")]
fn signers(name: &str, why: &str) {
    let found = wrong(&made(&json!({"spec.signerName": name})), None, Part::Main);
    assert_eq!(said(&found), format!("spec.signerName: Invalid value: {name:?}: {why}"));
}

fn is(kind: &str) -> Value {
    json!([{"type": kind, "status": "True"}])
}

#[test_case(&json!([]), &is("Approved"), Part::Main, "may not add a condition of type \"Approved\""; "users do not approve")]
#[test_case(&json!([]), &is("Approved"), Part::Approval, ""; "approvers do")]
#[test_case(&json!([]), &is("Failed"), Part::Status, ""; "signers fail")]
#[test_case(&json!([]), &is("Denied"), Part::Status, "may not add a condition of type \"Denied\""; "signers do not deny")]
#[test_case(&is("Denied"), &json!([]), Part::Approval, "may not remove a condition of type \"Denied\""; "denied for ever")]
#[test_case(&json!([]), &json!([{"type": "Approved", "status": "False"}]), Part::Approval,
    "Unsupported value: \"False\""; "approved is true")]
#[test_case(&json!([]), &json!([{"type": "Approved"}]), Part::Approval, "status.conditions[0].status: Required value"; "no status")]
#[test_case(&is("Approved"), &json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]),
    Part::Approval, "Approved and Denied conditions are mutually exclusive"; "both")]
fn decisions(old: &Value, new: &Value, part: Part, why: &str) {
    let old = made(&json!({"status.conditions": old}));
    let new = made(&json!({"status.conditions": new}));
    let found = said(&wrong(&new, Some(&old), part));
    assert_eq!(found.is_empty(), why.is_empty(), "{found}");
    assert!(found.contains(why), "{found}");
}

#[test_case("", CERTIFICATE, Part::Status, ""; "signed")]
#[test_case("", CERTIFICATE, Part::Approval, "updates may not set certificate content"; "by an approver")]
#[test_case(CERTIFICATE, "", Part::Status, "updates may not modify existing certificate content"; "taken back")]
#[test_case("", "bm9uZQ==", Part::Status, "must contain at least one CERTIFICATE PEM block"; "no certificate")]
fn certificates(old: &str, new: &str, part: Part, why: &str) {
    let old = made(&json!({"status.certificate": old}));
    let new = made(&json!({"status.certificate": new}));
    let found = said(&wrong(&new, Some(&old), part));
    assert_eq!(found.is_empty(), why.is_empty(), "{found}");
    assert!(found.contains(why), "{found}");
}
