//! Tokens: where they stand in a request, and who may know them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue};
use time::OffsetDateTime;

use super::token::unverified_issuer;
use super::{Refused, bootstrap};
use crate::core::Core;
use crate::user::User;

/// Browsers cannot set headers on web sockets: there the token is a subprotocol that starts so.
const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// A token that is good, and for whom.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) user: User,
    /// The audiences that were asked for and that the token has.
    pub(crate) audiences: Vec<String>,
}

/// Who has the token, which must be made out to one of `audiences` (empty: to us).
pub(crate) async fn verify(
    core: &Arc<Core>,
    token: &str,
    audiences: &[String],
) -> Result<Verified, Refused> {
    let ours = &core.tokens.audiences;
    let wanted = if audiences.is_empty() { ours } else { audiences };
    let mut refused = Vec::new();
    match core.tokens.user(core, token, wanted) {
        Ok(Some(verified)) => return Ok(verified),
        Ok(None) => {}
        Err(error) => refused.push(error.to_string()),
    }
    // Tokens of others say nothing about audiences: whoever takes them is meant.
    let common: Vec<String> = wanted.iter().filter(|one| ours.contains(one)).cloned().collect();
    if !common.is_empty() {
        match of_others(core, token).await {
            Ok(Some(user)) => return Ok(Verified { user, audiences: common }),
            Ok(None) => {}
            Err(why) => refused.push(why.to_string()),
        }
    }
    match refused.is_empty() {
        true => Err(Refused::new("invalid bearer token")),
        false => Err(Refused(refused.join(", "))),
    }
}

/// The user of a token that no service account has.
async fn of_others(core: &Arc<Core>, token: &str) -> Result<Option<User>, Refused> {
    if let Some(user) = bootstrap::user(core, token, OffsetDateTime::now_utc()) {
        return Ok(Some(user));
    }
    match unverified_issuer(token) {
        Some(issuer) => core.issuers.user(core, token, &issuer).await,
        None => Ok(None),
    }
}

/// The user of an `Authorization: Bearer` header. The header is removed if it is good.
pub(super) async fn of_header(
    core: &Arc<Core>,
    headers: &mut HeaderMap,
) -> Result<Option<User>, Refused> {
    let Some(token) = in_header(headers).map(str::to_owned) else { return Ok(None) };
    let verified = verify(core, &token, &[]).await?;
    headers.remove(AUTHORIZATION);
    Ok(Some(verified.user))
}

fn in_header(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The user of a token among the subprotocols of a web socket. It is removed if it is good.
pub(super) async fn of_web_socket(
    core: &Arc<Core>,
    headers: &mut HeaderMap,
) -> Result<Option<User>, Refused> {
    let Some((token, others)) = in_protocols(headers)? else { return Ok(None) };
    let verified = verify(core, &token, &[]).await?;
    let others = HeaderValue::from_str(&others).map_err(Refused::new)?;
    headers.insert(SEC_WEBSOCKET_PROTOCOL, others);
    Ok(Some(verified.user))
}

/// The token, and the other subprotocols.
fn in_protocols(headers: &HeaderMap) -> Result<Option<(String, String)>, Refused> {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !upgrade.eq_ignore_ascii_case("websocket") {
        return Ok(None);
    }
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let (tokens, others): (Vec<&str>, Vec<&str>) =
        protocols.map(str::trim).partition(|one| one.starts_with(PROTOCOL_PREFIX));
    let encoded = match tokens[..] {
        [] => return Ok(None),
        [one] => &one[PROTOCOL_PREFIX.len()..],
        _ => return Err(Refused::new("multiple base64.bearer.authorization tokens specified")),
    };
    let decoded = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| Refused::new("invalid base64.bearer.authorization token encoding"))?;
    let token = String::from_utf8(decoded)
        .map_err(|_| Refused::new("invalid base64.bearer.authorization token"))?;
    if token.is_empty() {
        return Ok(None);
    }
    match others.is_empty() {
        // There must be one to answer with.
        true => Err(Refused::new("missing additional subprotocol")),
        false => Ok(Some((token, others.join(",")))),
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("Bearer abc", Some("abc"); "plain")]
    #[test_case("bearer abc", Some("abc"); "lower case")]
    #[test_case("Basic abc", None; "another scheme")]
    #[test_case("Bearer ", None; "no token")]
    fn headers(value: &str, token: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().expect("a value"));
        assert_eq!(in_header(&headers), token);
    }

    #[test_case(&["v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj"],
        Ok(Some("abc v4.channel.k8s.io")); "one header")]
    #[test_case(&["base64url.bearer.authorization.k8s.io.YWJj", "v5.channel.k8s.io,v4.channel.k8s.io"],
        Ok(Some("abc v5.channel.k8s.io,v4.channel.k8s.io")); "two headers")]
    #[test_case(&["base64url.bearer.authorization.k8s.io.YWJj"], Err("missing additional subprotocol"); "alone")]
    #[test_case(&["a, base64url.bearer.authorization.k8s.io.YW=="],
        Err("invalid base64.bearer.authorization token encoding"); "padded")]
    #[test_case(&["a, base64url.bearer.authorization.k8s.io.gA"],
        Err("invalid base64.bearer.authorization token"); "no text")]
    #[test_case(&["a, base64url.bearer.authorization.k8s.io.YQ, base64url.bearer.authorization.k8s.io.YQ"],
        Err("multiple base64.bearer.authorization tokens specified"); "twice")]
    #[test_case(&["v4.channel.k8s.io"], Ok(None); "none")]
    fn protocols(values: &[&str], expected: Result<Option<&str>, &str>) {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        for value in values {
            headers.append(SEC_WEBSOCKET_PROTOCOL, value.parse().expect("a value"));
        }
        let found = in_protocols(&headers)
            .map(|found| found.map(|(token, others)| format!("{token} {others}")));
        let found = found.map_err(|why| why.to_string());
        assert_eq!(found, expected.map(|found| found.map(str::to_owned)).map_err(str::to_owned));
    }

    #[test]
    fn only_web_sockets_have_subprotocols() {
        let mut headers = HeaderMap::new();
        let token = "a, base64url.bearer.authorization.k8s.io.YWJj";
        headers.insert(SEC_WEBSOCKET_PROTOCOL, token.parse().expect("a value"));
        assert!(matches!(in_protocols(&headers), Ok(None)));
    }
}
