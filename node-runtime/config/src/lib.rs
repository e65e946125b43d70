//! minik-config: not written yet.
