//! minik-scheduler: not written yet.
