//! Finds out who makes a request: whom a front proxy names, whom a client certificate or a token
//! identifies, or nobody known.

pub(crate) mod bearer;
mod bootstrap;
pub(crate) mod certificate;
mod front_proxy;
pub(crate) mod impersonate;
pub(crate) mod jwt;
pub(crate) mod token;

use std::net::SocketAddr;
use std::sync::Arc;

use ::time::OffsetDateTime;
use http::HeaderMap;
use minik_config::Anonymous;
use minik_meta::Status;

use crate::core::Core;
use crate::user::User;
use certificate::Presented;

/// What is known of a connection before the first request.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// The client certificate, and who vouches for it.
    pub(crate) certificate: Option<Arc<Presented>>,
    /// The other end.
    pub(crate) peer: SocketAddr,
}

/// Why somebody is not who they say. For the log, not for whoever tries.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

impl Refused {
    fn new(why: impl std::fmt::Display) -> Refused {
        Refused(why.to_string())
    }
}

/// The user of a request, or 401 if it claims to be of somebody and that is not true. What is found
/// in the headers is removed from them: nobody behind us needs it.
pub(crate) async fn authenticate(
    core: &Arc<Core>,
    connection: &Connection,
    headers: &mut HeaderMap,
    path: &str,
) -> Result<User, Status> {
    let mut refused = Vec::new();
    let mut note = |found: Result<Option<User>, Refused>| {
        found.unwrap_or_else(|why| {
            refused.push(why.to_string());
            None
        })
    };
    let now = OffsetDateTime::now_utc();
    if let Some(presented) = &connection.certificate {
        if let Some(user) = note(front_proxy::user(presented, headers, now)) {
            return Ok(user);
        }
        if let Some(user) = note(presented.user(now)) {
            return Ok(user);
        }
    }
    if let Some(user) = note(bearer::of_header(core, headers).await) {
        return Ok(user);
    }
    if let Some(user) = note(bearer::of_web_socket(core, headers).await) {
        return Ok(user);
    }
    if refused.is_empty() && may_be_anonymous(&core.config.authentication.anonymous, path) {
        return Ok(User::anonymous());
    }
    tracing::debug!(peer = %connection.peer, why = refused.join(", "), "not authenticated");
    Err(Status::unauthorized("Unauthorized"))
}

/// Whether anybody may make a request for the path.
fn may_be_anonymous(settings: &Anonymous, path: &str) -> bool {
    match settings {
        Anonymous::Never => false,
        Anonymous::Always => true,
        Anonymous::Paths(paths) => paths.iter().any(|one| one == path),
    }
}
