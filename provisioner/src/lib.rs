//! minik-provisioner: not written yet.
