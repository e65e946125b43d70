//! Kubernetes' protobuf, both ways, by the numbers in the schema: no message has code of its own.
//!
//! ```text
//! "k8s\0"  Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw object, 3: "", 4: "" }
//! ```
//! A watch sends each event behind its length, four bytes, most significant first:
//! `WatchEvent { 1: type, 2: { 1: the object in its envelope } }`.
//!
//! Source: `generated.proto` of k8s.io/api and k8s.io/apimachinery v0.36, and their documentation of the
//! envelope.

mod choice;
mod decode;
mod encode;
mod openapi;
mod wire;

pub use decode::{ProtobufError, decode};
pub use encode::{encode, frame, has_form};
pub use openapi::openapi_v2;

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// The media type of bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The media type of `/openapi/v2` for clients that ask for protobuf.
pub const OPENAPI_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
