//! Tells systemd that this service is what its unit promises.

use std::os::unix::net::UnixDatagram;

use crate::error::{Error, on_file};

/// Lets the units go on that wait for this one. Outside of systemd there is nobody to tell.
pub(crate) fn tell_systemd_ready() -> Result<(), Error> {
    let Ok(socket) = std::env::var("NOTIFY_SOCKET") else { return Ok(()) };
    UnixDatagram::unbound()
        .and_then(|from| from.send_to(b"READY=1", &socket))
        .map(|_| ())
        .map_err(on_file("tell", socket))
}
