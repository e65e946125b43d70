//! minik-apiserver: not written yet.
