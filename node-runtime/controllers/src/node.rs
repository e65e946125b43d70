//! Nodes: [`addresses`] gives each its part of the pod range, [`lifecycle`] says which are silent
//! and taints them, [`eviction`] takes pods from nodes whose taints they do not bear.

pub(crate) mod addresses;
pub(crate) mod eviction;
pub(crate) mod lifecycle;
pub(crate) mod taints;
