//! minik-e2e: not written yet.
