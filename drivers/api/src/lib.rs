//! minik-driver: not written yet.
