//! minik-none: not written yet.
