//! minik-api: the kinds of Kubernetes v1.36 as data, and every routine over them.
//!
//! An object is a `serde_json::Value`; a [`Resource`] says all there is to know about its kind. The
//! same routines serve built-in kinds ([`kinds`]) and custom resources, which make their own
//! [`Resource`]. No I/O here, no state but the table.
//!
//! The way of a write: [`decode()`] → [`default()`] → [`strategy::prepare_create`] →
//! [`strategy::validate`]; of a patch: [`patch`] → [`conform`] → [`default()`] → …

pub mod admission;
pub mod aggregation;
pub mod apply;
pub mod convert;
pub mod custom;
pub mod decode;
mod defaults;
pub mod discovery;
pub mod fields;
pub mod kinds;
pub mod openapi;
pub mod patch;
pub mod pod_security;
pub mod protobuf;
pub mod resource;
pub mod scale;
pub mod schema;
pub mod strategy;
pub mod table;
mod validate;

pub use convert::convert;
pub use custom::Custom;
pub use decode::{ContentType, FieldValidation, Warnings, conform, decode, decode_any};
pub use defaults::default;
pub use kinds::{KindTable, kinds};
pub use resource::{Cell, Column, NameRule, Resource, ScalePaths, Storage, Subresource};
pub use schema::SchemaRef;
