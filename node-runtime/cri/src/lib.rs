//! The container runtime as the kubelet sees it: the CRI v1 messages, the [`Runtime`] trait,
//! a gRPC client for a real runtime and a scripted one for tests.

pub mod fake;
pub mod grpc;
mod runtime;

pub use runtime::{Answer, EventReceiver, Runtime, RuntimeError};

/// The messages of CRI v1 as Kubernetes 1.36 publishes them; see `proto/api.proto` for what
/// each field means.
#[expect(missing_docs, reason = "generated; the protocol file beside it has the words")]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}
