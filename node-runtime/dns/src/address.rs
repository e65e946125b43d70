//! Gives the node the address of the DNS service.

use std::net::Ipv4Addr;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressScope;
use rtnetlink::packet_route::link::LinkFlags;

/// Why the address could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No connection to the kernel.
    #[error("could not open a netlink socket")]
    Netlink(#[source] std::io::Error),
    /// The kernel refused.
    #[error("could not add {address} to the loopback interface")]
    Refused {
        /// The address.
        address: Ipv4Addr,
        /// The reason.
        source: rtnetlink::Error,
    },
    /// There is no loopback interface.
    #[error("this machine has no loopback interface")]
    NoLoopback,
}

/// Adds `address` to the loopback interface, if it is not there.
///
/// Its scope is the host, so that the kernel never takes it as a source for connections of the
/// node's own.
pub(crate) async fn attach(address: Ipv4Addr) -> Result<(), AddressError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressError::Netlink)?;
    let connection = tokio::spawn(connection);
    let refused = |source| AddressError::Refused { address, source };
    let links: Vec<_> = handle.link().get().execute().try_collect().await.map_err(refused)?;
    let loopback = links.iter().find(|link| link.header.flags.contains(LinkFlags::Loopback));
    let index = loopback.ok_or(AddressError::NoLoopback)?.header.index;
    let mut add = handle.address().add(index, address.into(), 32).replace();
    add.message_mut().header.scope = AddressScope::Host;
    let added = add.execute().await.map_err(refused);
    connection.abort();
    added
}
