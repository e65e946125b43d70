//! A proxy that has found out who asks, and says so in headers.

use std::collections::BTreeMap;

use http::HeaderMap;
use time::OffsetDateTime;

use super::Refused;
use super::certificate::Presented;
use crate::route::decode;
use crate::user::{ANONYMOUS, UNAUTHENTICATED, User};

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// The user in the headers, if the certificate is that of a front proxy.
pub(super) fn user(
    presented: &Presented,
    headers: &mut HeaderMap,
    now: OffsetDateTime,
) -> Result<Option<User>, Refused> {
    if !headers.contains_key(USER) {
        return Ok(None);
    }
    presented.is_front_proxy(now)?;
    Ok(named(headers))
}

/// The user that the headers name; they are removed.
fn named(headers: &mut HeaderMap) -> Option<User> {
    let texts = |key: &str| -> Vec<String> {
        let values = headers.get_all(key).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    };
    let name = texts(USER).into_iter().next()?;
    let (uid, groups) = (texts(UID).into_iter().next().unwrap_or_default(), texts(GROUP));
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in headers.iter() {
        let key = key.as_str().strip_prefix(EXTRA_PREFIX);
        if let (Some(key), Ok(value)) = (key, value.to_str()) {
            extra.entry(decode(key, false)).or_default().push(value.to_owned());
        }
    }
    let said: Vec<_> = headers
        .keys()
        .filter(|key| {
            [USER, UID, GROUP].contains(&key.as_str()) || key.as_str().starts_with(EXTRA_PREFIX)
        })
        .cloned()
        .collect();
    for key in said {
        headers.remove(key);
    }
    // A proxy also passes on those who are nobody known.
    let is_unknown = name == ANONYMOUS || groups.iter().any(|group| group == UNAUTHENTICATED);
    let user = match is_unknown {
        true => User { name, groups, ..User::default() },
        false => User::new(name, groups),
    };
    Some(User { uid, extra, ..user })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_say_all_of_a_user() {
        let mut headers = HeaderMap::new();
        for (key, value) in [
            ("x-remote-user", "ann"),
            ("x-remote-uid", "u-1"),
            ("x-remote-group", "dev"),
            ("x-remote-group", "ops"),
            ("x-remote-extra-acme.com%2fproject", "web"),
            ("accept", "*/*"),
        ] {
            headers.append(key, value.parse().expect("a value"));
        }
        let user = named(&mut headers).expect("a user");
        assert_eq!((&*user.name, &*user.uid), ("ann", "u-1"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["acme.com/project"], ["web"]);
        assert_eq!(headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn somebody_unknown_stays_so() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", "system:anonymous".parse().expect("a value"));
        let user = named(&mut headers).expect("a user");
        assert!(user.groups.is_empty());
        assert_eq!(named(&mut HeaderMap::new()), None);
    }
}
