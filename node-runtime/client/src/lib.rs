//! minik-client: how parts of the node runtime reach the API: in process or over TLS, and as whom.
//!
//! The client type itself is [`kube::Client`]. This crate only builds it ([`connect`]), names the
//! identities it is used with ([`identity`]), tells API errors apart ([`ApiErrorExt`]) and records
//! events ([`EventRecorder`]).

pub mod connect;
mod correlate;
mod errors;
mod events;
pub mod identity;

pub use crate::connect::{CertificateFiles, ConnectError};
pub use crate::errors::{ApiErrorExt, said};
pub use crate::events::{EventRecorder, Level};
