//! minik-tidy: not written yet.
