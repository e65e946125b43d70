//! minik-pki: not written yet.
