//! minik-spec: not written yet.
