//! minik-cluster: not written yet.
