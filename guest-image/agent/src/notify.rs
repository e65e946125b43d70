//! Short messages between local processes: to systemd that the identity is there, to the agent that SSH answers.

use std::os::unix::net::UnixDatagram;

use crate::error::{Error, on_file};

/// Where the agent listens.
pub(crate) const AGENT_SOCKET: &str = "/run/minik/agent.sock";
/// Sent by the SSH unit once the server listens.
pub(crate) const SSH_IS_UP: &str = "ssh-is-up";

/// Tells the running agent.
pub(crate) fn tell_agent(message: &str) -> Result<(), Error> {
    send(AGENT_SOCKET, message)
}

/// Tells systemd that this service is what its unit promises. Outside of systemd there is nobody to tell.
pub(crate) fn tell_systemd_ready() -> Result<(), Error> {
    match std::env::var("NOTIFY_SOCKET") {
        Ok(socket) => send(&socket, "READY=1"),
        Err(_) => Ok(()),
    }
}

fn send(socket: &str, message: &str) -> Result<(), Error> {
    UnixDatagram::unbound()
        .and_then(|from| from.send_to(message.as_bytes(), socket))
        .map(|_| ())
        .map_err(on_file("send to", socket))
}
