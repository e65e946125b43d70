//! The service proxy: makes ClusterIPs, node ports and load balancer addresses lead to pods.
//!
//! ```text
//! Services, EndpointSlices, Nodes ─ rules (pure) ─> Desired ─ diff (pure) ─> Steps ─ nft ─> kernel
//!                           Nodes ─ routes (pure) ─> routes to other nodes' pods ─ rtnetlink ┘
//! ```
//!
//! The kernel side is one nftables table, `ip minik`. Packets find their service by one look-up
//! in a map, however many services there are, and a change alters only the elements and chains
//! it concerns, in one transaction. Nothing here polls: [`run`] wakes when a cache changes.
//!
//! What others must provide: pods behind a bridge whose ports have hairpin mode on, and no
//! masquerading of their own, since the table does it.

mod conntrack;
mod diff;
mod flows;
mod kernel;
mod nft;
mod routes;
mod rules;
mod run;

pub use kernel::KernelError;
pub use run::{Config, ProxyError, run};

#[cfg(test)]
mod packets;
