//! minik-testkit: not written yet.
