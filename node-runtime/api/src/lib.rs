//! minik-api: not written yet.
