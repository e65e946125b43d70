//! Bootstrap tokens: what a machine has that is to join the cluster and is nobody yet.
//!
//! Each is a Secret in `kube-system`. What makes one useless is said in the log only, and without
//! its secret part.

use ::time::OffsetDateTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minik_meta::{object, time};
use serde_json::Value;

use crate::core::Core;
use crate::user::User;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const USER_PREFIX: &str = "system:bootstrap:";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
const GROUP_MAX: usize = 256;

/// The user of a bootstrap token; none if it is no such token, or is not good.
pub(super) fn user(core: &Core, token: &str, now: OffsetDateTime) -> Option<User> {
    let (id, secret) = parts(token)?;
    let name = format!("bootstrap-token-{id}");
    let stored = core.read_core_object("secrets", NAMESPACE, &name)?;
    match check(&stored, id, secret, now) {
        Ok(groups) => Some(User::new(format!("{USER_PREFIX}{id}"), groups)),
        Err(why) => {
            tracing::debug!(secret = name, why, "bootstrap token refused");
            None
        }
    }
}

fn is_code(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

/// The public and the secret part.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    (is_code(id, ID_LENGTH) && is_code(secret, SECRET_LENGTH)).then_some((id, secret))
}

fn data(stored: &Value, key: &str) -> Vec<u8> {
    STANDARD.decode(object::text(stored, &["data", key])).unwrap_or_default()
}

/// The groups of whoever has the token.
fn check(
    stored: &Value,
    id: &str,
    secret: &str,
    now: OffsetDateTime,
) -> Result<Vec<String>, &'static str> {
    if object::deletion_timestamp(stored).is_some() {
        return Err("it is deleted and awaits removal");
    }
    if object::text(stored, &["type"]) != TYPE {
        return Err("the type is another");
    }
    let right = data(stored, "token-secret");
    // Takes as long for a nearly right one as for any other.
    if aws_lc_rs::constant_time::verify_slices_are_equal(&right, secret.as_bytes()).is_err() {
        return Err("the value of token-secret is another");
    }
    if data(stored, "token-id") != id.as_bytes() {
        return Err("the value of token-id is another");
    }
    let expiration = data(stored, "expiration");
    if !expiration.is_empty() {
        let end = std::str::from_utf8(&expiration).ok().and_then(time::parse);
        if end.is_none_or(|end| end <= now) {
            return Err("it has expired");
        }
    }
    if data(stored, "usage-bootstrap-authentication") != b"true" {
        return Err("it is not marked usage-bootstrap-authentication=true");
    }
    groups(&data(stored, "auth-extra-groups"))
}

fn groups(extra: &[u8]) -> Result<Vec<String>, &'static str> {
    let wrong = "the value of auth-extra-groups is invalid";
    let extra = std::str::from_utf8(extra).map_err(|_| wrong)?;
    let mut groups = vec![GROUP.to_owned()];
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        let name = group.strip_prefix("system:bootstrappers:").ok_or(wrong)?;
        let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b':' | b'-');
        let ends_well = name.ends_with(|last: char| last.is_ascii_alphanumeric());
        if name.len() > GROUP_MAX || !name.bytes().all(known) || !ends_well {
            return Err(wrong);
        }
        groups.push(group.to_owned());
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case("abcdef.0123456789abcdef", true; "good")]
    #[test_case("abcde.0123456789abcdef", false; "short id")]
    #[test_case("abcdef.0123456789abcde", false; "short secret")]
    #[test_case("abcdeF.0123456789abcdef", false; "upper case")]
    #[test_case("abcdef.0123456789abcdef.", false; "more parts")]
    fn forms(token: &str, good: bool) {
        assert_eq!(parts(token).is_some(), good);
    }

    fn stored(changes: &Value) -> Value {
        let mut stored = json!({"type": TYPE, "metadata": {"name": "bootstrap-token-abcdef"}});
        let mut plain = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true"});
        for (key, value) in changes.as_object().into_iter().flatten() {
            match key.as_str() {
                "type" => stored["type"] = value.clone(),
                "deleted" => stored["metadata"]["deletionTimestamp"] = value.clone(),
                key => plain[key] = value.clone(),
            }
        }
        for (key, value) in plain.as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            object::set(&mut stored, &["data", key.as_str()], STANDARD.encode(value));
        }
        stored
    }

    #[test_case(json!({}), Ok("system:bootstrappers"); "good")]
    #[test_case(json!({"auth-extra-groups": "system:bootstrappers:b,system:bootstrappers:a:1"}),
        Ok("system:bootstrappers system:bootstrappers:a:1 system:bootstrappers:b"); "groups")]
    #[test_case(json!({"auth-extra-groups": "system:masters"}),
        Err("the value of auth-extra-groups is invalid"); "too much")]
    #[test_case(json!({"auth-extra-groups": "system:bootstrappers:a-"}),
        Err("the value of auth-extra-groups is invalid"); "ends badly")]
    #[test_case(json!({"token-secret": "0123456789abcdee"}),
        Err("the value of token-secret is another"); "wrong secret")]
    #[test_case(json!({"token-secret": ""}), Err("the value of token-secret is another"); "no secret")]
    #[test_case(json!({"token-id": "abcdee"}), Err("the value of token-id is another"); "wrong id")]
    #[test_case(json!({"expiration": "2026-01-01T00:00:00Z"}), Err("it has expired"); "expired")]
    #[test_case(json!({"expiration": "2026-01-01T00:00:02Z"}), Ok("system:bootstrappers"); "nearly")]
    #[test_case(json!({"expiration": "tomorrow"}), Err("it has expired"); "no time")]
    #[test_case(json!({"usage-bootstrap-authentication": "yes"}),
        Err("it is not marked usage-bootstrap-authentication=true"); "for signing only")]
    #[test_case(json!({"type": "Opaque"}), Err("the type is another"); "another secret")]
    #[test_case(json!({"deleted": "2026-01-01T00:00:00Z"}), Err("it is deleted and awaits removal"); "going")]
    fn tokens(changes: Value, expected: Result<&str, &'static str>) {
        let now = time::parse("2026-01-01T00:00:01Z").expect("a time");
        let found = check(&stored(&changes), "abcdef", "0123456789abcdef", now);
        assert_eq!(found.map(|groups| groups.join(" ")), expected.map(str::to_owned));
    }
}
