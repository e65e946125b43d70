//! minik-bench: not written yet.
