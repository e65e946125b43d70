//! What every part of the runtime says about Kubernetes objects: names, selectors, quantities,
//! times, errors. No I/O, no clock but [`time::now`], no async.
//!
//! Read in this order: [`object`] (an object is a `serde_json::Value` and these are its accessors),
//! [`gvk`], [`status`] (the error every API call may end in), [`selector`], [`quantity`].

pub mod cel;
pub mod field;
pub mod gvk;
pub mod names;
pub mod object;
pub mod quantity;
pub mod selector;
pub mod status;
pub mod sysctls;
pub mod time;

pub use field::{FieldError, Path};
pub use gvk::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use quantity::Quantity;
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Reason, Status};
