//! From a pod's specification to what the runtime is told: plain functions, no I/O.

pub(crate) mod container;
pub(crate) mod dns;
pub(crate) mod env;
pub(crate) mod fields;
pub(crate) mod names;
pub(crate) mod quantity;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod security;
pub(crate) mod service_env;
