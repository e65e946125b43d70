//! minik-meta: not written yet.
