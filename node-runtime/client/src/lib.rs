//! minik-client: not written yet.
