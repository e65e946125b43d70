//! One file per phase of `start`; their order is in [`crate::phases`].

pub(crate) mod certificates;
pub(crate) mod guest_ready;
pub(crate) mod host_checks;
pub(crate) mod image;
pub(crate) mod keys;
pub(crate) mod kubeconfig;
pub(crate) mod machine_create;
pub(crate) mod machine_start;
pub(crate) mod node_file;
pub(crate) mod reach;
pub(crate) mod ready;
pub(crate) mod seed;
pub(crate) mod service;
pub(crate) mod unit;
pub(crate) mod upload;
