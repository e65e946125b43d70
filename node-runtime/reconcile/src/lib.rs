//! minik-reconcile: not written yet.
