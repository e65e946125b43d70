//! Finds out who makes a request: a bearer token, a client certificate, or nobody known.

pub(crate) mod impersonate;
pub(crate) mod token;

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use minik_meta::Status;

use crate::core::Core;
use crate::route::{Action, Page};
use crate::user::User;

/// What is known of a connection before the first request.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Whom the verified client certificate names.
    pub(crate) certificate_user: Option<User>,
    /// The other end.
    pub(crate) peer: SocketAddr,
}

/// The user of a request, or 401. Requests without an identity may only look at health and
/// version.
pub(crate) fn authenticate(
    core: &Core,
    connection: &Connection,
    headers: &HeaderMap,
    action: &Action,
) -> Result<User, Status> {
    if let Some(token) = bearer(headers) {
        return core.tokens.user(core, token, &[]).map(|verified| verified.user).map_err(|error| {
            // Why a token was refused is for the log, not for whoever tries tokens.
            tracing::debug!(peer = %connection.peer, %error, "token refused");
            Status::unauthorized("Unauthorized")
        });
    }
    if let Some(user) = &connection.certificate_user {
        return Ok(user.clone());
    }
    match action {
        Action::Page(Page::Health { .. } | Page::Version) => Ok(User::anonymous()),
        Action::Page(_) | Action::Resource(..) => Err(Status::unauthorized("Unauthorized")),
    }
}

/// The token of an `Authorization: Bearer` header. Browsers cannot set headers on web sockets and
/// send it as a subprotocol; that form is not offered.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
