//! Cluster DNS: names of services and pods answered from caches, all others asked upstream.
//!
//! ```text
//! Services, EndpointSlices ─ zone (pure) ─> Zone ─ answer (pure) ─┐
//!                                 /etc/resolv.conf ─ forward ─────┴─ listen <─ pods
//! ```
//!
//! Every node answers for its own pods. The address of the DNS service is an address of the
//! node's loopback interface, so a pod's question is delivered on its node: nothing translates
//! it, nothing leaves the machine, and no other node must be up. The Service object that shows
//! the address ([`publish_service`]) carries the label that tells service proxies to leave it
//! alone.

mod address;
mod answer;
mod forward;
mod listen;
mod publish;
mod run;
mod zone;

pub use address::AddressError;
pub use publish::publish_service;
pub use run::{Config, DnsError, run};
