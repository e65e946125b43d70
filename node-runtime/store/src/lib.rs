//! minik-store: not written yet.
